//! Every metric of the placement role, in one list: what declares them, what describes them and the rules by which a
//! proxy makes labels of their names all read it.
//!
//! A metric is named `berth.NAME.LABEL.VALUE.LABEL.VALUE…`. Proxies know no labels; their rules cut them out again.

/// What all names begin with.
pub const PREFIX: &str = "berth.";

/// The most series of one metric. Where class times substrate would be more, the class is `all`.
pub const MOST_SERIES: usize = 1_024;

/// A metric of the placement role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, without [`PREFIX`].
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub meaning: &'static str,
}

/// Nobody reads it in a proxy.
const fn told(meaning: &'static str) -> &'static str {
    if cfg!(target_os = "wasi") { "" } else { meaning }
}

macro_rules! families {
    ($all:ident: $what:literal; $($name:ident = $text:literal $kind:ident [$($label:literal),*] $meaning:literal;)+) => {
        $(#[doc = $meaning] pub const $name: Family =
            Family { name: $text, kind: stringify!($kind), labels: &[$($label),*], meaning: told($meaning) };)+
        #[doc = $what]
        pub const $all: &[Family] = &[$($name,)+];
    };
}

families! {
    FAMILIES: "All metrics of the placement role, in the order of the documentation.";
    DECISIONS = "decisions" counter ["class", "substrate", "outcome"] "Decided requests; `outcome` is `placed`, or `refused` with substrate `none`.";
    REFUSALS = "refusals" counter ["class", "dimension", "reason"] "Refused requests, by class and by the reason of the most hopeful candidate.";
    REJECTED = "rejections" counter ["dimension", "reason"] "Rejected candidates of all decided requests, by every reason that each had.";
    BINDING = "binding" counter ["dimension", "reason"] "Decided requests, by what kept a better candidate away; `none` if nothing did.";
    SPILLOVERS = "spillovers" counter ["class", "border"] "Placements away from home, by class and by the widest border crossed; `none` if none was.";
    SPILL_EGRESS_ADDED = "spillover_egress_added_uusd" counter ["border"] "Micro-dollars of egress that spillovers are expected to add.";
    SPILL_COST_ADDED = "spillover_cost_added_uusd" counter ["border"] "Micro-dollars in all that spillovers are expected to add.";
    SPILL_COST_SAVED = "spillover_cost_saved_uusd" counter ["border"] "Micro-dollars in all that spillovers are expected to save.";
    SPILL_TIME_ADDED = "spillover_time_added_us" counter ["border"] "Microseconds that spillovers are expected to add.";
    SPILL_TIME_SAVED = "spillover_time_saved_us" counter ["border"] "Microseconds that spillovers are expected to save.";
    FRESHNESS = "freshness" counter ["fresh"] "Decided requests, by how fresh the picture was: `live`, `uncertain`, `stale`.";
    CLASSIFIED = "classified" counter ["by"] "Decided requests, by how the class was found: `trusted`, `claim`, `default`.";
    PLANNED = "planned" counter ["attempts"] "Placed requests, by how many attempts their plan has.";
    LAST_RESORT = "last_resort" counter [] "Placed requests whose only candidate did not stand well.";
    UNDECIDED = "undecided" counter ["cause"] "Requests left to the route without a header: `headers` could not be read, or the `cluster` or `plan` not be left.";
    BODY_LATE = "body_late" counter [] "Held requests whose client was slow with its body: decided by their headers.";
    UNSLOTTED = "unslotted" counter [] "Ticks of a worker that found no slot free to tell the others through: its placements are not in the snapshot.";
    COST = "cost_uusd" counter ["class", "regime"] "Micro-dollars that placed requests are expected to cost.";
    RUN = "run" counter ["class", "hardware", "revision"] "Placed requests, by what they were placed on: the labels `hardware` and `revision` of the substrate.";
    RUN_QUALITY = "run_quality_ppm" counter ["class", "hardware", "revision"] "Declared quality of those, summed in parts per million.";
    RUN_COST = "run_cost_uusd" counter ["class", "hardware", "revision"] "Micro-dollars that those are expected to cost.";
    WAYS = "ways" counter ["origin", "destination"] "Placed requests, by the caller's zone and the substrate's; `other` is a zone where no substrate is, `none` an unknown one.";
    ANSWERS = "answers" counter ["class", "hardware", "revision", "answer"] "With `outcomes`, what those came to whose end was looked at: `good`, `late` (good after the deadline, which for a stream is for its first byte), `failed`, `overloaded`, `refused` (a bad request), `abandoned` (by the client; or a limit of the proxy's ended an answer that the client may have stopped to read).";
    WENT = "destinations" counter ["went"] "With `outcomes`, where they went against their plan: `first`, `later` (a fallback), `lane`, `elsewhere` (another cluster than any planned), `nowhere`.";
    CROSSED = "crossed" counter ["border"] "With `outcomes`, each attempt of those requests, by the widest border that it crossed; `none` if none.";
    WAY_BYTES = "way_bytes" counter ["origin", "destination", "flow"] "With `outcomes`, bytes of their bodies, `flow` is `request` or `answer`, by the zone where they really went.";
    TIMED = "timed" counter [] "Decided requests whose stages were timed: one in `time_sample`.";
    STAGE_NS = "stage_ns" counter ["stage"] "Nanoseconds that those spent in each stage, summed.";
    SAMPLED = "sampled" counter [] "Decided requests that were looked at closely: one in `sample`.";
    ROUTERS = "routers" counter ["router", "verdict"] "Of those, what a router that looks at one thing would have done: `same`, `other`, `breach`, `nothing`.";
    BREACHES = "router_breaches" counter ["router", "dimension"] "Of those, breaches by the dimensions that such a router would have broken.";
    EPOCH = "snapshot.epoch" gauge [] "The epoch of the picture that this proxy decides from.";
    AGE_MS = "snapshot.age_ms" gauge [] "How old it is.";
    UNREADABLE = "snapshot.refused" counter [] "Snapshots that could not be read; the last good one ages.";
    TORN = "snapshot.torn" counter [] "Ticks that found a snapshot half written or unreadable shared data.";
    BUDGET_USED = "budget.used_ppm" gauge ["tenant"] "What a tenant has used of its budget in this proxy and window, in parts per million.";
    BUDGET = "budget.uusd" gauge ["tenant"] "Micro-dollars that this proxy may spend for it in a window.";
    BUDGET_WINDOW = "budget.window_s" gauge ["tenant"] "Seconds of a window; windows begin at multiples of it.";
    BUDGET_AGE = "budget.age_ms" gauge [] "How old is what a worker knows of all workers' spending; a day at most.";
    CANARY = "canary" gauge [] "0 without a candidate, 1 while one is tried, 2 since it was called back.";
    VERSION = "policy.version" gauge [] "The version of the policy.";
    FINGERPRINT = "policy.fingerprint" gauge [] "The first 32 bits of its digest, as a number: a fleet that disagrees shows two values.";
    BUILD = "build" gauge ["version", "sources"] "1, for the module's version, its dots written as `_`, and the digest of the sources that it was built of.";
    SUBSTRATE = "substrate_info" gauge ["substrate", "kind", "jurisdiction", "regime", "hardware", "revision", "capacity_layer", "cluster"] "1, for what the policy says of each substrate; labels that it does not give are `none`.";
}

families! {
    CHANGES: "What the telemetry role counts of each substrate; what else it shows are gauges without labels of their own.";
    CIRCUIT_CHANGES = "health.circuit_changes" counter ["substrate", "to"] "Changes of a substrate's circuit from one published picture to the next; `to` is `closed`, `half-open`, `open`.";
    ADMISSION_CHANGES = "health.admission_changes" counter ["substrate", "to"] "The same of its admission; `to` is `all`, `existing`, `closed`.";
}

families! {
    ATTEMPTS: "What the filters inside clusters count of attempts and the ones that follow them.";
    FALLBACKS = "fallbacks" counter ["from", "to", "cause"] "Attempts that followed one which came to nothing, by its cluster, theirs and why; a series begins with the first.";
}

families! {
    OBSERVED: "What the telemetry role measures inside clusters with `histograms`, of attempts that were answered well and to the end.";
    FIRST_BYTE_MS = "observed.first_byte_ms" histogram ["cluster", "size"] "Milliseconds from an attempt's beginning to the first byte of its answer, by the bytes of the request's body: up to `4k`, `16k`, `64k`, `256k`, `more`.";
    TOTAL_MS = "observed.total_ms" histogram ["cluster", "size"] "The same to the last byte.";
}

families! {
    SPREADS: "What the telemetry role shows of substrates among one another.";
    DIVERGENCE = "health.region_divergence" gauge ["region"] "How slow a region's substrates answer, each against its declared first token, beside those of their kind elsewhere, in parts per million: 1,000,000 is alike, 2,000,000 twice as slow; 0 where there is nothing to compare.";
    TOKEN_SPREAD = "health.token_spread" gauge ["kind"] "How much longer the slowest substrate of a kind takes for an output token than the fastest, each against its declared time, in parts per million of that; 0 with fewer than two.";
}

/// Sizes of a request's body by which times are told apart, with the most bytes of each: at four bytes a token, a
/// thousand tokens and powers of four of them.
pub const SIZES: [(&str, u64); 5] =
    [("4k", 4 << 10), ("16k", 16 << 10), ("64k", 64 << 10), ("256k", 256 << 10), ("more", u64::MAX)];

/// All labels, each once. Names of the telemetry role carry no others.
#[must_use]
pub fn labels() -> Vec<&'static str> {
    let mut all: Vec<&str> = FAMILIES
        .iter()
        .chain(CHANGES)
        .chain(OBSERVED)
        .chain(SPREADS)
        .chain(ATTEMPTS)
        .flat_map(|f| f.labels)
        .copied()
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The rule by which Envoy makes a label of a part of a name: the first group is cut out, the second is the value.
#[must_use]
pub fn tag_rule(label: &str) -> String {
    format!(r"^wasmcustom\.berth\..*?(\.{label}\.([^.]+))")
}
