//! The same requests through the native role and through the built modules: the same filter state, the same headers, the
//! same answers, the same metrics and the same bytes in shared data. `BERTH_CASES` is another number of them.

use super::{FULL, PLACEMENT};
use crate::fake_host::{FakeHost, Metric};
use crate::generated::{PEER, body, configuration, headers, policy, snapshot, with_more};
use crate::random::Random;
use crate::wasm_host::{Built, Vm, Went};
use berth::filter::store::{Lease, publish};
use berth::filter::{MapKind, Role, Verdict};
use berth::model::Snapshot;
use serde_json::Value;
use std::collections::BTreeMap;

/// What one policy and one snapshot are used for.
const REQUESTS: usize = 20;
const SNAPSHOTS: usize = 5;
/// Of both modules together, each in a thread of its own.
const CASES: usize = 20_000;
/// Longer than any hold of bodies by default.
const LATE_MS: u64 = 1_000;

/// One world for each of the two.
struct Pair {
    native: (FakeHost, Role),
    built: (FakeHost, Vm),
    contexts: u32,
}

impl Pair {
    fn start(module: &Built, configuration: &str) -> Self {
        let (a, b) = (FakeHost::new(), FakeHost::new());
        for host in [&a, &b] {
            host.set_property(&["connection", "uri_san_peer_certificate"], PEER.as_bytes());
        }
        a.set_configuration(configuration);
        let role = Role::configure(&a).unwrap_or_else(|line| panic!("{line}\n{configuration}"));
        let (vm, taken) = module.start(&b, configuration).unwrap();
        assert!(taken, "{:?}", vm.log());
        Self { native: (a, role), built: (b, vm), contexts: 0 }
    }

    fn hosts(&self, each: impl Fn(&FakeHost)) {
        [&self.native.0, &self.built.0].into_iter().for_each(each);
    }

    fn publish(&mut self, snapshot: &Snapshot) {
        for host in [&self.native.0, &self.built.0] {
            host.advance_ms(500);
            let now_ms = host.now_ms();
            let mut lease = Lease::new(1_000);
            assert!(lease.acquire(host, 7, now_ms));
            publish(host, &mut lease, now_ms, &mut snapshot.clone()).unwrap();
            lease.release(host, 7);
        }
        self.tick();
    }

    /// Time passes in both, and what was told by then is the same.
    fn tick(&mut self) {
        self.native.1.on_tick(&self.native.0);
        self.built.1.tick().unwrap();
        assert_eq!(self.native.0.shared_keys(), self.built.0.shared_keys());
        for key in self.native.0.shared_keys() {
            assert_eq!(self.native.0.shared(&key), self.built.0.shared(&key), "{key}");
        }
        let (native, built) = (metrics(&self.native.0), metrics(&self.built.0));
        if native != built {
            // All of them are too many to be read.
            native.iter().zip(&built).for_each(|(native, built)| assert_eq!(native, built));
            assert_eq!(native.len(), built.len());
        }
    }

    /// Why the last request was refused, or what bound it.
    fn reason(&self) -> String {
        let record = self.native.0.filter_state("placement").map(|r| String::from_utf8(r).unwrap()).unwrap_or_default();
        let member = |name: &str| record.split(", ").find_map(|m| m.strip_prefix(name)).map(str::to_string);
        member("reason=").or_else(|| member("binding=")).unwrap_or_default()
    }

    /// Hands both the same and compares all that came of it.
    fn both(&mut self, native: impl Fn(&mut Role, &FakeHost) -> Verdict, built: impl Fn(&mut Vm) -> Went) -> Verdict {
        let verdict = native(&mut self.native.1, &self.native.0);
        let went = built(&mut self.built.1);
        assert_eq!(went == Went::On, verdict == Verdict::Continue, "{verdict:?}");
        let (a, b) = (&self.native.0, &self.built.0);
        assert_eq!(a.all_filter_state(), b.all_filter_state());
        assert_eq!(a.all_headers(MapKind::RequestHeaders), b.all_headers(MapKind::RequestHeaders));
        assert_eq!(a.responses(), b.responses());
        verdict
    }

    /// One request from its beginning to its end; says whether it went on, and whether it waited for its body.
    fn ask(&mut self, asked: &Asked) -> (bool, bool) {
        let pairs: Vec<(&str, &str)> = asked.headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        self.hosts(|host| {
            host.forget_filter_state();
            host.take_responses();
            host.set_headers(MapKind::RequestHeaders, &pairs);
        });
        let ends = asked.body.is_none();
        // The first stream of the module.
        self.contexts += 1;
        let id = self.contexts + 1;
        let kept = std::cell::RefCell::new(None);
        let mut verdict = self.both(
            |role, host| {
                let (verdict, keeps) = role.arrive(host, id, ends);
                *kept.borrow_mut() = keeps;
                verdict
            },
            |vm| {
                let (opened, went) = vm.open(ends).unwrap();
                assert_eq!(opened, id);
                went
            },
        );
        let held = verdict == Verdict::Held;
        let (kept, body) = (kept.into_inner(), asked.body.clone().unwrap_or_default());
        for (nth, size) in asked.frames.iter().copied().enumerate() {
            let Some(kept) = kept.as_ref().filter(|_| verdict == Verdict::Held) else { break };
            let last = nth + 1 == asked.frames.len();
            if last && asked.late {
                // The client stalls: what is known by then decides.
                self.hosts(|host| host.advance_ms(LATE_MS));
                self.tick();
            }
            self.hosts(|host| host.set_request_body(&body[..size]));
            verdict =
                self.both(|role, host| role.on_body(host, kept, size, last), |vm| vm.body(id, size, last).unwrap());
        }
        if let Some(status) = asked.answered {
            self.hosts(|host| {
                host.set_headers(MapKind::ResponseHeaders, &[(":status", status)]);
                host.advance_ms(1);
            });
            self.native.1.on_response(&self.native.0, id);
            self.built.1.enter("proxy_on_response_headers", &[id, 1, 1]).unwrap();
        }
        self.native.1.on_done(&self.native.0, id);
        self.native.1.forget(id);
        self.built.1.close(id).unwrap();
        (verdict == Verdict::Continue, held)
    }
}

/// All but the name of the build, which is of what each was built of.
fn metrics(host: &FakeHost) -> Vec<Metric> {
    host.metrics().into_iter().filter(|metric| !metric.name.starts_with("berth.build.")).collect()
}

/// A request, and what else becomes of its stream.
#[derive(Debug)]
struct Asked {
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    /// How much of the body has come, with each frame.
    frames: Vec<usize>,
    /// Its last frame comes after the time that is waited for it.
    late: bool,
    answered: Option<&'static str>,
}

impl Asked {
    /// `more`: the module has the callbacks of bodies and answers.
    fn new(random: &mut Random, more: bool) -> Self {
        let mut headers = headers(random);
        let mut asked = if more && random.below(3) == 0 {
            headers.retain(|(name, _)| *name != "content-type");
            headers.push(("content-type", "application/json".into()));
            let body = body(random);
            let mut frames: Vec<usize> = (0..random.below(4)).map(|_| 1 + random.below(body.len())).collect();
            frames.push(body.len());
            frames.sort_unstable();
            Self { headers, body: Some(body), frames, late: random.below(8) == 0, answered: None }
        } else {
            Self { headers, body: None, frames: Vec::new(), late: false, answered: None }
        };
        asked.answered = (more && random.below(2) == 0).then(|| random.pick(&["200", "200", "503", "429"]));
        asked
    }
}

/// What was tried.
#[derive(Debug, Default)]
struct Tried {
    cases: usize,
    placed: usize,
    held: usize,
    /// Policies whose configuration or document has this.
    with: BTreeMap<&'static str, usize>,
    reasons: BTreeMap<String, usize>,
}

impl Tried {
    fn note(&mut self, configuration: &Value) {
        for field in ["candidate", "lanes", "body", "hops", "replay", "mode"] {
            *self.with.entry(field).or_default() += usize::from(configuration.get(field).is_some());
        }
        for field in ["thresholds", "budgets", "shedding", "selection", "links", "approvals"] {
            *self.with.entry(field).or_default() += usize::from(configuration["policy"].get(field).is_some());
        }
    }
}

fn compare(module: &str, wanted: usize) -> Tried {
    let more = module == FULL;
    let built = Built::load(module);
    let mut random = Random::new(if more { 0x00be_0047 } else { 0x00be_0048 });
    let mut tried = Tried::default();
    while tried.cases < wanted {
        let policy = policy(&mut random);
        let many = policy["substrates"].as_array().unwrap().len();
        let mut configuration = configuration(&mut random, &policy);
        with_more(&mut random, &mut configuration, more);
        tried.note(&configuration);
        let mut pair = Pair::start(&built, &configuration.to_string());
        for _ in 0..SNAPSHOTS {
            let snapshot = snapshot(&mut random, many, pair.native.0.now_ms());
            pair.publish(&snapshot);
            for _ in 0..REQUESTS {
                tried.cases += 1;
                let (placed, held) = pair.ask(&Asked::new(&mut random, more));
                tried.placed += usize::from(placed);
                tried.held += usize::from(held);
                *tried.reasons.entry(pair.reason()).or_default() += 1;
            }
        }
        pair.tick();
    }
    println!("{module}: {tried:?}: the same natively and in the module");
    tried
}

#[test]
fn the_built_modules_decide_as_the_native_core_does() {
    let wanted: usize = std::env::var("BERTH_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let both = std::thread::scope(|scope| {
        let both = [PLACEMENT, FULL].map(|module| scope.spawn(move || compare(module, wanted / 2)));
        both.map(|one| one.join().unwrap())
    });
    for tried in &both {
        let (cases, placed) = (tried.cases, tried.placed);
        assert!(placed * 5 > cases && placed * 10 < cases * 9, "both outcomes were tried: {placed} of {cases} placed");
    }
    if wanted < CASES {
        return;
    }
    assert!(both.iter().map(|tried| tried.cases).sum::<usize>() >= CASES);
    assert!(both[1].held * 20 > both[1].cases, "bodies were waited for: {}", both[1].held);
    for (tried, without) in both.iter().zip([Some("body"), None]) {
        let missing: Vec<_> = tried.with.iter().filter(|(name, n)| **n < 10 && Some(**name) != without).collect();
        assert!(missing.is_empty(), "seldom tried: {missing:?}");
    }
    let reached = |reason: &str| both.iter().any(|tried| tried.reasons.keys().any(|seen| seen.contains(reason)));
    let unreached: Vec<&str> = REACHED.into_iter().filter(|reason| !reached(reason)).collect();
    assert!(unreached.is_empty(), "never seen: {unreached:?}");
}

/// What has to have bound or refused some request.
const REACHED: [&str; 16] = [
    "air-gap",
    "attestation",
    "burst-ceiling",
    "circuit-open",
    "contradicted",
    "headroom",
    "kind",
    "memory",
    "needs-approval",
    "queue-full",
    "rate-limited",
    "request-cost",
    "residency",
    "shed",
    "spillover",
    "tenant-budget",
];
