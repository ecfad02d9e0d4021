//! The same requests through the native role and through the built module: the same record, the same headers, the
//! same answer and the same bytes in shared data. `BERTH_CASES=20000` runs more than `make test` does.

use super::{FULL, PLACEMENT};
use crate::fake_host::FakeHost;
use crate::random::Random;
use crate::wasm_host::{Built, Vm, Went};
use berth::filter::store::{Lease, publish};
use berth::filter::{MapKind, Role, Verdict};
use berth::model::{Health, Reading, Signal, Snapshot};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What one policy and one snapshot are used for.
const REQUESTS: usize = 20;
const SNAPSHOTS: usize = 5;
const CASES: usize = 2_000;

const COUNTRIES: [&str; 4] = ["FR", "DE", "US", "CH"];
const KINDS: [&str; 7] = ["gpu", "silicon", "giant-context", "provider", "sovereign", "edge", "cpu"];
const TENANTS: [&str; 4] = ["acme", "globex", "initech", "nobody"];
const MODELS: [&str; 3] = ["llama-3.3-70b", "small", "none-has-this"];
const BORDERS: [&str; 5] = ["none", "zone", "region", "jurisdiction", "any"];

fn policy(random: &mut Random) -> Value {
    let many = 2 + random.below(10);
    let substrates: Vec<Value> = (0..many).map(|at| substrate(random, at)).collect();
    let homes = |random: &mut Random| format!("s{}", random.below(many));
    let class = |random: &mut Random, name: &str| {
        json!({"name": name, "match": {"header": "x-workload", "is": name},
            "tier": random.pick(&["critical", "standard", "batch"]), "home": [homes(random)],
            "deadline_ms": 2_000 + random.below(60_000),
            "worth": {"answer_usd": money(random, 40), "second_usd": money(random, 5), "failure_usd": money(random, 60)}})
    };
    let classes = [class(random, "chat"), class(random, "agent"), class(random, "rest")];
    let envelope = |random: &mut Random, name: String| {
        let permit = match random.below(3) {
            0 => json!({}),
            1 => json!({"jurisdictions": ["EU"]}),
            _ => json!({"jurisdictions": [random.pick(&COUNTRIES)], "kinds": ["gpu", "sovereign", "cpu", "provider"]}),
        };
        json!({"name": name, "applies_to": {"tenants": [random.pick(&TENANTS)]}, "permit": permit,
            "spillover": random.pick(&BORDERS)})
    };
    let mut envelopes: Vec<Value> = (0..random.below(4)).map(|at| envelope(random, format!("e{at}"))).collect();
    // Most of the tenants have one that permits much: what stands has to be chosen from.
    let open = json!({"name": "open", "applies_to": {"tenants": TENANTS[..3]}, "permit": {}, "spillover": "any"});
    envelopes.push(open);
    json!({"berth": 1, "policy": {"name": "generated", "version": 1 + random.below(90), "owner": "tests"},
        "jurisdictions": {"EU": ["DE", "FR"]}, "substrates": substrates, "classes": classes,
        "default_class": "rest", "envelopes": envelopes})
}

fn money(random: &mut Random, most: usize) -> f64 {
    f64::from(u32::try_from(1 + random.below(most)).unwrap()) / 1_000.0
}

fn substrate(random: &mut Random, at: usize) -> Value {
    let country = random.pick(&COUNTRIES);
    let mut models = serde_json::Map::new();
    models.insert(MODELS[0].into(), json!({"quality": 0.8}));
    if random.below(2) == 0 {
        models.insert(MODELS[1].into(), json!({"quality": 0.5}));
    }
    json!({"name": format!("s{at}"), "cluster": format!("cluster-{at}"), "kind": random.pick(&KINDS),
        "account": random.pick(&["acme", "trial"]),
        "location": {"jurisdiction": country, "region": random.pick(&["r1", "r2"]), "zone": random.pick(&["z1", "z2", "z3"])},
        "sovereignty": {"subject_to": [country]},
        "capabilities": {"models": models, "context_tokens": 4_096 << random.below(6), "features": ["streaming", "tools"]},
        "latency": {"first_token_ms": 50 + random.below(900), "prefill_ms_per_ktok": random.below(100), "ms_per_token": 1 + random.below(60)},
        "cost": {"regime": random.pick(&["reserved", "on-demand"]), "input_usd_per_mtok": money(random, 400), "output_usd_per_mtok": money(random, 400)},
        "capacity": {"concurrency": 1 + random.below(100)}})
}

fn snapshot(random: &mut Random, many: usize, now_ms: u64) -> Snapshot {
    let health = |random: &mut Random, at: usize| {
        let mut health = Health::unknown(&format!("s{at}"));
        for _ in 0..random.below(4) {
            let signal = Signal::ALL[random.below(Signal::ALL.len())];
            let value = i64::try_from(random.below(1_200_000) >> random.below(21)).unwrap();
            let at_ms = now_ms - u64::try_from(random.below(15_000)).unwrap();
            health.set(signal, Reading { value, at_ms });
        }
        health
    };
    let substrates = (0..many).map(|at| health(random, at)).collect();
    Snapshot { writer: 7, epoch: 0, at_ms: now_ms, interval_ms: 1_000, slots: 2, substrates }
}

fn headers(random: &mut Random) -> Vec<(&'static str, String)> {
    let mut all = vec![(":method", "POST".to_string()), (":path", "/v1/chat/completions?x=1".to_string())];
    let mut say = |random: &mut Random, name, value: String| {
        if random.below(4) > 0 {
            all.push((name, value));
        }
    };
    let word = |random: &mut Random, pool: &[&str]| random.pick(pool).to_string();
    let value = format!("{:016x}", random.next());
    say(random, "x-request-id", value);
    let value = word(random, &TENANTS);
    say(random, "x-tenant", value);
    let value = word(random, &["chat", "agent", "rest", "else"]);
    say(random, "x-workload", value);
    let value = word(random, &[MODELS[0], MODELS[0], MODELS[1], MODELS[0], MODELS[2]]);
    say(random, "x-model", value);
    let value = (random.below(200_000) >> random.below(12)).to_string();
    say(random, "x-tokens", value);
    let value = word(random, &["personal", "public", "special"]);
    say(random, "x-data", value);
    if random.below(4) == 0 {
        let more = [
            ("x-tenant", word(random, &TENANTS)),
            ("x-placement-cluster", "trap".into()),
            ("accept", "text/event-stream".into()),
            ("content-type", "application/grpc".into()),
            ("grpc-timeout", format!("{}m", random.below(9_000))),
            ("x-envoy-expected-rq-timeout-ms", random.below(9_000).to_string()),
            ("content-length", random.below(900_000).to_string()),
            ("x-residency", word(random, &COUNTRIES)),
            ("x-session", format!("s{}", random.below(50))),
            ("x-needs", word(random, &["tools", "vision,tools", "nonsense"])),
        ];
        let from = random.below(more.len());
        all.extend(more.into_iter().skip(from).take(1 + random.below(3)));
    }
    all
}

fn configuration(random: &mut Random, policy: &Value) -> String {
    let attach = random.pick(&["simple", "full"]);
    json!({"role": "placement", "policy": policy, "attach": attach, "decision_response": random.below(2) == 0,
        "decision_upstream": random.below(2) == 0, "trusted_headers": ["x-workload"], "features_header": "x-needs",
        "facts": {"tenant": {"header": "x-tenant", "trusted": true}, "model": {"header": "x-model"},
            "input_tokens": {"header": "x-tokens"}, "data": {"header": "x-data", "trusted": random.below(2) == 0},
            "residency": {"header": "x-residency"}, "session": {"header": "x-session"}}})
    .to_string()
}

/// One world for each of the two.
struct Pair {
    native: (FakeHost, Role),
    built: (FakeHost, Vm),
}

const SEEN: [&str; 8] = [
    "x-placement-cluster",
    "x-placement-decision",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-max-retries",
    "x-envoy-retry-on",
    "x-placement-budget",
    "x-tenant",
];

impl Pair {
    fn start(module: &Built, configuration: &str) -> Self {
        let (a, b) = (FakeHost::new(), FakeHost::new());
        a.set_configuration(configuration);
        let role = Role::configure(&a).unwrap_or_else(|line| panic!("{line}\n{configuration}"));
        let (vm, taken) = module.start(&b, configuration).unwrap();
        assert!(taken, "{:?}", vm.log());
        Self { native: (a, role), built: (b, vm) }
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
        self.native.1.on_tick(&self.native.0);
        self.built.1.tick().unwrap();
        assert_eq!(self.native.0.shared_keys(), self.built.0.shared_keys());
        for key in self.native.0.shared_keys() {
            assert_eq!(self.native.0.shared(&key), self.built.0.shared(&key), "{key}");
        }
    }

    /// Why the last request was refused, or what bound it.
    fn reason(&self) -> String {
        let record = self.native.0.filter_state("placement").map(|r| String::from_utf8(r).unwrap()).unwrap_or_default();
        let member = |name: &str| record.split(", ").find_map(|m| m.strip_prefix(name)).map(str::to_string);
        member("reason=").or_else(|| member("binding=")).unwrap_or_default()
    }

    /// Whether the request was placed.
    fn ask(&mut self, context: u32, headers: &[(&str, String)]) -> bool {
        let pairs: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        for host in [&self.native.0, &self.built.0] {
            host.set_headers(MapKind::RequestHeaders, &pairs);
        }
        let (verdict, _) = self.native.1.arrive(&self.native.0, context, true);
        let went = self.built.1.request().unwrap();
        assert_eq!(went == Went::On, verdict == Verdict::Continue, "{headers:?}");
        let (a, b) = (&self.native.0, &self.built.0);
        let record = |host: &FakeHost| host.filter_state("placement").map(|r| String::from_utf8(r).unwrap());
        assert_eq!(record(a), record(b), "{headers:?}");
        for name in SEEN {
            let of = |host: &FakeHost| host.header(MapKind::RequestHeaders, name);
            assert_eq!(of(a), of(b), "{name}: {headers:?}");
        }
        assert_eq!(a.responses().last(), b.responses().last(), "{headers:?}");
        assert_eq!(a.responses().len(), b.responses().len());
        went == Went::On
    }
}

#[test]
fn the_built_modules_decide_as_the_native_core_does() {
    let wanted = std::env::var("BERTH_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let modules = [Built::load(PLACEMENT), Built::load(FULL)];
    let mut random = Random::new(0x00be_0047);
    let (mut cases, mut placed) = (0, 0);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    while cases < wanted {
        let policy = policy(&mut random);
        let many = policy["substrates"].as_array().unwrap().len();
        let mut pair = Pair::start(&modules[cases % 2], &configuration(&mut random, &policy));
        for _ in 0..SNAPSHOTS {
            let snapshot = snapshot(&mut random, many, pair.native.0.now_ms());
            pair.publish(&snapshot);
            for _ in 0..REQUESTS {
                cases += 1;
                placed += usize::from(pair.ask(u32::try_from(cases).unwrap(), &headers(&mut random)));
                *reasons.entry(pair.reason()).or_default() += 1;
            }
        }
    }
    println!("{cases} cases, {reasons:?}; {placed} of them placed, the same natively and in the modules");
    assert!(placed * 5 > cases && placed * 10 < cases * 9, "both outcomes were tried: {placed} of {cases} placed");
}
