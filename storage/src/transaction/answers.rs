//! The results of one batch of reads, taken in the order in which they were asked for.

use crate::kv::{Found, Key, Value};

/// What an engine found.
pub(super) struct Answers(std::vec::IntoIter<Found>);

impl Answers {
    pub(super) fn new(found: Vec<Found>) -> Self {
        Self(found.into_iter())
    }

    /// The next answer, of a get.
    pub(super) fn value(&mut self) -> Option<Value> {
        match self.0.next() {
            Some(Found::Value(value)) => value,
            other => panic!("an engine answers a get with a value, not with {other:?}"),
        }
    }

    /// The next answer, of a range: the pairs, and whether a bound ended it.
    pub(super) fn pairs(&mut self) -> (Vec<(Key, Value)>, bool) {
        match self.0.next() {
            Some(Found::Pairs { pairs, more }) => (pairs, more),
            other => panic!("an engine answers a range with pairs, not with {other:?}"),
        }
    }
}
