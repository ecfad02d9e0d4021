//! What each part is for: ours without it beside ours, over the same arrivals of many seeds.

use super::Experiment;
use crate::simulate::figures::Figures;
use crate::simulate::panel::{Difference, Panel};

/// What is compared, and whether more of it is better.
type Measure = (&'static str, bool, fn(&Figures) -> u64);

const MEASURES: [Measure; 5] = [
    ("goodput", true, |f| f.goodput_ppm),
    ("goodput in faults", true, |f| f.fault_ppm.unwrap_or(0)),
    ("max/mean × 100", false, |f| f.imbalance_ppm),
    ("swings a minute × 100", false, |f| f.swings_ppm),
    // Who is not back within the run is so after two minutes, for the mean.
    ("recovery, s × 100", false, |f| f.recovery_ms.unwrap_or(if f.recovers { 0 } else { 120_000 }) * 1_000),
];

/// All that is told apart from luck, for and against each part. Nothing of a single seed.
pub(super) fn parts(experiments: &[Experiment]) -> String {
    let (mut rows, mut compared) = (String::new(), 0);
    for part in ["spread", "freshness", "hysteresis"] {
        let (mut better, mut worse) = (Vec::new(), Vec::new());
        for experiment in experiments {
            let panel = Panel::of(&experiment.results);
            let (Some(ours), Some(without)) = (panel.plain("berth"), panel.plain(&format!("berth-no-{part}"))) else {
                continue;
            };
            for (name, more, of) in MEASURES {
                let less = without.less(ours, of);
                compared += u32::from(less.half.is_some() && less != Difference { mean: 0, half: Some(1) });
                if less.is_sure() {
                    let said = format!("{} {name} {}", experiment.setup.scenario.name, less.points());
                    if (less.mean < 0) == more { worse.push(said) } else { better.push(said) }
                }
            }
        }
        let list = |found: Vec<String>| if found.is_empty() { "nothing".into() } else { found.join("; ") };
        rows += &format!("| {part} | {} | {} |\n", list(worse), list(better));
    }
    if compared == 0 {
        return String::new();
    }
    format!(
        "### What each part is for\n\nBerth without a part less Berth with it, over the same arrivals: what is told apart from \
         luck, with the interval that holds the truth nineteen times of twenty. Of {compared} comparisons one in twenty would \
         be here by luck alone.\n\n| without | is worse | is better |\n| --- | --- | --- |\n{rows}\n"
    )
}
