//! What a request gets that has no place to run: an answer at once, with the reason, and nothing about other tenants.

use super::Host;
use super::placement::Verdict;
use crate::model::contract::DECISION_HEADER;
use crate::model::{Decision, Outcome};

/// Answers a refused request.
pub(super) fn answer<H: Host>(host: &H, decision: &Decision, record: Option<&str>) -> Verdict {
    let Outcome::Refused { status, reason, retry_after_s } = decision.outcome else { return Verdict::Continue };
    let code = format!("{}/{}", reason.code.dimension().as_str(), reason.code.as_str());
    let body = serde_json::json!({
        "type": format!("urn:berth:refusal:{}:{}", reason.code.dimension().as_str(), reason.code.as_str()),
        "title": title(status),
        "status": status,
        "detail": reason.code.meaning().trim(),
        "reason": code,
        "decision": format!("{:016x}", decision.id),
    });
    let retry = retry_after_s.map(|s| s.to_string());
    let mut headers = vec![("content-type", "application/problem+json"), ("cache-control", "no-store")];
    if let Some(record) = record {
        headers.push((DECISION_HEADER, record));
    }
    if let Some(retry) = &retry {
        headers.push(("retry-after", retry));
    }
    match host.respond(status, &headers, body.to_string().as_bytes()) {
        Ok(()) => Verdict::Answered,
        // The host would not answer for us. Going on without the cluster header reaches the operator's safe route.
        Err(_) => Verdict::Continue,
    }
}

const fn title(status: u16) -> &'static str {
    match status {
        403 => "No permitted substrate",
        422 => "No capable substrate",
        429 => "No budget or capacity at present",
        _ => "No substrate available at present",
    }
}
