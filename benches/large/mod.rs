//! Large policies, made up.

use std::fmt::Write;

/// A policy of that size as JSON.
pub(crate) fn policy(substrates: usize, classes: usize, envelopes: usize) -> String {
    let mut out = String::from(
        r#"{"berth":1,"policy":{"name":"big","version":1,"owner":"bench"},"jurisdictions":{"EU":["AT","DE","FR","NL"]},"substrates":["#,
    );
    for i in 0..substrates {
        let comma = if i > 0 { "," } else { "" };
        let (country, kind) = match i % 4 {
            0 => ("DE", "gpu"),
            1 => ("FR", "silicon"),
            2 => ("NL", "edge"),
            _ => ("US", "provider"),
        };
        let _ = write!(
            out,
            r#"{comma}{{"name":"s{i}","kind":"{kind}","account":"a{}","location":{{"jurisdiction":"{country}","region":"r{}","zone":"z{}"}},
            "sovereignty":{{"subject_to":["{country}"]}},"capabilities":{{"models":{{"llama-3.3-70b":{{"quality":0.82}},"llama-3.1-8b":{{"quality":0.68}}}},
            "context_tokens":131072,"features":["streaming","tools"]}},"latency":{{"first_token_ms":350,"prefill_ms_per_ktok":60,"ms_per_token":22}},
            "cost":{{"regime":"reserved","input_usd_per_mtok":0.1,"output_usd_per_mtok":0.4,"egress_usd_per_gb":0.09}},
            "capacity":{{"concurrency":64,"keep_for":{{"critical":0.25}}}}}}"#,
            i % 16,
            i % 32,
            i % 128,
        );
    }
    out.push_str(r#"],"classes":["#);
    for i in 0..classes {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(
            out,
            r#"{comma}{{"name":"c{i}","match":{{"any":[{{"header":"x-workload","is":"w{i}"}},{{"path_prefix":"/v{i}","streaming":true}}]}},"home":["s{}","s{}"],"deadline_ms":8000}}"#,
            i % substrates,
            (i + 1) % substrates
        );
    }
    out.push_str(r#"],"default_class":"c0","envelopes":["#);
    for i in 0..envelopes {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(
            out,
            r#"{comma}{{"name":"e{i}","applies_to":{{"tenants":["t{i}"]}},"permit":{{"jurisdictions":["EU","US"],"subject_to":["EU","US"]}},"forbid":{{"accounts":["a{}"]}},"spillover":"any"}}"#,
            i % 16
        );
    }
    out.push_str("]}");
    out
}
