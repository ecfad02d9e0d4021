//! From a plugin configuration to a source that is asked and understood.

use crate::fake_host::FakeHost;
use crate::policy::policy;
use berth::filter::Role;
use berth::filter::store::SnapshotReader;
use berth::model::Signal;
use serde_json::{Value, json};

fn with_source(source: Value) -> Value {
    json!({"role": "telemetry", "policy": policy(), "sources": [source]})
}

fn refusal(source: Value) -> String {
    let host = FakeHost::new();
    host.set_configuration(&with_source(source).to_string());
    Role::configure(&host).map(|_| ()).unwrap_err()
}

#[test]
fn a_preset_and_a_mapping_of_ones_own_are_read_from_one_scrape() {
    let host = FakeHost::new();
    let mapping = json!({"signal": "interconnect", "metric": "nvlink_tx", "labels": {"gpu": "0"},
        "per": {"metric": "nvlink_capacity"}, "scale": 2});
    let source = json!({"cluster": "metrics", "path": "/metrics", "substrate": "metal-fr", "format": "vllm", "mappings": [mapping]});
    host.set_configuration(&with_source(source).to_string());
    let mut role = Role::configure(&host).unwrap();
    role.on_tick(&host);
    let text =
        "vllm:num_requests_waiting 4\nnvlink_tx{gpu=\"0\"} 100\nnvlink_tx{gpu=\"1\"} 900\nnvlink_capacity 1000\n";
    for call in host.take_calls() {
        let size = host.answer(&[(":status", "200")], text.as_bytes());
        role.on_call(&host, call.token, size);
    }
    host.advance_ms(100);
    role.on_tick(&host);
    let mut reader = SnapshotReader::default();
    assert!(reader.poll(&host));
    let metal = reader.snapshot().unwrap().of("metal-fr").unwrap();
    let value = |signal| metal.reading(signal).map(|r| r.value);
    assert_eq!((value(Signal::QueueDepth), value(Signal::Interconnect)), (Some(4), Some(200_000)));
}

#[test]
fn what_is_wrong_with_a_source_is_said_with_its_place() {
    let cases = [
        (json!({"cluster": "a", "path": "/", "format": "vllm"}), "sources[0].substrate: missing"),
        (
            json!({"cluster": "a", "path": "/", "format": "prometheus", "substrate": "metal-fr"}),
            "sources[0].mappings: found 0",
        ),
        (
            json!({"cluster": "a", "path": "/", "mappings": [{"signal": "hosts", "metric": "up"}]}),
            "sources[0].mappings: found for another format",
        ),
        (
            json!({"cluster": "a", "path": "/", "format": "prometheus", "substrate": "metal-fr",
                "mappings": [{"signal": "wombats", "metric": "up"}]}),
            "sources[0].mappings[0].signal: found `wombats`",
        ),
        (
            json!({"cluster": "a", "path": "/", "jitter": 1.01}),
            "sources[0].jitter: found 1.01, expected a number from 0 to 1",
        ),
        (json!({"cluster": "a", "path": "/", "jitter": -0.1}), "sources[0].jitter: found -0.1"),
        (json!({"cluster": "a", "path": "/", "jitter": "much"}), "invalid type: string \"much\", expected f64"),
        (json!({"cluster": "a", "path": "/", "format": "grafana"}), "sources[0].format: found `grafana`"),
    ];
    for (source, why) in cases {
        let line = refusal(source);
        assert!(line.contains(why), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

/// When a source is asked, in ticks of 10 ms since the last time.
fn gaps(jitter: Value) -> Vec<u64> {
    let host = FakeHost::new();
    let mut source = json!({"cluster": "metal-fr", "path": "/h", "substrate": "metal-fr", "interval_ms": 1_000});
    if !jitter.is_null() {
        source["jitter"] = jitter;
    }
    host.set_configuration(&with_source(source).to_string());
    let mut role = Role::configure(&host).unwrap();
    let mut asked = Vec::new();
    for _ in 0..4_000 {
        host.advance_ms(10);
        role.on_tick(&host);
        for call in host.take_calls() {
            asked.push(host.now_ms());
            let size = host.answer(&[(":status", "200")], br#"{"signals": {"queue_depth": 1}}"#);
            role.on_call(&host, call.token, size);
        }
    }
    asked.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn questions_come_early_by_up_to_the_jitter_that_is_asked_for() {
    let all_within = |gaps: &[u64], least| gaps.iter().all(|gap| (least..=1_000).contains(gap));
    let [none, usual, half] = [json!(0), Value::Null, json!(0.5)].map(gaps);
    assert!(none.len() >= 38 && none.iter().all(|gap| *gap == 1_000), "{none:?}");
    assert!(all_within(&usual, 900) && usual.iter().any(|gap| *gap < 990), "{usual:?}");
    assert!(all_within(&half, 500) && half.iter().any(|gap| *gap < 800), "{half:?}");
    assert!(half.len() > usual.len() && usual.len() > none.len());
}
