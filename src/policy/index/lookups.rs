//! What a request says in words, turned into positions once.

use super::columns::{MOST_PUSD_PER_BYTE, MOST_US, limits, part};
use super::{Bits, Positions};
use crate::model::{Country, Document, SubstrateId, Tier};
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

/// Values by a word that requests may say, each with a position, so that what a word means can be compared without it.
#[derive(Clone, Debug)]
pub(crate) struct Named<T> {
    positions: HashMap<String, u32>,
    values: Vec<T>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { positions: HashMap::default(), values: Vec::new() }
    }
}

impl<T> Named<T> {
    /// Brings a word in, unless it is there, and changes what it stands for.
    fn entry(&mut self, name: &str, new: impl FnOnce() -> T, change: impl FnOnce(&mut T)) {
        let next = self.values.len();
        let at = *self.positions.entry_ref(name).or_insert(u32::try_from(next).unwrap_or(u32::MAX));
        if at as usize == next {
            self.values.push(new());
        }
        if let Some(value) = self.values.get_mut(at as usize) {
            change(value);
        }
    }

    pub(crate) fn position(&self, name: &str) -> Option<u32> {
        self.positions.get(name).copied()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn at(&self, position: u32) -> Option<&T> {
        self.values.get(position as usize)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.at(self.position(name)?)
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
    /// Where what the tenant has in flight there is counted: among all shares of the policy.
    pub(crate) position: usize,
}

/// What a tenant may use of a substrate where a part is kept for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserve {
    pub(crate) substrate: SubstrateId,
    /// Requests in flight at most, by tier, its own part included.
    pub(crate) limits: [i32; Tier::ALL.len()],
    /// Of those, what is its own, whoever else runs there.
    pub(crate) places: i32,
    /// What all may use of it together.
    pub(crate) whole: i32,
    /// Where what the tenant has in flight there is counted: that of its share, or else after all shares.
    pub(crate) position: usize,
}

/// A tenant's share of a substrate, among all of its shares.
pub(crate) fn share_of(shares: &[Share], id: SubstrateId) -> Option<&Share> {
    // They stand in the order of substrates: a request may ask for as many as there are.
    shares.get(shares.binary_search_by_key(&id, |share| share.substrate).ok()?)
}

/// What is kept for a tenant on a substrate, among all that is kept for it.
pub(crate) fn reserve_of(reserves: &[Reserve], id: SubstrateId) -> Option<&Reserve> {
    reserves.get(reserves.binary_search_by_key(&id, |own| own.substrate).ok()?)
}

/// Look-ups by what a request says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lookups {
    pub(crate) substrates: Positions,
    pub(crate) classes: Positions,
    pub(crate) models: Named<Vec<Offered>>,
    /// Egress prices that differ from the default, by the caller's region.
    pub(crate) egress: Named<Vec<(SubstrateId, i64)>>,
    /// Paths by the caller's zone.
    pub(crate) links: Named<Vec<LinkTo>>,
    pub(crate) budgets: Positions,
    pub(crate) shares: Named<Vec<Share>>,
    pub(crate) reserves: Named<Vec<Reserve>>,
    /// Substrates by a country's code or the name of a set of countries.
    pub(crate) residency: Named<Bits>,
    /// Substrates that are paid for already.
    pub(crate) prepaid: Vec<SubstrateId>,
    /// Substrates that wait for those.
    pub(crate) burst: Vec<SubstrateId>,
}

impl Lookups {
    #[inline(never)]
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
                let context = offer.context_tokens.unwrap_or(s.capabilities.context_tokens);
                let offered = Offered { substrate: id, quality_ppm: offer.quality_ppm.min(1_000_000), context };
                self.models.entry(offer.model.as_str(), Vec::new, |offers| {
                    if offers.last().is_none_or(|o| o.substrate != id) {
                        offers.push(offered);
                    }
                });
            }
            for egress in &s.cost.egress {
                if let Some(region) = &egress.to_region {
                    let price = egress.pusd_per_byte.clamp(0, MOST_PUSD_PER_BYTE);
                    self.egress.entry(region.as_str(), Vec::new, |prices| {
                        if prices.last().is_none_or(|(of, _)| *of != id) {
                            prices.push((id, price));
                        }
                    });
                }
            }
            for (tenant, share_ppm) in &s.capacity.tenant_share_ppm {
                let share = Share { substrate: id, share_ppm: *share_ppm, position };
                self.shares.entry(tenant, Vec::new, |shares| shares.push(share));
                position += 1;
            }
        }
        for (id, s) in (0..=SubstrateId::MAX).zip(&document.substrates) {
            for (tenant, ppm) in &s.capacity.keep_for_tenant_ppm {
                let limits = limits(s, document.settings.headroom_ppm, Some(tenant));
                let (places, whole) =
                    (part(s, *ppm), part(s, 1_000_000_u32.saturating_sub(document.settings.headroom_ppm)));
                let share = self.share(tenant, id);
                let reserve = Reserve { substrate: id, limits, places, whole, position: share.unwrap_or(position) };
                self.reserves.entry(tenant, Vec::new, |reserves| reserves.push(reserve));
                position += usize::from(share.is_none());
            }
        }
    }

    /// The position of a tenant's share of a substrate.
    pub(crate) fn share(&self, tenant: &str, id: SubstrateId) -> Option<usize> {
        share_of(self.shares.get(tenant)?, id).map(|share| share.position)
    }

    /// The position of what a tenant has in flight where a part is kept for it.
    pub(crate) fn reserve(&self, tenant: &str, id: SubstrateId) -> Option<usize> {
        reserve_of(self.reserves.get(tenant)?, id).map(|own| own.position)
    }

    fn add_links(&mut self, document: &Document) {
        let mut zones = Names::default();
        document.substrates.iter().for_each(|s| {
            zones.intern(s.location.zone.as_str());
        });
        for link in &document.settings.links {
            let Some(zone) = zones.get(link.to.as_str()) else { continue };
            let path = LinkTo {
                zone,
                latency_us: link.latency_us.clamp(0, MOST_US),
                pusd_per_byte: link.pusd_per_byte.clamp(0, MOST_PUSD_PER_BYTE),
                ceiling_ppm: i64::from(link.ceiling_ppm),
            };
            self.links.entry(link.from.as_str(), Vec::new, |links| {
                if links.iter().all(|l| l.zone != zone) {
                    links.push(path);
                }
            });
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

fn residency(document: &Document) -> Named<Bits> {
    let len = document.substrates.len();
    let within = |countries: &[Country]| {
        Bits::collect(len, |i| document.substrates.get(i).is_some_and(|s| countries.contains(&s.location.jurisdiction)))
    };
    let mut sets = Named::default();
    for (name, countries) in &document.jurisdictions {
        // The last of a name wins; a reader refuses a second one.
        sets.entry(name, || Bits::none(len), |set| *set = within(countries));
    }
    for substrate in &document.substrates {
        let country = substrate.location.jurisdiction;
        sets.entry(country.as_str(), || within(&[country]), |_| {});
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
#[inline(always)]
pub(crate) const fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
