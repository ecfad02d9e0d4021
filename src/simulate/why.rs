//! Where a goal is missed, why: said from the figures of the same run, so that nobody need believe an explanation.

use super::experiment::Setup;
use super::figures::Figures;

fn per_request_uusd(f: &Figures) -> i64 {
    f.cost_uusd / i64::try_from(f.offered.max(1)).unwrap_or(i64::MAX)
}

/// What one request cost, answered or not.
#[must_use]
pub(super) fn each(ours: &Figures, theirs: &Figures) -> (i64, i64) {
    (per_request_uusd(ours), per_request_uusd(theirs))
}

/// Of which classes somebody else answers more or fewer in time, and what becomes of the rest.
#[must_use]
pub(super) fn classes(setup: &Setup, ours: &Figures, theirs: &Figures) -> String {
    let both = setup.document.classes.iter().zip(ours.by_class.iter().zip(&theirs.by_class));
    let differ = both.filter(|(_, (o, t))| o.good != t.good);
    let said: Vec<String> = differ
        .map(|(class, (o, t))| {
            let sign = if o.good < t.good { '−' } else { '+' };
            format!("{} {sign}{}", class.name, o.good.abs_diff(t.good))
        })
        .collect();
    format!(
        "Of {} requests: {}; late, refused, failed: {}, {}, {} against {}, {}, {}.",
        ours.offered,
        if said.is_empty() { "no class differs".into() } else { said.join(", ") },
        ours.late,
        ours.refused,
        ours.failed,
        theirs.late,
        theirs.refused,
        theirs.failed
    )
}

/// By how many requests two runs differ by luck alone: those not answered in time are few and independent, so their number
/// varies by its root.
#[must_use]
pub(super) fn luck(ours: &Figures, theirs: &Figures) -> String {
    let lost = (ours.offered - ours.good) + (theirs.offered - theirs.good);
    let (less, by) = (theirs.good.saturating_sub(ours.good), lost.isqrt());
    let verdict = if less <= 2 * by { "within" } else { "beyond" };
    format!("{less} requests fewer, {verdict} what luck alone explains (±{by} at one standard deviation).")
}

/// Who answers fewer has cheap ones left: what each of the others costs.
#[must_use]
pub(super) fn marginal(ours: &Figures, theirs: &Figures) -> String {
    let more = i64::try_from(ours.good).unwrap_or(0) - i64::try_from(theirs.good).unwrap_or(0);
    if more <= 0 {
        return "It answers as many.".into();
    }
    let each = (ours.cost_uusd - theirs.cost_uusd) / more;
    let lost = theirs.offered - theirs.good;
    format!(
        "It leaves {lost} of {} unanswered; the {more} more that are answered cost {each} micro-dollars each.",
        theirs.offered
    )
}
