//! Whether a candidate policy does worse than the current one: per class, over a window, by what was asked for in
//! numbers. Counts only; what is done about it is decided elsewhere.

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Over which time.
    pub window_ms: u32,
    /// The fewest requests of a class, on either side, that say anything.
    pub least: u32,
    /// By how much more of its answers may fail, in parts per million of them.
    pub failure_ppm: u32,
    /// How much later its first byte may come, in parts per million of the current one's.
    pub first_byte_ppm: u32,
    /// How much more its placements may cost, in parts per million.
    pub cost_ppm: u32,
    /// By how much more of its requests may be refused.
    pub shed_ppm: u32,
    /// How many of its placements the current policy may forbid; nobody counts without this.
    pub outside_ppm: Option<u32>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Answers that failed, in parts per million.
    Failure,
    /// The time until the first byte, in microseconds.
    FirstByte,
    /// The cost of a placement, in micro-dollars.
    Cost,
    /// Requests that were refused, in parts per million.
    Shed,
    /// Placements that the current policy forbids, in parts per million.
    Outside,
}

impl Measure {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure_ppm",
            Self::FirstByte => "first_byte_us",
            Self::Cost => "cost_uusd",
            Self::Shed => "shed_ppm",
            Self::Outside => "outside_ppm",
        }
    }
}

/// What the candidate did worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worse {
    /// The class, by the current policy's order.
    pub class: usize,
    /// In what.
    pub measure: Measure,
    /// What the current policy had.
    pub current: u64,
    /// What the candidate had.
    pub candidate: u64,
}

/// What one side did for one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests decided.
    pub asked: u64,
    /// Of those, refused.
    pub shed: u64,
    /// What the placed ones are expected to cost.
    pub cost_uusd: u64,
    /// Answers seen.
    pub answered: u64,
    /// Of those, failures.
    pub failed: u64,
    /// The time until their first byte, in all.
    pub first_byte_us: u64,
    /// Placements that were looked at for what the other policy says of them.
    pub looked: u64,
    /// Of those, forbidden by it.
    pub outside: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.shed += other.shed;
        self.cost_uusd = self.cost_uusd.saturating_add(other.cost_uusd);
        self.answered += other.answered;
        self.failed += other.failed;
        self.first_byte_us = self.first_byte_us.saturating_add(other.first_byte_us);
        self.looked += other.looked;
        self.outside += other.outside;
    }
}

/// Both sides of every class, in two halves of the window: the older one is forgotten when a new one begins.
#[derive(Debug)]
pub struct Judge {
    trigger: Trigger,
    halves: [Vec<[Tally; 2]>; 2],
    since_ms: u64,
}

impl Judge {
    /// Begins with nothing counted.
    #[must_use]
    pub fn new(trigger: Trigger, classes: usize) -> Self {
        let half = || vec![[Tally::default(); 2]; classes.max(1)];
        Self { trigger, halves: [half(), half()], since_ms: 0 }
    }

    /// What a side has of a class, to be counted up. Classes that only one policy has share the last place.
    pub fn of(&mut self, class: usize, candidate: bool) -> Option<&mut Tally> {
        let [young, _] = &mut self.halves;
        let last = young.len().saturating_sub(1);
        young.get_mut(class.min(last)).and_then(|sides| sides.get_mut(usize::from(candidate)))
    }

    /// Lets time pass, and says what the candidate does worse.
    pub fn verdict(&mut self, now_ms: u64) -> Option<Worse> {
        let half = u64::from(self.trigger.window_ms / 2).max(1);
        if self.since_ms == 0 || now_ms < self.since_ms {
            self.since_ms = now_ms;
        }
        let worse = (0..self.halves[0].len()).find_map(|class| self.compare(class));
        if now_ms - self.since_ms >= half {
            self.since_ms = now_ms;
            let [young, old] = &mut self.halves;
            core::mem::swap(young, old);
            young.iter_mut().for_each(|sides| *sides = [Tally::default(); 2]);
        }
        worse
    }

    fn compare(&self, class: usize) -> Option<Worse> {
        let mut sides = [Tally::default(); 2];
        for half in &self.halves {
            for (sum, side) in sides.iter_mut().zip(half.get(class)?) {
                sum.add(side);
            }
        }
        let [current, candidate] = sides;
        let least = u64::from(self.trigger.least);
        let worse = |measure, (a, b): (u64, u64), limit: u64| {
            (b > limit).then_some(Worse { class, measure, current: a, candidate: b })
        };
        let enough = |a: u64, b: u64| a.min(b) >= least;
        let above = |base: u64, ppm: u32| base + base * u64::from(ppm) / WHOLE;
        let answered = enough(current.answered, candidate.answered);
        let asked = enough(current.asked, candidate.asked);
        let failure = (share(current.failed, current.answered), share(candidate.failed, candidate.answered));
        let first = (mean(current.first_byte_us, current.answered), mean(candidate.first_byte_us, candidate.answered));
        let cost = (
            mean(current.cost_uusd, current.asked - current.shed),
            mean(candidate.cost_uusd, candidate.asked - candidate.shed),
        );
        let shed = (share(current.shed, current.asked), share(candidate.shed, candidate.asked));
        let outside = self.trigger.outside_ppm.filter(|_| candidate.looked >= least.div_ceil(LOOK_EVERY));
        None.or_else(|| {
            outside.and_then(|most| {
                worse(Measure::Outside, (0, share(candidate.outside, candidate.looked)), u64::from(most))
            })
        })
        .or_else(|| {
            answered.then(|| worse(Measure::Failure, failure, failure.0 + u64::from(self.trigger.failure_ppm)))?
        })
        .or_else(|| asked.then(|| worse(Measure::Shed, shed, shed.0 + u64::from(self.trigger.shed_ppm)))?)
        .or_else(|| answered.then(|| worse(Measure::FirstByte, first, above(first.0, self.trigger.first_byte_ppm)))?)
        .or_else(|| asked.then(|| worse(Measure::Cost, cost, above(cost.0, self.trigger.cost_ppm)))?)
    }
}

const WHOLE: u64 = 1_000_000;
/// One in so many placements of the candidate is held against the current policy.
pub(super) const LOOK_EVERY: u64 = 8;

fn share(part: u64, whole: u64) -> u64 {
    (part * WHOLE).checked_div(whole).unwrap_or(0)
}

fn mean(sum: u64, count: u64) -> u64 {
    sum.checked_div(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Judge, Measure, Tally, Trigger};

    const TRIGGER: Trigger = Trigger {
        window_ms: 10_000,
        least: 100,
        failure_ppm: 20_000,
        first_byte_ppm: 200_000,
        cost_ppm: 500_000,
        shed_ppm: 50_000,
        outside_ppm: Some(0),
    };

    fn good() -> Tally {
        Tally {
            asked: 100,
            answered: 100,
            first_byte_us: 100 * 1_000,
            cost_uusd: 100 * 10,
            looked: 20,
            ..Tally::default()
        }
    }

    fn judged(current: Tally, candidate: Tally) -> Option<Measure> {
        let mut judge = Judge::new(TRIGGER, 1);
        *judge.of(0, false).unwrap() = current;
        *judge.of(0, true).unwrap() = candidate;
        judge.verdict(1_000).map(|worse| worse.measure)
    }

    #[test]
    fn an_equal_candidate_stays() {
        assert_eq!(judged(good(), good()), None);
    }

    #[test]
    fn each_measure_is_judged_by_its_own_limit() {
        assert_eq!(judged(good(), Tally { failed: 2, ..good() }), None);
        assert_eq!(judged(good(), Tally { failed: 3, ..good() }), Some(Measure::Failure));
        assert_eq!(judged(Tally { failed: 9, ..good() }, Tally { failed: 11, ..good() }), None, "both have it");
        assert_eq!(judged(good(), Tally { first_byte_us: 120_000, ..good() }), None);
        assert_eq!(judged(good(), Tally { first_byte_us: 130_000, ..good() }), Some(Measure::FirstByte));
        assert_eq!(judged(good(), Tally { cost_uusd: 1_600, ..good() }), Some(Measure::Cost));
        assert_eq!(judged(good(), Tally { shed: 6, ..good() }), Some(Measure::Shed));
        assert_eq!(judged(good(), Tally { outside: 1, ..good() }), Some(Measure::Outside));
    }

    #[test]
    fn too_few_say_nothing() {
        let few = Tally { asked: 99, answered: 99, failed: 99, shed: 99, looked: 5, outside: 5, ..good() };
        assert_eq!(judged(good(), few), None);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut judge = Judge::new(TRIGGER, 1);
        *judge.of(0, false).unwrap() = good();
        assert_eq!(judge.verdict(1_000), None);
        assert_eq!(judge.verdict(6_000), None);
        *judge.of(0, true).unwrap() = Tally { failed: 50, ..good() };
        assert!(judge.verdict(7_000).is_some(), "the older half still counts");
        assert!(judge.verdict(11_000).is_some());
        assert_eq!(judge.verdict(16_000), None, "the current one's half is gone");
    }
}
