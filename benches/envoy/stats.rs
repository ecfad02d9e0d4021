//! Medians, quartiles, differences paired within a round, and how sure one can be of a ratio.

use crate::rounds::Series;
use crate::support::random::Random;

/// How often a figure is made again from what was drawn of the rounds.
const DRAWS: usize = 400;

/// A figure with its 90 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// A quantile; not a number of nothing.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return f64::NAN;
    }
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// The middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// What two series differ by, each round by itself, by session.
pub(crate) fn paired(of: &Series, from: &Series) -> Vec<Vec<f64>> {
    let with = |own: &[f64], beside: &[f64]| own.iter().zip(beside).map(|(a, b)| a + b).collect::<Vec<f64>>();
    let sessions = of.sessions.iter().zip(&of.beside).zip(&from.sessions);
    sessions.map(|((own, beside), base)| with(own, beside).iter().zip(base).map(|(a, b)| a - b).collect()).collect()
}

/// The median difference.
pub(crate) fn difference(pairs: &[Vec<f64>]) -> Figure {
    with_interval(pairs, pairs, |pairs, _| median(pairs))
}

/// The ratio of two median differences, drawn together: a session that is slow is slow for both.
pub(crate) fn ratio(over: &[Vec<f64>], under: &[Vec<f64>]) -> Figure {
    with_interval(over, under, |over, under| median(over) / median(under))
}

fn with_interval(a: &[Vec<f64>], b: &[Vec<f64>], figure: impl Fn(&[f64], &[f64]) -> f64) -> Figure {
    let sessions = a.len().min(b.len());
    let value = figure(&a[..sessions].concat(), &b[..sessions].concat());
    let mut random = Random::new(7);
    let mut draws = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
        for _ in 0..sessions {
            // Sessions first, since they differ more than rounds do.
            let at = random.below(sessions);
            let (a, b) = (&a[at], &b[at]);
            for _ in 0..a.len().min(b.len()) {
                let at = random.below(a.len().min(b.len()));
                of_a.push(a[at]);
                of_b.push(b[at]);
            }
        }
        draws.push(figure(&of_a, &of_b));
    }
    Figure { value, low: quantile(&draws, 0.05), high: quantile(&draws, 0.95) }
}
