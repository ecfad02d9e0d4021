//! Why requests were tried again, and where: each line of the router's own log is one attempt, and the next line of the
//! same request says where it went on.

use crate::lines::Logged;
use std::collections::{BTreeMap, VecDeque};

/// The most requests whose next attempt is awaited; the oldest gives way.
const MOST_AWAITED: usize = 4_096;

/// Attempts that came to nothing, by their requests.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    failed: BTreeMap<String, Failed>,
    order: VecDeque<String>,
}

/// Where an attempt failed, and by what.
#[derive(Debug)]
struct Failed {
    cluster: String,
    cause: String,
}

impl Awaited {
    /// An attempt has its line: says which fallback that was, if it was one.
    pub(super) fn attempt(&mut self, logged: &Logged) -> Option<String> {
        let id = logged.field("request_id")?;
        let cluster = logged.field("cluster").unwrap_or_else(|| String::from("-"));
        let before = self.failed.remove(&id);
        let fallback = before.map(|failed| format!("{} → {cluster}, {}", failed.cluster, failed.cause));
        if let Some(cause) = cause(logged) {
            if self.order.len() >= MOST_AWAITED
                && let Some(oldest) = self.order.pop_front()
            {
                self.failed.remove(&oldest);
            }
            self.order.push_back(id.clone());
            self.failed.insert(id, Failed { cluster, cause });
        }
        fallback
    }
}

/// What an attempt came to nothing by; `None` if it did not. The proxy's flags come first: what has one has no status of
/// the substrate's own.
fn cause(logged: &Logged) -> Option<String> {
    let flags = logged.field("flags").unwrap_or_default();
    let words = [("UF", "refused"), ("UT", "slow first byte"), ("UR", "reset"), ("UC", "reset"), ("UPE", "no HTTP")];
    let flagged = words.into_iter().find(|(flag, _)| flags.split(',').any(|one| one == *flag));
    if let Some((_, word)) = flagged {
        return Some(word.into());
    }
    match logged.field("status")?.parse::<u16>().ok()? {
        0 => Some(String::from("no answer")),
        status @ (429 | 500..) => Some(status.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Awaited, MOST_AWAITED};
    use crate::lines::Logged;

    fn line(id: &str, cluster: &str, status: u16, flags: &str) -> Logged {
        let line =
            serde_json::json!({"request_id": id, "cluster": cluster, "status": status, "flags": flags, "failure": "-"});
        Logged::parse(1, &line.to_string())
    }

    #[test]
    fn the_next_line_of_the_same_request_is_where_it_went_on() {
        let mut awaited = Awaited::default();
        let mut said = |id, cluster, status, flags| awaited.attempt(&line(id, cluster, status, flags));
        assert_eq!(said("1", "a", 429, "-"), None);
        assert_eq!(said("2", "a", 0, "UF"), None);
        assert_eq!(said("1", "b", 503, "-").unwrap(), "a → b, 429");
        assert_eq!(said("2", "c", 200, "-").unwrap(), "a → c, refused");
        assert_eq!(said("1", "c", 200, "-").unwrap(), "b → c, 503");
        // What came to an end is not gone on with.
        assert_eq!(said("1", "a", 200, "-"), None);
        assert_eq!(said("3", "a", 400, "-"), None);
        assert_eq!(said("3", "b", 200, "-"), None);
    }

    #[test]
    fn who_never_goes_on_is_forgotten() {
        let mut awaited = Awaited::default();
        for id in 0..3 * MOST_AWAITED {
            awaited.attempt(&line(&id.to_string(), "a", 500, "-"));
            assert!(awaited.failed.len() <= MOST_AWAITED && awaited.order.len() <= MOST_AWAITED);
        }
        let last = (3 * MOST_AWAITED - 1).to_string();
        assert!(awaited.attempt(&line(&last, "b", 200, "-")).is_some());
        assert_eq!(awaited.attempt(&line("0", "b", 200, "-")), None);
    }
}
