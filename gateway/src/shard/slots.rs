//! A set of slots: half a kilobyte, whatever is in it.

use protocol::placement::{SLOTS, Slot};

const WORDS: usize = SLOTS as usize / 64;

/// A set of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotSet([u64; WORDS]);

impl Default for SlotSet {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl SlotSet {
    pub(super) const fn has(&self, slot: Slot) -> bool {
        self.0[slot.0 as usize / 64] >> (slot.0 % 64) & 1 == 1
    }

    pub(super) const fn insert(&mut self, slot: Slot) {
        self.0[slot.0 as usize / 64] |= 1 << (slot.0 % 64);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Takes in all of another set.
    pub(super) fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    /// Lets go of all of another set.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, less)| *word &= !less);
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::default();
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let mut set: SlotSet = [Slot(0), Slot(63), Slot(64), Slot(SLOTS - 1)].into_iter().collect();
        assert_eq!(Slot::all().filter(|&slot| set.has(slot)).count(), 4);
        let other: SlotSet = [Slot(63), Slot(65)].into_iter().collect();
        set.unite(&other);
        assert!(set.has(Slot(65)));
        set.subtract(&other);
        assert!(!set.has(Slot(63)) && set.has(Slot(64)));
        set.subtract(&set.clone());
        assert!(set.is_empty());
    }
}
