//! What the plugin is told besides its policy, looked at before it is rendered: the names and kinds of its fields. The
//! plugin reads them itself and has the last word on what they mean.

use super::forms::Anything;
use crate::model::FactName;
use crate::model::contract::Key;
use crate::policy::{
    codes,
    forms::{Decimal, Flag, Header, Text, Word, decimal, ratio, whole},
    source::{Source, must_to, up_to},
};

const fn one_of(words: &'static [&'static str]) -> Word<&'static str> {
    Word(words, itself)
}

const fn itself(word: &'static str) -> &'static str {
    word
}

const fn count() -> Decimal<u32> {
    whole(0, 0xffff_ffff)
}

/// Fields of the placement role.
pub fn placement<S: Source>(s: &mut S) -> Option<()> {
    level(s);
    s.optional("mode", "Whether its decisions hold.", one_of(&["enforce", "shadow", "passthrough"]));
    s.optional("mirror", "In shadow, whether a copy is sent where the request would have gone.", Flag);
    s.sections("lanes", "Composite clusters, for `attach: lanes`.", up_to(4096), |s| {
        s.required("cluster", "The composite cluster.", Text(256));
        s.list("substrates", "What it consists of, in this order.", Text(63), must_to(3));
        Some(())
    });
    s.section_if("hops", "What the next hop is told, and which is believed.", |s| {
        s.optional("tell", "Whether the next hop is told what is left.", Flag);
        s.list("trust", "Peers that are believed, by their SPIFFE identity.", Text(512), up_to(256));
        Some(())
    });
    s.section_if("body", "The beginning of JSON bodies is read.", |s| {
        s.optional("headers_stop", "Filled in.", Flag);
        s.optional("prefix_bytes", "How much of it.", count());
        s.optional("hold_ms", "How long a slow client is waited for.", count());
        s.optional("data_key", "The key of the body's `metadata` with the data class.", Text(256));
        Some(())
    });
    s.optional("candidate", "A policy that is tried on a share of the traffic.", Anything);
    s.section_if("canary", "When the candidate is called back.", canary);
    s.section_map(
        "facts",
        "What says each fact: a header or a property.",
        Word(&FactName::ALL, FactName::as_str),
        |s| {
            s.optional("header", "The header.", Text(128));
            s.list("property", "The way to a property of the stream, instead.", Text(256), up_to(16));
            match (s.has("header"), s.has("property")) {
                (false, false) => s.wrong("header", codes::MISSING_FIELD, "a header, or a `property`"),
                (true, true) => s.wrong("property", codes::CONTRADICTION, "one of `header` and `property`"),
                _ => {}
            }
            s.optional("trusted", "Whether nobody but your own proxy can set it.", Flag);
            Some(())
        },
    );
    s.optional("features_header", "The header that lists features.", Header);
    s.optional("idempotency_header", "The header of requests that may be done twice.", Header);
    s.list("trusted_headers", "Headers in predicates that can be believed.", Text(128), up_to(256));
    s.optional("trust_path", "Whether path and method can be believed.", Flag);
    s.optional("refresh_ms", "How often the picture is refreshed.", count());
    s.optional("deadline_header", "Whether the router is told the deadline.", Flag);
    s.optional("accounting", "Whether decisions leave anything behind.", Flag);
    s.optional("decision_upstream", "Whether substrates are sent the decision; never providers.", Flag);
    s.optional("decision_response", "Whether answers carry the decision.", Flag);
    s.optional("replay", "Whether the replay record is left.", Flag);
    s.optional("hash_tenants", "Whether tenants stand in it, and in metrics of their budgets, as digests.", Flag);
    s.list("keys", "Single keys in filter state.", Word(&Key::ALL, Key::as_str), up_to(Key::ALL.len()));
    s.optional("sample", "One decision in so many is looked at closely.", count());
    s.optional("time_sample", "The stages of one decision in so many are timed.", count());
    s.optional("outcomes", "The end of one placed request in so many is looked at.", count());
    Some(())
}

/// Fields of the telemetry role.
pub fn telemetry<S: Source>(s: &mut S) -> Option<()> {
    level(s);
    s.sections("sources", "Where health is pulled from.", up_to(4096), source);
    s.optional("tick_ms", "How often the role wakes.", count());
    s.section_if("listener", "What it answers on a listener of its own.", |s| {
        s.optional("headers_stop", "Filled in.", Flag);
        s.optional("read", "Who may read.", one_of(&["nobody", "writers", "anyone"]));
        s.sections("writers", "Who may write.", up_to(4096), writer);
        s.optional("most_body_bytes", "How large a report may be.", count());
        s.optional("most_per_s", "How many a second.", count());
        s.optional("keep_snapshots", "How many snapshots are kept.", count());
        Some(())
    });
    Some(())
}

/// A whole plugin configuration, of either role.
pub fn plugin<S: Source>(s: &mut S) -> Option<()> {
    s.required("role", "What the plugin does.", one_of(&["placement", "telemetry"]));
    s.optional("policy", "The policy.", Anything);
    s.optional("attach", "How decisions reach the router.", one_of(&["simple", "full", "lanes"]));
    s.optional("observe", "Whether it only looks at answers, inside a cluster.", Flag);
    s.optional("histograms", "Whether it measures times there, by cluster and size, as histograms.", Flag);
    placement(s);
    telemetry(s)
}

fn level<S: Source>(s: &mut S) {
    s.optional("log_level", "How much is logged.", one_of(&["error", "warn", "info", "debug", "trace"]));
}

fn canary<S: Source>(s: &mut S) -> Option<()> {
    s.optional("by", "What a share is a share of.", one_of(&["tenant", "session", "request"]));
    s.optional("window_s", "The window.", count());
    s.optional("least", "Only once so many were seen.", count());
    let factor = || decimal::<i64>(6, 0, 1_000_000_000_000, "");
    for (name, doc) in [
        ("failure", "How many more may fail."),
        ("first_byte", "How much later the first byte may be."),
        ("cost", "How much more it may cost."),
        ("shed", "How many more may be shed."),
        ("outside", "How many may be placed where the other policy would not."),
    ] {
        s.optional(name, doc, factor());
    }
    Some(())
}

fn source<S: Source>(s: &mut S) -> Option<()> {
    s.required("cluster", "The cluster that is asked.", Text(256));
    s.required("path", "For what.", Text(4096));
    s.optional("authority", "Under which name.", Text(255));
    s.optional("substrate", "The one that it speaks of.", Text(63));
    s.optional("format", "What the answer is written in.", one_of(&FORMATS));
    s.optional("mappings", "Metrics of your own.", Anything);
    s.optional("interval_ms", "From one question to the next.", count());
    s.optional("timeout_ms", "How long an answer may take.", count());
    s.optional("jitter", "By what part of the interval a question may be early.", ratio());
    s.list("except", "Clusters that `clusters` says nothing of.", Text(256), up_to(4096));
    Some(())
}

const FORMATS: [&str; 10] =
    ["berth", "clusters", "query", "vllm", "sglang", "tgi", "triton", "dcgm", "node", "prometheus"];

fn writer<S: Source>(s: &mut S) -> Option<()> {
    s.required("name", "Its name.", Text(63));
    s.optional("token", "Its bearer token.", Text(4096));
    s.optional("token_sha256", "The digest of it.", Text(64));
    s.optional("san", "The identity in its certificate.", Text(512));
    s.list("reports", "The substrates that it may report.", Text(63), up_to(4096));
    s.optional("rollout", "Whether it may switch the rollout.", Flag);
    Some(())
}
