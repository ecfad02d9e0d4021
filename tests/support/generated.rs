//! Policies, pictures, configurations and requests of every kind, from a seed: what is decided natively, by the built
//! modules and in a real Envoy must be the same.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its own part of this")]

use super::random::Random;
use berth::model::{Health, Reading, Signal, Snapshot};
use serde_json::{Value, json};

const COUNTRIES: [&str; 4] = ["FR", "DE", "US", "CH"];
const KINDS: [&str; 7] = ["gpu", "silicon", "giant-context", "provider", "sovereign", "edge", "cpu"];
const TENANTS: [&str; 4] = ["acme", "globex", "initech", "nobody"];
const MODELS: [&str; 3] = ["llama-3.3-70b", "small", "none-has-this"];
const BORDERS: [&str; 5] = ["none", "zone", "region", "jurisdiction", "any"];

/// A policy of a few substrates, `s0` behind `cluster-0` and so on.
pub fn policy(random: &mut Random) -> Value {
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

/// What may be known of them.
pub fn snapshot(random: &mut Random, many: usize, now_ms: u64) -> Snapshot {
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

/// The headers of a request.
pub fn headers(random: &mut Random) -> Vec<(&'static str, String)> {
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

/// The placement role's configuration over this policy.
pub fn configuration(random: &mut Random, policy: &Value) -> String {
    let attach = random.pick(&["simple", "full"]);
    json!({"role": "placement", "policy": policy, "attach": attach, "decision_response": random.below(2) == 0,
        "decision_upstream": random.below(2) == 0, "trusted_headers": ["x-workload"], "features_header": "x-needs",
        "facts": {"tenant": {"header": "x-tenant", "trusted": true}, "model": {"header": "x-model"},
            "input_tokens": {"header": "x-tokens"}, "data": {"header": "x-data", "trusted": random.below(2) == 0},
            "residency": {"header": "x-residency"}, "session": {"header": "x-session"}}})
    .to_string()
}
