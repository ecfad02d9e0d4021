//! Where a goal is missed, why: said from the figures of the same runs, so that nobody need believe an explanation.

use super::experiment::Setup;
use super::figures::Figures;
use super::goals::percent;
use super::ledger::Entry;
use super::measure::End;
use super::pairs::Pair;
use super::panel::Entrant;

/// Of which classes somebody else answers more or fewer in time, and what becomes of the rest.
#[must_use]
pub(super) fn classes(setup: &Setup, ours: &Entrant, theirs: &Entrant) -> String {
    let good = |who: &Entrant, at: usize| who.sum(|f| f.by_class.get(at).map_or(0, |c| c.good));
    let named = setup.document.classes.iter().enumerate().map(|(at, c)| (&c.name, good(ours, at), good(theirs, at)));
    let said: Vec<String> = named
        .filter(|(_, o, t)| o != t)
        .map(|(name, o, t)| format!("{name} {}{}", if o < t { '−' } else { '+' }, o.abs_diff(t)))
        .collect();
    let lost = |who: &Entrant| {
        [who.sum(|f| f.late), who.sum(|f| f.refused), who.sum(|f| f.failed)].map(|n| n.to_string()).join(", ")
    };
    format!(
        "Of {} requests: {}; late, refused, failed: {} against {}.",
        ours.sum(|f| f.offered),
        if said.is_empty() { "no class differs".into() } else { said.join(", ") },
        lost(ours),
        lost(theirs)
    )
}

/// By how much two differ over the same arrivals, and whether that is more than luck: over seeds by the spread of their
/// differences, of one seed by the requests that only one of the two answers.
#[must_use]
pub(super) fn luck(ours: &Entrant, theirs: &Entrant) -> String {
    let pair = Pair::of(ours.beside(theirs));
    let (own, other) = pair.alone;
    let less = ours.less(theirs, |f| f.goodput_ppm);
    let alone = format!("{own} that it does not answer and {other} the other way round");
    let said = match (less.half, less.is_sure()) {
        (Some(_), true) => format!("{} points, told apart from luck", less.points()),
        (Some(_), false) => format!("{} points, not told apart from luck", less.points()),
        // If neither were better, each of those would be a toss.
        (None, _) if own.abs_diff(other).pow(2) > 4 * (own + other) => "more than luck".into(),
        (None, _) => "no more than luck".into(),
    };
    format!("{said}; {alone}.")
}

/// Between the end of the last fault and recovery: what is lost that the ideal answers, how, and how much of what was met by
/// faults is used again.
#[must_use]
pub(super) fn recovery(setup: &Setup, ours: &Entrant, ideal: &Entrant) -> String {
    let (Some(over), Some(begins)) = (setup.scenario.over_ms(), setup.scenario.begins_ms()) else {
        return String::new();
    };
    let met: Vec<bool> = setup
        .document
        .substrates
        .iter()
        .map(|s| setup.scenario.events.iter().any(|event| event.meets(s) && !event.to.is_empty()))
        .collect();
    let there = |e: &&Entry| e.good() && met.get(usize::from(e.substrate)).copied().unwrap_or(false);
    // Of all that is answered in time between two moments, the part by whom faults had met.
    let part = |f: &Figures, from: u64, until: u64| {
        let within = f.ledger.entries().filter(|e| e.good() && (from..until).contains(&u64::from(e.at_ms)));
        let (n, of) = within.fold((0_u64, 0_u64), |(n, of), e| (n + u64::from(there(&e)), of + 1));
        n * 1_000_000 / of.max(1)
    };
    let (mut lost, mut ends) = (0_u64, [0_u64; 4]);
    let (mut now, mut best, mut before) = (0, 0, 0);
    for (o, i) in ours.beside(ideal) {
        let until = over + o.recovery_ms.unwrap_or(10_000).max(1_000);
        for (mine, its) in o.ledger.beside(&i.ledger) {
            let at = u64::from(mine.at_ms);
            if (over..until).contains(&at) && its.good() && !mine.good() {
                lost += 1;
                mine.end.and_then(|end| ends.get_mut(end as usize)).into_iter().for_each(|n| *n += 1);
            }
        }
        (now, best) = (now + part(o, over, until), best + part(i, over, until));
        before += part(o, 0, begins);
    }
    let seeds = (ours.runs.len() as u64).max(1);
    let of = |end: End| ends.get(end as usize).copied().unwrap_or(0);
    let mut said = format!(
        "Until it is back, {lost} that the ideal answers are lost in {seeds} runs: {} late, {} refused, {} failed.",
        of(End::Late),
        of(End::Refused),
        of(End::Failed)
    );
    if met.contains(&true) {
        said += &format!(
            " What the faults had met answers {} meanwhile, of the ideal's {}; before them {}.",
            percent(now / seeds),
            percent(best / seeds),
            percent(before / seeds)
        );
    }
    said
}
