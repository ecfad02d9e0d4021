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
    /// The sum of its squares.
    pub cost_squared: u128,
    /// Answers seen.
    pub answered: u64,
    /// Of those, failures.
    pub failed: u64,
    /// The time until their first byte, in all.
    pub first_byte_us: u64,
    /// The sum of its squares.
    pub first_byte_squared: u128,
    /// Placements that were looked at for what the other policy says of them.
    pub looked: u64,
    /// Of those, forbidden by it.
    pub outside: u64,
}

impl Tally {
    /// A request was placed, and is expected to cost this.
    pub fn placed(&mut self, cost_uusd: u64) {
        self.cost_uusd = self.cost_uusd.saturating_add(cost_uusd);
        self.cost_squared = self.cost_squared.saturating_add(u128::from(cost_uusd).pow(2));
    }

    /// An answer has come, so long after its request.
    pub fn answered(&mut self, failed: bool, first_byte_us: u64) {
        self.answered += 1;
        self.failed += u64::from(failed);
        self.first_byte_us = self.first_byte_us.saturating_add(first_byte_us);
        self.first_byte_squared = self.first_byte_squared.saturating_add(u128::from(first_byte_us).pow(2));
    }

    const fn failures(&self) -> Part {
        Part { of: self.failed, all: self.answered }
    }

    const fn refusals(&self) -> Part {
        Part { of: self.shed, all: self.asked }
    }

    const fn first_bytes(&self) -> Mean {
        Mean { count: self.answered, sum: self.first_byte_us, squares: self.first_byte_squared }
    }

    const fn costs(&self) -> Mean {
        Mean { count: self.asked.saturating_sub(self.shed), sum: self.cost_uusd, squares: self.cost_squared }
    }

    fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.shed += other.shed;
        self.cost_uusd = self.cost_uusd.saturating_add(other.cost_uusd);
        self.cost_squared = self.cost_squared.saturating_add(other.cost_squared);
        self.answered += other.answered;
        self.failed += other.failed;
        self.first_byte_us = self.first_byte_us.saturating_add(other.first_byte_us);
        self.first_byte_squared = self.first_byte_squared.saturating_add(other.first_byte_squared);
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
        let (trigger, least) = (&self.trigger, u64::from(self.trigger.least));
        let worse = |measure, current, candidate| Worse { class, measure, current, candidate };
        let part = |measure, (a, b): (Part, Part), more_ppm: u32| {
            let enough = a.all.min(b.all) >= least;
            let (was, is) = (a.ppm(), b.ppm());
            (enough && is > was + u64::from(more_ppm) && b.exceeds(&a)).then(|| worse(measure, was, is))
        };
        let mean = |measure, (a, b): (Mean, Mean), more_ppm: u32| {
            let enough = a.count.min(b.count) >= least;
            let (was, is) = (a.value(), b.value());
            let limit = was.saturating_add(was.saturating_mul(u64::from(more_ppm)) / WHOLE);
            (enough && is > limit && b.exceeds(&a)).then(|| worse(measure, was, is))
        };
        let looked = candidate.looked >= least.div_ceil(LOOK_EVERY);
        let outside = Part { of: candidate.outside, all: candidate.looked }.ppm();
        let strays = trigger.outside_ppm.is_some_and(|most| looked && outside > u64::from(most));
        strays
            .then(|| worse(Measure::Outside, 0, outside))
            .or_else(|| part(Measure::Failure, (current.failures(), candidate.failures()), trigger.failure_ppm))
            .or_else(|| part(Measure::Shed, (current.refusals(), candidate.refusals()), trigger.shed_ppm))
            .or_else(|| {
                mean(Measure::FirstByte, (current.first_bytes(), candidate.first_bytes()), trigger.first_byte_ppm)
            })
            .or_else(|| mean(Measure::Cost, (current.costs(), candidate.costs()), trigger.cost_ppm))
    }
}

/// How many standard errors a difference must have, squared: four. Two sides that are the same differ by more once in
/// thirty thousand looks; they are looked at thousands of times a day, but most of a look is what the last one saw.
const ERRORS_SQUARED: u128 = 16;

/// A part of a count.
#[derive(Clone, Copy, Debug)]
struct Part {
    of: u64,
    all: u64,
}

impl Part {
    fn ppm(&self) -> u64 {
        (self.of * WHOLE).checked_div(self.all).unwrap_or(0)
    }

    /// Whether it is larger by more than chance: `(p2 - p1)² > 16 p (1 - p) (1/n1 + 1/n2)` for the `p` of both together,
    /// without its fractions.
    fn exceeds(&self, other: &Self) -> bool {
        let [of, all, was_of, was_all] = [self.of, self.all, other.of, other.all].map(u128::from);
        let (part, whole) = (of + was_of, all + was_all);
        let apart = (of * was_all).saturating_sub(was_of * all);
        let by_chance =
            [part, whole.saturating_sub(part), all, was_all].into_iter().fold(ERRORS_SQUARED, u128::saturating_mul);
        apart.saturating_mul(apart).saturating_mul(whole) > by_chance
    }
}

/// What so many came to.
#[derive(Clone, Copy, Debug)]
struct Mean {
    count: u64,
    sum: u64,
    squares: u128,
}

impl Mean {
    fn value(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }

    /// The square of its standard error.
    fn error_squared(&self) -> u128 {
        let (count, value) = (u128::from(self.count.max(1)), u128::from(self.value()));
        (self.squares / count).saturating_sub(value * value) / count
    }

    /// Whether it is larger by more than chance.
    fn exceeds(&self, other: &Self) -> bool {
        let apart = u128::from(self.value().saturating_sub(other.value()));
        let by_chance = self.error_squared().saturating_add(other.error_squared());
        apart * apart > by_chance.saturating_mul(ERRORS_SQUARED)
    }
}

const WHOLE: u64 = 1_000_000;
/// One in so many placements of the candidate is held against the current policy.
pub(super) const LOOK_EVERY: u64 = 8;

#[cfg(test)]
mod tests {
    use super::{Judge, Measure, Tally, Trigger, Worse};

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
        let mut tally = Tally { asked: 1_000, looked: 200, ..Tally::default() };
        for n in 0..1_000 {
            tally.answered(false, 950 + n % 100);
            tally.placed(10);
        }
        tally
    }

    /// The same with other answers.
    fn answers(count: u64, failed: u64, first_byte_us: u64) -> Tally {
        let mut tally = Tally { answered: 0, failed: 0, first_byte_us: 0, first_byte_squared: 0, ..good() };
        (0..count).for_each(|n| tally.answered(n < failed, first_byte_us - 50 + n % 100));
        tally
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
        assert_eq!(judged(good(), answers(1_000, 20, 1_000)), None);
        assert_eq!(judged(good(), answers(1_000, 21, 1_000)), Some(Measure::Failure));
        assert_eq!(judged(answers(1_000, 90, 1_000), answers(1_000, 105, 1_000)), None, "both have it");
        assert_eq!(judged(good(), answers(1_000, 0, 1_195)), None);
        assert_eq!(judged(good(), answers(1_000, 0, 1_250)), Some(Measure::FirstByte));
        let dear = Tally { cost_uusd: 16_000, cost_squared: 256_000, ..good() };
        assert_eq!(judged(good(), dear), Some(Measure::Cost));
        assert_eq!(judged(good(), Tally { shed: 50, ..good() }), None);
        assert_eq!(judged(good(), Tally { shed: 51, ..good() }), Some(Measure::Shed));
        assert_eq!(judged(good(), Tally { outside: 1, ..good() }), Some(Measure::Outside));
    }

    #[test]
    fn what_may_be_chance_is_no_verdict() {
        // Three points and ten more, of a hundred: fewer than four standard errors.
        assert_eq!(judged(answers(100, 0, 1_000), answers(100, 3, 1_000)), None);
        assert_eq!(judged(answers(100, 5, 1_000), answers(100, 15, 1_000)), None);
        assert_eq!(judged(answers(100, 5, 1_000), answers(100, 35, 1_000)), Some(Measure::Failure));
        // Half as late again, but by a single answer.
        let mut late = answers(100, 0, 1_000);
        late.answered(false, 50_000);
        assert_eq!(judged(answers(100, 0, 1_000), late), None);
    }

    /// Two sides over ten minutes at 200 requests a second, one in twenty for the candidate: who fails so often, and is
    /// so much later. Times have a long tail.
    fn trial(seed: u64, failed_ppm: [u64; 2], later_percent: u64) -> Option<Worse> {
        let mut judge = Judge::new(Trigger { window_ms: 60_000, outside_ppm: None, ..TRIGGER }, 1);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
        };
        for tick in 0..6_000 {
            for _ in 0..20 {
                let candidate = random() % 20 == 0;
                let failed = random() % 1_000_000 < failed_ppm[usize::from(candidate)];
                let us = (1_000_u64 << random().trailing_zeros().min(7)) + random() % 1_000;
                let us = if candidate { us * (100 + later_percent) / 100 } else { us };
                let tally = judge.of(0, candidate).unwrap();
                tally.asked += 1;
                tally.placed(10 + random() % 20);
                tally.answered(failed, us);
            }
            if let Some(worse) = judge.verdict(1_000 + tick * 100) {
                return Some(worse);
            }
        }
        None
    }

    #[test]
    fn sides_that_are_the_same_are_not_told_apart_by_chance_even_where_both_fail() {
        for failed_ppm in [0, 30_000, 50_000] {
            let alarms = (1..=14).filter_map(|seed| trial(seed, [failed_ppm; 2], 0)).count();
            assert_eq!(alarms, 0, "{failed_ppm} ppm fail on both sides");
        }
    }

    #[test]
    fn a_side_that_is_worse_is_still_found() {
        for seed in 1..=5 {
            let failing = trial(seed, [30_000, 130_000], 0).map(|worse| worse.measure);
            assert_eq!(failing, Some(Measure::Failure), "{seed}");
            assert_eq!(trial(seed, [30_000; 2], 120).map(|worse| worse.measure), Some(Measure::FirstByte), "{seed}");
        }
    }

    #[test]
    fn too_few_say_nothing() {
        let few = Tally { asked: 99, answered: 99, failed: 99, shed: 99, looked: 5, outside: 5, ..Tally::default() };
        assert_eq!(judged(good(), few), None);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut judge = Judge::new(TRIGGER, 1);
        *judge.of(0, false).unwrap() = good();
        assert_eq!(judge.verdict(1_000), None);
        assert_eq!(judge.verdict(6_000), None);
        *judge.of(0, true).unwrap() = answers(1_000, 500, 1_000);
        assert!(judge.verdict(7_000).is_some(), "the older half still counts");
        assert!(judge.verdict(11_000).is_some());
        assert_eq!(judge.verdict(16_000), None, "the current one's half is gone");
    }
}
