//! Reads a scenario with the policy's own tools: every mistake at once, each with its place and what was expected.

use super::router::NAMES;
use super::scenario::{Clients, Event, Fleet, Load, Mix, Physics, Scenario, Shape, Sweep, Target, Tokens, Trace, What};
use crate::model::{Feature, Features};
use crate::policy::countries::OneCountry;
use crate::policy::forms::{Decimal, Flag, Named, Text, Word, decimal, ratio, whole};
use crate::policy::source::{Source, must_to, up_to};
use crate::policy::{InvalidPolicy, codes, reading, yaml};

const MOST: usize = 4_096;
const FILE: Text = Text(512);

/// Reads a scenario.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(text: &str) -> Result<Scenario, Vec<InvalidPolicy>> {
    let parsed = yaml::parse(text)?;
    let (scenario, found) = reading::read(&parsed.node, "", scenario);
    match scenario {
        Some(scenario) if found.is_empty() => Ok(scenario),
        _ => Err(found),
    }
}

const fn seconds() -> Decimal<u64> {
    decimal(3, 0, 1_000_000_000, "s")
}

const fn factor() -> Decimal<u64> {
    decimal(6, 0, 1_000_000_000, "")
}

/// The document of a scenario.
pub fn scenario<S: Source>(s: &mut S) -> Option<Scenario> {
    s.required("simulate", "The version of the schema.", whole::<u64>(1, 1));
    let name = s.required("name", "Its name in tables.", Named);
    let title = s.required("title", "What it shows.", Text(300));
    let policy = s.required("policy", "The policy's file, beside this one.", FILE);
    let seed = s.or("seed", "The seed of every chance.", whole(0, 1 << 53), 1);
    let duration_ms = s.required("duration_s", "How long requests arrive.", seconds());
    let warmup_ms = s.or("warmup_s", "What arrives earlier is not measured.", seconds(), 2_000);
    let fleet = s.section_or_empty("fleet", "The proxies and how fresh their picture is.", fleet);
    let load = s.section("load", "What arrives.", load);
    let clients = s.section_or_empty("clients", "How callers behave when they are refused.", clients);
    let physics = s.section_map("physics", "How substrates differ from what is declared.", Named, physics);
    let events = s.sections("events", "What goes wrong, and when.", up_to(MOST), event);
    let routers = s.list("routers", "Which routers are compared; all, if not given.", Word(&NAMES, |n| n), up_to(64));
    let sweep = s.section_if("sweep", "The same again with other fleets.", sweep);
    let capacity = s.or("capacity", "Also measure floor, throughput and recovery.", Flag, false);
    let alarm_ms =
        s.or("alarm_s", "For how long a drift must last to be alarmed on, as the rule has it.", seconds(), 600_000);
    if let (Some(duration), warmup) = (duration_ms, warmup_ms)
        && warmup >= duration
    {
        s.wrong("warmup_s", codes::CONTRADICTION, "a warm-up that is shorter than the whole");
    }
    Some(Scenario {
        name: name?,
        title: title?,
        policy: policy?,
        seed,
        duration_ms: duration_ms?,
        warmup_ms,
        fleet: fleet?,
        load: load?,
        clients: clients?,
        physics,
        events,
        routers: routers.unwrap_or_default().into_iter().map(String::from).collect(),
        sweep,
        capacity,
        alarm_ms,
    })
}

fn fleet<S: Source>(s: &mut S) -> Option<Fleet> {
    Some(Fleet {
        proxies: s.or("proxies", "How many proxies.", whole(1, 10_000), 10),
        workers: s.or("workers", "Workers of each.", whole(1, 64), 2),
        period_ms: s.or("period_ms", "How often a proxy folds and publishes.", whole(10, 600_000), 1_000),
        delay_ms: s.or("delay_ms", "How old what it hears is.", whole(0, 600_000), 100),
        together: s.or("together", "All proxies hear at the same moment.", Flag, false),
    })
}

fn load<S: Source>(s: &mut S) -> Option<Load> {
    let rate = s.required("rps", "Requests per second.", decimal(3, 1, 1_000_000_000, "per second"));
    let shape = s.or("shape", "How arrivals are spread.", Word(&Shape::ALL, Shape::as_str), Shape::Poisson);
    let trace = s.section_if("trace", "A trace instead of a generator; `rps` is then no matter.", |s| {
        let file = s.required("file", "CSV: time stamp, input tokens, output tokens.", FILE);
        let speed = s.or("speed", "How many times faster than recorded.", factor(), 1_000_000);
        Some(Trace { file: file?, speed_ppm: speed.max(1) })
    });
    let mix = s.sections("mix", "Kinds of requests.", must_to(MOST), mix);
    Some(Load { rate_mrps: rate?, shape, trace, mix })
}

fn mix<S: Source>(s: &mut S) -> Option<Mix> {
    let text = || Text(128);
    let features = s.list("features", "Features asked for.", Word(&Feature::ALL, Feature::as_str), up_to(16));
    Some(Mix {
        weight: s.or("weight", "Its weight among all.", whole(1, 1_000_000), 1),
        tenant: s.optional("tenant", "Who pays.", text()),
        data: s.optional("data", "The data class.", text()),
        model: s.optional("model", "The model.", text()),
        region: s.optional("region", "Where callers are.", text()),
        zone: s.optional("zone", "Their zone.", text()),
        residency: s.optional("residency", "Where data must stay.", text()),
        workload: s.optional("workload", "What the header `x-workload` says.", text()),
        streaming: s.or("streaming", "Whether a stream is asked for.", Flag, false),
        features: features.unwrap_or_default().into_iter().fold(Features::default(), Features::with),
        input: s.section_or_empty("input", "Input tokens.", |s| tokens(s, 500))?,
        output: s.section_or_empty("output", "Output tokens.", |s| tokens(s, 100))?,
    })
}

fn tokens<S: Source>(s: &mut S, median: u32) -> Option<Tokens> {
    Some(Tokens {
        median: s.or("median", "Half are below.", whole(1, 10_000_000), median),
        spread_ppm: s.or("spread", "The standard deviation, in doublings.", decimal(6, 0, 4_000_000, ""), 1_000_000),
        most: s.or("most", "None is above.", whole(1, 10_000_000), 10_000_000),
    })
}

fn clients<S: Source>(s: &mut S) -> Option<Clients> {
    Some(Clients {
        retries: s.or("retries", "How often a caller tries again.", whole(0, 10), 0),
        backoff_ms: s.or("backoff_ms", "How long it waits; doubled each time.", whole(0, 600_000), 500),
        patient: s.or("patient", "It waits as long as it is told.", Flag, false),
    })
}

fn physics<S: Source>(s: &mut S) -> Option<Physics> {
    Some(Physics {
        slots: s.optional("slots", "Requests worked on at once.", whole(1, 1_000_000)),
        queue: s.optional("queue", "Requests that wait at most.", whole(0, 1_000_000)),
        memory_tokens: s.optional("memory_tokens", "Tokens that its memory holds.", whole(1, 1_000_000_000)),
        batch_ppm: s.optional("batch", "How much slower a full batch is than one request.", factor()),
        rate_mrps: s.optional("rps", "Requests per second before 429.", decimal(3, 1, 1_000_000_000, "per second")),
        jitter_ppm: s.optional("jitter", "How much service times vary.", ratio()).map(u64::from),
        slowness_ppm: s.optional("slowness", "True times, as a share of the declared.", factor()),
        finishes: s.or("finishes", "It works on when nobody waits any more.", Flag, false),
    })
}

fn event<S: Source>(s: &mut S) -> Option<Event> {
    let from = s.required("at_s", "From when on.", seconds());
    let until = s.optional("until_s", "Until when; the end, if not given.", seconds());
    let what = s.required("what", "What happens.", Word(&What::ALL, What::as_str));
    let to = s.list("to", "Substrates, regions or failure domains; all, if not given.", Named, up_to(MOST));
    let by = s.or("by", "A factor, a share, or seconds.", factor(), 2_000_000);
    let country = s.optional("country", "Where it fails over to.", OneCountry);
    if what == Some(What::Failover) && country.is_none() {
        s.wrong("country", codes::MISSING_FIELD, "the country that serves instead");
    }
    if until.zip(from).is_some_and(|(until, from)| until <= from) {
        s.wrong("until_s", codes::CONTRADICTION, "an `until_s` that is after `at_s`");
    }
    Some(Event {
        from_ms: from?,
        until_ms: until.unwrap_or(u64::MAX),
        what: what?,
        to: to.unwrap_or_default().into_iter().map(Target).collect(),
        by_ppm: by,
        country,
    })
}

fn sweep<S: Source>(s: &mut S) -> Option<Sweep> {
    let periods = s.list("period_ms", "Snapshot periods.", whole(10, 600_000), must_to(16));
    let proxies = s.list("proxies", "Numbers of proxies.", whole(1, 10_000), must_to(16));
    Some(Sweep { periods_ms: periods?, proxies: proxies? })
}
