//! Two routers over the same requests: what each answers that the other does not, and, of what both answer in time, what it
//! costs the one and the other, and what the difference buys.

use super::experiment::Setup;
use super::figures::Figures;
use super::goals::decimal;
use std::collections::BTreeMap;

/// Sums over requests that both answer in time.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    requests: i64,
    ours_pusd: i64,
    theirs_pusd: i64,
    /// Our whole time less theirs.
    later_us: i64,
    /// Our quality less theirs.
    better_ppm: i64,
}

impl Sum {
    const fn dearer_pusd(&self) -> i64 {
        self.ours_pusd - self.theirs_pusd
    }
}

/// Two routers, over one seed or several.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    /// Answered in time by ours alone, and by theirs alone.
    pub(super) alone: (u64, u64),
    all: Sum,
    classes: BTreeMap<u16, Sum>,
    /// From where they have it answered to where we do.
    moves: BTreeMap<(u16, u16, u16), Sum>,
}

impl Pair {
    pub(super) fn of<'a>(runs: impl Iterator<Item = (&'a Figures, &'a Figures)>) -> Self {
        let mut pair = Self::default();
        for (ours, theirs) in runs {
            for (o, t) in ours.ledger.beside(&theirs.ledger) {
                pair.alone.0 += u64::from(o.good() && !t.good());
                pair.alone.1 += u64::from(t.good() && !o.good());
                if !(o.good() && t.good()) {
                    continue;
                }
                let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
                let class = pair.classes.entry(o.class).or_default();
                let shift = pair.moves.entry((o.class, t.substrate, o.substrate)).or_default();
                for sum in [&mut pair.all, class, shift] {
                    sum.requests += 1;
                    sum.ours_pusd += signed(o.cost_pusd);
                    sum.theirs_pusd += signed(t.cost_pusd);
                    sum.later_us += i64::from(o.whole_us) - i64::from(t.whole_us);
                    sum.better_ppm += i64::from(o.quality_ppm) - i64::from(t.quality_ppm);
                }
            }
        }
        pair
    }

    /// Answered in time by both.
    pub(super) const fn both(&self) -> i64 {
        self.all.requests
    }

    /// By how much ours is dearer over what both answer in time, in millionths of theirs; below nought it is cheaper.
    pub(super) const fn dearer_ppm(&self) -> i64 {
        let theirs = if self.all.theirs_pusd == 0 { 1 } else { self.all.theirs_pusd };
        self.all.dearer_pusd() / 1_000 * 1_000_000 / (theirs / 1_000 + (theirs < 1_000) as i64)
    }

    /// Micro-dollars a request, ours and theirs.
    pub(super) fn each_uusd(&self) -> (i64, i64) {
        let each = |pusd: i64| pusd / self.all.requests.max(1) / 1_000_000;
        (each(self.all.ours_pusd), each(self.all.theirs_pusd))
    }

    /// Of which class the difference is, where those are answered instead, and what the policy's own prices of time and
    /// quality make of it.
    pub(super) fn why(&self, setup: &Setup) -> String {
        let substrate = |at: u16| setup.document.substrates.get(usize::from(at)).map_or("?", |s| s.name.as_str());
        let class = |at: u16| setup.document.classes.get(usize::from(at));
        let uusd = |pusd: i64| pusd / self.all.requests.max(1) / 1_000_000;
        let Some((of, most)) = self.classes.iter().max_by_key(|(_, sum)| sum.dearer_pusd()) else {
            return String::new();
        };
        let mut moves: Vec<_> = self.moves.iter().filter(|((c, from, to), _)| c == of && from != to).collect();
        moves.sort_by_key(|(_, sum)| -sum.dearer_pusd());
        let shifted = moves.iter().take(2).map(|((_, from, to), sum)| {
            let sooner = if sum.later_us <= 0 { "sooner" } else { "later" };
            let by = u64::try_from(sum.later_us.abs() / sum.requests.max(1)).unwrap_or(0);
            format!(
                "{} that they have answered by {} go to {} (+{} each, {} s {sooner})",
                sum.requests,
                substrate(*from),
                substrate(*to),
                sum.dearer_pusd() / sum.requests.max(1) / 1_000_000,
                decimal(by, 1)
            )
        });
        let worth: i64 = self
            .classes
            .iter()
            .filter_map(|(at, sum)| {
                let worth = class(*at)?.worth;
                Some(sum.better_ppm.saturating_mul(worth.answer_uusd) - sum.later_us.saturating_mul(worth.second_uusd))
            })
            .sum();
        format!(
            "Of {} a request more, {} are of class {}: {}. By the policy's own prices the time and quality that this buys are \
             worth {} a request.",
            uusd(self.all.dearer_pusd()),
            uusd(most.dearer_pusd()),
            class(*of).map_or("?", |c| c.name.as_str()),
            shifted.collect::<Vec<_>>().join("; "),
            uusd(worth),
        )
    }
}
