//! A commit while it is put together, with its bound.

use crate::key::{KeyRange, StoreKey};
use crate::kv::{COMMIT_BYTES_MAX, KEY_BYTES_MAX, Key, VALUE_BYTES_MAX, Value, Write};

use super::Step;

/// Writes to come.
#[derive(Debug, Default)]
pub(super) struct Commit {
    writes: Vec<Write>,
    bytes: usize,
}

impl Commit {
    fn push(&mut self, write: Write) {
        self.bytes += write.bytes();
        assert!(self.bytes <= COMMIT_BYTES_MAX, "who asks keeps a request below the bound of a commit");
        self.writes.push(write);
    }

    /// Sets a key to what `value` makes for it.
    pub(super) fn set(&mut self, key: &StoreKey, value: impl FnOnce(&Key) -> Value) {
        self.set_encoded(key.encode(), value);
    }

    /// Sets a key that is encoded already to what `value` makes for it.
    pub(super) fn set_encoded(&mut self, key: Key, value: impl FnOnce(&Key) -> Value) {
        let value = value(&key);
        assert!(key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX, "keys and values have bounds");
        self.push(Write::Set(key, value));
    }

    pub(super) fn clear(&mut self, key: &StoreKey) {
        self.push(Write::Clear(key.encode()));
    }

    pub(super) fn clear_range(&mut self, (begin, end): KeyRange) {
        self.push(Write::ClearRange(begin, end));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn step(self) -> Step {
        Step::Commit(self.writes)
    }
}
