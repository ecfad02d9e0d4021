//! How long it will take, what it will cost and how likely it fails: measured, with what the policy declares as the
//! prior.
//!
//! A measurement better than declared fades to the declared value between its soft and its hard age; one that is
//! worse holds until its hard age. So growing old never makes anybody look better while a signal is known at all;
//! what is past its hard age is forgotten, or nobody would ever come back.
//!
//! The whole time of an answer is measured too, but mixes requests of all sizes, so nothing is predicted from it.
//!
//! Every figure is affine in the tokens (`a + b × input + c × output`) and the same for all classes and models; only
//! the quality and the class's worth differ. So nothing is kept per class and model: three affine figures a substrate.

use super::hearing::Hearing;
use crate::model::{Signal, SubstrateId, WHOLE_PPM, settings::Thresholds};
use crate::policy::Policy;
use crate::policy::index::{MOST_PUSD_PER_TOKEN, MOST_US, MOST_US_PER_TOKEN};

/// The share of requests taken to fail where memory is at its hard limit; none at its soft limit.
const PRESSED_PPM: i64 = 250_000;
/// The share taken to fail for each sign of unsteadiness that is at its full: as slow again as usual, answers that
/// spread by a whole declared first token, a queue that only swings, all of a region's work moved there.
const UNSTEADY_PPM: i64 = 5_000;

/// Figures of one substrate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) first_us: i64,
    pub(crate) input_us: i64,
    pub(crate) output_us: i64,
    pub(crate) input_pusd: i64,
    pub(crate) output_pusd: i64,
    pub(crate) risk_ppm: u32,
}

/// Figures of all substrates, by policy order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forecast {
    figures: Vec<Figures>,
}

impl Forecast {
    pub(crate) fn emptied(mut self) -> Self {
        self.figures.clear();
        self
    }

    /// The figures of a substrate.
    pub(crate) fn of(&self, id: SubstrateId) -> Figures {
        self.figures.get(usize::from(id)).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, figures: Figures) {
        self.figures.push(figures);
    }
}

/// The figures of one substrate.
pub(crate) fn of(policy: &Policy, id: SubstrateId, hearing: &Hearing, thresholds: &Thresholds) -> Figures {
    let (columns, at) = (&policy.columns, usize::from(id));
    let declared = |column: &[i64]| column.get(at).copied().unwrap_or(0);
    let adaptive = policy.document().settings.adaptive;
    let mut figures = Figures {
        first_us: declared(&columns.first_us),
        input_us: declared(&columns.input_us),
        output_us: declared(&columns.output_us),
        input_pusd: declared(&columns.input_pusd),
        output_pusd: declared(&columns.output_pusd),
        risk_ppm: policy.document().settings.prior_failure_ppm.min(WHOLE_PPM as u32),
    };
    if adaptive.latency {
        let concurrency = i64::from(columns.concurrency.get(at).copied().unwrap_or(0));
        speed(&mut figures, hearing, concurrency);
    }
    if adaptive.cost {
        let running = declared(&columns.running_pusd);
        let price = |signal, total: i64| {
            measured(hearing, signal, total - running).map_or(total, |p| (p + running).min(MOST_PUSD_PER_TOKEN))
        };
        figures.input_pusd = price(Signal::InputPrice, figures.input_pusd);
        figures.output_pusd = price(Signal::OutputPrice, figures.output_pusd);
    }
    if adaptive.risk {
        let usual_us = declared(&columns.first_us);
        let prior = i64::from(figures.risk_ppm);
        let risk = risk(hearing, prior, thresholds) + unsteady(hearing, usual_us);
        figures.risk_ppm = u32::try_from(risk.clamp(0, WHOLE_PPM)).unwrap_or(0);
    }
    figures
}

/// A measurement weighed against what is declared.
fn measured(hearing: &Hearing, signal: Signal, declared: i64) -> Option<i64> {
    let (value, certainty) = hearing.aged(signal)?;
    let better = (declared - value).max(0);
    Some(declared.max(value) - better * certainty / WHOLE_PPM)
}

/// The speed factor scales whatever was not measured itself; a queue counts where the first token was not measured, and
/// where it is longer than those were that the measured ones stood in.
fn speed(figures: &mut Figures, hearing: &Hearing, concurrency: i64) {
    let declared_us = figures.first_us;
    let factor = measured(hearing, Signal::SpeedFactor, WHOLE_PPM).unwrap_or(WHOLE_PPM);
    let scaled = |us: i64, most: i64| (us.saturating_mul(factor) / WHOLE_PPM).min(most);
    let queued = |us: i64| {
        let waiting = hearing.value(Signal::QueueDepth).unwrap_or(0);
        us.saturating_add(us.saturating_mul(waiting) / concurrency.max(1))
    };
    let wait_us = wait_us(hearing, concurrency);
    figures.first_us = match measured(hearing, Signal::FirstToken, declared_us) {
        Some(us) => us.max(us.min(declared_us).saturating_add(wait_us)),
        None => queued(scaled(declared_us, MOST_US)).max(scaled(declared_us, MOST_US).saturating_add(wait_us)),
    }
    .clamp(0, MOST_US);
    figures.input_us = scaled(figures.input_us, MOST_US_PER_TOKEN);
    figures.output_us = measured(hearing, Signal::PerToken, figures.output_us)
        .unwrap_or_else(|| scaled(figures.output_us, MOST_US_PER_TOKEN))
        .clamp(0, MOST_US_PER_TOKEN);
}

/// How long a queue takes to get through: it moves up each time one of those that run ends, so as many of them as run, in
/// the time of one. As many run as may be there less what waits, and never less than half of them.
fn wait_us(hearing: &Hearing, concurrency: i64) -> i64 {
    let waiting = hearing.value(Signal::QueueDepth).unwrap_or(0);
    let one = hearing.value(Signal::Total).unwrap_or(0).min(MOST_US);
    let run = concurrency.saturating_sub(waiting).max(concurrency / 2).max(1);
    i64::try_from(i128::from(one) * i128::from(waiting) / i128::from(run)).unwrap_or(MOST_US)
}

/// Failures and overloads seen lately, memory between its two limits, and doubt about what is old.
fn risk(hearing: &Hearing, prior: i64, thresholds: &Thresholds) -> i64 {
    let failing = measured(hearing, Signal::FailureRate, prior).unwrap_or(prior);
    let overloaded = hearing.value(Signal::OverloadRate).unwrap_or(0);
    let pressed = match (hearing.value(Signal::MemoryPressure), thresholds.memory_soft_ppm, thresholds.memory_hard_ppm)
    {
        (Some(value), Some(soft), Some(hard)) => {
            let (soft, hard) = (i64::from(soft), i64::from(hard).max(i64::from(soft) + 1));
            (value - soft).clamp(0, hard - soft) * PRESSED_PPM / (hard - soft)
        }
        _ => 0,
    };
    let doubt = prior * (WHOLE_PPM - hearing.snapshot_certainty_ppm()) / WHOLE_PPM;
    failing + overloaded + pressed + doubt
}

/// What no single alert shows: it leaves its own past, its answers spread, its queue swings, others' work moves in.
fn unsteady(hearing: &Hearing, usual_us: i64) -> i64 {
    let spread = hearing.value(Signal::Jitter).map(|us| us.saturating_mul(WHOLE_PPM) / usual_us.max(1));
    let shares = [Signal::Drift, Signal::Oscillation, Signal::Failover].map(|signal| hearing.value(signal));
    let signs = shares.into_iter().chain([spread]).flatten();
    signs.map(|ppm| ppm.clamp(0, WHOLE_PPM) * UNSTEADY_PPM / WHOLE_PPM).sum()
}
