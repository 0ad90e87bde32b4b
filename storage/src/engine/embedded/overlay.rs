//! The commit group that is not durable yet, laid over the tree: later transactions of the group read it, and when the
//! sync fails it is dropped as if it had never been.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::kv::{Key, Value};

/// The group's changes; the last one of a key counts.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    changes: BTreeMap<Key, Option<Value>>,
}

impl Overlay {
    pub(super) fn set(&mut self, key: Key, value: Option<Value>) {
        self.changes.insert(key, value);
    }

    /// What the group made of a key; `None`: it did not touch it.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&Value>> {
        self.changes.get(key).map(Option::as_ref)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.changes.clear();
    }

    /// All changes, by key.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&Key, Option<&Value>)> {
        self.changes.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// All changes, taken out, by key.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Key, Option<Value>)> + use<> {
        std::mem::take(&mut self.changes).into_iter()
    }

    /// The pairs of `begin..end` as they are with the group laid over `below`, which yields them in the same order.
    pub(super) fn over<'a, E: 'a>(
        &'a self,
        begin: &[u8],
        end: &[u8],
        reverse: bool,
        below: impl Iterator<Item = Result<(Key, Value), E>> + 'a,
    ) -> impl Iterator<Item = Result<(Key, Value), E>> + 'a {
        let range =
            self.changes.range::<[u8], _>((std::ops::Bound::Included(begin), std::ops::Bound::Excluded(end)));
        let above: Box<dyn Iterator<Item = (&Key, &Option<Value>)>> =
            if reverse { Box::new(range.rev()) } else { Box::new(range) };
        let mut above = above.peekable();
        let mut below = below.peekable();
        let mut next = move || {
            let order = match (above.peek(), below.peek()) {
                (None, _) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(_), Some(Err(_))) => Ordering::Greater,
                (Some((key, _)), Some(Ok((other, _)))) if reverse => other.cmp(key),
                (Some((key, _)), Some(Ok((other, _)))) => (*key).cmp(other),
            };
            if order == Ordering::Greater {
                return below.next().map(|pair| pair.map(Some));
            }
            if order == Ordering::Equal {
                below.next();
            }
            above.next().map(|(key, value)| Ok(value.clone().map(|value| (key.clone(), value))))
        };
        // What the group cleared is skipped.
        std::iter::from_fn(move || {
            loop {
                match next()? {
                    Ok(None) => {}
                    Ok(Some(pair)) => return Some(Ok(pair)),
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn the_group_wins_over_what_lies_below_in_both_directions() {
        let below: BTreeMap<Key, Value> = (0..6).map(|key| (vec![key], vec![0])).collect();
        for group in 0..3_u32.pow(6) {
            let mut overlay = Overlay::default();
            let mut expected = below.clone();
            expected.remove(&vec![0]);
            for key in 0..6_u8 {
                match group / 3_u32.pow(u32::from(key)) % 3 {
                    0 => {}
                    1 => {
                        overlay.set(vec![key], Some(vec![1]));
                        if key > 0 {
                            expected.insert(vec![key], vec![1]);
                        }
                    }
                    _ => {
                        overlay.set(vec![key], None);
                        expected.remove(&vec![key]);
                    }
                }
            }
            let range = || below.range(vec![1]..).map(|(k, v)| Ok::<_, Infallible>((k.clone(), v.clone())));
            let forwards: Vec<_> = overlay.over(&[1], &[9], false, range()).map(Result::unwrap).collect();
            assert_eq!(forwards, expected.clone().into_iter().collect::<Vec<_>>());
            let backwards: Vec<_> =
                overlay.over(&[1], &[9], true, range().rev()).map(Result::unwrap).collect();
            assert_eq!(backwards, expected.into_iter().rev().collect::<Vec<_>>());
        }
    }
}
