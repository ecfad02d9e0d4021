//! One policy for tests: two European substrates that serve personal data, one American provider that must not.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::indexing_slicing,
    reason = "each test binary uses its own part of this"
)]

use serde_json::{Value, json};

/// The period of the telemetry sources in tests.
pub const PERIOD_MS: u64 = 200;

/// The policy of the mesh: two European substrates that serve personal data, one American provider that must not.
pub fn policy() -> Value {
    let substrate = |name: &str, kind: &str, country: &str, more: Value| {
        let mut it = json!({
            "name": name, "cluster": name, "kind": kind, "account": "acme",
            "location": {"jurisdiction": country, "region": "r1", "zone": format!("z-{name}")},
            "sovereignty": {"subject_to": [country]},
            "capabilities": {"models": {"llama-3.3-70b": {"quality": 0.8}}, "context_tokens": 131_072, "features": ["streaming", "tools"]},
            "latency": {"first_token_ms": 200, "prefill_ms_per_ktok": 50, "ms_per_token": 20},
            "cost": {"regime": "reserved", "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4},
            "capacity": {"concurrency": 64}
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            it[key] = value.clone();
        }
        it
    };
    json!({
        "berth": 1,
        "policy": {"name": "test-mesh", "version": 3, "owner": "tests"},
        "jurisdictions": {"EU": ["DE", "FR"]},
        "substrates": [
            substrate("metal-fr", "sovereign", "FR", json!({})),
            substrate("onprem-de", "gpu", "DE", json!({"latency": {"first_token_ms": 400, "prefill_ms_per_ktok": 50, "ms_per_token": 25}})),
            substrate("provider-us", "provider", "US", json!({"latency": {"first_token_ms": 100, "prefill_ms_per_ktok": 10, "ms_per_token": 8}}))
        ],
        "classes": [{
            "name": "interactive", "match": {"header": "x-workload", "is": "chat"}, "tier": "critical",
            "home": ["metal-fr"], "deadline_ms": 10000,
            "worth": {"answer_usd": 0.02, "second_usd": 0.002, "failure_usd": 0.05}
        }, {
            "name": "standard", "match": {"header": "x-workload", "is": "standard"}, "home": ["metal-fr"], "deadline_ms": 30000,
            "worth": {"answer_usd": 0.02, "second_usd": 0.002, "failure_usd": 0.05}
        }],
        "default_class": "standard",
        // By default a substrate that was full is left alone for half a minute: longer than a test likes to wait.
        "breaking": {"dwell_ms": 200, "hold_down_ms": 400},
        "envelopes": [{
            "name": "eu-personal", "applies_to": {"tenants": ["acme"]},
            "permit": {"jurisdictions": ["EU"], "subject_to": ["EU"]}, "spillover": "jurisdiction"
        }, {
            "name": "open", "applies_to": {"tenants": ["initech"]}, "permit": {}, "spillover": "any"
        }]
    })
}

/// The placement role's configuration.
pub fn placement(policy: &Value) -> Value {
    json!({"role": "placement", "policy": policy, "trusted_headers": ["x-workload"], "decision_upstream": true, "decision_response": true,
        "facts": {"tenant": {"header": "x-tenant", "trusted": true}, "model": {"header": "x-model"}}})
}

/// The telemetry role's configuration: each substrate's health from its own cluster.
pub fn telemetry(policy: &Value) -> Value {
    let source = |name: &str| {
        json!({"cluster": name, "path": "/health", "format": "berth", "substrate": name,
            "interval_ms": PERIOD_MS, "timeout_ms": 150})
    };
    json!({"role": "telemetry", "policy": policy, "tick_ms": 50,
        "sources": [source("metal-fr"), source("onprem-de"), source("provider-us")]})
}

/// The telemetry role inside the clusters: the same for each.
pub fn observe() -> Value {
    json!({"role": "telemetry", "observe": true})
}
