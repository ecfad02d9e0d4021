//! Whether a substrate takes new work, by how near it is to the thresholds of its kind. Entering and leaving have
//! different thresholds, need several samples in a row and a least time in between, so that nothing flaps. How often it
//! fails is not asked here: that is the circuit's, and a closed door would keep its probes out.

use super::breaker::mix;
use super::heard::scale;
use crate::model::settings::{Breaking, Thresholds};
use crate::model::{Admission, Health, Reading, Signal, WHOLE_PPM};

/// The admission of one substrate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    admission: Admission,
    bad: u8,
    good: u8,
    since_ms: u64,
    /// The newest reading that was judged: the same one twice is one sample.
    judged_ms: u64,
}

impl Gate {
    /// Goes on from what another VM had reached.
    #[must_use]
    pub const fn resumed(admission: Admission, since_ms: u64) -> Self {
        Self { admission, bad: 0, good: 0, since_ms, judged_ms: 0 }
    }

    /// The admission now.
    #[must_use]
    pub const fn admission(&self) -> Admission {
        self.admission
    }

    /// Judges by what is known now. Values past `hard_ms` are unknown, and the unknown closes nothing.
    pub fn judge(
        &mut self,
        health: &Health,
        limits: &Thresholds,
        rules: &Breaking,
        seed: u64,
        now_ms: u64,
        hard_ms: u64,
    ) {
        let Some((pressure, at_ms)) = pressure(health, limits, now_ms, hard_ms) else {
            if self.admission != Admission::All {
                self.turn(Admission::All, now_ms);
            }
            return;
        };
        if at_ms == self.judged_ms {
            return;
        }
        self.judged_ms = at_ms;
        let (enter, exit) = (i64::from(rules.enter_ppm), i64::from(rules.exit_ppm));
        self.good = if pressure < exit { self.good.saturating_add(1) } else { 0 };
        self.bad = match pressure {
            _ if pressure >= enter => self.bad.saturating_add(1),
            // One good sample between two bad ones does not excuse them: that is how a swinging queue looks.
            _ if self.good >= rules.good_samples.max(1) => 0,
            _ => self.bad,
        };
        let worse = if pressure >= WHOLE_PPM { Admission::Closed } else { Admission::Existing };
        let least = if self.admission == Admission::Closed { rules.hold_down_ms } else { rules.dwell_ms };
        // A clock that jumped back makes no hold-down longer than it is.
        // Those that closed together do not open together.
        let jitter = u64::from(least) * u64::from(rules.jitter_ppm) / WHOLE_PPM as u64;
        let least = u64::from(least) + mix(seed ^ self.since_ms) % (jitter + 1);
        let rested = now_ms < self.since_ms || now_ms - self.since_ms >= least;
        if self.bad >= rules.bad_samples.max(1) && worse > self.admission {
            self.turn(worse, now_ms);
        } else if self.good >= rules.good_samples.max(1) && self.admission != Admission::All && rested {
            self.turn(Admission::All, now_ms);
        }
    }

    const fn turn(&mut self, to: Admission, now_ms: u64) {
        (self.admission, self.since_ms, self.bad, self.good) = (to, now_ms, 0, 0);
    }
}

/// How near the nearest threshold is (the whole: reached), and when that was heard. `None`: nothing known.
#[must_use]
pub fn pressure(health: &Health, limits: &Thresholds, now_ms: u64, hard_ms: u64) -> Option<(i64, u64)> {
    let known = |signal| health.reading(signal).filter(|r: &Reading| now_ms.saturating_sub(r.at_ms) < hard_ms);
    let near = |(signal, limit): (Signal, Option<u32>)| {
        let (reading, limit) = (known(signal)?, i64::from(limit?));
        let (part, whole) = if signal.more_is_better() { (limit, reading.value) } else { (reading.value, limit) };
        // Nothing left of what must be left, or anything at all where nothing may be: reached.
        let ppm = if whole <= 0 { WHOLE_PPM * i64::from(part > 0) } else { scale(part, WHOLE_PPM, whole) };
        Some((ppm, reading.at_ms))
    };
    limits.bounds().into_iter().filter_map(near).max()
}

#[cfg(test)]
mod tests {
    use super::{Gate, pressure};
    use crate::model::settings::{Breaking, Thresholds};
    use crate::model::{Admission, Health, Reading, Signal};

    const HARD_MS: u64 = 10_000;
    const LIMITS: Thresholds = Thresholds {
        queue_depth: Some(100),
        queue_share_ppm: None,
        memory_soft_ppm: None,
        memory_hard_ppm: Some(900_000),
        cpu_ppm: Some(900_000),
        accelerator_ppm: Some(800_000),
        interconnect_ppm: None,
        rack_ppm: None,
        east_west_ppm: None,
        power_headroom_ppm: Some(100_000),
        cooling_headroom_ppm: None,
        link_ppm: None,
        rate_remaining: Some(0),
        failure_ppm: None,
    };
    const RULES: Breaking = Breaking {
        consecutive: 0,
        failure_ppm: 0,
        least: 0,
        window_ms: 0,
        open_ms: 0,
        open_most_ms: 0,
        jitter_ppm: 0,
        probes: 0,
        enter_ppm: 850_000,
        exit_ppm: 700_000,
        bad_samples: 2,
        good_samples: 3,
        dwell_ms: 10_000,
        hold_down_ms: 30_000,
    };

    fn with(readings: &[(Signal, i64)], at_ms: u64) -> Health {
        let mut health = Health::unknown("a");
        readings.iter().for_each(|(signal, value)| health.set(*signal, Reading { value: *value, at_ms }));
        health
    }

    /// What became of it, one queue depth a second: the seconds at which it turned.
    fn turns(depths: impl Iterator<Item = i64>) -> Vec<(u64, Admission)> {
        let (mut gate, mut turns) = (Gate::default(), Vec::new());
        for (second, depth) in (100..).zip(depths) {
            let now_ms = second * 1_000;
            gate.judge(&with(&[(Signal::QueueDepth, depth)], now_ms), &LIMITS, &RULES, 7, now_ms, HARD_MS);
            if turns.last().map_or(Admission::All, |(_, last)| *last) != gate.admission() {
                turns.push((second - 100, gate.admission()));
            }
        }
        turns
    }

    #[test]
    fn it_takes_two_bad_samples_to_close_and_three_good_ones_and_time_to_open() {
        let existing = std::iter::repeat_n(90, 2).chain(std::iter::repeat_n(0, 30));
        assert_eq!(turns(existing), [(1, Admission::Existing), (11, Admission::All)]);
        let closed = std::iter::repeat_n(120, 2).chain(std::iter::repeat_n(0, 60));
        assert_eq!(turns(closed), [(1, Admission::Closed), (31, Admission::All)]);
        assert_eq!(turns([120, 0, 0, 0, 120, 0, 0, 0].into_iter()), [], "one bad sample now and then");
    }

    #[test]
    fn a_value_that_swings_with_every_sample_closes_it_and_keeps_it_closed() {
        assert_eq!(turns([120, 0].into_iter().cycle().take(100)), [(2, Admission::Closed)]);
    }

    #[test]
    fn a_value_that_swings_around_the_threshold_turns_it_at_most_once_in_its_dwell_time() {
        let swinging = (0..300).map(|i| if i / 3 % 2 == 0 { 90 } else { 60 });
        let turns = turns(swinging);
        assert!(turns.windows(2).all(|w| w[0].1 != Admission::Existing || w[1].0 - w[0].0 >= 10), "{turns:?}");
        assert!(turns.len() <= 60);
    }

    #[test]
    fn those_that_closed_together_open_one_after_the_other() {
        let rules = Breaking { jitter_ppm: 500_000, ..RULES };
        let opens = |seed: u64| {
            let (mut gate, well) = (Gate::resumed(Admission::Closed, 100_000), (110_000..200_000).step_by(500));
            let mut judge = |now_ms: u64| {
                let health = with(&[(Signal::QueueDepth, 0)], now_ms);
                gate.judge(&health, &LIMITS, &rules, seed, now_ms, HARD_MS);
                gate.admission() == Admission::All
            };
            well.into_iter().find(|now_ms| judge(*now_ms)).unwrap() - 100_000
        };
        let opened: std::collections::BTreeSet<u64> = (0..20).map(opens).collect();
        assert!(opened.iter().all(|ms| (30_000..=45_000).contains(ms)), "{opened:?}");
        assert!(opened.len() > 8, "{opened:?}");
    }

    #[test]
    fn between_the_thresholds_nothing_turns() {
        let held = std::iter::repeat_n(90, 2).chain(std::iter::repeat_n(75, 100));
        assert_eq!(turns(held), [(1, Admission::Existing)]);
    }

    #[test]
    fn busy_processors_close_it_by_several_samples_and_a_jump_does_not() {
        let after = |uses: &[i64]| {
            let mut gate = Gate::default();
            for (now_ms, use_ppm) in (100_000..).step_by(1_000).zip(uses) {
                gate.judge(&with(&[(Signal::CpuUse, *use_ppm)], now_ms), &LIMITS, &RULES, 7, now_ms, HARD_MS);
            }
            gate.admission()
        };
        assert_eq!(after(&[950_000, 300_000, 300_000, 300_000, 950_000]), Admission::All);
        assert_eq!(after(&[800_000, 800_000]), Admission::Existing);
        assert_eq!(after(&[950_000, 1_200_000]), Admission::Closed);
    }

    #[test]
    fn the_same_sample_twice_is_one_sample() {
        let (mut gate, health) = (Gate::default(), with(&[(Signal::QueueDepth, 120)], 1_000));
        (0..50).for_each(|i| gate.judge(&health, &LIMITS, &RULES, 7, 1_000 + i, HARD_MS));
        assert_eq!(gate.admission(), Admission::All);
    }

    #[test]
    fn news_of_another_signal_is_no_new_sample_of_the_one_that_presses() {
        let mut gate = Gate::default();
        let mut health = with(&[(Signal::QueueDepth, 120)], 1_000);
        for now_ms in 1_000..1_050 {
            health.set(Signal::MemoryPressure, Reading { value: 1, at_ms: now_ms });
            gate.judge(&health, &LIMITS, &RULES, 7, now_ms, HARD_MS);
        }
        assert_eq!(gate.admission(), Admission::All);
    }

    #[test]
    fn what_is_no_longer_known_closes_nothing() {
        let mut gate = Gate::resumed(Admission::Closed, 0);
        let old = with(&[(Signal::QueueDepth, 120)], 1_000);
        gate.judge(&old, &LIMITS, &RULES, 7, 1_000 + HARD_MS, HARD_MS);
        assert_eq!(gate.admission(), Admission::All);
    }

    #[test]
    fn the_nearest_threshold_counts_whichever_way_it_points() {
        let near = |readings: &[(Signal, i64)]| pressure(&with(readings, 0), &LIMITS, 0, HARD_MS).map(|(p, _)| p);
        assert_eq!(near(&[]), None);
        assert_eq!(near(&[(Signal::QueueDepth, 50), (Signal::MemoryPressure, 810_000)]), Some(900_000));
        assert_eq!(near(&[(Signal::PowerHeadroom, 200_000)]), Some(500_000));
        assert_eq!(near(&[(Signal::PowerHeadroom, 0)]), Some(1_000_000));
        assert_eq!(near(&[(Signal::RateRemaining, 0)]), Some(0));
        assert_eq!(near(&[(Signal::CpuUse, 450_000), (Signal::AcceleratorUse, 200_000)]), Some(500_000));
        assert_eq!(near(&[(Signal::CpuUse, 450_000), (Signal::AcceleratorUse, 600_000)]), Some(750_000));
        assert_eq!(near(&[(Signal::CpuUse, 1_800_000)]), Some(2_000_000), "more than it asked for");
        assert_eq!(near(&[(Signal::EastWest, 1_000_000)]), None, "no threshold, no pressure");
    }
}
