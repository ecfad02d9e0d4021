//! The telemetry listener, as it stands in the configuration. Closed unless something here opens it.

use super::{refuse, within_numbers};
use crate::filter::store::MOST_KEPT;
use crate::filter::telemetry_config::desk::{
    Credential, DeskConfig, MOST_TOKEN, Readers, Reports, TokenDigest, Writer,
};
use crate::policy::Policy;
use crate::policy::tree::shorten;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// A token that is shorter could be guessed.
const LEAST_TOKEN: usize = 16;
/// The most writers.
const MOST_WRITERS: usize = 1_024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    #[serde(default)]
    headers_stop: bool,
    read: Option<RawReaders>,
    #[serde(default)]
    writers: Vec<RawWriter>,
    most_body_bytes: Option<u32>,
    most_per_s: Option<u32>,
    keep_snapshots: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawReaders {
    Nobody,
    Writers,
    Anyone,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWriter {
    name: String,
    token: Option<String>,
    token_sha256: Option<String>,
    san: Option<String>,
    #[serde(default)]
    reports: Vec<String>,
    #[serde(default)]
    rollout: bool,
}

impl core::fmt::Debug for RawWriter {
    /// Without the token.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RawWriter").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(super) fn desk(raw: &RawListener, policy: &Policy) -> Result<DeskConfig, String> {
    if raw.writers.len() > MOST_WRITERS {
        let found = raw.writers.len();
        return Err(refuse(&format!("listener.writers: found {found}, expected at most {MOST_WRITERS}")));
    }
    if !raw.writers.is_empty() && !raw.headers_stop {
        return Err(refuse(
            "listener.headers_stop: missing, expected `true`, and beside this configuration \
             `allow_on_headers_stop_iteration: true`, without which the body of a report never arrives",
        ));
    }
    let writers: Vec<Writer> =
        raw.writers.iter().enumerate().map(|(n, w)| writer(n, w, policy)).collect::<Result<_, _>>()?;
    for (n, one) in writers.iter().enumerate() {
        if let Some(m) = writers.iter().take(n).position(|other| other.credential == one.credential) {
            return Err(refuse(&format!("listener.writers[{n}]: has the credential of writers[{m}]")));
        }
    }
    let most_body = within_numbers("listener.most_body_bytes", raw.most_body_bytes.unwrap_or(65_536), 256..=1_048_576)?;
    Ok(DeskConfig {
        readers: match raw.read {
            Some(RawReaders::Nobody) => Readers::Nobody,
            Some(RawReaders::Writers) | None => Readers::Writers,
            Some(RawReaders::Anyone) => Readers::Anyone,
        },
        writers,
        most_body: usize::try_from(most_body).unwrap_or(usize::MAX),
        most_per_s: within_numbers("listener.most_per_s", raw.most_per_s.unwrap_or(100), 1..=100_000)?,
        keep_snapshots: within_numbers("listener.keep_snapshots", raw.keep_snapshots.unwrap_or(0), 0..=MOST_KEPT)?,
    })
}

fn writer(n: usize, raw: &RawWriter, policy: &Policy) -> Result<Writer, String> {
    let place = |field: &str| format!("listener.writers[{n}]{field}");
    if raw.name.is_empty() || raw.name.len() > 63 {
        return Err(refuse(&format!("{}: found {} bytes, expected 1 to 63", place(".name"), raw.name.len())));
    }
    let credential = match (&raw.token, &raw.token_sha256, &raw.san) {
        (Some(token), None, None) => Credential::Token(digest_of(&place(".token"), token)?),
        (None, Some(hex), None) => Credential::Token(read_hex(&place(".token_sha256"), hex)?),
        (None, None, Some(san)) if (1..=MOST_TOKEN).contains(&san.len()) => Credential::San(san.clone()),
        (None, None, Some(_)) => return Err(refuse(&format!("{}: expected a URI", place(".san")))),
        _ => return Err(refuse(&format!("{}: expected one of token, token_sha256 and san", place("")))),
    };
    if raw.reports.is_empty() && !raw.rollout {
        return Err(refuse(&format!("{}: may do nothing, expected `reports` or `rollout`", place(""))));
    }
    let reports = reports(&place(".reports"), &raw.reports, policy)?;
    Ok(Writer { name: raw.name.clone(), credential, reports, rollout: raw.rollout })
}

/// Messages never repeat a token.
fn digest_of(place: &str, token: &str) -> Result<TokenDigest, String> {
    let visible = token.bytes().all(|b| b.is_ascii_graphic());
    if visible && (LEAST_TOKEN..=MOST_TOKEN).contains(&token.len()) {
        return Ok(Sha256::digest(token.as_bytes()).into());
    }
    Err(refuse(&format!("{place}: expected {LEAST_TOKEN} to {MOST_TOKEN} visible characters without spaces")))
}

fn read_hex(place: &str, hex: &str) -> Result<TokenDigest, String> {
    let wrong = || refuse(&format!("{place}: expected 64 hexadecimal digits, the SHA-256 of the token"));
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = core::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

fn reports(place: &str, names: &[String], policy: &Policy) -> Result<Reports, String> {
    if names.iter().any(|name| name == "*") {
        return match names.len() {
            1 => Ok(Reports::All),
            _ => Err(refuse(&format!("{place}: found `*` beside others, expected it alone"))),
        };
    }
    let known = &policy.document().substrates;
    let position = |name: &String| {
        known.iter().position(|s| s.name.as_str() == name.as_str()).ok_or_else(|| {
            let names: Vec<_> = known.iter().take(16).map(|s| s.name.as_str()).collect();
            refuse(&format!("{place}: found `{}`, expected `*` or some of {}", shorten(name), names.join(", ")))
        })
    };
    let mut positions = names.iter().map(position).collect::<Result<Vec<_>, _>>()?;
    positions.sort_unstable();
    positions.dedup();
    Ok(Reports::Only(positions))
}
