//! The telemetry role inside clusters: what it counts, whom it tells, and that nothing which a host says breaks it.

use crate::fake_host::{EVERY_ERROR, FakeHost};
use crate::role::{TICK_MS, published, watch};
use berth::filter::observing::{ObserveConfig, Observing};
use berth::filter::store::slot_key;
use berth::filter::telemetry::Telemetry;
use berth::filter::telemetry_config::TelemetryConfig;
use berth::filter::{MapKind, MetricKind, Role, Vm};
use berth::health::{codec, slot};
use berth::model::contract::PULL_HEADER;
use berth::model::{Circuit, Signal, Snapshot};

/// A VM with the role and a filter inside its clusters.
struct Proxy {
    host: FakeHost,
    role: Telemetry,
    filter: Observing,
}

impl Proxy {
    fn start(host: FakeHost) -> Self {
        Self::start_with(host, false)
    }

    fn start_with(host: FakeHost, histograms: bool) -> Self {
        let vm = Vm::default();
        let config = TelemetryConfig::new(watch(&["metal-fr", "onprem-de"]), 100, Vec::new());
        let role = Telemetry::configure_in(&host, config, &vm).unwrap();
        let filter = Observing::configure(&host, ObserveConfig { tick_ms: 100, histograms }, &vm).unwrap();
        let mut proxy = Self { host, role, filter };
        proxy.tick();
        proxy
    }

    fn tick(&mut self) {
        self.role.on_tick(&self.host);
        self.filter.on_tick(&self.host);
        self.host.advance_ms(TICK_MS);
    }

    /// One attempt at a cluster, with the headers of its answer if there is one, whole or cut.
    fn attempt(&mut self, cluster: &str, answer: Option<&[(&str, &str)]>, whole: bool) {
        self.attempt_of(cluster, 0, answer, whole);
    }

    /// The same with so many bytes.
    fn attempt_of(&mut self, cluster: &str, bytes: u64, answer: Option<&[(&str, &str)]>, whole: bool) {
        self.host.set_property(&["xds", "cluster_name"], cluster.as_bytes());
        let mut attempt = self.filter.on_attempt(&self.host);
        attempt.on_request_part(bytes / 2, false);
        attempt.on_request_part(bytes - bytes / 2, true);
        if let Some(headers) = answer {
            self.host.advance_ms(200);
            self.host.set_headers(MapKind::ResponseHeaders, headers);
            self.filter.on_answer(&self.host, &mut attempt);
            attempt.on_part(1_000, whole);
        }
        self.filter.on_end(&self.host, &mut attempt);
    }

    fn counted(&self) -> [i64; 6] {
        ["good", "failed", "overloaded", "refused", "abandoned", "strangers"]
            .map(|what| self.host.metric_value(&format!("berth.observed.{what}")))
    }

    fn snapshot(&mut self) -> Snapshot {
        self.tick();
        self.tick();
        published(&self.host)
    }
}

const OK: [(&str, &str); 1] = [(":status", "200")];

#[test]
fn a_socket_counts_once_when_it_is_one_and_for_nothing_however_it_ends() {
    // Nobody; the client has gone; the substrate has closed or reset it.
    for flags in [0_u64, 1 << 14, 1 << 6, 1 << 16] {
        let mut proxy = Proxy::start(FakeHost::new());
        proxy.host.set_property(&["response", "flags"], &flags.to_le_bytes());
        proxy.attempt("metal-fr", Some(&[(":status", "101"), ("upgrade", "websocket")]), false);
        assert_eq!(proxy.counted(), [1, 0, 0, 0, 0, 0], "{flags:x}");
        let snapshot = proxy.snapshot();
        let health = &snapshot.substrates[0];
        assert_eq!(health.circuit, Circuit::Closed);
        assert!(health.reading(Signal::FirstToken).is_some(), "how long it took to be one");
        assert!(health.reading(Signal::Total).is_none(), "how long it lived is not how long work takes");
    }
}

#[test]
fn what_came_of_a_grpc_call_is_counted_by_its_trailers() {
    let grpc = [(":status", "200"), ("content-type", "application/grpc")];
    // What its trailers say, whether a message came before them, and what is counted.
    for (status, message, expected) in [
        (Some("0"), true, [1, 0, 0, 0]),
        (Some("0"), false, [1, 0, 0, 0]),
        (Some("14"), false, [0, 1, 0, 0]),
        (Some("8"), false, [0, 0, 1, 0]),
        (Some("3"), false, [0, 0, 0, 1]),
        // It began well: good and failed, as one that breaks off.
        (Some("14"), true, [1, 1, 0, 0]),
        (Some("8"), true, [1, 0, 1, 0]),
        (Some("3"), true, [1, 0, 0, 0]),
        // Over without a word of what came of it: an error to every client.
        (Some(""), false, [0, 1, 0, 0]),
        (Some(""), true, [1, 1, 0, 0]),
        (Some("-"), false, [0, 1, 0, 0]),
        (Some("-"), true, [1, 1, 0, 0]),
        // Broken off, before and after its first message.
        (None, false, [0, 1, 0, 0]),
        (None, true, [1, 1, 0, 0]),
    ] {
        let mut proxy = Proxy::start(FakeHost::new());
        proxy.host.set_property(&["xds", "cluster_name"], b"metal-fr");
        let mut attempt = proxy.filter.on_attempt(&proxy.host);
        proxy.host.set_headers(MapKind::ResponseHeaders, &grpc);
        proxy.filter.on_answer(&proxy.host, &mut attempt);
        assert_eq!(proxy.counted(), [0; 6], "its headers say nothing yet");
        if message {
            proxy.host.advance_ms(70);
            proxy.filter.on_message(&proxy.host, &mut attempt);
            attempt.on_part(10, false);
        }
        if let Some(status) = status {
            let load = ("endpoint-load-metrics", "TEXT named_metrics.num_requests_waiting=4");
            let hint = ("retry-after", "30");
            proxy.host.set_headers(MapKind::ResponseTrailers, &[("grpc-status", status), load, hint]);
            proxy.host.advance_ms(30);
            match status {
                "-" => attempt.on_part(0, true),
                _ => proxy.filter.on_trailers(&proxy.host, &mut attempt),
            }
        }
        proxy.filter.on_end(&proxy.host, &mut attempt);
        assert_eq!(proxy.counted()[..4], expected, "{status:?} {message}");
        let snapshot = proxy.snapshot();
        let health = &snapshot.substrates[0];
        let trailers = status.is_some_and(|status| status != "-");
        assert_eq!(health.reading(Signal::QueueDepth).is_some(), trailers, "trailers tell of load, too");
        assert_eq!(health.retry_at_ms.is_some(), status == Some("8"), "a good answer's hint is about polling");
        let first = health.reading(Signal::FirstToken).map(|r| r.value / 1_000);
        let begun = if message { Some(70) } else { (status == Some("0")).then_some(30) };
        assert_eq!(first, begun, "{status:?} {message}: until its first message or its trailers");
        assert_eq!(health.reading(Signal::Total).is_some(), status == Some("0"), "{status:?} {message}");
    }
}

#[test]
fn the_trailers_of_other_answers_are_nobody_s() {
    let mut proxy = Proxy::start(FakeHost::new());
    proxy.host.set_property(&["xds", "cluster_name"], b"metal-fr");
    let mut attempt = proxy.filter.on_attempt(&proxy.host);
    proxy.host.set_headers(MapKind::ResponseHeaders, &OK);
    proxy.filter.on_answer(&proxy.host, &mut attempt);
    proxy.host.set_headers(MapKind::ResponseTrailers, &[("grpc-status", "14")]);
    let before = proxy.host.count("headers");
    proxy.filter.on_trailers(&proxy.host, &mut attempt);
    assert_eq!(proxy.host.count("headers"), before, "they are not even read");
    proxy.filter.on_end(&proxy.host, &mut attempt);
    assert_eq!(proxy.counted(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn however_many_roots_a_vm_has_it_has_one_slot() {
    let (host, vm) = (FakeHost::new(), Vm::default());
    let config = || TelemetryConfig::new(watch(&["metal-fr"]), 100, Vec::new());
    let mut role = Telemetry::configure_in(&host, config(), &vm).unwrap();
    let mut filters: Vec<Observing> = (0..3)
        .map(|_| Observing::configure(&host, ObserveConfig { tick_ms: 100, histograms: false }, &vm).unwrap())
        .collect();
    for _ in 0..3 {
        filters.iter_mut().for_each(|filter| filter.on_tick(&host));
        role.on_tick(&host);
        host.advance_ms(TICK_MS);
    }
    let slots = host.shared_keys().into_iter().filter(|key| key.contains("/slot/")).collect::<Vec<_>>();
    assert_eq!(slots, [slot_key(0)]);
    host.reset_counts();
    filters.iter_mut().for_each(|filter| filter.on_tick(&host));
    assert_eq!(host.count("shared_set"), 1, "what one root has told the others need not tell again");
}

#[test]
fn whoever_leaves_gives_its_slot_and_the_lease_back_at_once() {
    let (host, vm) = (FakeHost::new(), Vm::default());
    let policy = r#"{"role": "telemetry", "observe": true}"#;
    host.set_configuration(policy);
    let mut roles: Vec<Role> = (0..2).map(|_| Role::configure_in(&host, &vm).unwrap()).collect();
    roles.iter_mut().for_each(|role| role.on_tick(&host));
    let taken = || host.shared(&slot_key(0)).is_some_and(|bytes| !bytes.is_empty());
    roles[0].leave(&host);
    assert!(taken(), "the other one is still there");
    roles[1].leave(&host);
    assert!(!taken());

    let config = TelemetryConfig::new(watch(&["metal-fr"]), 100, Vec::new());
    let mut first = Telemetry::configure(&host, config.clone()).unwrap();
    first.on_tick(&host);
    assert!(first.published().is_some());
    let other = host.another_vm();
    let mut second = Telemetry::configure(&other, config).unwrap();
    second.on_tick(&other);
    assert!(second.published().is_none(), "one leads");
    first.leave(&host);
    second.on_tick(&other);
    assert!(second.published().is_some(), "and hands over without anybody waiting");
}

#[test]
fn attempts_of_a_cluster_count_for_the_substrate_behind_it() {
    let mut proxy = Proxy::start(FakeHost::new());
    for _ in 0..5 {
        proxy.attempt("metal-fr", None, false);
        proxy.attempt("onprem-de", Some(&OK), true);
        proxy.attempt("somebody-else", None, false);
    }
    let snapshot = proxy.snapshot();
    let circuit = |name: &str| snapshot.of(name).unwrap().circuit;
    assert!(matches!(circuit("metal-fr"), Circuit::Open { .. }));
    assert_eq!(circuit("onprem-de"), Circuit::Closed);
    let first = snapshot.of("onprem-de").unwrap().reading(Signal::FirstToken).unwrap();
    assert_eq!(first.value, 200_000);
    assert_eq!(snapshot.substrates.len(), 2, "of clusters that no substrate names nothing is kept");
}

#[test]
fn several_substrates_behind_one_cluster_share_what_is_seen_of_it() {
    let (host, vm) = (FakeHost::new(), Vm::default());
    let mut watched = watch(&["a", "b", "c"]);
    watched.substrates[1].cluster = "a".to_string();
    let role = Telemetry::configure_in(&host, TelemetryConfig::new(watched, 100, Vec::new()), &vm).unwrap();
    let filter = Observing::configure(&host, ObserveConfig { tick_ms: 100, histograms: false }, &vm).unwrap();
    let mut proxy = Proxy { host, role, filter };
    proxy.tick();
    (0..5).for_each(|_| proxy.attempt("a", None, false));
    let snapshot = proxy.snapshot();
    let open = ["a", "b", "c"].map(|name| matches!(snapshot.of(name).unwrap().circuit, Circuit::Open { .. }));
    assert_eq!(open, [true, true, false]);
}

#[test]
fn what_ends_early_is_the_substrates_fault_unless_the_client_has_gone() {
    let mut proxy = Proxy::start(FakeHost::new());
    let mut expected = [0; 6];
    // Good, failed, overloaded, refused, abandoned, strangers.
    let cases: [(u64, Option<&str>, bool, [i64; 6]); 9] = [
        (0, Some("200"), true, [1, 0, 0, 0, 0, 0]),
        (0, Some("200"), false, [1, 1, 0, 0, 0, 0]),
        (0, None, false, [0, 1, 0, 0, 0, 0]),
        (1 << 14, None, false, [0, 0, 0, 0, 1, 0]),
        (1 << 28, Some("200"), false, [1, 0, 0, 0, 1, 0]),
        // Of several attempts the last: flags of the one before are still there.
        (1 << 15, None, false, [0, 1, 0, 0, 0, 0]),
        (1 << 14, Some("200"), true, [1, 0, 0, 0, 0, 0]),
        // The router reads no further than the status of an answer that it tries again.
        (0, Some("503"), false, [0, 1, 0, 0, 1, 0]),
        (0, Some("429"), false, [0, 0, 1, 0, 1, 0]),
    ];
    for (flags, status, whole, change) in cases {
        proxy.host.set_property(&["response", "flags"], &flags.to_le_bytes());
        proxy.attempt("metal-fr", status.map(|status| [(":status", status)]).as_ref().map(|h| &h[..]), whole);
        expected.iter_mut().zip(change).for_each(|(all, more)| *all += more);
        assert_eq!(proxy.counted(), expected, "{flags:x} {status:?} {whole}");
    }
}

#[test]
fn a_limit_of_the_proxys_counts_against_a_substrate_only_where_it_was_asked_in_full_and_has_said_nothing() {
    let mut proxy = Proxy::start(FakeHost::new());
    proxy.host.set_property(&["xds", "cluster_name"], b"metal-fr");
    let mut expected = [0; 6];
    let limits = ["stream_idle_timeout", "request_overall_timeout", "max_duration_timeout"].map(|why| (why, 0_u64));
    for (why, flags) in limits.into_iter().chain([("overload", 1 << 25), ("via_upstream", 0)]) {
        proxy.host.set_property(&["response", "code_details"], why.as_bytes());
        proxy.host.set_property(&["response", "flags"], &flags.to_le_bytes());
        for (asked, begun) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut attempt = proxy.filter.on_attempt(&proxy.host);
            attempt.on_request_part(10, asked);
            if begun {
                proxy.host.set_headers(MapKind::ResponseHeaders, &[(":status", "200")]);
                proxy.filter.on_answer(&proxy.host, &mut attempt);
                attempt.on_part(1_000, false);
                expected[0] += 1;
            }
            proxy.filter.on_end(&proxy.host, &mut attempt);
            let failed = why == "via_upstream" || flags == 0 && asked && !begun;
            expected[if failed { 1 } else { 4 }] += 1;
            assert_eq!(proxy.counted(), expected, "{why} {asked} {begun}");
        }
        // A gRPC call whose answer has begun, and of which nothing has come yet: a watch that is quiet.
        let mut attempt = proxy.filter.on_attempt(&proxy.host);
        attempt.on_request_part(10, true);
        proxy.host.set_headers(MapKind::ResponseHeaders, &[(":status", "200"), ("content-type", "application/grpc")]);
        proxy.filter.on_answer(&proxy.host, &mut attempt);
        proxy.filter.on_end(&proxy.host, &mut attempt);
        expected[if why == "via_upstream" { 1 } else { 4 }] += 1;
        assert_eq!(proxy.counted(), expected, "{why}");
    }
}

#[test]
fn the_roles_own_questions_are_no_work_and_an_attempt_without_a_cluster_is_a_strangers() {
    let mut proxy = Proxy::start(FakeHost::new());
    let mut attempt = proxy.filter.on_attempt(&proxy.host);
    proxy.filter.on_end(&proxy.host, &mut attempt);
    assert_eq!(proxy.counted(), [0, 0, 0, 0, 0, 1]);
    proxy.host.set_property(&["request", "headers", PULL_HEADER], b"1");
    proxy.attempt("metal-fr", Some(&OK), true);
    assert_eq!(proxy.counted(), [0, 0, 0, 0, 0, 1]);
    assert_eq!(proxy.snapshot().of("metal-fr").unwrap().reading(Signal::InFlight), None);
}

#[test]
fn what_an_answer_says_is_heard_and_what_it_cannot_mean_is_counted() {
    let mut proxy = Proxy::start(FakeHost::new());
    let said = [
        (":status", "200"),
        ("endpoint-load-metrics", "TEXT named_metrics.num_requests_waiting=7, interconnect=NaN"),
        ("x-ratelimit-remaining-requests", "-3"),
    ];
    proxy.attempt("metal-fr", Some(&said), true);
    proxy.attempt("onprem-de", Some(&[(":status", "429"), ("retry-after", "30")]), true);
    let now_ms = proxy.host.now_ms();
    let snapshot = proxy.snapshot();
    assert_eq!(snapshot.of("metal-fr").unwrap().reading(Signal::QueueDepth).unwrap().value, 7);
    let until_ms = snapshot.of("onprem-de").unwrap().retry_at_ms.unwrap();
    assert!(until_ms.abs_diff(now_ms + 30_000) < 1_000);
    for (reason, n) in [("not-finite", 1), ("out-of-range", 1)] {
        assert_eq!(proxy.host.metric_value(&format!("berth.telemetry.dropped.reason.{reason}")), n, "{reason}");
    }
}

#[test]
fn no_status_of_any_host_call_makes_a_panic() {
    let calls = ["property", "headers", "now_ns", "shared_get", "shared_set", "define_metric", "increment"];
    for call in calls {
        for error in EVERY_ERROR {
            let host = FakeHost::new();
            host.fail_always(call, error);
            let mut proxy = Proxy::start(host);
            (0..3).for_each(|_| proxy.attempt("metal-fr", Some(&OK), true));
            proxy.tick();
            proxy.host.heal();
            (0..3).for_each(|_| proxy.attempt("metal-fr", Some(&OK), true));
            assert!(proxy.snapshot().of("metal-fr").is_some(), "{call} with {error}");
        }
    }
}

#[test]
fn a_replaced_role_of_the_same_vm_hands_over_and_what_was_seen_goes_on() {
    let (host, vm) = (FakeHost::new(), Vm::default());
    let config = || TelemetryConfig::new(watch(&["metal-fr"]), 100, Vec::new());
    host.set_configuration("old");
    let mut old = Telemetry::configure_in(&host, config(), &vm).unwrap();
    let mut filter = Observing::configure(&host, ObserveConfig { tick_ms: 100, histograms: false }, &vm).unwrap();
    old.on_tick(&host);
    host.advance_ms(TICK_MS);
    host.set_configuration("new");
    let mut new = Telemetry::configure_in(&host, config(), &vm).unwrap();
    for _ in 0..4 {
        [&mut new, &mut old].into_iter().for_each(|role| role.on_tick(&host));
        filter.on_tick(&host);
        assert!(!(new.published().is_some() && old.published().is_some()), "both lead");
        host.advance_ms(TICK_MS);
    }
    assert!(new.published().is_some());
    let bytes = host.shared(&slot_key(0)).unwrap();
    assert!(!bytes.is_empty(), "the slot stays: it is the VM's, not the root's");
    let record: slot::SlotRecord = codec::decode_slot(&bytes).unwrap();
    assert!(record.expires_ms > host.now_ms());
}

#[test]
fn the_configuration_is_small_and_takes_nothing_that_belongs_elsewhere() {
    let configure = |text: &str| {
        let host = FakeHost::new();
        host.set_configuration(text);
        Role::configure(&host).map(|role| role.observes())
    };
    assert_eq!(configure(r#"{"role": "telemetry", "observe": true}"#), Ok(true));
    assert_eq!(configure(r#"{"role": "telemetry", "observe": true, "tick_ms": 50, "log_level": "warn"}"#), Ok(true));
    for (text, why) in [
        (r#"{"role": "placement", "observe": true}"#, "observe: belongs to role `telemetry`"),
        (r#"{"role": "telemetry", "observe": true, "policy": {}}"#, "policy: found beside `observe`"),
        (r#"{"role": "telemetry", "observe": true, "sources": []}"#, "sources: found beside `observe`"),
        (r#"{"role": "telemetry", "observe": true, "refresh_ms": 100}"#, "refresh_ms: belongs to role `placement`"),
        (r#"{"role": "telemetry", "observe": true, "tick_ms": 1}"#, "tick_ms: found 1, expected 10 to 60000"),
        (r#"{"role": "telemetry", "observe": {}}"#, "observe: found `an empty map`, expected true or false"),
        (r#"{"role": "telemetry", "observe": false}"#, "policy: missing"),
        (r#"{"role": "telemetry", "histograms": true}"#, "histograms: found without `observe`"),
        (r#"{"role": "placement", "histograms": false}"#, "histograms: found without `observe`"),
    ] {
        let said = configure(text).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
}

/// What was recorded of a cluster and a size.
fn recorded(host: &FakeHost, what: &str, cluster: &str, size: &str) -> Vec<u64> {
    let series = host.metric(&format!("berth.observed.{what}.cluster.{cluster}.size.{size}"));
    let series = series.unwrap_or_else(|| panic!("{what} {cluster} {size} is not declared"));
    assert_eq!(series.kind, MetricKind::Histogram);
    series.records
}

#[test]
fn times_are_recorded_by_cluster_and_by_the_size_of_the_request() {
    let mut proxy = Proxy::start_with(FakeHost::new(), true);
    for bytes in [0, 4_096, 4_097, 16_384, 65_536, 65_537, 262_145, 1 << 30] {
        proxy.attempt_of("metal-fr", bytes, Some(&OK), true);
    }
    for (size, times) in [("4k", 2), ("16k", 2), ("64k", 1), ("256k", 1), ("more", 2)] {
        assert_eq!(recorded(&proxy.host, "first_byte_ms", "metal-fr", size), vec![200; times], "{size}");
        assert_eq!(recorded(&proxy.host, "total_ms", "metal-fr", size), vec![200; times], "{size}");
    }
    // Only work that was done tells how long work takes, and a cluster's name is a part of the series' name.
    for (answer, whole) in [
        (Some(&OK[..]), false),
        (Some(&[(":status", "500")]), true),
        (Some(&[(":status", "429")]), true),
        (None, false),
    ] {
        proxy.attempt("outbound|443||a.b", answer, whole);
    }
    assert!(recorded(&proxy.host, "total_ms", "outbound_443__a_b", "4k").is_empty());
    proxy.attempt("outbound|443||a.b", Some(&OK), true);
    assert_eq!(recorded(&proxy.host, "total_ms", "outbound_443__a_b", "4k"), [200]);
    // Where a cluster consists of others, the inner one counts.
    proxy.host.set_property(&["xds", "upstream_host_metadata"], &metadata("onprem-de"));
    proxy.attempt("lane", Some(&OK), true);
    assert_eq!(recorded(&proxy.host, "total_ms", "onprem-de", "4k"), [200]);
    assert!(proxy.host.metric("berth.observed.total_ms.cluster.lane.size.4k").is_none());
}

#[test]
fn of_many_clusters_most_share_their_series_and_without_histograms_there_are_none() {
    let mut proxy = Proxy::start_with(FakeHost::new(), true);
    for n in 0..100 {
        proxy.attempt(&format!("c{n}"), Some(&OK), true);
    }
    assert_eq!(recorded(&proxy.host, "total_ms", "c63", "4k"), [200]);
    assert_eq!(recorded(&proxy.host, "total_ms", "other", "4k"), vec![200; 36]);
    let series = |host: &FakeHost| host.metric_names().iter().filter(|name| name.contains("_ms.cluster.")).count();
    assert_eq!(series(&proxy.host), 65 * 2 * 5);

    let mut proxy = Proxy::start(FakeHost::new());
    proxy.tick();
    proxy.host.reset_counts();
    proxy.attempt("metal-fr", Some(&OK), true);
    assert_eq!((series(&proxy.host), proxy.host.count("record")), (0, 0));
}

/// A host's metadata as protobuf: `{"berth": {"cluster": NAME}}`.
fn metadata(cluster: &str) -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let pair = |key: &str, value: &[u8]| field(10, &[field(10, key.as_bytes()), field(18, value)].concat());
    pair("berth", &pair("cluster", &field(26, cluster.as_bytes())))
}

#[test]
fn in_a_cluster_of_clusters_each_attempt_counts_where_its_host_says_that_it_belongs() {
    let mut proxy = Proxy::start(FakeHost::new());
    let host = ["xds", "upstream_host_metadata"];
    for _ in 0..5 {
        proxy.host.set_property(&host, &metadata("metal-fr"));
        proxy.attempt("lane", None, false);
        proxy.host.set_property(&host, &metadata("onprem-de"));
        proxy.attempt("lane", Some(&OK), true);
    }
    let snapshot = proxy.snapshot();
    assert!(matches!(snapshot.of("metal-fr").unwrap().circuit, Circuit::Open { .. }));
    let well = snapshot.of("onprem-de").unwrap();
    assert_eq!((well.circuit, well.reading(Signal::FirstToken).unwrap().value), (Circuit::Closed, 200_000));
    // In the cluster itself the host says the same as the cluster, and is not asked again.
    proxy.attempt("onprem-de", Some(&OK), true);
    proxy.host.reset_counts();
    proxy.attempt("onprem-de", Some(&OK), true);
    let once = proxy.host.count("property");
    proxy.attempt("lane", Some(&OK), true);
    assert_eq!(proxy.host.count("property"), 2 * once + 1);
    // What says nothing counts for the cluster, which is nobody's here: the fold drops it.
    for bytes in [&b""[..], b"rubbish", &[0xff; 70_000]] {
        proxy.host.set_property(&host, bytes);
        proxy.attempt("lane", Some(&[(":status", "500")]), true);
    }
    assert_eq!(proxy.snapshot().of("onprem-de").unwrap().circuit, Circuit::Closed);
}

#[test]
fn metadata_too_long_to_be_looked_at_leaves_the_attempt_to_the_cluster_that_was_asked() {
    for (padding, counts) in [(0, true), (64 << 10, false)] {
        let mut proxy = Proxy::start(FakeHost::new());
        // An unknown field before it, as long as that.
        let length = [padding as u8 & 0x7f | 0x80, (padding >> 7) as u8 & 0x7f | 0x80, (padding >> 14) as u8];
        let long = [&[122][..], &length, &vec![b'x'; padding], &metadata("metal-fr")].concat();
        proxy.host.set_property(&["xds", "upstream_host_metadata"], &long);
        for _ in 0..5 {
            proxy.attempt("lane", None, false);
        }
        let circuit = proxy.snapshot().of("metal-fr").unwrap().circuit;
        assert_eq!(matches!(circuit, Circuit::Open { .. }), counts, "{padding}: {circuit:?}");
    }
}

#[test]
fn time_that_a_client_claims_not_to_have_is_no_substrates_failure_unless_it_waited_for_twice_what_is_usual() {
    let until = |more: u64| 1_790_000_000_000 + more;
    // What the client claimed, how long good answers take, whether the request had ended, whether an answer had begun, how
    // long the attempt lasted; whether it failed.
    for (claim, usual_ms, asked, begun, lasted_ms, failed) in [
        (Some((100, until(100), 0)), Some(90), true, false, 100, false),
        // It was ended by the substrate; its client was not in a hurry; nothing ends before the request has.
        (Some((100, until(100), 0)), Some(90), true, false, 40, true),
        (None, Some(90), true, false, 100, true),
        (Some((100, until(100), 0)), Some(90), false, false, 100, true),
        // Long enough to say that none comes; nobody knows how long that is.
        (Some((200, until(200), 0)), Some(90), true, false, 200, true),
        (Some((100, until(100), 0)), None, true, false, 100, true),
        // A later attempt has what is left.
        (Some((100, until(60), 0)), Some(90), true, false, 60, false),
        // An answer has begun: it has until the deadline, which for a stream is over by then.
        (Some((50, until(300), 0)), Some(90), true, true, 300, false),
        (Some((50, until(300), 0)), Some(90), true, true, 200, true),
        (Some((50, until(300), 1)), Some(90), true, true, 300, true),
    ] {
        let mut proxy = Proxy::start(FakeHost::new());
        proxy.host.set_property(&["xds", "cluster_name"], b"metal-fr");
        let answer = |proxy: &mut Proxy, attempt: &mut _, whole| {
            proxy.host.set_headers(MapKind::ResponseHeaders, &OK);
            proxy.filter.on_answer(&proxy.host, attempt);
            attempt.on_part(1, whole);
        };
        for _ in 0..usual_ms.map_or(0, |_| 20) {
            let mut attempt = proxy.filter.on_attempt(&proxy.host);
            proxy.host.advance_ms(usual_ms.unwrap_or_default());
            answer(&mut proxy, &mut attempt, true);
            proxy.filter.on_end(&proxy.host, &mut attempt);
        }
        proxy.host.set_now_ms(until(0));
        if let Some((most, until, stream)) = claim {
            proxy.host.leave_filter_state("placement_claimed", format!("{most} {until} {stream} 0 ").as_bytes());
        }
        let mut attempt = proxy.filter.on_attempt(&proxy.host);
        attempt.on_request_part(3, asked);
        if begun {
            answer(&mut proxy, &mut attempt, false);
        }
        proxy.host.advance_ms(lasted_ms);
        proxy.filter.on_end(&proxy.host, &mut attempt);
        let [_, failures, _, _, abandoned, _] = proxy.counted();
        let expected = (i64::from(failed), i64::from(!failed));
        assert_eq!((failures, abandoned), expected, "{claim:?} {usual_ms:?} {asked} {begun} {lasted_ms}");
        let word = proxy.host.filter_state("placement_fell").is_some();
        assert_eq!(word, !begun, "whoever is next says so in any case");
    }
}

#[test]
fn who_never_became_a_socket_is_not_judged_by_sockets_that_fail_once_there_was_a_connection() {
    for (switched, connected, claim, failed) in [
        (false, true, Some("1"), false),
        (true, true, Some("1"), true),
        (false, false, Some("1"), true),
        (false, true, Some("0"), true),
        (false, true, Some("x"), true),
        (false, true, None, true),
    ] {
        let mut proxy = Proxy::start(FakeHost::new());
        if switched {
            proxy.attempt("metal-fr", Some(&[(":status", "101"), ("upgrade", "websocket")]), false);
        }
        if connected {
            proxy.host.set_property(&["upstream", "local_address"], b"127.0.0.1:1");
        }
        if let Some(socket) = claim {
            let text = format!("{} {} 0 {socket} ", u64::MAX, u64::MAX);
            proxy.host.leave_filter_state("placement_claimed", text.as_bytes());
        }
        proxy.attempt("metal-fr", None, false);
        let [_, failures, _, _, abandoned, _] = proxy.counted();
        assert_eq!((failures, abandoned), (i64::from(failed), i64::from(!failed)), "{switched} {connected} {claim:?}");
    }
}
