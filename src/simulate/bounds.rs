//! What is known of herds, computed: equal servers with a common picture that is made anew once a period, as a fluid (so many
//! proxies that none counts alone, no chance). Of two drawn with replacement the less loaded by the old picture gets a request:
//! the k-th of n by that picture receives ((n−k+1)² − (n−k)²)/n² of all, so the least loaded nearly twice its part for a whole
//! period; always taking the best sends it everything. See M. Mitzenmacher, How Useful Is Old Information? (2000).

use super::build::Build;
use super::experiment::Setup;
use super::random::Random;

const WHOLE: u64 = 1_000_000;
/// One step of the fluid.
const STEP_US: u64 = 5_000;
/// What is looked at after as long again.
const PERIODS: u64 = 24;
const LEAST_US: u64 = 60_000_000;

/// Who gets what arrives within a period, by how little it had at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// The less loaded of two.
    TwoChoices,
    /// All to the least loaded.
    Best,
}

impl Share {
    fn ppm(self, rank: u64, n: u64) -> u64 {
        match self {
            Self::TwoChoices => ((n - rank).pow(2) - (n - rank - 1).pow(2)) * WHOLE / n.pow(2),
            Self::Best => {
                if rank == 0 {
                    WHOLE
                } else {
                    0
                }
            }
        }
    }
}

/// The most loaded over the mean, over time, for a snapshot period; `None` where substrates are not equals.
pub(super) fn fluid(setup: &Setup, period_ms: u64, share: Share) -> Option<u64> {
    let physics = |name| setup.scenario.physics.iter().find(|(n, _)| n == name).map(|(_, p)| *p).unwrap_or_default();
    let mut builds = setup.document.substrates.iter().map(|s| Build::of(s, &physics(&s.name)));
    let first = builds.next()?;
    let equal = builds.all(|b| format!("{b:?}") == format!("{first:?}"));
    let served_us = mean_us(setup, &first)?;
    let room = u64::from(first.slots + first.queue) * WHOLE;
    let n = setup.document.substrates.len() as u64;
    let mut loads = vec![0_u64; setup.document.substrates.len()];
    let mut ranks: Vec<u64> = Vec::new();
    let (period_us, mut sum, mut seen) = (period_ms * 1_000, 0, 0);
    let half_us = LEAST_US.max(period_us * PERIODS);
    let arrive = setup.scenario.load.rate_mrps * STEP_US / 1_000;
    for step in 0..half_us * 2 / STEP_US {
        let at_us = step * STEP_US;
        if at_us / period_us != at_us.saturating_sub(STEP_US) / period_us || step == 0 {
            let fewer = |(at, load): (usize, &u64)| {
                loads.iter().enumerate().filter(|(other, l)| (*l, *other) < (load, at)).count() as u64
            };
            ranks = loads.iter().enumerate().map(fewer).collect();
        }
        for (load, rank) in loads.iter_mut().zip(&ranks) {
            let slots = u64::from(first.slots) * WHOLE;
            let running = (*load).min(slots);
            let pace_ppm = WHOLE + first.batch_ppm * running / slots.max(1);
            let done = u128::from(running) * u128::from(STEP_US * WHOLE) / u128::from(served_us * pace_ppm);
            let more = arrive * share.ppm(*rank, n) / WHOLE;
            *load = (*load + more).saturating_sub(u64::try_from(done).unwrap_or(0)).min(room);
        }
        let all: u64 = loads.iter().sum();
        if at_us >= half_us && all > 0 {
            sum += u128::from(loads.iter().max().copied().unwrap_or(0) * n) * u128::from(WHOLE) / u128::from(all);
            seen += 1;
        }
    }
    let mean = u64::try_from(sum.checked_div(seen)?).ok()?;
    equal.then_some(mean)
}

/// How long one request takes alone, in the mean of its sizes.
fn mean_us(setup: &Setup, build: &Build) -> Option<u64> {
    const DRAWS: u64 = 4_096;
    let mix = setup.scenario.load.mix.first()?;
    let mut random = Random::new(0, 9);
    let mut mean = |t: super::scenario::Tokens| {
        let one = |_| random.log_normal(u64::from(t.median), u64::from(t.spread_ppm)).clamp(1, u64::from(t.most));
        (0..DRAWS).map(one).sum::<u64>() / DRAWS
    };
    let (input, output) = (mean(mix.input), mean(mix.output));
    Some((build.first_us + build.input_us * input + build.output_us * output) * build.slowness_ppm / WHOLE)
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn shares_are_of_the_whole_and_the_least_loaded_of_two_gets_nearly_twice_its_part() {
        for share in [Share::TwoChoices, Share::Best] {
            let all: u64 = (0..8).map(|rank| share.ppm(rank, 8)).sum();
            assert!((999_992..=1_000_000).contains(&all), "{share:?} {all}");
        }
        assert_eq!(Share::TwoChoices.ppm(0, 8), 234_375, "15/64: 1.875 times an eighth");
    }
}
