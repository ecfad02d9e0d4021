//! A local override: what a zone or a gateway narrows of the global policy. Every line is compared with what it
//! narrows by `narrow`; here is only its shape.

use super::{
    borders,
    document::Version,
    envelope::{Sets, terms},
};
use crate::model::{Border, Borders, Name, Terms};
use crate::policy::{
    forms::{Flag, Named, Text, Word, ratio, usd, whole},
    source::Source,
};

/// A local override.
#[derive(Clone, Debug)]
pub struct Overrides {
    /// Its name.
    pub name: Name,
    /// Who answers for it.
    pub owner: String,
    /// By envelope.
    pub envelopes: Vec<(Name, EnvelopeOverride)>,
    /// For all envelopes.
    pub everywhere: Option<EnvelopeOverride>,
    /// By class.
    pub classes: Vec<(Name, ClassOverride)>,
    /// By substrate.
    pub substrates: Vec<(Name, SubstrateOverride)>,
    /// By tenant.
    pub budgets: Vec<(String, i64)>,
}

/// What is narrowed of an envelope.
#[derive(Clone, Debug, Default)]
pub struct EnvelopeOverride {
    /// Permitted only if this permits it too.
    pub permit: Terms,
    /// Forbidden besides.
    pub forbid: Terms,
    /// The widest border, if it is narrower.
    pub spillover: Option<Borders>,
    /// A fresher attestation.
    pub attestation_max_age_ms: Option<u64>,
    /// Fresher health.
    pub health_max_age_ms: Option<u64>,
    /// Only without a path out.
    pub air_gapped: Option<bool>,
    /// Approvals needed besides.
    pub approval_for: Borders,
}

/// What is narrowed of a class.
#[derive(Clone, Debug, Default)]
pub struct ClassOverride {
    /// A shorter deadline.
    pub deadline_ms: Option<u32>,
    /// Fewer attempts.
    pub attempts: Option<u8>,
    /// A lower cost.
    pub cost_uusd: Option<i64>,
    /// A higher quality.
    pub min_quality_ppm: Option<u32>,
    /// A shorter queue.
    pub max_queue: Option<u32>,
    /// Only air-gapped substrates.
    pub air_gapped: Option<bool>,
    /// Approvals needed besides.
    pub approval_for: Borders,
}

/// What is narrowed of a substrate.
#[derive(Clone, Debug, Default)]
pub struct SubstrateOverride {
    /// Not used here.
    pub disabled: bool,
    /// Fewer requests in flight.
    pub concurrency: Option<u32>,
    /// More kept for tenants: to the others it is less, and to them what it was.
    pub keep_for_tenant_ppm: Vec<(String, u32)>,
}

/// The document of a local override.
pub fn overrides<S: Source>(s: &mut S, sets: &Sets) -> Option<Overrides> {
    s.required("berth", "The version of the schema.", Version);
    s.section("overrides", "What is narrowed, and by whom.", |s| body(s, sets))
}

fn body<S: Source>(s: &mut S, sets: &Sets) -> Option<Overrides> {
    let name = s.required("name", "Its name.", Named);
    let owner = s.required("owner", "Who answers for it.", Text(256));
    let envelopes =
        s.section_map("envelopes", "What is narrowed of an envelope, by its name.", Named, |s| envelope(s, sets));
    let everywhere = s.section_if("everywhere", "What is narrowed of every envelope.", |s| envelope(s, sets));
    let classes = s.section_map("classes", "What is narrowed of a class, by its name.", Named, class);
    let substrates = s.section_map("substrates", "What is narrowed of a substrate, by its name.", Named, substrate);
    let budgets = s.map("budgets", "Lower budgets per window, by tenant.", (Text(128), usd(1_000_000_000)));
    Some(Overrides { name: name?, owner: owner?, envelopes, everywhere, classes, substrates, budgets })
}

const SPILLOVERS: [Option<Border>; 4] = [None, Some(Border::Zone), Some(Border::Region), Some(Border::Jurisdiction)];

fn spillover_word(widest: Option<Border>) -> &'static str {
    widest.map_or("none", Border::as_str)
}

fn envelope<S: Source>(s: &mut S, sets: &Sets) -> Option<EnvelopeOverride> {
    let permit = s.section_or_empty("permit", "Permitted only if this permits it too.", |s| terms(s, sets));
    let forbid = s.section_or_empty("forbid", "Forbidden besides.", |s| terms(s, sets));
    let widest = s.optional(
        "spillover",
        "The widest border that may be crossed here; accounts and cost regimes stay as they are.",
        Word(&SPILLOVERS, spillover_word),
    );
    let also = Borders::NONE.with(Border::Account).with(Border::Regime);
    let attestation =
        s.optional("attestation_max_age_s", "An attestation not older than this.", whole::<u64>(1, 31_536_000));
    let health = s.optional("health_max_age_s", "Health not older than this.", whole::<u64>(1, 86_400));
    let air_gapped = s.optional("air_gapped", "Only substrates out of which no path leads.", Flag);
    let approval_for = borders(s, "approval_for", "Crossing one of these borders needs a valid approval, besides.");
    Some(EnvelopeOverride {
        permit: permit?,
        forbid: forbid?,
        spillover: widest
            .map(|w| w.map_or(also, |border| Borders::from_bits(Borders::up_to(border).bits() | also.bits()))),
        attestation_max_age_ms: attestation.map(|s| s.saturating_mul(1000)),
        health_max_age_ms: health.map(|s| s.saturating_mul(1000)),
        air_gapped,
        approval_for,
    })
}

fn class<S: Source>(s: &mut S) -> Option<ClassOverride> {
    Some(ClassOverride {
        deadline_ms: s.optional("deadline_ms", "A shorter deadline.", whole(1, 86_400_000)),
        attempts: s.optional("attempts", "Fewer attempts.", whole(1, 3)),
        cost_uusd: s.optional("cost_usd", "A lower cost of one request.", usd(10_000)),
        min_quality_ppm: s.optional("min_quality", "A higher quality.", ratio()),
        max_queue: s.optional("max_queue", "A shorter queue.", whole(0, 1_000_000)),
        air_gapped: s.optional("air_gapped", "Only air-gapped substrates.", Flag),
        approval_for: borders(s, "approval_for", "Crossing one of these borders needs a valid approval, besides."),
    })
}

fn substrate<S: Source>(s: &mut S) -> Option<SubstrateOverride> {
    let disabled = s.or("disabled", "Not used here.", Flag, false);
    let concurrency = s.optional("concurrency", "Fewer requests in flight.", whole(1, 10_000_000));
    let kept = s.map("keep_for_tenant", "More kept for a tenant, so less for the others.", (Text(128), ratio()));
    Some(SubstrateOverride { disabled, concurrency, keep_for_tenant_ppm: kept })
}
