//! Rows that were asked for by key: heads, fences, roles. A row of a cold conversation shares its block with nothing else
//! that anybody reads, so a cache of rows holds fifty times as many of them as one of blocks does in the same memory.
//!
//! Only what is durable is here, and only what was found: keys that were never written (fresh client ids) come once.

use std::fmt;

use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};

use crate::kv::{Key, Value};

/// The longest value that is kept, in bytes: a row is a small thing.
const VALUE_BYTES_MAX: usize = 512;
/// What a row takes beside its bytes, about: two allocations, their lengths, a place in the table and in the queue.
const ROW_BYTES: u64 = 112;

/// Rows that room is made for at the start, at most.
const ROWS_EXPECTED_MAX: u64 = 1 << 16;

/// Rows within a bound of bytes.
pub(super) struct Rows {
    cache: Cache<Key, Value, Weight, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Weight;

impl Weighter<Key, Value> for Weight {
    fn weight(&self, key: &Key, value: &Value) -> u64 {
        ROW_BYTES + key.len() as u64 + value.len() as u64
    }
}

impl Rows {
    /// None yet, and never more than about `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        // What the cache expects is reserved at once, and sizes its memory of keys that it holds no longer.
        let expected = (bytes / (2 * ROW_BYTES)).min(ROWS_EXPECTED_MAX) as usize;
        let hasher = RandomState::default();
        Self { cache: Cache::with(expected, bytes, Weight, hasher, DefaultLifecycle::default()) }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Value> {
        self.cache.get(key)
    }

    /// Takes a row that a reader had to look for in the tree.
    pub(super) fn keep(&mut self, key: &Key, value: &Value) {
        if value.len() <= VALUE_BYTES_MAX {
            self.cache.insert(key.clone(), value.clone());
        }
    }

    /// A change has become durable: a row that is here follows it.
    pub(super) fn follow(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) if value.len() <= VALUE_BYTES_MAX => {
                if let Some(mut row) = self.cache.peek_mut(key) {
                    value.clone_into(&mut row);
                }
            }
            _ => {
                self.cache.remove(key);
            }
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("rows", &self.cache.len()).field("bytes", &self.cache.weight()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_follows_every_change_and_a_key_that_nobody_asked_for_is_not_taken() {
        let mut rows = Rows::new(1 << 20);
        let (key, other) = (b"head".to_vec(), b"event".to_vec());
        rows.keep(&key, &vec![1]);
        rows.follow(&key, Some(&[2; 40]));
        rows.follow(&other, Some(&[3]));
        assert_eq!(rows.get(&key), Some(&vec![2; 40]));
        assert_eq!(rows.get(&other), None);
        rows.follow(&key, Some(&[4; VALUE_BYTES_MAX + 1]));
        assert_eq!(rows.get(&key), None, "an old value would be a lie");
        rows.keep(&key, &vec![1]);
        rows.follow(&key, None);
        assert_eq!(rows.get(&key), None);
    }

    #[test]
    fn rows_stay_below_their_bound() {
        let mut rows = Rows::new(64 << 10);
        for number in 0..10_000_u32 {
            rows.keep(&number.to_le_bytes().to_vec(), &vec![0; 40]);
        }
        assert!(rows.cache.weight() <= 64 << 10);
        assert!(rows.cache.len() > 200);
    }
}
