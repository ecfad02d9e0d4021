//! A substrate: a place that can run work, as its policy declares it.

use super::{Features, Location, Name, geography::Country};

/// What kind of place it is; each kind has its own governing constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Batching GPU cluster: memory pressure and interconnect govern.
    Gpu = 0,
    /// Low-latency inference silicon: queue depth governs.
    Silicon = 1,
    /// Giant-context processor: context room governs.
    GiantContext = 2,
    /// Provider API: rate limit and egress govern.
    Provider = 3,
    /// Sovereign bare metal: jurisdiction and air gap govern.
    Sovereign = 4,
    /// Edge node: power and the link govern.
    Edge = 5,
    /// General-purpose processors.
    Cpu = 6,
}

impl Kind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 7] =
        [Self::Gpu, Self::Silicon, Self::GiantContext, Self::Provider, Self::Sovereign, Self::Edge, Self::Cpu];

    /// The word used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Silicon => "silicon",
            Self::GiantContext => "giant-context",
            Self::Provider => "provider",
            Self::Sovereign => "sovereign",
            Self::Edge => "edge",
            Self::Cpu => "cpu",
        }
    }
}

/// How its use is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Regime {
    /// Owned or reserved: paid whether used or not.
    Reserved = 0,
    /// Committed use at a discount.
    Committed = 1,
    /// On demand.
    OnDemand = 2,
    /// Spot: cheap and revocable.
    Spot = 3,
    /// A provider's price list, per token.
    Provider = 4,
}

impl Regime {
    /// All regimes, in the order of their discriminants.
    pub const ALL: [Self; 5] = [Self::Reserved, Self::Committed, Self::OnDemand, Self::Spot, Self::Provider];

    /// The word used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Committed => "committed",
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::Provider => "provider",
        }
    }

    /// Whether this capacity is already paid for, and so to be used first.
    #[must_use]
    pub const fn is_prepaid(self) -> bool {
        matches!(self, Self::Reserved | Self::Committed)
    }
}

/// Whether an attestation is asked of a substrate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attested {
    /// None is expected.
    #[default]
    None,
    /// Without a valid attestation the substrate may not be used at all.
    Required,
}

/// Whose law reaches a substrate, and what proves where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sovereignty {
    /// Every country whose law reaches it: location, owner and operator. Sorted, without repeats.
    pub subject_to: Vec<Country>,
    /// No path leads out of it.
    pub air_gapped: bool,
    /// Whether an attestation is required.
    pub attestation: Attested,
}

/// One model that a substrate serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The model's name, as requests name it.
    pub model: String,
    /// How good its answers are here, by the policy's own measure.
    pub quality_ppm: u32,
    /// The context limit here, if it differs from the substrate's.
    pub context_tokens: Option<u32>,
    /// The deployed revision, a label for metrics.
    pub revision: Option<String>,
}

/// What a substrate can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The models served, in the document's order.
    pub models: Vec<Offer>,
    /// Input and output tokens together.
    pub context_tokens: u32,
    /// What it offers.
    pub features: Features,
    /// Built for throughput: synchronous classes go there only where the class permits it.
    pub throughput_only: bool,
}

/// What the owner says of its speed: the prior until measurements arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Until the first token, at no load and no prompt.
    pub first_token_us: i64,
    /// Per input token.
    pub prefill_us_per_token: i64,
    /// Per output token.
    pub us_per_token: i64,
}

/// The price of moving bytes from a substrate to callers in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Callers in this region; `None` for all others.
    pub to_region: Option<Name>,
    /// Price per byte.
    pub pusd_per_byte: i64,
}

/// What its use costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How it is paid for.
    pub regime: Regime,
    /// Per input token.
    pub input_pusd_per_token: i64,
    /// Per output token.
    pub output_pusd_per_token: i64,
    /// Per request, whatever its size.
    pub request_uusd: i64,
    /// Energy, per token of either kind.
    pub energy_pusd_per_token: i64,
    /// Accelerator licences, per token of either kind.
    pub licence_pusd_per_token: i64,
    /// Egress by destination.
    pub egress: Vec<Egress>,
}

/// How much fits, and what is kept for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Requests in flight at most, counted over the whole proxy.
    pub concurrency: u32,
    /// Share kept free for each tier and those above it, by [`super::Tier`] order: batch, standard, critical.
    pub keep_for_ppm: [u32; 3],
    /// Share that only this tenant may use.
    pub keep_for_tenant_ppm: Vec<(String, u32)>,
    /// The most of it that one tenant may use.
    pub tenant_share_ppm: Vec<(String, u32)>,
    /// Burst only: usable once prepaid capacity is used to this share.
    pub burst_after_ppm: u32,
    /// Burst only: never more than this share of `concurrency`.
    pub burst_ceiling_ppm: u32,
}

impl Capacity {
    /// Whether more of it is kept for tiers and tenants than there is.
    #[must_use]
    pub fn is_over_whole(&self) -> bool {
        let tenants = self.keep_for_tenant_ppm.iter().map(|(_, ppm)| *ppm);
        self.keep_for_ppm.into_iter().chain(tenants).map(u64::from).sum::<u64>() > 1_000_000
    }
}

/// One place that can run work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substrate {
    /// Its name in policies, records and metrics.
    pub name: Name,
    /// The Envoy cluster that leads there.
    pub cluster: String,
    /// What kind of place it is.
    pub kind: Kind,
    /// Free labels for reports (hardware, revision, capacity layer), sorted by key.
    pub labels: Vec<(String, String)>,
    /// Where it stands.
    pub location: Location,
    /// Whose law reaches it.
    pub sovereignty: Sovereignty,
    /// The billing account.
    pub account: Name,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How fast it is said to be.
    pub latency: Latency,
    /// What it costs.
    pub cost: Cost,
    /// How much fits.
    pub capacity: Capacity,
}
