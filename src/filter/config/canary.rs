//! The candidate policy and when it goes back, as they stand in the configuration.

use super::raw::{RawCanary, RawConfig};
use super::{read_policy, refuse};
use crate::filter::canary::CanaryConfig;
use crate::filter::canary::judge::Trigger;
use crate::policy::Policy;
use crate::policy::decimal::es6;
use core::ops::RangeInclusive;
use std::rc::Rc;

const WINDOW_S: RangeInclusive<u32> = 1..=86_400;

/// What is taken where nothing is said: over a minute and at least a hundred requests, two points more failures, a fifth
/// later, half as dear again, five points more refusals; what the current policy forbids is not counted.
const DEFAULT: Trigger = Trigger {
    window_ms: 60_000,
    least: 100,
    failure_ppm: 20_000,
    first_byte_ppm: 200_000,
    cost_ppm: 500_000,
    shed_ppm: 50_000,
    outside_ppm: None,
};

#[inline(never)]
pub(super) fn canary(raw: &RawConfig<'_>, current: &Policy) -> Result<Option<CanaryConfig>, String> {
    let Some(candidate) = raw.candidate else {
        return match raw.canary {
            Some(_) => Err(refuse("canary: expected a `candidate` policy beside it")),
            None => Ok(None),
        };
    };
    let policy = Rc::new(read_policy(candidate, "candidate")?);
    reaches(&policy, current)?;
    let Some(rollout) = policy.document().settings.rollout.clone() else {
        return Err(refuse("candidate.rollout: missing, expected the candidate's share, such as `{\"share\": 0.05}`"));
    };
    let canary = raw.canary.clone().unwrap_or_default();
    Ok(Some(CanaryConfig { trigger: trigger(&canary)?, by: canary.by, policy, rollout }))
}

/// The proxy has clusters for the current policy's substrates, and telemetry watches these: on another one, a candidate
/// could only fail.
fn reaches(candidate: &Policy, current: &Policy) -> Result<(), String> {
    for (at, substrate) in candidate.document().substrates.iter().enumerate() {
        let (name, cluster) = (&substrate.name, &substrate.cluster);
        let known = current.document().substrates.iter().find(|known| known.name == *name);
        match known {
            Some(known) if known.cluster == *cluster => {}
            Some(known) => {
                return Err(refuse(&format!(
                    "candidate.substrates[{at}].cluster: found `{cluster}`, expected `{}` as in the current policy",
                    known.cluster
                )));
            }
            None => {
                return Err(refuse(&format!(
                    "candidate.substrates[{at}].name: found `{name}`, expected a substrate of the current policy: bring \
                     it in there first, where an envelope may forbid it"
                )));
            }
        }
    }
    Ok(())
}

#[inline(never)]
fn trigger(raw: &RawCanary) -> Result<Trigger, String> {
    let window_s = raw.window_s.unwrap_or(DEFAULT.window_ms / 1_000);
    if !WINDOW_S.contains(&window_s) {
        let (least, most) = (WINDOW_S.start(), WINDOW_S.end());
        return Err(refuse(&format!("canary.window_s: found {window_s}, expected {least} to {most}")));
    }
    Ok(Trigger {
        window_ms: window_s.saturating_mul(1_000),
        least: raw.least.unwrap_or(DEFAULT.least).max(1),
        failure_ppm: ppm("failure", raw.failure)?.unwrap_or(DEFAULT.failure_ppm),
        first_byte_ppm: ppm("first_byte", raw.first_byte)?.unwrap_or(DEFAULT.first_byte_ppm),
        cost_ppm: ppm("cost", raw.cost)?.unwrap_or(DEFAULT.cost_ppm),
        shed_ppm: ppm("shed", raw.shed)?.unwrap_or(DEFAULT.shed_ppm),
        outside_ppm: ppm("outside", raw.outside)?,
    })
}

/// A share or a surplus, such as 0.02.
fn ppm(name: &str, value: Option<f64>) -> Result<Option<u32>, String> {
    let Some(value) = value else { return Ok(None) };
    if (0.0..=100.0).contains(&value) {
        return Ok(Some((value * 1_000_000.0 + 0.5) as u32));
    }
    Err(refuse(&format!("canary.{name}: found {}, expected a number from 0 to 100, such as 0.02", es6(value))))
}
