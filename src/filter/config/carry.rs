//! What a request carries beside its headers: the beginning of its body, and what the hop before says of it.

use super::raw::{RawBody, RawHops};
use super::{TICK_MS, refuse, within};
use crate::filter::CALLBACKS;
use crate::filter::body::BodySource;
use crate::filter::hop::Hops;
use crate::policy::tree::shorten;
use core::ops::RangeInclusive;

/// The fewest and most bytes of a body that are looked at.
const PREFIX_BYTES: RangeInclusive<u32> = 256..=65_536;
const DEFAULT_PREFIX_BYTES: u32 = 16_384;
const DEFAULT_HOLD_MS: u32 = 250;

pub(super) fn body(raw: &RawBody) -> Result<BodySource, String> {
    // It would hold each request until its time is over.
    if !CALLBACKS {
        return Err(refuse("body: this file sees no bodies, expected it to be absent or `berth.wasm`, which does"));
    }
    if !raw.headers_stop {
        return Err(refuse(
            "body.headers_stop: expected `true`, and beside it `allow_on_headers_stop_iteration: true` in the proxy's \
             plugin configuration: without that the proxy never hands a held request's body over, and it hangs",
        ));
    }
    let prefix = raw.prefix_bytes.unwrap_or(DEFAULT_PREFIX_BYTES);
    if !PREFIX_BYTES.contains(&prefix) {
        let (least, most) = (PREFIX_BYTES.start(), PREFIX_BYTES.end());
        return Err(refuse(&format!("body.prefix_bytes: found {prefix}, expected {least} to {most}")));
    }
    let hold_ms = within("body.hold_ms", raw.hold_ms.unwrap_or(DEFAULT_HOLD_MS), TICK_MS)?;
    Ok(BodySource { prefix_bytes: prefix as usize, hold_ms, data_key: raw.data_key.clone() })
}

pub(super) fn hops(raw: RawHops) -> Result<Hops, String> {
    match raw.trust.iter().enumerate().find(|(_, identity)| !identity.as_bytes().windows(3).any(|part| part == b"://"))
    {
        Some((at, identity)) => Err(refuse(&format!(
            "hops.trust[{at}]: found `{}`, expected an identity such as `spiffe://mesh/ns/apps/sa/gateway`",
            shorten(identity)
        ))),
        None => Ok(Hops { tell: raw.tell, trust: raw.trust }),
    }
}
