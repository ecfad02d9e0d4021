//! What a request gets that has no place to run: an answer at once, with the reason, and nothing about other tenants.

use super::Host;
use super::placement::Verdict;
use crate::health::json::text::{put, quote};
use crate::model::contract::DECISION_HEADER;
use crate::model::{Decision, Outcome, Reason};
use core::fmt::Write;

/// What everybody may know of a refusal: which one it was, and why; no name of a substrate, class or policy.
#[inline(never)]
pub(super) fn coarse(decision: &Decision, out: &mut String) {
    out.clear();
    if let Outcome::Refused { status, reason: Reason { code, .. }, .. } = decision.outcome {
        let (dimension, code) = (code.dimension().as_str(), code.as_str());
        // Writing to a String cannot fail.
        let _ = write!(out, "v=1, id=\"{:016x}\", refused={status}, reason={dimension}/{code}", decision.id);
    }
}

/// Answers a refused request, in the client's language.
#[inline(never)]
pub(super) fn answer<H: Host>(host: &H, decision: &Decision, record: Option<&str>, grpc: bool) -> Verdict {
    let Outcome::Refused { status, reason, retry_after_s } = decision.outcome else { return Verdict::Continue };
    let retry = retry_after_s.map(|s| (s.to_string(), u64::from(s).saturating_mul(1_000).to_string()));
    let mut headers = vec![("cache-control", "no-store")];
    headers.extend(record.map(|record| (DECISION_HEADER, record)));
    headers.extend(retry.iter().map(|(s, _)| ("retry-after", s.as_str())));
    let answered = if grpc {
        headers.extend(retry.iter().map(|(_, ms)| ("grpc-retry-pushback-ms", ms.as_str())));
        let code = reason.code;
        let message = format!("{}/{}: {}", code.dimension().as_str(), code.as_str(), code.meaning().trim());
        host.respond_grpc(status, grpc_status(status), &headers, &message)
    } else {
        headers.push(("content-type", "application/problem+json"));
        host.respond(status, &headers, problem(decision.id, status, &reason).as_bytes())
    };
    match answered {
        Ok(()) => Verdict::Answered,
        // The host would not answer for us. Going on without the cluster header reaches the operator's safe route.
        Err(_) => Verdict::Continue,
    }
}

/// RFC 9457.
fn problem(id: u64, status: u16, reason: &Reason) -> String {
    let (dimension, code) = (reason.code.dimension().as_str(), reason.code.as_str());
    let mut out = format!("{{\"decision\":\"{id:016x}\",\"detail\":");
    quote(&mut out, reason.code.meaning().trim());
    put(&mut out, ",\"reason\":\"", dimension);
    put(&mut out, "/", code);
    put(&mut out, "\",\"status\":", status);
    put(&mut out, ",\"title\":\"", title(status));
    put(&mut out, "\",\"type\":\"urn:berth:refusal:", dimension);
    put(&mut out, ":", code);
    out.push_str("\"}");
    out
}

/// What gRPC calls it: resource exhausted, permission denied, failed precondition, unavailable.
const fn grpc_status(status: u16) -> u8 {
    match status {
        429 => 8,
        403 => 7,
        422 => 9,
        _ => 14,
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
