//! Policies, pictures, configurations and requests of every kind, from a seed: what is decided natively, by the built
//! modules and in a real Envoy must be the same.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its own part of this")]

use super::random::Random;
use berth::model::{Admission, Attestation, Circuit, Country, Health, Reading, Signal, Snapshot};
use serde_json::{Value, json};

const COUNTRIES: [&str; 4] = ["FR", "DE", "US", "CH"];
const KINDS: [&str; 7] = ["gpu", "silicon", "giant-context", "provider", "sovereign", "edge", "cpu"];
const TENANTS: [&str; 4] = ["acme", "globex", "initech", "nobody"];
const MODELS: [&str; 3] = ["llama-3.3-70b", "small", "none-has-this"];
const BORDERS: [&str; 5] = ["none", "zone", "region", "jurisdiction", "any"];
const CROSSINGS: [&str; 5] = ["zone", "region", "jurisdiction", "account", "regime"];
const CLASSES: [&str; 3] = ["chat", "agent", "rest"];
const TIERS: [&str; 3] = ["critical", "standard", "batch"];
const REGIONS: [&str; 2] = ["r1", "r2"];
const ZONES: [&str; 3] = ["z1", "z2", "z3"];
const DATA: [&str; 3] = ["personal", "public", "special"];
const FEATURES: [&str; 6] = ["streaming", "tools", "json-schema", "vision", "batch", "guarded"];
const APPROVALS: [&str; 2] = ["granted", "lapsed"];

/// Whether something that happens once in so many times happens.
fn once_in(random: &mut Random, times: usize) -> bool {
    random.below(times) == 0
}

/// A number of so many digits behind the point, written as shortly as that.
fn part(of: usize, whole: u32) -> f64 {
    f64::from(u32::try_from(of).unwrap()) / f64::from(whole)
}

/// Between two percentages, as a share.
fn share(random: &mut Random, least: usize, most: usize) -> f64 {
    part(least + random.below(most - least + 1), 100)
}

fn money(random: &mut Random, most: usize) -> f64 {
    part(1 + random.below(most), 1_000)
}

/// Less than money: hundredths of a thousandth.
fn change(random: &mut Random, most: usize) -> f64 {
    part(1 + random.below(most), 100_000)
}

/// One to all of them, in their order.
fn some<'a>(random: &mut Random, pool: &[&'a str]) -> Vec<&'a str> {
    let from = random.below(pool.len());
    pool[from..].iter().take(1 + random.below(pool.len())).copied().collect()
}

/// Puts more into an object.
fn add(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("no object: {more}") };
    into.as_object_mut().unwrap().extend(more);
}

/// A policy of a few substrates, `s0` behind `cluster-0` and so on.
pub fn policy(random: &mut Random) -> Value {
    let many = 2 + random.below(10);
    let substrates: Vec<Value> = (0..many).map(|at| substrate(random, at)).collect();
    let classes = CLASSES.map(|name| class(random, name, many));
    let mut envelopes: Vec<Value> = (0..random.below(4)).map(|at| envelope(random, format!("e{at}"), many)).collect();
    // Most of the tenants have one that permits much: what stands has to be chosen from.
    let open = json!({"name": "open", "applies_to": {"tenants": TENANTS[..3]}, "permit": {}, "spillover": "any"});
    envelopes.push(open);
    let zones = zones(&substrates);
    let mut policy = json!({"berth": 1,
        "policy": {"name": "generated", "version": 1 + random.below(90), "owner": "tests"},
        "jurisdictions": {"EU": ["DE", "FR"]}, "substrates": substrates, "classes": classes,
        "default_class": "rest", "envelopes": envelopes});
    add(&mut policy, settings(random, &zones));
    policy
}

fn class(random: &mut Random, name: &str, many: usize) -> Value {
    let called = json!({"header": "x-workload", "is": name});
    let matches = match random.below(8) {
        0 => json!({"any": [called, {"path_prefix": "/v1/chat", "streaming": true}]}),
        1 => json!({"all": [called, {"not": {"tenant": random.pick(&TENANTS)}}]}),
        2 => json!({"any": [called, {"all": [{"input_tokens": {"min": 20_000}}, {"data": some(random, &DATA)}]}]}),
        3 => json!({"any": [called, {"model": {"prefix": "sm"}, "session": {"present": true}}]}),
        _ => called,
    };
    let mut class = json!({"name": name, "match": matches, "tier": random.pick(&TIERS),
        "home": [format!("s{}", random.below(many))], "deadline_ms": 2_000 + random.below(60_000),
        "worth": {"answer_usd": money(random, 40), "second_usd": money(random, 5), "failure_usd": money(random, 60)}});
    if once_in(random, 2) {
        add(&mut class, json!({"attempts": {"most": 1 + random.below(3), "repeatable": once_in(random, 2)}}));
    }
    if once_in(random, 5) {
        class["attempts"]["per_try_ms"] = (500 + random.below(1_500)).into();
    }
    if once_in(random, 3) {
        add(
            &mut class,
            json!({"limits": {"cost_usd": change(random, 2_000), "min_quality": share(random, 0, 80),
                "max_queue": 1 + random.below(60)}}),
        );
    }
    if once_in(random, 8) {
        add(&mut class, json!({"needs": some(random, &FEATURES[..3])}));
    }
    if once_in(random, 4) {
        add(&mut class, json!({"usual_output_tokens": 1 + random.below(4_000), "synchronous": once_in(random, 2)}));
    }
    if once_in(random, 12) {
        add(&mut class, json!({"air_gapped": true}));
    }
    if once_in(random, 4) {
        add(&mut class, json!({"allow_throughput": true}));
    }
    if once_in(random, 6) {
        add(&mut class, json!({"approval_for": some(random, &CROSSINGS)}));
    }
    class
}

fn envelope(random: &mut Random, name: String, many: usize) -> Value {
    let permit = match random.below(4) {
        0 => json!({}),
        1 => json!({"jurisdictions": ["EU"]}),
        2 => json!({"subject_to": some(random, &COUNTRIES), "regions": some(random, &REGIONS)}),
        _ => json!({"jurisdictions": [random.pick(&COUNTRIES)], "kinds": ["gpu", "sovereign", "cpu", "provider"]}),
    };
    let mut envelope = json!({"name": name, "applies_to": {"tenants": [random.pick(&TENANTS)]}, "permit": permit,
        "spillover": random.pick(&BORDERS)});
    let mut often = |random: &mut Random, times, field: &str, value: Value| {
        if once_in(random, times) {
            envelope[field] = value;
        }
    };
    let selected = match random.below(3) {
        0 => json!({"data": some(random, &DATA)}),
        1 => json!({"tenants": some(random, &TENANTS), "classes": some(random, &CLASSES)}),
        _ => json!({"regions": some(random, &REGIONS)}),
    };
    often(random, 3, "applies_to", selected);
    let forbidden = match random.below(4) {
        0 => json!({"accounts": ["trial"]}),
        1 => json!({"substrates": [format!("s{}", random.below(many))]}),
        2 => json!({"regimes": ["on-demand"], "kinds": ["edge"]}),
        _ => json!({"subject_to": [random.pick(&COUNTRIES)]}),
    };
    often(random, 3, "forbid", forbidden);
    let required = match random.below(4) {
        0 => json!({"attestation_max_age_s": 1 + random.below(20)}),
        1 => json!({"health_max_age_s": 1 + random.below(15)}),
        2 => json!({"approval_for": some(random, &CROSSINGS)}),
        _ => json!({"air_gapped": true}),
    };
    often(random, 5, "require", required);
    let crossed = json!(some(random, &CROSSINGS));
    often(random, 6, "also_cross", crossed);
    envelope
}

fn substrate(random: &mut Random, at: usize) -> Value {
    let country = random.pick(&COUNTRIES);
    let mut models = serde_json::Map::new();
    models.insert(MODELS[0].into(), json!({"quality": 0.8}));
    if once_in(random, 2) {
        models.insert(MODELS[1].into(), json!({"quality": 0.5, "context_tokens": 2_048 << random.below(4)}));
    }
    let mut features = vec!["streaming", "tools"];
    features.extend(FEATURES[2..].iter().filter(|_| random.below(3) > 0));
    let mut substrate = json!({"name": format!("s{at}"), "cluster": format!("cluster-{at}"), "kind": random.pick(&KINDS),
        "account": random.pick(&["acme", "trial"]),
        "location": {"jurisdiction": country, "region": random.pick(&REGIONS), "zone": random.pick(&ZONES)},
        "sovereignty": {"subject_to": [country]},
        "capabilities": {"models": models, "context_tokens": 4_096 << random.below(6), "features": features},
        "latency": {"first_token_ms": 50 + random.below(900), "prefill_ms_per_ktok": random.below(100), "ms_per_token": 1 + random.below(60)},
        "cost": {"regime": random.pick(&["reserved", "on-demand"]), "input_usd_per_mtok": money(random, 400), "output_usd_per_mtok": money(random, 400)},
        "capacity": {"concurrency": 1 + random.below(100)}});
    if once_in(random, 4) {
        substrate["location"]["failure_domain"] = random.pick(&["d1", "d2"]).into();
    }
    if once_in(random, 6) {
        substrate["sovereignty"]["air_gapped"] = true.into();
    }
    if once_in(random, 8) {
        substrate["sovereignty"]["attestation"] = "required".into();
    }
    if once_in(random, 10) {
        substrate["capabilities"]["throughput_only"] = true.into();
    }
    if once_in(random, 3) {
        let region = random.pick(&REGIONS);
        add(
            &mut substrate["cost"],
            json!({"request_usd": change(random, 90), "energy_usd_per_mtok": money(random, 90),
                "licence_usd_per_mtok": money(random, 90), "egress_usd_per_gb": money(random, 900),
                "egress_usd_per_gb_to": {region: money(random, 900)}}),
        );
    }
    if once_in(random, 3) {
        add(
            &mut substrate["capacity"],
            json!({"keep_for": {"critical": share(random, 0, 50), "standard": share(random, 0, 25)},
                "tenant_share": {"acme": share(random, 0, 100)}, "burst_after": share(random, 0, 100), "burst_ceiling": share(random, 0, 100)}),
        );
    }
    substrate
}

/// Where the first and the last of them are.
fn zones(substrates: &[Value]) -> [String; 2] {
    let of = |at: usize| substrates[at]["location"]["zone"].as_str().unwrap().to_string();
    [of(0), of(substrates.len() - 1)]
}

/// What the rest of the policy says, each now and then: thresholds, budgets, how one is chosen, how admission gives way.
fn settings(random: &mut Random, zones: &[String; 2]) -> Value {
    let mut settings = json!({});
    let mut often = |random: &mut Random, times, field: &str, value: Value| {
        if once_in(random, times) {
            settings[field] = value;
        }
    };
    let thresholds = KINDS.map(|kind| (kind.to_string(), threshold(random)));
    often(random, 2, "thresholds", Value::Object(thresholds.into_iter().collect()));
    let budget = |random: &mut Random, tenant: &str| {
        json!({"tenant": tenant, "most_usd": change(random, 4_000), "window_s": 1 + random.below(90),
            "fleet_share": share(random, 5, 95)})
    };
    let budgets = json!([budget(random, TENANTS[0]), budget(random, TENANTS[2])]);
    often(random, 2, "budgets", budgets);
    let selection = json!({"margin": share(random, 0, 25), "margin_per_second": share(random, 0, 5),
        "max_shift": share(random, 0, 100), "affinity": share(random, 0, 100), "ramp_ms": random.below(20_000), "ramp_floor": share(random, 0, 100),
        "panic": share(random, 0, 100), "finish_factor": share(random, 0, 300), "plan": 1 + random.below(3)});
    often(random, 2, "selection", selection);
    let shedding = json!({"from": {"batch": share(random, 0, 50), "standard": share(random, 50, 100)},
        "most": {"batch": share(random, 0, 100), "standard": share(random, 0, 100), "critical": share(random, 0, 25)},
        "retry_after_s": 1 + random.below(90)});
    often(random, 2, "shedding", shedding);
    let soft = 1 + random.below(9_000);
    let hard = soft + random.below(9_000);
    often(random, 3, "ages", json!({"soft_ms": soft, "hard_ms": hard}));
    let link = |random: &mut Random, from: &str, to: &str| json!({"from": from, "to": to, "latency_ms": random.below(200), "usd_per_gb": money(random, 200), "ceiling": share(random, 0, 100)});
    let links = json!([link(random, "z1", &zones[0]), link(random, "z2", &zones[1])]);
    often(random, 2, "links", links);
    let flag = |random: &mut Random| once_in(random, 2);
    let adaptive = json!({"latency": flag(random), "cost": flag(random), "risk": flag(random), "shares": flag(random)});
    often(random, 4, "adaptive", adaptive);
    let until = |token: &str, until: &str| json!({"token": token, "borders": CROSSINGS, "until": until});
    let approvals = [until(APPROVALS[0], "2100-01-01T00:00:00Z"), until(APPROVALS[1], "2026-01-01T00:00:00Z")];
    often(random, 2, "approvals", json!(approvals));
    let (headroom, prior) = (share(random, 0, 25), share(random, 0, 10));
    often(random, 4, "headroom", json!(headroom));
    often(random, 4, "prior_failure", json!(prior));
    let bytes = 1 + random.below(8);
    often(random, 4, "bytes_per_token", json!(bytes));
    settings
}

fn threshold(random: &mut Random) -> Value {
    let soft = random.below(80);
    let hard = soft + random.below(21);
    let mut threshold =
        json!({"queue_depth": random.below(300), "memory_soft": part(soft, 100), "memory_hard": part(hard, 100)});
    let one = ["interconnect", "rack_congestion", "east_west", "power_headroom", "cooling_headroom", "link", "failure"];
    for name in one {
        if once_in(random, 3) {
            // Headroom is asked for at least, load at most.
            let at = if name.ends_with("headroom") || name == "link" {
                share(random, 0, 20)
            } else {
                share(random, 50, 100)
            };
            threshold[name] = json!(at);
        }
    }
    if once_in(random, 3) {
        threshold["rate_remaining"] = random.below(60).into();
    }
    threshold
}

/// What may be known of them.
pub fn snapshot(random: &mut Random, many: usize, now_ms: u64) -> Snapshot {
    let ago = |random: &mut Random| now_ms - u64::try_from(random.below(15_000)).unwrap();
    let health = |random: &mut Random, at: usize| {
        let mut health = Health::unknown(&format!("s{at}"));
        for _ in 0..random.below(6) {
            // What governs most kinds is said more often than the rest.
            let often = [Signal::QueueDepth, Signal::MemoryPressure, Signal::InFlight, Signal::FailureRate];
            let signal =
                if once_in(random, 3) { often[random.below(4)] } else { Signal::ALL[random.below(Signal::ALL.len())] };
            let value = i64::try_from(random.below(1_200_000) >> random.below(21)).unwrap();
            health.set(signal, Reading { value, at_ms: ago(random) });
        }
        let until_ms = now_ms + u64::try_from(random.below(4_000)).unwrap();
        health.circuit = match random.below(16) {
            0 => Circuit::Open { until_ms },
            1 => Circuit::HalfOpen { slot: u8::try_from(random.below(3)).unwrap(), probes: 1, until_ms },
            _ => Circuit::Closed,
        };
        health.admission = match random.below(24) {
            0 => Admission::Closed,
            1 => Admission::Existing,
            _ => Admission::All,
        };
        if once_in(random, 3) {
            let jurisdiction = Country::parse(random.pick(&COUNTRIES)).unwrap();
            health.attestation = Some(Attestation { jurisdiction, at_ms: ago(random) });
        }
        health.since_ms = once_in(random, 6).then(|| ago(random));
        health.retry_at_ms = once_in(random, 20).then_some(until_ms);
        health.share_ppm = u32::try_from(random.below(1_000_001)).unwrap();
        health
    };
    let substrates = (0..many).map(|at| health(random, at)).collect();
    Snapshot { writer: 7, epoch: 0, at_ms: now_ms, interval_ms: 1_000, slots: 2, substrates }
}

/// The headers of a request.
pub fn headers(random: &mut Random) -> Vec<(&'static str, String)> {
    let mut all = vec![(":method", "POST".to_string()), (":path", "/v1/chat/completions?x=1".to_string())];
    let mut say = |random: &mut Random, name, value: String| {
        if random.below(6) > 0 {
            all.push((name, value));
        }
    };
    let word = |random: &mut Random, pool: &[&str]| random.pick(pool).to_string();
    let value = format!("{:016x}", random.next());
    say(random, "x-request-id", value);
    let value = word(random, &["acme", "acme", "globex", "globex", "initech", "initech", "initech", "nobody"]);
    say(random, "x-tenant", value);
    let value = word(random, &["chat", "agent", "rest", "else"]);
    say(random, "x-workload", value);
    let value = word(random, &[MODELS[0], MODELS[0], MODELS[0], MODELS[1], MODELS[0], MODELS[0], MODELS[2]]);
    say(random, "x-model", value);
    let value = (random.below(200_000) >> random.below(12)).to_string();
    say(random, "x-tokens", value);
    let value = word(random, &DATA);
    say(random, "x-data", value);
    if once_in(random, 3) {
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
            ("x-region", word(random, &REGIONS)),
            ("x-zone", word(random, &ZONES)),
            ("x-approval", word(random, &[APPROVALS[0], APPROVALS[1], "forged"])),
            ("x-deadline", random.below(90_000).to_string()),
            ("x-again", "key".into()),
            ("x-placement-budget", format!("ms={}, attempts={}", random.below(9_000), 1 + random.below(3))),
        ];
        let from = random.below(more.len());
        all.extend(more.into_iter().cycle().skip(from).take(1 + random.below(5)));
    }
    all
}

/// A JSON body: what it says of the work at its beginning or behind a long text, whole or cut anywhere.
pub fn body(random: &mut Random) -> Vec<u8> {
    let mut said = vec![format!(r#""messages": [{{"content": "{}"}}]"#, "x ".repeat(random.below(2_000)))];
    if random.below(4) > 0 {
        said.push(format!(r#""model": "{}""#, random.pick(&MODELS)));
    }
    if once_in(random, 2) {
        said.push(format!(r#""max_tokens": {}"#, random.below(20_000)));
    }
    if once_in(random, 3) {
        said.push(format!(r#""stream": {}"#, once_in(random, 2)));
    }
    if once_in(random, 4) {
        said.push(r#""tools": [{"type": "function"}], "response_format": {"type": "json_schema"}"#.into());
    }
    if once_in(random, 3) {
        said.push(format!(r#""metadata": {{"class-of-data": "{}"}}"#, random.pick(&DATA)));
    }
    if once_in(random, 8) {
        said.push(format!(r#""model": "{}""#, random.pick(&MODELS)));
    }
    let from = random.below(said.len());
    said.rotate_left(from);
    let mut body = format!("{{{}}}", said.join(", ")).into_bytes();
    if once_in(random, 6) {
        body.truncate(1 + random.below(body.len()));
    }
    if once_in(random, 12) {
        let at = random.below(body.len());
        body[at] = random.next().to_le_bytes()[3];
    }
    body
}

/// The placement role's configuration over this policy, where headers say everything and one policy decides.
pub fn configuration(random: &mut Random, policy: &Value) -> Value {
    let attach = random.pick(&["simple", "full"]);
    let fact = |name: &str| json!({"header": format!("x-{name}"), "trusted": true});
    json!({"role": "placement", "policy": policy, "attach": attach, "decision_response": once_in(random, 2),
        "decision_upstream": once_in(random, 2), "trusted_headers": ["x-workload"], "features_header": "x-needs",
        "facts": {"tenant": fact("tenant"), "model": {"header": "x-model"},
            "input_tokens": {"header": "x-tokens"}, "data": {"header": "x-data", "trusted": once_in(random, 2)},
            "residency": {"header": "x-residency"}, "session": {"header": "x-session"}, "approval": fact("approval"),
            "region": fact("region"), "zone": {"header": "x-zone", "trusted": once_in(random, 2)},
            "deadline_ms": {"header": "x-deadline", "trusted": once_in(random, 2)}}})
}

/// What else a configuration may ask for, each now and then: lanes, a candidate, bodies, hops, what is left behind.
/// `bodies`: whether the module has the callbacks for them.
pub fn with_more(random: &mut Random, configuration: &mut Value, bodies: bool) {
    let policy = configuration["policy"].clone();
    let many = policy["substrates"].as_array().unwrap().len();
    if once_in(random, 4) {
        let lane = |random: &mut Random, at: usize| {
            let from = random.below(many);
            let list: Vec<_> = (from..many).chain(0..from).take(2 + random.below(2)).map(|s| format!("s{s}")).collect();
            json!({"cluster": format!("lane-{at}"), "substrates": list})
        };
        let lanes: Vec<_> = (0..1 + random.below(20)).map(|at| lane(random, at)).collect();
        add(configuration, json!({"attach": "lanes", "lanes": lanes}));
    }
    if once_in(random, 3) {
        let zones = zones(policy["substrates"].as_array().unwrap());
        let mut candidate = policy;
        candidate["policy"]["version"] = 91.into();
        candidate["classes"] = json!(CLASSES.map(|name| class(random, name, many)));
        candidate["envelopes"].as_array_mut().unwrap().push(envelope(random, "more".into(), many));
        add(&mut candidate, settings(random, &zones));
        candidate["rollout"] = match random.below(3) {
            0 => json!({"share": share(random, 0, 100), "only": {"tenant": ["acme", "globex"]}}),
            1 => json!({"share": share(random, 0, 100), "classes": some(random, &CLASSES)}),
            _ => json!({"share": share(random, 0, 100)}),
        };
        let by = random.pick(&["tenant", "session", "request"]);
        let canary = json!({"by": by, "least": 1 + random.below(40), "window_s": 1 + random.below(9), "shed": share(random, 0, 100), "outside": share(random, 0, 100)});
        add(configuration, json!({"candidate": candidate, "canary": canary}));
    }
    if bodies && once_in(random, 2) {
        let bytes = 1 << random.below(15);
        let body = json!({"headers_stop": true, "prefix_bytes": bytes.max(256), "data_key": "class-of-data"});
        add(configuration, json!({"body": body}));
    }
    if once_in(random, 3) {
        add(configuration, json!({"hops": {"tell": once_in(random, 2), "trust": [PEER]}}));
    }
    if once_in(random, 3) {
        let keys = ["substrate", "class", "binding", "spill", "attempts"];
        add(configuration, json!({"replay": true, "hash_tenants": once_in(random, 2), "keys": some(random, &keys)}));
    }
    if once_in(random, 4) {
        add(configuration, json!({"mode": random.pick(&["shadow", "shadow", "passthrough"])}));
    }
    if once_in(random, 4) {
        add(configuration, json!({"idempotency_header": "x-again", "trust_path": true, "sample": 1 + random.below(9)}));
    }
}

/// The peer that is believed.
pub const PEER: &str = "spiffe://mesh/sidecar";
