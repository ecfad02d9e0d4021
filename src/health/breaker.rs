//! The circuit of a substrate. It opens after several failures in a row or too large a share of failures, stays open
//! for a time that doubles with each relapse and is jittered, then lets one VM at a time send a bounded number of probes.
//!
//! Overload is not failure, and a bad request is neither: a probe that is answered `429` found somebody alive.

use super::slot::Answers;
use crate::model::Circuit;
use crate::model::settings::Breaking;

/// How long one VM may probe before the next one is asked.
pub const PROBE_MS: u64 = 10_000;

/// What became of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It opened.
    Opened,
    /// It is to be probed.
    Probing,
    /// It closed.
    Closed,
}

/// The circuit of one substrate, or of one failure domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    circuit: Circuit,
    /// Failures since the last good answer.
    streak: u64,
    /// How often it opened without having been closed for long.
    relapses: u8,
    closed_ms: u64,
}

/// What a circuit is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// Now.
    pub now_ms: u64,
    /// What came since the last look.
    pub fresh: Answers,
    /// What came within the window.
    pub window: Answers,
    /// Whatever differs from case to case: jitter comes of it.
    pub seed: u64,
    /// Who may probe.
    pub prober: Prober,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prober {
    /// The VM that may probe next.
    pub slot: u8,
    /// Whoever has the turn now is asked for nothing, and others are.
    pub lost: bool,
}

impl Breaker {
    /// Goes on from what another VM had reached.
    #[must_use]
    pub const fn resumed(circuit: Circuit) -> Self {
        let relapses = if matches!(circuit, Circuit::Closed) { 0 } else { 1 };
        Self { circuit, streak: 0, relapses, closed_ms: 0 }
    }

    /// The circuit now.
    #[must_use]
    pub const fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Judges by what has come since the last time; says what became of it.
    pub fn judge(&mut self, seen: &Evidence, rules: &Breaking) -> Option<Turn> {
        let Evidence { now_ms, fresh, .. } = *seen;
        match self.circuit {
            Circuit::Closed => {
                self.streak = if fresh.good > 0 { 0 } else { self.streak.saturating_add(fresh.failed) };
                self.is_tripped(&seen.window, rules).then(|| self.open(now_ms, seen.seed, rules))
            }
            Circuit::Open { until_ms } if now_ms < until_ms => {
                // Further away than it can have been set: the clock has jumped back.
                let most = longest(rules);
                if until_ms - now_ms > most {
                    self.circuit = Circuit::Open { until_ms: now_ms.saturating_add(most) };
                }
                None
            }
            Circuit::Open { .. } => Some(self.probe(now_ms, seen.prober.slot, rules)),
            Circuit::HalfOpen { .. } if fresh.failed > 0 => Some(self.open(now_ms, seen.seed, rules)),
            Circuit::HalfOpen { .. } if fresh.good > 0 || fresh.overloaded > 0 => Some(self.close(now_ms)),
            Circuit::HalfOpen { until_ms, .. } => {
                // Nobody probed, or could: somebody else's turn. Or the clock has jumped back: begin the turn again.
                let over = seen.prober.lost || now_ms >= until_ms || until_ms - now_ms > PROBE_MS;
                over.then(|| self.probe(now_ms, seen.prober.slot, rules))
            }
        }
    }

    fn is_tripped(&self, window: &Answers, rules: &Breaking) -> bool {
        let share = window.failure_ppm().is_some_and(|ppm| ppm >= rules.failure_ppm.max(1));
        self.streak >= u64::from(rules.consecutive.max(1))
            || (share && window.telling() >= u64::from(rules.least.max(1)))
    }

    /// Opens it, whatever it was.
    pub fn open(&mut self, now_ms: u64, seed: u64, rules: &Breaking) -> Turn {
        if matches!(self.circuit, Circuit::Closed) && now_ms.saturating_sub(self.closed_ms) > longest(rules) {
            self.relapses = 0;
        }
        let doubled = u64::from(rules.open_ms) << self.relapses.min(16);
        let cool = doubled.min(u64::from(rules.open_most_ms)).max(1);
        let jitter = cool.saturating_mul(u64::from(rules.jitter_ppm)) / 1_000_000;
        let jitter = mix(seed ^ now_ms).checked_rem(jitter.saturating_add(1)).unwrap_or(0);
        self.relapses = self.relapses.saturating_add(1);
        self.streak = 0;
        self.circuit = Circuit::Open { until_ms: now_ms.saturating_add(cool).saturating_add(jitter) };
        Turn::Opened
    }

    const fn probe(&mut self, now_ms: u64, slot: u8, rules: &Breaking) -> Turn {
        let probes = if rules.probes == 0 { 1 } else { rules.probes };
        self.circuit = Circuit::HalfOpen { slot, probes, until_ms: now_ms.saturating_add(PROBE_MS) };
        Turn::Probing
    }

    const fn close(&mut self, now_ms: u64) -> Turn {
        self.streak = 0;
        self.closed_ms = now_ms;
        self.circuit = Circuit::Closed;
        Turn::Closed
    }
}

/// The longest that a circuit stays open, jitter and all.
fn longest(rules: &Breaking) -> u64 {
    let most = u64::from(rules.open_most_ms);
    most.saturating_add(most.saturating_mul(u64::from(rules.jitter_ppm)) / 1_000_000)
}

/// A number that differs in every bit where its seed differs in one.
#[must_use]
pub fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Breaker, Evidence, PROBE_MS, Prober, Turn};
    use crate::health::slot::Answers;
    use crate::model::Circuit;
    use crate::model::settings::Breaking;

    const RULES: Breaking = Breaking {
        consecutive: 5,
        failure_ppm: 500_000,
        least: 20,
        window_ms: 10_000,
        open_ms: 5_000,
        open_most_ms: 60_000,
        jitter_ppm: 200_000,
        probes: 1,
        enter_ppm: 0,
        exit_ppm: 0,
        bad_samples: 0,
        good_samples: 0,
        dwell_ms: 0,
        hold_down_ms: 0,
    };

    fn answers(good: u64, failed: u64, overloaded: u64) -> Answers {
        Answers { good, failed, overloaded, refused: 0 }
    }

    fn at(now_ms: u64, fresh: Answers) -> Evidence {
        Evidence { now_ms, fresh, window: fresh, seed: 7, prober: Prober { slot: 3, lost: false } }
    }

    fn until(breaker: &Breaker) -> u64 {
        match breaker.circuit() {
            Circuit::Open { until_ms } | Circuit::HalfOpen { until_ms, .. } => until_ms,
            Circuit::Closed => 0,
        }
    }

    fn opened(now_ms: u64) -> Breaker {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.judge(&at(now_ms, answers(0, 5, 0)), &RULES), Some(Turn::Opened));
        breaker
    }

    #[test]
    fn it_opens_after_enough_failures_in_a_row_however_they_are_spread() {
        let mut spread = Breaker::default();
        let turns: Vec<_> = (0..5).map(|i| spread.judge(&at(i * 60_000, answers(0, 1, 0)), &RULES)).collect();
        assert_eq!(turns, [None, None, None, None, Some(Turn::Opened)]);
        let mut mixed = Breaker::default();
        for i in 0..20 {
            let fresh = if i % 5 == 4 { answers(1, 0, 0) } else { answers(0, 1, 0) };
            assert_eq!(mixed.judge(&at(i, fresh), &RULES), None, "a good answer ends the row");
        }
    }

    #[test]
    fn it_opens_on_a_large_share_of_failures_only_among_enough_answers() {
        for (good, failed, opens) in [(10, 10, true), (9, 9, false), (11, 10, false), (100, 200, true)] {
            let turn = Breaker::default().judge(&at(0, answers(good, failed, 0)), &RULES);
            assert_eq!(turn.is_some(), opens, "{good} good, {failed} failed");
        }
    }

    #[test]
    fn overload_and_bad_requests_never_open_it() {
        let fresh = Answers { good: 0, failed: 0, overloaded: 1_000, refused: 1_000 };
        assert_eq!(Breaker::default().judge(&at(0, fresh), &RULES), None);
    }

    #[test]
    fn it_stays_open_for_its_time_and_then_one_vm_may_probe() {
        let mut breaker = opened(0);
        let end = until(&breaker);
        assert!((5_000..=6_000).contains(&end), "{end}");
        assert_eq!(breaker.judge(&at(end - 1, answers(0, 3, 0)), &RULES), None);
        assert_eq!(breaker.judge(&at(end, answers(0, 0, 0)), &RULES), Some(Turn::Probing));
        assert_eq!(breaker.circuit(), Circuit::HalfOpen { slot: 3, probes: 1, until_ms: end + PROBE_MS });
        assert_eq!(breaker.judge(&at(end + 1, answers(1, 0, 0)), &RULES), Some(Turn::Closed));
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_twice_as_long_up_to_the_longest() {
        let mut breaker = opened(0);
        let mut last = until(&breaker);
        let mut cools = Vec::new();
        for _ in 0..6 {
            breaker.judge(&at(last, answers(0, 0, 0)), &RULES);
            breaker.judge(&at(last, answers(0, 1, 0)), &RULES);
            cools.push((until(&breaker) - last) / 1_000);
            last = until(&breaker);
        }
        let expected = [10, 20, 40, 60, 60, 60];
        assert!(cools.iter().zip(expected).all(|(c, e)| (e..=e * 12 / 10).contains(c)), "{cools:?}");
    }

    #[test]
    fn a_probe_that_meets_a_full_queue_found_somebody_alive() {
        let mut breaker = opened(0);
        let end = until(&breaker);
        breaker.judge(&at(end, answers(0, 0, 0)), &RULES);
        assert_eq!(breaker.judge(&at(end, answers(0, 0, 1)), &RULES), Some(Turn::Closed));
    }

    #[test]
    fn a_vm_that_does_not_probe_loses_its_turn() {
        let mut breaker = opened(0);
        let end = until(&breaker);
        breaker.judge(&at(end, answers(0, 0, 0)), &RULES);
        let next = |now_ms, slot, lost| Evidence { prober: Prober { slot, lost }, ..at(now_ms, answers(0, 0, 0)) };
        assert_eq!(breaker.judge(&next(end + PROBE_MS - 1, 9, false), &RULES), None);
        assert_eq!(breaker.judge(&next(end + PROBE_MS, 9, false), &RULES), Some(Turn::Probing));
        let turn = |slot, from_ms| Circuit::HalfOpen { slot, probes: 1, until_ms: from_ms + PROBE_MS };
        assert_eq!(breaker.circuit(), turn(9, end + PROBE_MS));
        // At once where it is asked for nothing, and not where it has answered.
        let later = end + PROBE_MS + 1_000;
        assert_eq!(breaker.judge(&next(later, 4, true), &RULES), Some(Turn::Probing));
        assert_eq!(breaker.circuit(), turn(4, later));
        let failed = Evidence { fresh: answers(0, 1, 0), ..next(later, 5, true) };
        assert_eq!(breaker.judge(&failed, &RULES), Some(Turn::Opened));
    }

    #[test]
    fn circuits_that_open_together_do_not_end_together() {
        let ends: std::collections::BTreeSet<u64> = (0..20)
            .map(|seed| {
                let mut breaker = Breaker::default();
                breaker.judge(&Evidence { seed, ..at(1_000, answers(0, 5, 0)) }, &RULES);
                until(&breaker)
            })
            .collect();
        assert!(ends.len() > 15, "{ends:?}");
    }

    #[test]
    fn a_clock_that_jumps_back_keeps_it_open_no_longer_than_the_longest() {
        let mut breaker = opened(86_400_000);
        breaker.judge(&at(1_000, answers(0, 0, 0)), &RULES);
        assert!(until(&breaker) <= 1_000 + 72_000);
        let mut probing = opened(86_400_000);
        probing.judge(&at(87_000_000, answers(0, 0, 0)), &RULES);
        assert_eq!(probing.judge(&at(1_000, answers(0, 0, 0)), &RULES), Some(Turn::Probing));
    }
}
