//! Sorting, once: the library's sort is compiled anew for every type, which in the module is most of what a policy
//! costs. Here it is compiled for positions only.

use core::cmp::Ordering;

/// The items in order; equals stay as they were.
#[must_use]
pub fn sorted<T>(items: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let mut positions: Vec<usize> = (0..items.len()).collect();
    sort(&mut positions, &|a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    positions.into_iter().filter_map(|i| items.get_mut(i)?.take()).collect()
}

/// By merging, which keeps equals as they were: a tenth of the code of the library's, and it sorts when a configuration
/// comes, not when a request does.
#[inline(never)]
fn sort(positions: &mut Vec<usize>, compare: &dyn Fn(usize, usize) -> Ordering) {
    let mut merged = Vec::with_capacity(positions.len());
    let mut width = 1;
    while width < positions.len() {
        merged.clear();
        for pair in positions.chunks(width.saturating_mul(2)) {
            let (mut left, mut right) = pair.split_at_checked(width).unwrap_or((pair, &[]));
            while let (Some((l, after_l)), Some((r, after_r))) = (left.split_first(), right.split_first()) {
                if compare(*r, *l).is_lt() {
                    merged.push(*r);
                    right = after_r;
                } else {
                    merged.push(*l);
                    left = after_l;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        core::mem::swap(positions, &mut merged);
        width = width.saturating_mul(2);
    }
}

/// Where texts stand first in a list: found by halving, since an ordered map is code of its own for every type.
#[derive(Debug)]
pub struct Firsts<'a>(Vec<(&'a str, usize)>);

impl<'a> Firsts<'a> {
    /// Of a list in which some have none.
    #[must_use]
    pub fn of(texts: Vec<Option<&'a str>>) -> Self {
        let found = texts.into_iter().enumerate().filter_map(|(i, text)| Some((text?, i))).collect();
        let mut firsts = sorted(found, |a: &(&str, usize), b| a.0.cmp(b.0));
        firsts.dedup_by(|later, first| later.0 == first.0);
        Self(firsts)
    }

    /// The first position of a text.
    #[must_use]
    pub fn position(&self, text: &str) -> Option<usize> {
        let at = self.0.binary_search_by(|(known, _)| (*known).cmp(text)).ok()?;
        self.0.get(at).map(|(_, position)| *position)
    }

    /// Each text once, in order.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|(text, _)| *text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Firsts, sorted};

    #[test]
    fn a_text_is_found_where_it_stands_first() {
        let firsts = Firsts::of(vec![Some("b"), None, Some("a"), Some("b"), Some("a")]);
        assert_eq!([firsts.position("a"), firsts.position("b"), firsts.position("c")], [Some(2), Some(0), None]);
        assert_eq!(firsts.texts().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn items_come_in_order_and_equals_as_they_were() {
        let items = vec![(2, 'a'), (1, 'b'), (2, 'c'), (1, 'd')];
        assert_eq!(sorted(items, |a, b| a.0.cmp(&b.0)), [(1, 'b'), (1, 'd'), (2, 'a'), (2, 'c')]);
    }

    #[test]
    fn it_sorts_as_the_library_does_at_any_length() {
        for length in 0..200_u64 {
            let items: Vec<(u64, u64)> =
                (0..length).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59, i)).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            assert_eq!(sorted(items, |a, b| a.0.cmp(&b.0)), expected, "{length}");
        }
    }
}
