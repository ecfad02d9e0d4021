//! What a policy declares of its substrates, turned on its side: one column a property, by policy order, so that a
//! stage of the decision walks through memory in one direction.

use super::Names;
use crate::model::{Country, Document, Feature, Substrate, Tier, WHOLE_PPM, substrate::Attested};

/// No amount of money per answer, failure or request above this is told apart (about two million dollars): the
/// bounds here keep every sum of products within 64 bits, so that the decision needs no wider arithmetic.
pub(crate) const MOST_UUSD: i64 = 1 << 41;
/// No second is worth more (about sixteen dollars).
pub(crate) const MOST_SECOND_UUSD: i64 = 1 << 24;
/// No time is longer (about 38 hours).
pub(crate) const MOST_US: i64 = 1 << 37;
/// No token takes longer (about a second).
pub(crate) const MOST_US_PER_TOKEN: i64 = 1 << 20;
/// No token costs more (about three cents), all its parts together.
pub(crate) const MOST_PUSD_PER_TOKEN: i64 = 1 << 35;
/// No byte costs more.
pub(crate) const MOST_PUSD_PER_BYTE: i64 = 1 << 27;
/// No request costs more before its first token (about $280,000).
pub(crate) const MOST_FIXED_PUSD: i64 = 1 << 58;
/// No request has more tokens of a kind (16 million).
pub(crate) const MOST_TOKENS: i64 = 1 << 24;

/// The substrate may not be used without an attestation.
pub(crate) const ATTESTED: u8 = 1;
/// No path leads out of it.
pub(crate) const AIR_GAPPED: u8 = 2;
/// It is built for throughput.
pub(crate) const THROUGHPUT: u8 = 4;
/// It is already paid for.
pub(crate) const PREPAID: u8 = 8;

/// One column a property, by policy order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    /// The name, hashed: what spreads, so that the order of a policy means nothing.
    pub(crate) hash: Vec<u64>,
    pub(crate) features: Vec<u16>,
    pub(crate) flags: Vec<u8>,
    /// The best quality of any model there, for requests that name none.
    pub(crate) quality_ppm: Vec<u32>,
    pub(crate) context: Vec<u32>,
    pub(crate) country: Vec<Country>,
    pub(crate) zone: Vec<u16>,
    pub(crate) domain: Vec<u16>,
    /// Requests in flight at most, by tier.
    pub(crate) limit: [Vec<i32>; Tier::ALL.len()],
    pub(crate) concurrency: Vec<i32>,
    /// Of burst capacity: how much of what is paid for must be in use first.
    pub(crate) burst_after_ppm: Vec<u32>,
    pub(crate) first_us: Vec<i64>,
    pub(crate) input_us: Vec<i64>,
    pub(crate) output_us: Vec<i64>,
    pub(crate) fixed_pusd: Vec<i64>,
    /// Price, energy and licence together.
    pub(crate) input_pusd: Vec<i64>,
    pub(crate) output_pusd: Vec<i64>,
    /// Energy and licence alone: what stays when the price is measured.
    pub(crate) running_pusd: Vec<i64>,
    pub(crate) egress_pusd: Vec<i64>,
    /// Zones by name.
    pub(crate) zones: Names,
}

impl Columns {
    #[inline(never)]
    pub(crate) fn new(document: &Document) -> Self {
        let mut columns = Self::default();
        let mut domains = Names::default();
        for substrate in &document.substrates {
            columns.place(substrate, &mut domains);
            columns.capacity(substrate, document.settings.headroom_ppm);
            columns.price(substrate);
        }
        columns
    }

    fn place(&mut self, s: &Substrate, domains: &mut Names) {
        let caps = &s.capabilities;
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        self.hash.push(super::hash_text(s.name.as_str()));
        self.features.push(caps.features.0);
        self.flags.push(
            flag(s.sovereignty.attestation == Attested::Required, ATTESTED)
                | flag(s.sovereignty.air_gapped, AIR_GAPPED)
                | flag(caps.throughput_only, THROUGHPUT)
                | flag(s.cost.regime.is_prepaid(), PREPAID),
        );
        // Who names no model is held to the best of them, so that naming one never opens anything.
        let best = caps.models.iter().map(|m| m.quality_ppm).max().unwrap_or(0);
        self.quality_ppm.push(best.min(WHOLE_PPM as u32));
        let contexts = caps.models.iter().filter_map(|m| m.context_tokens);
        self.context.push(contexts.fold(caps.context_tokens, u32::max));
        self.country.push(s.location.jurisdiction);
        self.zone.push(self.zones.intern(s.location.zone.as_str()));
        self.domain.push(domains.intern(s.location.failure_domain.as_str()));
        self.first_us.push(s.latency.first_token_us.clamp(0, MOST_US));
        self.input_us.push(s.latency.prefill_us_per_token.clamp(0, MOST_US_PER_TOKEN));
        self.output_us.push(s.latency.us_per_token.clamp(0, MOST_US_PER_TOKEN));
    }

    fn capacity(&mut self, s: &Substrate, headroom_ppm: u32) {
        self.concurrency.push(concurrency(s) as i32);
        self.burst_after_ppm.push(s.capacity.burst_after_ppm);
        for (limits, limit) in self.limit.iter_mut().zip(limits(s, headroom_ppm, None)) {
            limits.push(limit);
        }
    }

    fn price(&mut self, s: &Substrate) {
        let running =
            s.cost.energy_pusd_per_token.saturating_add(s.cost.licence_pusd_per_token).clamp(0, MOST_PUSD_PER_TOKEN);
        let total = |price: i64| price.saturating_add(running).clamp(0, MOST_PUSD_PER_TOKEN);
        self.fixed_pusd.push(s.cost.request_uusd.saturating_mul(WHOLE_PPM).clamp(0, MOST_FIXED_PUSD));
        self.input_pusd.push(total(s.cost.input_pusd_per_token));
        self.output_pusd.push(total(s.cost.output_pusd_per_token));
        self.running_pusd.push(running);
        let default = s.cost.egress.iter().find(|e| e.to_region.is_none()).map_or(0, |e| e.pusd_per_byte);
        self.egress_pusd.push(default.clamp(0, MOST_PUSD_PER_BYTE));
    }

    /// How many substrates.
    pub(crate) fn len(&self) -> usize {
        self.hash.len()
    }
}

fn concurrency(s: &Substrate) -> i64 {
    i64::from(s.capacity.concurrency).min(i64::from(i32::MAX))
}

/// What each tier may use, of a tenant or of nobody in particular: not what is kept free everywhere, nor what is kept for
/// the tiers above it or for other tenants.
pub(super) fn limits(s: &Substrate, headroom_ppm: u32, tenant: Option<&str>) -> [i32; Tier::ALL.len()] {
    let others = s.capacity.keep_for_tenant_ppm.iter().filter(|(other, _)| Some(other.as_str()) != tenant);
    let taken = i64::from(headroom_ppm) + others.map(|(_, ppm)| i64::from(*ppm)).sum::<i64>();
    Tier::ALL.map(|tier| {
        let tiers = Tier::ALL.into_iter().zip(s.capacity.keep_for_ppm);
        let above: i64 = tiers.filter(|(other, _)| *other > tier).map(|(_, ppm)| i64::from(ppm)).sum();
        part(s, u32::try_from(WHOLE_PPM - taken - above).unwrap_or(0))
    })
}

/// A part of what it holds, in whole requests.
pub(super) fn part(s: &Substrate, ppm: u32) -> i32 {
    (concurrency(s) * i64::from(ppm).min(WHOLE_PPM) / WHOLE_PPM) as i32
}

/// Features as bits with one of them asked for, if it is.
pub(crate) const fn with_streaming(bits: u16, streaming: bool) -> u16 {
    if streaming { bits | 1 << Feature::Streaming as u8 } else { bits }
}
