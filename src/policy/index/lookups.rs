//! What a request says in words, turned into positions once.

use super::columns::{MOST_PUSD_PER_BYTE, MOST_US};
use super::{Bits, Positions};
use crate::model::{Country, Document, SubstrateId};
use hashbrown::HashMap;

/// Words to small numbers, in the order in which they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(HashMap<String, u16>);

impl Names {
    pub(crate) fn intern(&mut self, name: &str) -> u16 {
        let next = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        *self.0.entry_ref(name).or_insert(next)
    }

    pub(crate) fn get(&self, name: &str) -> Option<u16> {
        self.0.get(name).copied()
    }
}

/// A model where it is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) substrate: SubstrateId,
    pub(crate) quality_ppm: u32,
    pub(crate) context: u32,
}

/// A path from one zone to the substrates of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkTo {
    pub(crate) zone: u16,
    pub(crate) latency_us: i64,
    pub(crate) pusd_per_byte: i64,
    pub(crate) ceiling_ppm: i64,
}

/// The most that a tenant may use of a substrate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) substrate: SubstrateId,
    pub(crate) share_ppm: u32,
    /// Among all shares of the policy.
    pub(crate) position: usize,
}

/// Look-ups by what a request says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lookups {
    pub(crate) substrates: Positions,
    pub(crate) classes: Positions,
    pub(crate) models: HashMap<String, Vec<Offered>>,
    /// Egress prices that differ from the default, by the caller's region.
    pub(crate) egress: HashMap<String, Vec<(SubstrateId, i64)>>,
    /// Paths by the caller's zone.
    pub(crate) links: HashMap<String, Vec<LinkTo>>,
    pub(crate) budgets: Positions,
    pub(crate) shares: HashMap<String, Vec<Share>>,
    /// Substrates by a country's code or the name of a set of countries.
    pub(crate) residency: HashMap<String, Bits>,
    /// Substrates that are paid for already.
    pub(crate) prepaid: Vec<SubstrateId>,
    /// Substrates that wait for those.
    pub(crate) burst: Vec<SubstrateId>,
}

impl Lookups {
    pub(crate) fn new(document: &Document) -> Self {
        let mut lookups = Self {
            substrates: by_name(document.substrates.iter().map(|s| s.name.as_str())),
            classes: by_name(document.classes.iter().map(|c| c.name.as_str())),
            budgets: by_name(document.settings.budgets.iter().map(|b| b.tenant.as_str())),
            residency: residency(document),
            ..Self::default()
        };
        lookups.add_substrates(document);
        lookups.add_links(document);
        lookups
    }

    fn add_substrates(&mut self, document: &Document) {
        let mut position = 0;
        for (id, s) in (0..=SubstrateId::MAX).zip(&document.substrates) {
            if s.cost.regime.is_prepaid() {
                self.prepaid.push(id)
            } else {
                self.burst.push(id)
            }
            for offer in &s.capabilities.models {
                let offers = self.models.entry_ref(offer.model.as_str()).or_default();
                if offers.last().is_none_or(|o: &Offered| o.substrate != id) {
                    let context = offer.context_tokens.unwrap_or(s.capabilities.context_tokens);
                    offers.push(Offered { substrate: id, quality_ppm: offer.quality_ppm.min(1_000_000), context });
                }
            }
            for egress in &s.cost.egress {
                if let Some(region) = &egress.to_region {
                    let price = egress.pusd_per_byte.clamp(0, MOST_PUSD_PER_BYTE);
                    let prices = self.egress.entry_ref(region.as_str()).or_default();
                    if prices.last().is_none_or(|(of, _)| *of != id) {
                        prices.push((id, price));
                    }
                }
            }
            for (tenant, share_ppm) in &s.capacity.tenant_share_ppm {
                let shares = self.shares.entry_ref(tenant.as_str()).or_default();
                shares.push(Share { substrate: id, share_ppm: *share_ppm, position });
                position += 1;
            }
        }
    }

    fn add_links(&mut self, document: &Document) {
        let mut zones = Names::default();
        document.substrates.iter().for_each(|s| {
            zones.intern(s.location.zone.as_str());
        });
        for link in &document.settings.links {
            let links = self.links.entry_ref(link.from.as_str()).or_default();
            let Some(zone) = zones.get(link.to.as_str()) else { continue };
            if links.iter().all(|l| l.zone != zone) {
                links.push(LinkTo {
                    zone,
                    latency_us: link.latency_us.clamp(0, MOST_US),
                    pusd_per_byte: link.pusd_per_byte.clamp(0, MOST_PUSD_PER_BYTE),
                    ceiling_ppm: i64::from(link.ceiling_ppm),
                });
            }
        }
    }
}

/// The first of a name wins.
fn by_name<'a>(names: impl Iterator<Item = &'a str>) -> Positions {
    let mut positions = Positions::new();
    for (position, name) in (0..=u16::MAX).zip(names) {
        positions.entry_ref(name).or_insert(position);
    }
    positions
}

fn residency(document: &Document) -> HashMap<String, Bits> {
    let len = document.substrates.len();
    let within = |countries: &[Country]| {
        Bits::collect(len, |i| document.substrates.get(i).is_some_and(|s| countries.contains(&s.location.jurisdiction)))
    };
    let mut sets: HashMap<String, Bits> =
        document.jurisdictions.iter().map(|(name, countries)| (name.clone(), within(countries))).collect();
    for substrate in &document.substrates {
        let country = substrate.location.jurisdiction;
        sets.entry_ref(country.as_str()).or_insert_with(|| within(&[country]));
    }
    sets
}

/// A text as 64 well-mixed bits: eight bytes a step. Part of the format of decisions: never change it.
pub(crate) fn hash_text(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = mix(bytes.len() as u64 ^ 0x9e37_79b9_7f4a_7c15);
    for chunk in bytes.chunks(8) {
        let word = chunk.iter().rev().fold(0_u64, |word, &b| word << 8 | u64::from(b));
        hash = mix(hash ^ word);
    }
    hash
}

/// The finaliser of SplitMix64: every bit of the input moves every bit of the result.
pub(crate) const fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
