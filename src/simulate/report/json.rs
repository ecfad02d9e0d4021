//! For programs: the whole envelope of the experiment and every figure.

use super::{Experiment, Report};
use crate::model::{Border, Tier};
use crate::simulate::experiment::{Capacity, Cell, Run};
use crate::simulate::figures::Figures;
use crate::simulate::held::Held;
use serde_json::{Value, json};

impl Report {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let all: Vec<Value> = self.experiments.iter().map(Experiment::json).collect();
        json!({"berth": env!("CARGO_PKG_VERSION"), "missed": self.missed(), "experiments": all})
    }
}

impl Experiment {
    fn json(&self) -> Value {
        let scenario = &self.setup.scenario;
        let fleet = scenario.fleet;
        let goals = self.goals();
        let goals = goals
            .iter()
            .map(|g| json!({"wanted": g.wanted, "met": g.met, "verdict": g.verdict(), "seen": g.seen, "why": g.why}));
        let names = self.setup.document.substrates.iter().map(|s| Value::from(s.name.as_str()));
        let runs: Vec<Value> = self.results.runs.iter().map(|r| self.run(r)).collect();
        let sweep = self.results.sweep.iter().map(|c| self.cell(c));
        json!({
            "name": scenario.name.as_str(),
            "title": scenario.title,
            "scenario_digest": self.scenario_digest,
            "policy": self.policy,
            "seed": scenario.seed,
            "duration_ms": scenario.duration_ms,
            "warmup_ms": scenario.warmup_ms,
            "fleet": {"proxies": fleet.proxies, "workers": fleet.workers, "period_ms": fleet.period_ms,
                "delay_ms": fleet.delay_ms, "together": fleet.together},
            "fingerprint": format!("{:016x}", self.fingerprint()),
            "substrates": names.collect::<Vec<_>>(),
            "runs": runs,
            "sweep": sweep.collect::<Vec<_>>(),
            "other_seeds": {"from": self.results.from, "number": self.results.seeds},
            "held": self.results.held.iter().map(held).collect::<Vec<_>>(),
            "capacity": self.results.capacity.iter().map(capacity).collect::<Vec<_>>(),
            "goals": goals.collect::<Vec<_>>(),
        })
    }

    fn cell(&self, cell: &Cell) -> Value {
        let runs: Vec<Value> = cell.runs.iter().map(|r| self.run(r)).collect();
        json!({"period_ms": cell.period_ms, "proxies": cell.proxies, "runs": runs})
    }

    fn run(&self, run: &Run) -> Value {
        let mut value = figures(&run.figures);
        let tuning = run.variant.tuning.map(|t| json!({"listed": t.listed, "cool_ms": t.cool_ms, "taste": t.taste}));
        let classes = self.setup.document.classes.iter().zip(&run.figures.by_class);
        let classes = classes.map(|(c, n)| (c.name.to_string(), json!({"offered": n.offered, "good": n.good})));
        let found = run.figures.found.iter().map(|(at_ms, substrate)| json!({"at_ms": at_ms, "substrate": substrate}));
        let found: Vec<Value> = found.collect();
        if let Some(map) = value.as_object_mut() {
            map.insert("router".into(), run.variant.router.into());
            map.insert("tuning".into(), tuning.unwrap_or(Value::Null));
            map.insert("by_class".into(), Value::Object(classes.collect()));
            map.insert("drift_found".into(), Value::Array(found));
        }
        value
    }
}

fn figures(f: &Figures) -> Value {
    let by = |names: Vec<&'static str>, values: &[u64]| {
        Value::Object(names.into_iter().zip(values).map(|(name, n)| (name.into(), Value::from(*n))).collect())
    };
    let whys = f.whys.iter().map(|(why, n)| ((*why).into(), Value::from(*n))).collect();
    json!({
        "offered": f.offered, "good": f.good, "late": f.late, "refused": f.refused, "failed": f.failed,
        "goodput_ppm": f.goodput_ppm, "fault_goodput_ppm": f.fault_ppm, "queued_p99_us": f.queued_p99_us, "attempts": f.attempts,
        "outside": {"written": f.outside_written, "proof": f.outside_proof},
        "shed": by(Tier::ALL.map(Tier::as_str).to_vec(), &f.shed),
        "refused_by": Value::Object(whys),
        "cost_uusd": f.cost_uusd, "cost_per_good_uusd": f.cost_per_good_uusd, "egress_uusd": f.egress_uusd,
        "spilled": by(Border::ALL.map(Border::as_str).to_vec(), &f.spilled), "off_home_ppm": f.off_home_ppm,
        "quality_ppm": f.quality_ppm, "p50_us": f.p50_us, "p99_us": f.p99_us,
        "max_over_mean_ppm": f.imbalance_ppm, "max_over_mean_p95_ppm": f.imbalance_p95_ppm,
        "swings_per_minute_ppm": f.swings_ppm, "recovery_ms": f.recovery_ms, "recovers": f.recovers,
        "placed": f.placed, "goodput_by_second_ppm": f.timeline_ppm,
    })
}

fn capacity(c: &Capacity) -> Value {
    json!({"router": c.variant.label(), "floor_us": c.floor_us, "sustainable_mrps": c.sustainable_mrps,
        "recovers_mrps": c.recovers_mrps})
}

fn held(h: &Held) -> Value {
    json!({"router": h.variant.label(), "trained_ppm": h.trained_ppm,
        "seeds": h.figures.iter().map(figures).collect::<Vec<_>>()})
}
