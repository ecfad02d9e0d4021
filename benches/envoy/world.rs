//! The policy that everybody decides by, at any number of substrates, and the request that is sent.
//!
//! Three of the substrates stand out in quality and are permitted, a fourth is better still and forbidden: so the plan
//! is the same at each size, there is something that binds, and every way of deciding can be seen to agree.

use serde_json::{Value, json};

/// Who is asked for: trusted facts and claims, as headers that come before Berth's own.
pub(crate) const HEADERS: [(&str, &str); 8] = [
    ("host", "api.example"),
    ("user-agent", "openai-python/1.50.2"),
    ("authorization", "Bearer 0123456789abcdef0123456789abcdef0123456789ab"),
    ("accept", "application/json"),
    ("x-tenant", "acme"),
    ("x-workload", "chat"),
    ("x-model", "llama-3.3-70b"),
    ("x-prompt-tokens", "1200"),
];

/// What one substrate declares, as far as a decision looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) country: &'static str,
    pub(crate) quality_ppm: i64,
    pub(crate) first_token_ms: i64,
    /// In micro-dollars per million tokens: pico-dollars per token.
    pub(crate) output_pusd: i64,
}

/// What all of them declare alike.
pub(crate) const PREFILL_MS_PER_KTOK: i64 = 10;
pub(crate) const MS_PER_TOKEN: i64 = 1;
pub(crate) const INPUT_PUSD: i64 = 100_000;
/// What the class is worth, and how long its answers usually are.
pub(crate) const ANSWER_UUSD: i64 = 20_000;
pub(crate) const SECOND_UUSD: i64 = 200;
pub(crate) const OUTPUT_TOKENS: i64 = 256;
pub(crate) const DEADLINE_MS: i64 = 60_000;

/// The substrates of a world of this size.
pub(crate) fn substrates(size: usize) -> Vec<Declared> {
    let forbidden = (0..size).rev().find(|i| i % 4 == 3).unwrap_or(0);
    (0..size)
        .map(|i| Declared {
            name: format!("s{i}"),
            country: ["FR", "DE", "IE", "US"][i % 4],
            quality_ppm: match size - i {
                _ if i == forbidden => 990_000,
                2 => 950_000,
                4 => 900_000,
                6 => 850_000,
                _ => 300_000 + 1_000 * i64::try_from(i * 7_919 % 400).unwrap_or(0),
            },
            first_token_ms: 20 + i64::try_from(i % 7).unwrap_or(0),
            output_pusd: 400_000 + 1_000 * i64::try_from(i % 11).unwrap_or(0),
        })
        .collect()
}

/// The first of the plan that everybody should come to: the home of all classes.
pub(crate) fn home(size: usize) -> Declared {
    substrates(size).swap_remove(size - 2)
}

/// Its cluster.
pub(crate) fn expected(size: usize) -> String {
    home(size).name
}

/// The clusters that a plan can name.
pub(crate) fn plan(size: usize) -> [String; 3] {
    [2, 4, 6].map(|back| format!("s{}", size - back))
}

fn usd_per_mtok(pusd: i64) -> f64 {
    pusd as f64 / 1e6
}

/// The policy document.
pub(crate) fn policy(size: usize) -> Value {
    let substrate = |d: &Declared| {
        json!({
            "name": d.name, "cluster": d.name, "kind": "gpu", "account": "acme",
            "location": {"jurisdiction": d.country, "region": "r1", "zone": format!("z-{}", d.name)},
            "sovereignty": {"subject_to": [d.country]},
            "capabilities": {"models": {"llama-3.3-70b": {"quality": d.quality_ppm as f64 / 1e6}},
                "context_tokens": 131_072, "features": ["streaming", "tools"]},
            "latency": {"first_token_ms": d.first_token_ms, "prefill_ms_per_ktok": PREFILL_MS_PER_KTOK, "ms_per_token": MS_PER_TOKEN},
            "cost": {"regime": "reserved", "input_usd_per_mtok": usd_per_mtok(INPUT_PUSD), "output_usd_per_mtok": usd_per_mtok(d.output_pusd)},
            // More than is ever sent: what is measured is deciding, not running out.
            "capacity": {"concurrency": 1_000_000}
        })
    };
    let class = |name: &str, tier: &str| {
        json!({"name": name, "tier": tier, "match": {"header": "x-workload", "is": name}, "home": [expected(size)],
            "deadline_ms": DEADLINE_MS, "usual_output_tokens": OUTPUT_TOKENS, "attempts": {"most": 3},
            "worth": {"answer_usd": ANSWER_UUSD as f64 / 1e6, "second_usd": SECOND_UUSD as f64 / 1e6, "failure_usd": 0}})
    };
    json!({
        "berth": 1, "policy": {"name": "bench", "version": 1, "owner": "benchmarks"},
        "jurisdictions": {"EU": ["DE", "FR", "IE"]},
        "substrates": substrates(size).iter().map(substrate).collect::<Vec<_>>(),
        "classes": [class("chat", "critical"), class("agent", "standard"), class("nightly", "batch")],
        "default_class": "nightly", "selection": {"margin": 0.01, "plan": 3},
        "envelopes": [
            {"name": "eu", "applies_to": {"tenants": ["acme", "globex"]}, "permit": {"jurisdictions": ["EU"], "subject_to": ["EU"]}, "spillover": "jurisdiction"},
            {"name": "us", "applies_to": {"tenants": ["initech"]}, "permit": {"jurisdictions": ["US"]}, "spillover": "any"},
            {"name": "trial", "applies_to": {"tenants": ["hooli"]}, "permit": {"jurisdictions": ["EU", "US"]}, "forbid": {"accounts": ["trial"]}, "spillover": "any"},
        ]
    })
}

/// The placement role's configuration, with what is given besides.
pub(crate) fn placement(size: usize, more: &Value) -> Value {
    let mut configuration = json!({
        "role": "placement", "policy": policy(size), "trusted_headers": ["x-workload"],
        "facts": {"tenant": {"header": "x-tenant", "trusted": true}, "model": {"header": "x-model"},
            "input_tokens": {"header": "x-prompt-tokens"}}
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        configuration[key] = value.clone();
    }
    configuration
}

/// The telemetry role's: each substrate asked for its health over one cluster, by its own path.
pub(crate) fn telemetry(size: usize, every_ms: u32) -> Value {
    let source = |d: &Declared| {
        json!({"cluster": expected(size), "path": format!("/health/{}", d.name), "format": "berth",
            "substrate": d.name, "interval_ms": every_ms, "timeout_ms": 500})
    };
    json!({"role": "telemetry", "policy": policy(size),
        "sources": substrates(size).iter().map(source).collect::<Vec<_>>()})
}

/// A chat request's body of about so many bytes.
pub(crate) fn body(bytes: usize) -> String {
    let ask = "Summarise the incident report in five points. ";
    let prompt = ask.repeat(1 + bytes.saturating_sub(120) / ask.len());
    json!({"model": "llama-3.3-70b", "max_tokens": OUTPUT_TOKENS, "messages": [{"role": "user", "content": prompt}]})
        .to_string()
}
