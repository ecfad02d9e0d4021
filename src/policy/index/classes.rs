//! The classes, compiled: where each is at home, and which borders every substrate lies behind.

use super::Positions;
use super::bits::Bits;
use crate::model::{Border, Borders, Class, Document, Substrate};
use core::hash::Hash;
use hashbrown::HashSet;

/// One class against all substrates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classed {
    /// Its homes, best first.
    pub(crate) homes: Vec<u16>,
    /// The homes as a set.
    pub(crate) is_home: Bits,
    /// The borders that a placement there crosses, as the bits of [`Borders`].
    pub(crate) crosses: Box<[u8]>,
}

impl Classed {
    #[inline(never)]
    pub(crate) fn new(document: &Document, class: &Class, positions: &Positions) -> Self {
        let homes: Vec<u16> = class.home.iter().filter_map(|n| positions.get(n.as_str()).copied()).collect();
        let at_home: Vec<&Substrate> = homes.iter().filter_map(|&i| document.substrates.get(usize::from(i))).collect();
        let mut is_home = Bits::none(document.substrates.len());
        homes.iter().for_each(|&i| is_home.insert(usize::from(i)));
        let mut crosses = vec![0; document.substrates.len()];
        mark(&mut crosses, document, &at_home, Border::Zone, |s| s.location.zone.as_str());
        mark(&mut crosses, document, &at_home, Border::Region, |s| s.location.region.as_str());
        mark(&mut crosses, document, &at_home, Border::Jurisdiction, |s| s.location.jurisdiction);
        mark(&mut crosses, document, &at_home, Border::Account, |s| s.account.as_str());
        mark(&mut crosses, document, &at_home, Border::Regime, |s| s.cost.regime);
        Self { homes, is_home, crosses: crosses.into_boxed_slice() }
    }
}

/// A placement crosses a border when no home shares that value; without a home, it crosses every one.
fn mark<'a, T: Eq + Hash>(
    crosses: &mut [u8],
    document: &'a Document,
    homes: &[&'a Substrate],
    border: Border,
    value: impl Fn(&'a Substrate) -> T,
) {
    let shared: HashSet<T> = homes.iter().map(|s| value(s)).collect();
    for (bits, substrate) in crosses.iter_mut().zip(&document.substrates) {
        if !shared.contains(&value(substrate)) {
            *bits |= Borders::NONE.with(border).bits();
        }
    }
}
