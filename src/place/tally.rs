//! How many candidates were rejected, by each reason that they had: all of them, and a request hardly pays for it.
//!
//! Those that a ground shuts have the same reasons again and again: how often is counted, and multiplied out when the
//! ground is given up or somebody asks. Only where the single request may add a reason, by its tokens, its deadline, its
//! cost or what is full by now, are they looked at one by one.

use super::ground::{Ground, Most};
use super::rows::Use;
use super::score::{self, Figures};
use super::table::{Table, bit, cell, verdict};
use super::{Scene, availability, cost};
use crate::model::{Code, Codes, SubstrateId};

/// Rejected candidates, by the code.
#[derive(Clone, Debug)]
pub(crate) struct Tally([u64; Code::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Code::ALL.len()])
    }
}

impl Tally {
    fn add(&mut self, codes: u64, times: u64) {
        for code in Codes(codes).iter() {
            if let Some(cell) = self.0.get_mut(code as usize) {
                *cell = cell.wrapping_add(times);
            }
        }
    }

    /// Hands over what was counted, and begins anew.
    pub(crate) fn tell(&mut self, mut told: impl FnMut(Code, u64)) {
        for (code, cell) in Code::ALL.iter().zip(&mut self.0) {
            let many = core::mem::take(cell);
            if many > 0 {
                told(*code, many);
            }
        }
    }
}

/// What is the same of each shut one for every request, and what a request must stay under so that it remains so.
#[derive(Clone, Copy, Debug)]
struct Still {
    id: SubstrateId,
    codes: u64,
    within: Bounds,
}

/// The time that the deadline bounds, so much and so much per token; the tokens; what was placed since the snapshot.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    need_us: i64,
    input_us: i64,
    output_us: i64,
    tokens: i64,
    places: u32,
}

impl Bounds {
    /// Those of nobody.
    const WIDE: Self = Self { need_us: 0, input_us: 0, output_us: 0, tokens: i64::MAX, places: u32::MAX };

    /// What is within these is within both.
    fn narrowed(self, other: &Self) -> Self {
        Self {
            need_us: self.need_us.max(other.need_us),
            input_us: self.input_us.max(other.input_us),
            output_us: self.output_us.max(other.output_us),
            tokens: self.tokens.min(other.tokens),
            places: self.places.min(other.places),
        }
    }

    fn hold(&self, scene: &Scene, placed: u32) -> bool {
        let (input, output) = (scene.asked.input, scene.asked.output);
        let need_us = self.need_us + self.input_us * input + self.output_us * output;
        need_us <= scene.asked.try_us && input + output <= self.tokens && placed < self.places
    }
}

/// The shut ones of a ground, for the tally.
#[derive(Clone, Debug)]
pub(crate) struct Stills {
    /// How many decisions were made on this ground since they were counted.
    decided: u64,
    rows: Vec<Still>,
    /// Bounds of all of them.
    within: Bounds,
    /// The dearest of their prices.
    most: Most,
}

impl Default for Stills {
    fn default() -> Self {
        Self { decided: 0, rows: Vec::new(), within: Bounds::WIDE, most: Most::default() }
    }
}

impl Stills {
    /// Begins a ground anew; what was counted on the old one has been told.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        (self.decided, self.within, self.most) = (0, Bounds::WIDE, Most::default());
    }

    /// Multiplies out what was decided here.
    pub(crate) fn settle(&mut self, tally: &mut Tally) {
        let times = core::mem::take(&mut self.decided);
        if times > 0 {
            self.rows.iter().for_each(|still| tally.add(still.codes, times));
        }
    }
}

/// Takes in one that is shut.
pub(crate) fn keep(scene: &Scene, ground: &mut Ground, id: SubstrateId, figures: &Figures, usage: &Use) {
    let codes = cell(&ground.codes, id);
    let context = if codes & bit(Code::Model, true) == 0 { i64::from(cell(&ground.context, id)) } else { i64::MAX };
    let (free, burst) = (availability::most_places(scene, id, scene.common(id)), cost::most_places(scene, id));
    let within = Bounds {
        need_us: figures.first_us,
        input_us: figures.input_us,
        output_us: if scene.asked.stream { 0 } else { figures.output_us },
        tokens: context.min(availability::most_tokens(scene, id)),
        // What is full already is so for everybody: a reason like the others.
        places: [free, burst].into_iter().filter(|places| *places > 0).min().unwrap_or(u32::MAX),
    };
    let codes = codes | bit(Code::Headroom, free == 0) | bit(Code::BurstCeiling, burst == 0);
    let stills = &mut ground.stills;
    stills.within = stills.within.narrowed(&within);
    stills.most.include(figures, usage);
    stills.rows.push(Still { id, codes, within });
}

/// Counts what rejected the candidates of a request that was decided.
pub(crate) fn count(scene: &Scene, table: &mut Table) {
    let mut tally = core::mem::take(&mut table.tally);
    if table.survey.standing < table.codes.len() {
        table.codes.iter().for_each(|codes| tally.add(*codes, 1));
    }
    table.ground.stills.decided += 1;
    let all = whoever(scene, table);
    let stills = &table.ground.stills;
    let most = scene.local.placed.iter().copied().max().unwrap_or(0);
    if all || !stills.within.hold(scene, most) {
        for still in &stills.rows {
            if all || !still.within.hold(scene, scene.placed(still.id)) {
                let codes = verdict(scene, table, still.id).0;
                tally.add(codes & !still.codes, 1);
                // What this one was spared it will be counted as, with the others.
                tally.add(still.codes & !codes, u64::MAX);
            }
        }
    }
    table.tally = tally;
}

/// Whether something that is not told by bounds may add a reason or take one away.
fn whoever(scene: &Scene, table: &Table) -> bool {
    let stills = &table.ground.stills;
    table.shed
        || table.prepaid_ppm.is_some_and(|used| used < i64::from(table.ground.most.after_ppm))
        || !score::is_affine(scene, &table.ground.most)
        || score::most_pusd(scene, &stills.most) > scene.limit_pusd.min(scene.left_pusd)
        || !scene.reserves.is_empty()
        || scene.shares.iter().any(|share| availability::tenant_share(scene, share))
        || scene.picture.probes.iter().any(|probe| availability::may_probe(scene, probe.substrate))
}
