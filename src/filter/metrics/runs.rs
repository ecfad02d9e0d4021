//! What work is placed on: by class and the labels `hardware` and `revision` of the substrates, and from zone to zone.

use super::cells::Cells;
use super::declare::{Declare, Values, at_most, each, label};
use super::{Metrics, amount};
use crate::filter::ends::Came;
use crate::model::metric::{self, MOST_SERIES};
use crate::model::{ClassId, Decision, Facts, SubstrateId};
use crate::policy::Policy;

const FLOWS: [&str; 2] = ["request", "answer"];

/// Placed requests by what they were placed on.
#[derive(Debug)]
pub(super) struct Runs {
    placed: usize,
    quality: usize,
    cost: usize,
    /// What those came to whose end is looked at, if any is.
    answers: usize,
    classes: usize,
    /// How many kinds of hardware and revision there are, and which one each substrate is.
    kinds: usize,
    kind: Vec<usize>,
}

/// Where a name stands in a list, to which it is added if it is new.
pub(super) fn place<T: PartialEq>(list: &mut Vec<T>, one: T) -> usize {
    list.iter().position(|known| *known == one).unwrap_or_else(|| {
        list.push(one);
        list.len().saturating_sub(1)
    })
}

impl Runs {
    #[inline(never)]
    pub(super) fn declare(policy: &Policy, names: &[&str], ends: bool, these: &mut Declare<'_>) -> Self {
        let mut found: Vec<(String, String)> = Vec::new();
        let substrates = policy.document().substrates.iter();
        let mut kind: Vec<usize> =
            substrates.map(|s| place(&mut found, (label(s, "hardware"), label(s, "revision")))).collect();
        let most = if ends { MOST_SERIES / Came::WORDS.len() } else { MOST_SERIES };
        if found.len() > most {
            found = vec![(String::from("all"), String::from("all"))];
            kind.fill(0);
        }
        let classes = at_most(most / found.len().max(1), names);
        let kinds: Vec<&str> = found.iter().flat_map(|(hardware, revision)| [&**hardware, &**revision]).collect();
        let lists = [each(classes), Values { words: &kinds, labels: 2 }];
        let [of_class, of_kind] = lists;
        Self {
            placed: these(&metric::RUN, &lists),
            quality: these(&metric::RUN_QUALITY, &lists),
            cost: these(&metric::RUN_COST, &lists),
            answers: if ends { these(&metric::ANSWERS, &[of_class, of_kind, each(&Came::WORDS)]) } else { 0 },
            classes: classes.len(),
            kinds: found.len(),
            kind,
        }
    }

    fn placed(&self, cells: &mut Cells, decision: &Decision, substrate: SubstrateId) {
        let at = self.row(decision.class, substrate);
        cells.add(self.placed + at, 1);
        cells.add(self.quality + at, u64::from(decision.quality_ppm));
        cells.add(self.cost + at, amount(decision.cost_uusd));
    }

    /// One of those has ended, there.
    pub(super) fn ended(&self, cells: &mut Cells, class: ClassId, substrate: SubstrateId, came: Came) {
        cells.add(self.answers + self.row(class, substrate) * Came::WORDS.len() + came as usize, 1);
    }

    /// The row of a class and a substrate in each of the lists.
    fn row(&self, class: ClassId, substrate: SubstrateId) -> usize {
        let class = usize::from(class).min(self.classes.saturating_sub(1));
        class * self.kinds + self.kind.get(usize::from(substrate)).copied().unwrap_or(0)
    }
}

/// Placed requests from zone to zone.
#[derive(Debug)]
pub(super) struct Ways {
    first: usize,
    /// Bytes, if the ends of some are looked at.
    bytes: usize,
    /// The zones of the substrates; none where they are too many for every pair to be told apart.
    origins: Vec<String>,
    destinations: usize,
    /// Which one each substrate is in.
    zone: Vec<usize>,
}

impl Ways {
    #[inline(never)]
    pub(super) fn declare(policy: &Policy, ends: bool, these: &mut Declare<'_>) -> Self {
        let mut zones: Vec<&str> = Vec::new();
        let substrates = policy.document().substrates.iter();
        let mut zone: Vec<usize> = substrates.map(|s| place(&mut zones, s.location.zone.as_str())).collect();
        let most = if ends { MOST_SERIES / FLOWS.len() } else { MOST_SERIES };
        if zones.len() > most {
            zones = vec!["all"];
            zone.fill(0);
        }
        let several = (zones.len() + 2) * zones.len() <= most;
        let origins = if several { [zones.as_slice(), &["other", "none"]].concat() } else { vec!["all"] };
        let (from, to) = (each(&origins), each(&zones));
        Self {
            first: these(&metric::WAYS, &[from, to]),
            bytes: if ends { these(&metric::WAY_BYTES, &[from, to, each(&FLOWS)]) } else { 0 },
            origins: if several { zones.iter().map(|&zone| zone.into()).collect() } else { Vec::new() },
            destinations: zones.len(),
            zone,
        }
    }

    /// Where the caller's zone stands among the origins.
    pub(super) fn origin(&self, facts: &Facts<'_>) -> usize {
        match facts.zone {
            _ if self.origins.is_empty() => 0,
            Some(zone) => self.origins.iter().position(|z| z == zone.value).unwrap_or(self.origins.len()),
            None => self.origins.len() + 1,
        }
    }

    fn row(&self, origin: usize, substrate: SubstrateId) -> usize {
        origin * self.destinations + self.zone.get(usize::from(substrate)).copied().unwrap_or(0)
    }

    fn placed(&self, cells: &mut Cells, facts: &Facts<'_>, substrate: SubstrateId) {
        cells.add(self.first + self.row(self.origin(facts), substrate), 1);
    }

    /// So many bytes went there, and so many came back.
    pub(super) fn moved(&self, cells: &mut Cells, origin: usize, to: SubstrateId, bytes: [u64; FLOWS.len()]) {
        let at = self.bytes + self.row(origin, to) * FLOWS.len();
        bytes.into_iter().enumerate().for_each(|(flow, bytes)| cells.add(at + flow, bytes));
    }
}

impl Metrics {
    /// A request was placed there.
    pub(super) fn placed_on(&mut self, decision: &Decision, facts: &Facts<'_>, substrate: SubstrateId) {
        self.runs.placed(&mut self.cells, decision, substrate);
        self.ways.placed(&mut self.cells, facts, substrate);
    }
}
