use super::{Aggregate, Before, Mapping, Per, Scrape, Selector};
use crate::health::heard::{Drop, Heard};
use crate::health::presets::{PRESETS, preset};
use crate::model::{Reading, Signal};

const NOW: u64 = 1_790_000_000_000;

const VLLM: &str = r#"# HELP vllm:num_requests_waiting Number of requests waiting.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a b}c\"d"} 3.0
vllm:num_requests_waiting{engine="1",model_name="x"} 4.0
vllm:num_requests_running{engine="0"} 1.2e+01
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.75
vllm:time_to_first_token_seconds_bucket{le="0.1"} 100
vllm:time_to_first_token_seconds_sum 50.0
vllm:time_to_first_token_seconds_count 100
vllm:e2e_request_latency_seconds_sum NaN
python_gc_objects_collected_total{generation="0"} 8442
"#;

fn scrape(mappings: &[Mapping], text: &str, before: &mut Before) -> Option<Heard> {
    let mut scrape = Scrape::new(mappings);
    scrape.feed(text.as_bytes());
    scrape.finish(before, NOW)
}

fn values(heard: &Heard) -> Vec<(Signal, i64)> {
    heard.readings.iter().map(|(signal, r)| (*signal, r.value)).collect()
}

fn one(mapping: Mapping, text: &str) -> Option<i64> {
    let heard = scrape(&[mapping], text, &mut Before::new())?;
    heard.readings.first().map(|(_, r)| r.value)
}

#[test]
fn a_scrape_of_vllm_gives_its_signals_and_drops_what_is_not_finite() {
    let mappings = preset("vllm").unwrap();
    let mut before = Before::new();
    let heard = scrape(&mappings, VLLM, &mut before).unwrap();
    let expected = [(Signal::QueueDepth, 7), (Signal::Running, 12), (Signal::MemoryPressure, 750_000)];
    assert_eq!(values(&heard), expected);
    assert_eq!(heard.dropped.of(Drop::NotFinite), 1);

    // Thirty answers that took 12 s in all until their first token.
    let later = VLLM.replace("seconds_sum 50.0", "seconds_sum 62.0").replace("seconds_count 100", "seconds_count 130");
    let heard = scrape(&mappings, &later, &mut before).unwrap();
    assert!(values(&heard).contains(&(Signal::FirstToken, 400_000)), "{heard:?}");

    let restarted = VLLM.replace("seconds_sum 50.0", "seconds_sum 1.0").replace("seconds_count 100", "seconds_count 2");
    let heard = scrape(&mappings, &restarted, &mut before).unwrap();
    assert!(!values(&heard).iter().any(|(signal, _)| *signal == Signal::FirstToken), "counters began anew");
}

#[test]
fn the_pieces_in_which_a_scrape_comes_do_not_matter() {
    let mappings = preset("vllm").unwrap();
    let whole = scrape(&mappings, VLLM, &mut Before::new());
    for size in [1, 2, 7, 64, 1_000] {
        let mut scrape = Scrape::new(&mappings);
        VLLM.as_bytes().chunks(size).for_each(|piece| scrape.feed(piece));
        assert_eq!(scrape.finish(&mut Before::new(), NOW), whole, "pieces of {size}");
    }
}

#[test]
fn samples_are_chosen_by_label_and_put_together_as_asked() {
    let text = "m{gpu=\"0\",name=\"a,b=\\\"c\"} 1\nm{gpu=\"1\"} 2\nm { gpu = \"2\" , x=\"y\" } 6\nmm{gpu=\"0\"} 100\n";
    let all = Mapping::new(Signal::QueueDepth, "m");
    for (aggregate, value) in [(Aggregate::Sum, 9), (Aggregate::Max, 6), (Aggregate::Min, 1), (Aggregate::Mean, 3)] {
        assert_eq!(one(Mapping { aggregate, ..all.clone() }, text), Some(value));
    }
    for (label, text_value, value) in
        [("gpu", "1", Some(2)), ("x", "y", Some(6)), ("name", "a,b=\\\"c", Some(1)), ("gpu", "9", None)]
    {
        let of = Selector { metric: "m".into(), labels: vec![(label.into(), text_value.into())] };
        assert_eq!(one(Mapping { of, ..all.clone() }, text), value, "{label}={text_value}");
    }
}

#[test]
fn ratios_remainders_and_scales() {
    let used = Mapping::new(Signal::MemoryPressure, "used");
    let text = "used 30\nfree 70\ntotal 120\ncharge 80\nzero 0\n";
    let per = |metric: &str| Mapping { per: Some(Per::Of(Selector::all(metric))), ..used.clone() };
    assert_eq!(one(per("total"), text), Some(250_000));
    assert_eq!(one(Mapping { rest: true, ..per("total") }, text), Some(750_000));
    assert_eq!(one(Mapping { per: Some(Per::With(Selector::all("free"))), ..used.clone() }, text), Some(300_000));
    let percent = Mapping { scale_micro: 10_000, ..Mapping::new(Signal::PowerHeadroom, "charge") };
    assert_eq!(one(percent, text), Some(800_000));
    assert_eq!(one(per("zero"), text), None, "divided by nothing");
    assert_eq!(one(per("absent"), text), None, "missing is not zero");
}

#[test]
fn a_samples_own_time_is_believed_if_it_is_not_from_the_future() {
    let gauge = Mapping::new(Signal::QueueDepth, "m");
    let read = |text: &str| scrape(std::slice::from_ref(&gauge), text, &mut Before::new()).unwrap();
    assert_eq!(read("m 3 1789999990000").readings, [(Signal::QueueDepth, Reading { value: 3, at_ms: NOW - 10_000 })]);
    assert_eq!(read("m 3 1890000000000").dropped.of(Drop::Future), 1);
    assert_eq!(read("m 3 # {trace_id=\"x\"} 1").readings[0].1, Reading { value: 3, at_ms: NOW });
}

#[test]
fn a_time_that_nobody_can_mean_costs_its_value_and_is_not_now() {
    let gauge = Mapping::new(Signal::QueueDepth, "m");
    let nanoseconds = "1789999990000000000";
    for (stamp, why) in [
        (nanoseconds, Drop::Future),
        ("99999999999999999999", Drop::Future),
        ("1e300", Drop::Future),
        ("junk", Drop::Malformed),
        ("NaN", Drop::NotFinite),
        ("-5", Drop::OutOfRange),
    ] {
        let text = format!("m 3 {stamp}\n");
        let heard = scrape(std::slice::from_ref(&gauge), &text, &mut Before::new()).unwrap();
        assert_eq!((values(&heard), heard.dropped.of(why)), (vec![], 1), "{stamp}");
    }
}

#[test]
fn one_sample_from_the_future_is_not_hidden_by_older_ones_and_each_mapping_has_its_own_time() {
    let mappings = [Mapping::new(Signal::QueueDepth, "m"), Mapping::new(Signal::Running, "n")];
    let text = "m{a=\"1\"} 3 1789999990000\nm{a=\"2\"} 3 1890000000000\nn 1 1789999980000\n";
    let heard = scrape(&mappings, text, &mut Before::new()).unwrap();
    assert_eq!(heard.readings, [(Signal::Running, Reading { value: 1, at_ms: NOW - 20_000 })]);
    assert_eq!(heard.dropped.of(Drop::Future), 1);
}

#[test]
fn a_sample_that_cannot_be_read_spoils_what_it_belongs_to_and_nothing_else() {
    let labelled = Selector { metric: "m".into(), labels: vec![("a".into(), "1".into())] };
    let mappings = [
        Mapping::new(Signal::QueueDepth, "m"),
        Mapping { of: labelled, ..Mapping::new(Signal::Running, "m") },
        Mapping { per: Some(Per::Of(Selector::all("m"))), ..Mapping::new(Signal::MemoryPressure, "n") },
    ];
    for (bad, why) in [
        ("NaN", Drop::NotFinite),
        ("+Inf", Drop::NotFinite),
        ("ten", Drop::Malformed),
        ("1e99", Drop::OutOfRange),
        ("4 junk", Drop::Malformed),
    ] {
        // Of three queues, two with four each: a sum without the third would make the substrate look emptier than it is.
        let text = format!("m{{a=\"1\"}} 4\nm{{a=\"2\"}} 4\nm{{a=\"3\"}} {bad}\nn 2\n");
        let heard = scrape(&mappings, &text, &mut Before::new()).unwrap();
        assert_eq!((values(&heard), heard.dropped.of(why)), (vec![(Signal::Running, 4)], 1), "{bad}");
    }
    // The next scrape is another.
    let whole = "m{a=\"1\"} 4\nm{a=\"2\"} 4\nn 2\n";
    assert_eq!(values(&scrape(&mappings, whole, &mut Before::new()).unwrap()).len(), 3);
}

#[test]
fn malformed_lines_cost_their_metric() {
    let text = "m{a=\"1} 5\nm\nm{}\nm ten\nm 1e99\nm 4\n\u{fffd}{ 3\n{\"m\"} 9\nn 6\n";
    let mappings = [Mapping::new(Signal::QueueDepth, "m"), Mapping::new(Signal::Running, "n")];
    let heard = scrape(&mappings, text, &mut Before::new()).unwrap();
    assert_eq!(values(&heard), [(Signal::Running, 6)]);
    assert_eq!((heard.dropped.of(Drop::Malformed), heard.dropped.of(Drop::OutOfRange)), (4, 1));
}

#[test]
fn a_line_too_long_to_be_read_costs_its_metric() {
    let mappings = [Mapping::new(Signal::QueueDepth, "m"), Mapping::new(Signal::Running, "n")];
    let text = format!("m{{a=\"1\"}} 4\nm{{a=\"{}\"}} 4\nn 6\n", "x".repeat(40_000));
    for size in [7, 1_000, 100_000] {
        let mut scrape = Scrape::new(&mappings);
        text.as_bytes().chunks(size).for_each(|piece| scrape.feed(piece));
        let heard = scrape.finish(&mut Before::new(), NOW).unwrap();
        assert_eq!((values(&heard), heard.dropped.of(Drop::TooMany)), (vec![(Signal::Running, 6)], 1), "{size}");
    }
}

#[test]
fn an_endless_line_is_skipped_in_bounded_memory() {
    let mappings = [Mapping::new(Signal::QueueDepth, "m")];
    let mut scrape = Scrape::new(&mappings);
    for _ in 0..100 {
        scrape.feed(&[b'x'; 64 << 10]);
        assert!(scrape.line.capacity() <= 32 << 10);
    }
    scrape.feed(b" 1\nm 2\n");
    let heard = scrape.finish(&mut Before::new(), NOW).unwrap();
    assert_eq!((values(&heard), heard.dropped.of(Drop::TooMany)), (vec![(Signal::QueueDepth, 2)], 1));
}

#[test]
fn the_scrape_of_something_else_is_none() {
    for text in ["", "<html>", "other 1\n"] {
        assert_eq!(scrape(&preset("vllm").unwrap(), text, &mut Before::new()), None);
    }
}

/// Two processors after so many seconds each, of which so many were idle.
fn processors(idle: [f64; 2], user: [f64; 2]) -> String {
    let lines = [0, 1].map(|cpu| {
        let of =
            |mode: &str, seconds: f64| format!("node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{mode}\"}} {seconds}\n");
        of("idle", idle[cpu]) + &of("iowait", 5.0) + &of("user", user[cpu])
    });
    lines.concat()
}

#[test]
fn a_nodes_processors_are_as_busy_as_they_were_since_the_last_scrape() {
    let node = preset("node").unwrap();
    let mut before = Before::new();
    let mut next = |text: &str| scrape(&node, text, &mut before).map(|heard| values(&heard));
    assert_eq!(next(&processors([900.0, 800.0], [100.0, 200.0])), Some(vec![]), "since it began is not now");
    // Of twenty seconds, fifteen idle.
    assert_eq!(next(&processors([909.0, 806.0], [101.0, 204.0])), Some(vec![(Signal::CpuUse, 250_000)]));
    assert_eq!(next(&processors([909.0, 806.0], [111.0, 214.0])), Some(vec![(Signal::CpuUse, 1_000_000)]));
    assert_eq!(next(&processors([909.0, 806.0], [111.0, 214.0])), Some(vec![]), "no time has passed");
    assert_eq!(next(&processors([1.0, 1.0], [1.0, 1.0])), Some(vec![]), "it began anew");
    let spoilt = processors([11.0, 11.0], [1.0, 1.0]).replace("} 11\n", "} NaN\n");
    assert_eq!(next(&spoilt), Some(vec![]));
    assert_eq!(next(&processors([11.0, 11.0], [11.0, 11.0])), Some(vec![(Signal::CpuUse, 500_000)]));
}

#[test]
fn presets_read_what_their_exporters_write() {
    type Case<'a> = (&'a str, &'a str, &'a [(Signal, i64)]);
    let cases: [Case<'_>; 5] = [
        (
            "sglang",
            "sglang:num_queue_reqs 2\nsglang:token_usage 0.5\n",
            &[(Signal::QueueDepth, 2), (Signal::MemoryPressure, 500_000)],
        ),
        ("tgi", "tgi_queue_size 9\ntgi_batch_current_size 3\n", &[(Signal::QueueDepth, 9), (Signal::Running, 3)]),
        (
            "triton",
            "nv_inference_pending_request_count{model=\"a\"} 4\nnv_gpu_memory_used_bytes 4e9\nnv_gpu_memory_total_bytes 16e9\nnv_gpu_power_usage 100\nnv_gpu_power_limit 400\nnv_cpu_utilization 0.3\nnv_gpu_utilization{gpu_uuid=\"a\"} 1\nnv_gpu_utilization{gpu_uuid=\"b\"} 0.5\n",
            &[
                (Signal::QueueDepth, 4),
                (Signal::MemoryPressure, 250_000),
                (Signal::CpuUse, 300_000),
                (Signal::AcceleratorUse, 750_000),
                (Signal::PowerHeadroom, 750_000),
            ],
        ),
        (
            "dcgm",
            "DCGM_FI_DEV_FB_USED{gpu=\"0\"} 60000\nDCGM_FI_DEV_FB_FREE{gpu=\"0\"} 20000\nDCGM_FI_DEV_GPU_TEMP 45\nDCGM_FI_DEV_SLOWDOWN_TEMP 90\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 100\nDCGM_FI_DEV_GPU_UTIL{gpu=\"1\"} 20\n",
            &[(Signal::MemoryPressure, 750_000), (Signal::AcceleratorUse, 600_000), (Signal::CoolingHeadroom, 500_000)],
        ),
        (
            "node",
            "node_memory_MemAvailable_bytes 2.5e+09\nnode_memory_MemTotal_bytes 1e+10\nnode_power_supply_capacity{power_supply=\"BAT0\"} 64\n",
            &[(Signal::MemoryPressure, 750_000), (Signal::PowerHeadroom, 640_000)],
        ),
    ];
    for (name, text, expected) in cases {
        let heard = scrape(&preset(name).unwrap(), text, &mut Before::new()).unwrap();
        assert_eq!(values(&heard), expected, "{name}");
    }
    assert!(PRESETS.iter().all(|name| preset(name).is_some()));
    assert!(preset("wombats").is_none());
}
