//! Small policies to build others from: one of everything, plain and valid.

#[path = "../support/breaking.rs"]
mod breaking;

use berth::model::class::{Attempts, Limits, Worth};
use berth::model::envelope::Require;
use berth::model::settings::{Adaptive, Ages, Selection, Settings, Shedding, Thresholds};
use berth::model::substrate::{Attested, Capabilities, Capacity, Cost, Latency, Sovereignty};
use berth::model::*;
use breaking::AS_SHIPPED;

/// The moment at which tests decide (a whole step of the picture).
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// A seed of those that try somebody, if there is somebody to try.
pub(crate) const TRYING: u64 = 37;

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

pub(crate) fn country(code: &str) -> Country {
    Country::parse(code).expect("a country")
}

pub(crate) fn settings() -> Settings {
    Settings {
        thresholds: [Thresholds::default(); 7],
        selection: Selection {
            margin_ppm: 50_000,
            margin_per_second_ppm: 10_000,
            max_shift_ppm: 200_000,
            affinity_ppm: 50_000,
            ramp_ms: 10_000,
            ramp_floor_ppm: 100_000,
            panic_ppm: 500_000,
            finish_factor_ppm: 1_500_000,
            plan: 3,
        },
        shedding: Shedding { from_ppm: [850_000, 900_000, 950_000], most_ppm: [800_000, 500_000, 0], retry_after_s: 2 },
        ages: Ages { soft_ms: 3_000, hard_ms: 10_000 },
        breaking: AS_SHIPPED,
        headroom_ppm: 150_000,
        prior_failure_ppm: 10_000,
        bytes_per_token: 4,
        budgets: vec![],
        links: vec![],
        adaptive: Adaptive { latency: true, cost: true, risk: true, shares: true },
        approvals: vec![],
        rollout: None,
    }
}

/// A reserved GPU pool in France that serves `m`.
pub(crate) fn substrate(called: &str) -> Substrate {
    Substrate {
        name: name(called),
        cluster: called.into(),
        kind: Kind::Gpu,
        labels: vec![],
        location: Location {
            jurisdiction: country("FR"),
            region: name("eu"),
            zone: name("eu-a"),
            failure_domain: name(called),
        },
        sovereignty: Sovereignty { subject_to: vec![country("FR")], air_gapped: false, attestation: Attested::None },
        account: name("acme"),
        capabilities: Capabilities {
            models: vec![Offer { model: "m".into(), quality_ppm: 800_000, context_tokens: None, revision: None }],
            context_tokens: 32_000,
            features: Features::default().with(Feature::Streaming).with(Feature::Tools),
            throughput_only: false,
        },
        latency: Latency { first_token_us: 200_000, prefill_us_per_token: 50, us_per_token: 10_000 },
        cost: Cost {
            regime: Regime::Reserved,
            input_pusd_per_token: 100_000,
            output_pusd_per_token: 400_000,
            request_uusd: 0,
            energy_pusd_per_token: 0,
            licence_pusd_per_token: 0,
            egress: vec![],
        },
        capacity: Capacity {
            concurrency: 64,
            keep_for_ppm: [0, 0, 250_000],
            keep_for_tenant_ppm: vec![],
            tenant_share_ppm: vec![],
            burst_after_ppm: 0,
            burst_ceiling_ppm: 1_000_000,
        },
    }
}

pub(crate) fn class(called: &str, home: &[&str]) -> Class {
    Class {
        name: name(called),
        matches: Predicate::Any(vec![]),
        tier: Tier::Standard,
        home: home.iter().map(|h| name(h)).collect(),
        deadline_ms: 8_000,
        attempts: Attempts { most: 3, per_try_ms: None, repeatable: false, hedge: false },
        worth: Worth { answer_uusd: 20_000, second_uusd: 2_000, failure_uusd: 50_000 },
        limits: Limits { cost_uusd: None, min_quality_ppm: 0, max_queue: None },
        needs: Features::default(),
        usual_output_tokens: 100,
        synchronous: true,
        allow_throughput: false,
        air_gapped: false,
        approval_for: Borders::NONE,
    }
}

/// An envelope that permits everything to everybody.
pub(crate) fn envelope(called: &str) -> Envelope {
    Envelope {
        name: name(called),
        applies_to: Selector::default(),
        permit: Terms::default(),
        forbid: Terms::default(),
        spillover: Borders::ANY,
        require: Require::default(),
    }
}

pub(crate) fn document(substrates: Vec<Substrate>, classes: Vec<Class>, envelopes: Vec<Envelope>) -> Document {
    Document {
        identity: Identity {
            name: name("tests"),
            version: 1,
            owner: "tests".into(),
            approved_by: vec![],
            effective: None,
        },
        jurisdictions: vec![("EU".into(), vec![country("DE"), country("FR")])],
        default_class: classes.first().map_or(name("none"), |c| c.name.clone()),
        substrates,
        classes,
        envelopes,
        settings: settings(),
    }
}

/// A record in which one signal was heard just now.
pub(crate) fn health(called: &str, readings: &[(Signal, i64)]) -> Health {
    let mut health = Health::unknown(called);
    for (signal, value) in readings {
        health.set(*signal, Reading { value: *value, at_ms: NOW_MS });
    }
    health
}

pub(crate) fn snapshot(substrates: Vec<Health>) -> Snapshot {
    Snapshot { writer: 1, epoch: 7, at_ms: NOW_MS, interval_ms: 1_000, slots: 2, substrates }
}
