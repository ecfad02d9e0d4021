//! The telemetry role in several VMs: who asks, who publishes, and what becomes of bad answers and bad luck.

use crate::breaking::AS_SHIPPED;
use crate::fake_host::{EVERY_ERROR, FakeHost, SentCall};
use berth::filter::observing::{ObserveConfig, Observing};
use berth::filter::store::{LEASE, SNAPSHOT, SnapshotReader, slot_key};
use berth::filter::telemetry::Telemetry;
use berth::filter::telemetry_config::{Format, SourceConfig, TelemetryConfig};
use berth::filter::{Attempt, Host, HostError, MapKind};
use berth::model::settings::{Ages, Thresholds};
use berth::model::{Admission, Circuit, Signal, Snapshot, Watch, Watched};

pub(crate) const TICK_MS: u64 = 100;

pub(crate) fn watch(names: &[&str]) -> Watch {
    let watched = |name: &&str| Watched {
        name: (*name).to_string(),
        cluster: (*name).to_string(),
        failure_domain: (*name).to_string(),
        thresholds: Thresholds { queue_depth: Some(10), memory_hard_ppm: Some(900_000), ..Thresholds::default() },
        first_token_us: 200_000,
        kind: berth::model::Kind::Gpu,
        layer: String::new(),
        region: String::from("here"),
        us_per_token: 20_000,
    };
    Watch {
        substrates: names.iter().map(watched).collect(),
        ages: Ages { soft_ms: 3_000, hard_ms: 10_000 },
        breaking: AS_SHIPPED,
    }
}

#[test]
fn what_tests_and_benchmarks_take_for_the_defaults_is_what_a_policy_without_them_has() {
    let mut policy = crate::policy::policy();
    policy.as_object_mut().unwrap().remove("breaking");
    let read = berth::policy::read_json(policy.to_string().as_bytes()).unwrap();
    assert_eq!(read.document.settings.breaking, AS_SHIPPED);
}

/// The role of one VM, and the filter inside its clusters.
struct Vm {
    host: FakeHost,
    role: Telemetry,
    observing: Observing,
}

impl Vm {
    fn start(host: FakeHost) -> Self {
        Self::start_with(host, Self::sources())
    }

    fn sources() -> Vec<SourceConfig> {
        let source = |name: &str| SourceConfig {
            substrate: Some(name.to_string()),
            jitter_ppm: 0,
            ..SourceConfig::new(name, "/health")
        };
        vec![source("metal-fr"), source("onprem-de")]
    }

    fn start_with(host: FakeHost, sources: Vec<SourceConfig>) -> Self {
        Self::start_watching(host, watch(&["metal-fr", "onprem-de"]), sources)
    }

    fn start_watching(host: FakeHost, watch: Watch, sources: Vec<SourceConfig>) -> Self {
        let config = TelemetryConfig::new(watch, 100, sources);
        let vm = berth::filter::Vm::default();
        let role = Telemetry::configure_in(&host, config, &vm).unwrap();
        let observing = Observing::configure(&host, ObserveConfig { tick_ms: 100, histograms: false }, &vm).unwrap();
        Self { host, role, observing }
    }

    fn tick(&mut self) {
        self.role.on_tick(&self.host);
    }

    fn answer(&mut self, call: &SentCall, status: &str, body: &str) {
        let size = self.host.answer(&[(":status", status)], body.as_bytes());
        self.role.on_call(&self.host, call.token, size);
    }

    /// An attempt begins in the cluster of metal-fr.
    fn begin(&mut self) -> Attempt {
        self.host.set_property(&["xds", "cluster_name"], b"metal-fr");
        self.observing.on_attempt(&self.host)
    }

    /// One that is answered after 300 ms and over after 900.
    fn attempt(&mut self, status: &str) {
        let mut attempt = self.begin();
        self.host.advance_ms(300);
        self.host.set_headers(MapKind::ResponseHeaders, &[(":status", status)]);
        self.observing.on_answer(&self.host, &mut attempt);
        self.host.advance_ms(600);
        attempt.on_part(0, true);
        self.observing.on_end(&self.host, &mut attempt);
    }

    /// Answers every question that was asked.
    fn answer_all(&mut self, body: &str) -> usize {
        let calls = self.host.take_calls();
        calls.iter().for_each(|call| self.answer(call, "200", body));
        calls.len()
    }

    fn leads(&self) -> bool {
        self.role.published().is_some()
    }
}

fn queue(depth: u64) -> String {
    format!(r#"{{"signals":{{"queue_depth":{depth}}}}}"#)
}

pub(crate) fn published(host: &FakeHost) -> Snapshot {
    let mut reader = SnapshotReader::default();
    assert!(reader.poll(host), "nothing was published");
    reader.snapshot().unwrap().clone()
}

fn depth(host: &FakeHost, name: &str) -> Option<i64> {
    published(host).of(name).unwrap().reading(Signal::QueueDepth).map(|r| r.value)
}

#[test]
fn health_that_a_source_gives_is_in_the_snapshot_one_tick_later() {
    let mut vm = Vm::start(FakeHost::new());
    vm.tick();
    let calls = vm.host.take_calls();
    assert_eq!(calls.iter().map(|c| c.cluster.as_str()).collect::<Vec<_>>(), ["metal-fr", "onprem-de"]);
    assert_eq!((calls[0].header(":path"), calls[0].header(":method")), (Some("/health"), Some("GET")));
    vm.answer(&calls[0], "200", r#"{"substrate":"metal-fr","signals":{"queue_depth":3},"attestation":{"jurisdiction":"FR","at_ms":1789999999000}}"#);
    vm.host.advance_ms(TICK_MS);
    vm.tick();
    let snapshot = published(&vm.host);
    let metal = snapshot.of("metal-fr").unwrap();
    assert_eq!(metal.reading(Signal::QueueDepth).unwrap().value, 3);
    assert_eq!(metal.attestation.unwrap().jurisdiction.as_str(), "FR");
    assert_eq!(snapshot.of("onprem-de").unwrap().reading(Signal::QueueDepth), None, "missing is not zero");
}

#[test]
fn of_four_vms_one_asks_and_publishes_and_the_others_only_tell() {
    let host = FakeHost::new();
    let mut vms: Vec<Vm> = (0..4).map(|_| Vm::start(host.another_vm())).collect();
    for _ in 0..50 {
        vms.iter_mut().for_each(Vm::tick);
        host.advance_ms(TICK_MS);
    }
    assert_eq!(vms.iter().filter(|vm| vm.leads()).count(), 1);
    let asked: Vec<usize> = vms.iter().map(|vm| vm.host.calls().len()).collect();
    assert_eq!(asked.iter().filter(|n| **n > 0).count(), 1, "{asked:?}");
    assert_eq!(host.metric_value("berth.telemetry.leading"), 1);
    assert_eq!(host.metric_value("berth.telemetry.members"), 4);
}

#[test]
fn when_the_leader_dies_another_publishes_within_two_periods_and_nothing_is_forgotten() {
    let host = FakeHost::new();
    let mut vms: Vec<Vm> = (0..4).map(|_| Vm::start(host.another_vm())).collect();
    for _ in 0..3 {
        vms.iter_mut().for_each(Vm::tick);
        vms.iter_mut().for_each(|vm| _ = vm.answer_all(&queue(7)));
        host.advance_ms(TICK_MS);
    }
    let before = published(&host);
    let leader = vms.iter().position(Vm::leads).unwrap();
    vms.remove(leader);
    let died = host.now_ms();
    while published(&host).writer == before.writer {
        vms.iter_mut().for_each(Vm::tick);
        host.advance_ms(TICK_MS);
        assert!(host.now_ms() - died <= 2_000, "nobody took over");
    }
    let after = published(&host);
    assert!(after.epoch > before.epoch);
    assert_eq!(after.of("metal-fr"), before.of("metal-fr"));
}

#[test]
fn two_roles_that_start_at_the_same_instant_do_not_both_lead() {
    let host = FakeHost::new();
    let (mut one, mut two) = (Vm::start(host.another_vm()), Vm::start(host.another_vm()));
    let other = std::rc::Rc::new(std::cell::RefCell::new(Some(())));
    let flag = other.clone();
    let racing = std::rc::Rc::new(std::cell::RefCell::new(two.role));
    let (rival, rival_host) = (racing.clone(), two.host.clone());
    // The rival's whole first tick falls between two accesses of the first one's.
    one.host.meddle(move |_, _, key| {
        if key == LEASE && flag.borrow_mut().take().is_some() {
            rival.borrow_mut().on_tick(&rival_host);
        }
    });
    one.tick();
    one.host.leave_alone();
    two.role = std::rc::Rc::try_unwrap(racing).unwrap_or_else(|_| unreachable_vm()).into_inner();
    for _ in 0..20 {
        one.tick();
        two.tick();
        assert_eq!([one.leads(), two.leads()].iter().filter(|l| **l).count(), 1);
        host.advance_ms(TICK_MS);
    }
}

fn unreachable_vm() -> std::cell::RefCell<Telemetry> {
    panic!("the meddler still holds the rival")
}

#[test]
fn a_source_that_fails_costs_itself_and_what_was_heard_of_it_grows_old() {
    let mut vm = Vm::start(FakeHost::new());
    vm.tick();
    vm.answer_all(&queue(3));
    let heard_ms = vm.host.now_ms();
    let bad = [
        ("500", "{}"),
        ("200", "not json"),
        ("200", ""),
        ("301", ""),
        ("200", r#"{"substrate":"provider-us","signals":{"queue_depth":9}}"#),
    ];
    for (status, body) in bad {
        vm.host.advance_ms(1_000);
        vm.tick();
        let calls = vm.host.take_calls();
        assert_eq!(calls.len(), 2, "asked again in spite of {status} {body}");
        vm.answer(&calls[0], status, body);
        vm.answer(&calls[1], "200", &queue(1));
    }
    // No headers at all: a timeout or a reset.
    vm.host.advance_ms(1_000);
    vm.tick();
    let calls = vm.host.take_calls();
    let size = vm.host.answer(&[], b"");
    vm.role.on_call(&vm.host, calls[0].token, size);
    vm.host.advance_ms(1_000);
    vm.tick();
    let snapshot = published(&vm.host);
    let metal = snapshot.of("metal-fr").unwrap().reading(Signal::QueueDepth).unwrap();
    assert_eq!((metal.value, metal.at_ms), (3, heard_ms));
    assert_eq!(depth(&vm.host, "onprem-de"), Some(1));
    for (reason, n) in [("status", 2), ("malformed", 2), ("misdirected", 1), ("no-answer", 1)] {
        assert_eq!(vm.host.metric_value(&format!("berth.telemetry.failed.reason.{reason}")), n, "{reason}");
    }
}

#[test]
fn a_source_that_hangs_is_given_up_and_asked_again_and_its_late_answer_is_nobodys() {
    let mut vm = Vm::start(FakeHost::new());
    vm.tick();
    let first = vm.host.take_calls();
    for _ in 0..25 {
        vm.host.advance_ms(TICK_MS);
        vm.tick();
    }
    let again = vm.host.take_calls();
    assert_eq!(again.len(), 2, "one question at a time");
    assert_eq!(vm.host.metric_value("berth.telemetry.failed.reason.no-answer"), 2);
    vm.answer(&first[0], "200", &queue(9));
    assert_eq!(vm.host.metric_value("berth.telemetry.late"), 1);
    vm.answer(&again[0], "200", &queue(2));
    vm.host.advance_ms(TICK_MS);
    vm.tick();
    assert_eq!(depth(&vm.host, "metal-fr"), Some(2));
}

#[test]
fn an_answer_longer_than_is_read_is_not_even_fetched() {
    let mut vm = Vm::start(FakeHost::new());
    vm.tick();
    let calls = vm.host.take_calls();
    vm.host.answer(&[(":status", "200")], b"{}");
    vm.role.on_call(&vm.host, calls[0].token, 1 << 30);
    assert_eq!(vm.host.metric_value("berth.telemetry.failed.reason.oversized"), 1);
    assert_eq!(vm.host.count("call_body"), 0);
}

#[test]
fn bad_fields_are_dropped_and_counted_and_the_rest_of_the_record_survives() {
    let mut vm = Vm::start(FakeHost::new());
    vm.tick();
    vm.answer_all(r#"{"signals":{"queue_depth":3,"memory_pressure":NaN,"running":-4,"link":7,"wombats":1}}"#);
    vm.host.advance_ms(TICK_MS);
    vm.tick();
    assert_eq!(depth(&vm.host, "metal-fr"), Some(3));
    for (reason, n) in [("not-finite", 2), ("out-of-range", 4), ("unknown", 2)] {
        assert_eq!(vm.host.metric_value(&format!("berth.telemetry.dropped.reason.{reason}")), n, "{reason}");
    }
}

#[test]
fn one_source_may_speak_of_several_substrates_but_not_of_strangers() {
    let mut vm = Vm::start_with(FakeHost::new(), vec![SourceConfig::new("fleet", "/all")]);
    vm.tick();
    vm.answer_all(r#"{"substrates":[{"substrate":"metal-fr","signals":{"queue_depth":1}},
        {"substrate":"onprem-de","signals":{"queue_depth":2}},{"substrate":"mars","signals":{"queue_depth":3}},{"signals":{}}]}"#);
    vm.host.advance_ms(TICK_MS);
    vm.tick();
    assert_eq!((depth(&vm.host, "metal-fr"), depth(&vm.host, "onprem-de")), (Some(1), Some(2)));
    assert_eq!(vm.host.metric_value("berth.telemetry.dropped.reason.unknown"), 2);
}

#[test]
fn a_source_for_a_substrate_that_the_policy_does_not_have_is_refused() {
    let host = FakeHost::new();
    let source = SourceConfig { substrate: Some("mars".to_string()), ..SourceConfig::new("mars", "/") };
    let config = TelemetryConfig::new(watch(&["metal-fr"]), 100, vec![source]);
    assert!(Telemetry::configure(&host, config).unwrap_err().contains("`mars`"));
}

#[test]
fn a_replaced_configuration_falls_silent_and_hands_over_at_once() {
    let host = FakeHost::new();
    host.set_configuration("old");
    let mut old = Vm::start(host.clone());
    old.tick();
    host.advance_ms(10);
    host.set_configuration("new");
    let mut new = Vm::start(host.clone());
    new.tick();
    assert!(!new.leads(), "the old one still holds the lease");
    old.tick();
    assert_eq!(old.host.tick_ms(), Some(0));
    host.advance_ms(10);
    new.tick();
    assert!(new.leads());
    old.host.take_calls();
    for _ in 0..30 {
        host.advance_ms(TICK_MS);
        let before = host.shared(SNAPSHOT);
        old.tick();
        assert_eq!((host.shared(SNAPSHOT), old.host.take_calls().len()), (before, 0));
        new.tick();
        new.answer_all(&queue(0));
    }
}

#[test]
fn configuring_alone_writes_nothing_and_asks_nobody() {
    let host = FakeHost::new();
    let _canary = Vm::start(host.clone());
    assert!(host.shared_keys().is_empty());
    assert!(host.calls().is_empty());
}

#[test]
fn what_every_vm_sees_of_answers_is_added_up() {
    let host = FakeHost::new();
    let mut vms: Vec<Vm> = (0..3).map(|_| Vm::start(host.another_vm())).collect();
    vms.iter_mut().for_each(Vm::tick);
    for vm in &mut vms {
        for status in ["200", "200", "200", "500", "429", "404"] {
            vm.attempt(status);
        }
        vm.begin();
    }
    host.advance_ms(TICK_MS);
    vms.iter_mut().for_each(Vm::tick);
    host.advance_ms(TICK_MS);
    vms.iter_mut().for_each(Vm::tick);
    let snapshot = published(&host);
    let metal = snapshot.of("metal-fr").unwrap();
    let value = |signal| metal.reading(signal).map(|r| r.value);
    assert_eq!(value(Signal::FailureRate), Some(150_000), "three of at least twenty");
    assert_eq!(value(Signal::OverloadRate), Some(200_000));
    assert_eq!(value(Signal::FirstToken), Some(300_000));
    assert_eq!(value(Signal::SpeedFactor), Some(1_500_000));
    assert_eq!(value(Signal::InFlight), Some(3));
    assert_eq!(metal.circuit, Circuit::Closed);
}

#[test]
fn a_dead_vms_attempts_are_no_longer_in_flight() {
    let host = FakeHost::new();
    let (mut living, mut dying) = (Vm::start(host.another_vm()), Vm::start(host.another_vm()));
    dying.begin();
    for _ in 0..3 {
        living.tick();
        dying.tick();
        host.advance_ms(TICK_MS);
    }
    let in_flight = || {
        published(&host).of("metal-fr").unwrap().reading(Signal::InFlight).map(|r| (r.value, host.now_ms() - r.at_ms))
    };
    assert_eq!(in_flight().unwrap().0, 1);
    drop(dying);
    for _ in 0..60 {
        host.advance_ms(TICK_MS);
        living.tick();
    }
    // Nobody has said anything of attempts for as long as a slot lasts; the old value ages.
    assert!(in_flight().is_none_or(|(value, age)| value == 0 || age >= 900), "{:?}", in_flight());
}

#[test]
fn a_full_queue_closes_admission_after_two_looks_and_opens_it_after_three_good_ones_and_the_hold_down() {
    // A second's hold-down, as it ships, is over before the third good look; a longer one has a fifth of jitter on top.
    for (hold_down_ms, opens) in [(AS_SHIPPED.hold_down_ms, 7..=7), (30_000, 31..=37)] {
        let opened = opens_at(hold_down_ms);
        assert!(opens.contains(&opened), "{hold_down_ms}: {opened}");
    }
}

#[test]
fn busy_processors_close_admission_by_the_reports_of_their_own_and_bad_ones_do_not() {
    let mut watch = watch(&["metal-fr", "onprem-de"]);
    watch.substrates[0].thresholds.cpu_ppm = Some(900_000);
    let mut vm = Vm::start_watching(FakeHost::new(), watch, Vm::sources());
    let shown = |vm: &Vm, what: &str| vm.host.metric_value(&format!("berth.health.{what}.substrate.metal-fr"));
    let say = |vm: &mut Vm, body: &str| {
        vm.tick();
        vm.answer_all(body);
        vm.host.advance_ms(TICK_MS);
        vm.tick();
        vm.host.advance_ms(1_000 - TICK_MS);
        let snapshot = published(&vm.host);
        ["metal-fr", "onprem-de"].map(|name| snapshot.of(name).unwrap().admission)
    };
    for bad in ["-0.5", "100.1", "1e300", "NaN", "\"busy\"", "null"] {
        let body = format!(r#"{{"signals":{{"cpu_use":{bad},"queue_depth":3}}}}"#);
        assert_eq!(say(&mut vm, &body), [Admission::All; 2], "{bad}");
    }
    assert_eq!((shown(&vm, "cpu_use"), shown(&vm, "queue_depth")), (0, 3), "nothing of them was kept but what is good");
    let busy = r#"{"signals":{"cpu_use":1.2,"accelerator_use_percent":40}}"#;
    assert_eq!(say(&mut vm, busy), [Admission::All; 2], "one look is none");
    // Without a threshold it is shown and closes nothing.
    assert_eq!(say(&mut vm, busy), [Admission::Closed, Admission::All]);
    assert_eq!((shown(&vm, "cpu_use"), shown(&vm, "accelerator_use")), (1_200_000, 400_000));
}

/// The second at which admission opens again after a queue that was full for five.
fn opens_at(hold_down_ms: u32) -> u32 {
    let mut watch = watch(&["metal-fr", "onprem-de"]);
    watch.breaking.hold_down_ms = hold_down_ms;
    let mut vm = Vm::start_watching(FakeHost::new(), watch, Vm::sources());
    let mut seen = Vec::new();
    for second in 0..60 {
        vm.tick();
        vm.answer_all(&queue(if second < 5 { 50 } else { 0 }));
        vm.host.advance_ms(TICK_MS);
        vm.tick();
        let now = published(&vm.host).of("metal-fr").unwrap().admission;
        if seen.last().is_none_or(|(_, last)| *last != now) {
            seen.push((second, now));
        }
        vm.host.advance_ms(1_000 - TICK_MS);
    }
    let [(0, Admission::All), (1, Admission::Closed), (opened, Admission::All)] = seen[..] else { panic!("{seen:?}") };
    opened
}

#[test]
fn the_clock_may_jump_either_way_and_telemetry_goes_on() {
    for jump in [-86_400_000_i64, -5_000, 5_000, 86_400_000] {
        let mut vm = Vm::start(FakeHost::new());
        vm.tick();
        vm.answer_all(&queue(3));
        vm.host.advance_ms(TICK_MS);
        vm.tick();
        assert_eq!(vm.host.metric_value("berth.telemetry.jumped"), 0);
        vm.host.set_now_ms(vm.host.now_ms().checked_add_signed(jump).unwrap());
        for n in 0..30 {
            vm.tick();
            vm.answer_all(&queue(20 + n));
            vm.host.advance_ms(TICK_MS);
        }
        vm.tick();
        let snapshot = published(&vm.host);
        let reading = snapshot.of("metal-fr").unwrap().reading(Signal::QueueDepth).unwrap();
        assert!(reading.value >= 20, "after a jump of {jump} ms the old value stayed");
        assert!(vm.host.now_ms().abs_diff(reading.at_ms) < 2_000, "after a jump of {jump} ms");
        assert!(vm.host.now_ms().abs_diff(snapshot.at_ms) < 2_000, "after a jump of {jump} ms");
        // Five seconds ahead may be a busy machine, and what was known still counts.
        let jumped = vm.host.metric_value("berth.telemetry.jumped");
        assert_eq!(jumped, i64::from(jump != 5_000), "after a jump of {jump} ms");
    }
}

#[test]
fn a_storm_of_foreign_writes_delays_publication_and_ends_with_it() {
    let mut vm = Vm::start(FakeHost::new());
    vm.tick();
    vm.answer_all(&queue(3));
    let storm = vm.host.another_vm();
    vm.host.meddle(move |_, call, key| {
        if call == "shared_set" {
            storm.plant(key, b"storm");
        }
    });
    for _ in 0..10 {
        vm.host.advance_ms(TICK_MS);
        vm.host.reset_counts();
        vm.tick();
        assert!(vm.host.count("shared_set") <= 16, "{:?}", vm.host.counts());
    }
    vm.host.leave_alone();
    for _ in 0..30 {
        vm.host.advance_ms(TICK_MS);
        vm.tick();
        vm.answer_all(&queue(4));
    }
    vm.tick();
    assert_eq!(depth(&vm.host, "metal-fr"), Some(4));
}

#[test]
fn no_status_of_any_host_call_makes_a_panic_and_a_healed_host_is_served() {
    let calls = [
        "now_ns",
        "shared_get",
        "shared_set",
        "call",
        "call_body",
        "headers",
        "define_metric",
        "increment",
        "record",
        "plugin_configuration",
    ];
    for call in calls {
        for error in EVERY_ERROR {
            let host = FakeHost::new();
            host.fail_always(call, error);
            let mut vm = Vm::start(host.clone());
            let run = |vm: &mut Vm| {
                for n in 0..40 {
                    vm.tick();
                    vm.attempt("200");
                    vm.answer_all(&queue(n));
                    vm.host.advance_ms(TICK_MS);
                }
                vm.tick();
            };
            run(&mut vm);
            host.heal();
            run(&mut vm);
            assert!(depth(&host, "metal-fr").unwrap() > 0, "{call} with {error}");
        }
    }
    let host = FakeHost::new();
    host.fail_once("set_tick_ms", HostError::BadArgument);
    assert!(Telemetry::configure(&host, TelemetryConfig::new(watch(&["a"]), 100, Vec::new())).is_err());
}

#[test]
fn malformed_shared_data_of_any_key_is_survived_and_repaired() {
    for rubbish in [&b""[..], b"x", &[0; 16], &[255; 16], &[255; 20], &[7; 4_000]] {
        let mut vm = Vm::start(FakeHost::new());
        vm.tick();
        vm.answer_all(&queue(1));
        for key in vm.host.shared_keys() {
            if key != berth::filter::store::GENERATION {
                vm.host.plant(&key, rubbish);
            }
        }
        vm.host.plant(&slot_key(90), rubbish);
        for _ in 0..40 {
            vm.host.advance_ms(TICK_MS);
            vm.tick();
            vm.answer_all(&queue(5));
        }
        vm.tick();
        assert_eq!(depth(&vm.host, "metal-fr"), Some(5), "{rubbish:?}");
    }
}

#[test]
fn a_slot_and_a_lease_that_cannot_be_read_are_counted_each() {
    for key in [slot_key(90), LEASE.to_string()] {
        let mut vm = Vm::start(FakeHost::new());
        vm.tick();
        assert_eq!(vm.host.metric_value("berth.telemetry.unreadable"), 0, "{key}");
        vm.host.plant(&key, b"rubbish");
        vm.host.advance_ms(TICK_MS);
        vm.tick();
        assert_eq!(vm.host.metric_value("berth.telemetry.unreadable"), 1, "{key}");
        assert!(vm.leads(), "{key}");
    }
}

#[test]
fn a_signal_that_is_gone_shows_by_its_age_and_a_substrate_by_its_silence_whatever_proxies_know_themselves() {
    const DAY_MS: i64 = 86_400_000;
    let mut vm = Vm::start(FakeHost::new());
    let shown = |vm: &Vm, what: &str| vm.host.metric_value(&format!("berth.health.{what}.substrate.metal-fr"));
    vm.tick();
    assert_eq!(["queue_depth_age_ms", "first_token_age_ms", "silent"].map(|of| shown(&vm, of)), [DAY_MS, DAY_MS, 1]);
    vm.answer_all(&queue(3));
    vm.host.advance_ms(TICK_MS);
    vm.tick();
    assert_eq!(["queue_depth", "queue_depth_age_ms", "silent"].map(|of| shown(&vm, of)), [3, 100, 0]);
    // Only the sources fall silent: requests go on, and are answered well.
    for _ in 0..12 {
        vm.attempt("200");
        vm.host.advance_ms(TICK_MS);
        vm.tick();
        vm.host.take_calls();
    }
    assert!((10_000..14_000).contains(&shown(&vm, "queue_depth_age_ms")), "{}", shown(&vm, "queue_depth_age_ms"));
    assert!(shown(&vm, "first_token_age_ms") < 2_000, "{}", shown(&vm, "first_token_age_ms"));
    assert_eq!(shown(&vm, "silent"), 1);
    // What was heard once is told from what never was, however old it is.
    vm.host.advance_ms(2 * 86_400_000);
    for _ in 0..3 {
        vm.host.advance_ms(TICK_MS);
        vm.tick();
    }
    assert_eq!(["queue_depth_age_ms", "accelerator_use_age_ms"].map(|of| shown(&vm, of)), [DAY_MS - 1, DAY_MS]);
}

#[test]
fn answers_are_news_of_a_substrate_that_never_says_anything() {
    let mut vm = Vm::start_with(FakeHost::new(), Vec::new());
    vm.tick();
    let silent = |vm: &Vm| vm.host.metric_value("berth.health.silent.substrate.metal-fr");
    assert_eq!(silent(&vm), 1);
    vm.attempt("200");
    for _ in 0..3 {
        vm.host.advance_ms(TICK_MS);
        vm.tick();
    }
    assert_eq!(silent(&vm), 0);
}

#[test]
fn metrics_are_declared_once_and_their_number_is_bounded() {
    let host = FakeHost::new();
    let config = TelemetryConfig::new(watch(&["metal-fr", "onprem-de"]), 100, Vec::new());
    let _role = Telemetry::configure(&host, config).unwrap();
    let names = host.metric_names();
    assert!(names.len() < 100, "{}", names.len());
    assert_eq!(host.count("define_metric"), u64::try_from(names.len()).unwrap());
    assert_eq!(host.header(MapKind::RequestHeaders, "x"), None);
    assert_eq!(host.now_ns() / 1_000_000, FakeHost::START_MS);
}

/// What the proxy says of its clusters.
fn clusters(list: &[(&str, usize)]) -> String {
    let cluster = |(name, hosts): &(&str, usize)| {
        let hosts = vec![r#"{"health_status":{"eds_health_status":"HEALTHY"}}"#; *hosts].join(",");
        format!(r#"{{"name":"{name}","host_statuses":[{hosts}]}}"#)
    };
    format!(r#"{{"cluster_statuses":[{}]}}"#, list.iter().map(cluster).collect::<Vec<_>>().join(","))
}

#[test]
fn the_proxy_itself_says_which_clusters_it_has_and_who_is_in_them() {
    let admin = |except: &[&str]| SourceConfig {
        format: Format::Clusters(except.iter().map(ToString::to_string).collect()),
        ..SourceConfig::new("admin", "/clusters?format=json")
    };
    let hosts = |vm: &Vm, name: &str| published(&vm.host).of(name).unwrap().reading(Signal::Hosts).map(|r| r.value);
    let mut vm = Vm::start_with(FakeHost::new(), vec![admin(&[])]);
    let tick = |vm: &mut Vm| {
        vm.tick();
        vm.host.advance_ms(1_000);
    };
    tick(&mut vm);
    tick(&mut vm);
    assert_eq!(hosts(&vm, "metal-fr"), None, "not asked yet: unknown, and not none");

    vm.answer_all(&clusters(&[("other", 9), ("metal-fr", 2)]));
    tick(&mut vm);
    assert_eq!((hosts(&vm, "metal-fr"), hosts(&vm, "onprem-de")), (Some(2), Some(0)), "no cluster, no host");

    // Half an answer says nothing: least of all that the rest is not there.
    let whole = clusters(&[("metal-fr", 0), ("onprem-de", 1)]);
    for bad in [&whole[..whole.len() / 2], "{}", "<html>"] {
        vm.answer_all(bad);
        tick(&mut vm);
        assert_eq!((hosts(&vm, "metal-fr"), hosts(&vm, "onprem-de")), (Some(2), Some(0)), "{bad}");
    }
    assert_eq!(vm.host.metric_value("berth.telemetry.failed.reason.malformed"), 3);
    vm.answer_all(&whole);
    tick(&mut vm);
    assert_eq!((hosts(&vm, "metal-fr"), hosts(&vm, "onprem-de")), (Some(0), Some(1)));

    let mut vm = Vm::start_with(FakeHost::new(), vec![admin(&["metal-fr"])]);
    tick(&mut vm);
    vm.answer_all(&whole);
    tick(&mut vm);
    assert_eq!((hosts(&vm, "metal-fr"), hosts(&vm, "onprem-de")), (None, Some(1)), "its hosts are other clusters'");
}

#[test]
fn megabytes_of_clusters_are_read_in_pieces_and_more_than_that_is_not_even_fetched() {
    let source =
        SourceConfig { format: Format::Clusters(Vec::new()), ..SourceConfig::new("admin", "/clusters?format=json") };
    let mut vm = Vm::start_with(FakeHost::new(), vec![source]);
    vm.tick();
    let names: Vec<String> = (0..512).map(|n| format!("cluster-{n}")).collect();
    let mut list: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 60)).collect();
    list.push(("onprem-de", 3));
    let text = clusters(&list);
    assert!(text.len() > 1_500_000);
    vm.host.reset_counts();
    vm.answer_all(&text);
    assert_eq!(vm.host.count("call_body"), u64::try_from(text.len().div_ceil(64 << 10)).unwrap());
    vm.host.advance_ms(1_000);
    vm.tick();
    assert_eq!(published(&vm.host).of("onprem-de").unwrap().reading(Signal::Hosts).unwrap().value, 3);

    let calls = vm.host.take_calls();
    vm.host.answer(&[(":status", "200")], b"{}");
    vm.host.reset_counts();
    vm.role.on_call(&vm.host, calls[0].token, 17 << 20);
    assert_eq!((vm.host.count("call_body"), vm.host.metric_value("berth.telemetry.failed.reason.oversized")), (0, 1));
}
