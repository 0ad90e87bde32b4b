//! Seats: how many connections a node may hold in all, one count for its shards. How many a single shard can hold is
//! its ring's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The seats that are left, shared by the shards of a node. A connection takes one when it becomes a WebSocket and gives
/// it back when its socket is closed.
#[derive(Clone, Debug)]
pub struct Seats(Arc<AtomicU32>);

impl Seats {
    /// So many free seats.
    #[must_use]
    pub fn new(connections_max: u32) -> Self {
        Self(Arc::new(AtomicU32::new(connections_max)))
    }

    /// Takes one; false when none is left.
    pub(super) fn take(&self) -> bool {
        let less_one = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one).is_ok()
    }

    pub(super) fn give_back(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_as_many_as_were_said_and_come_back() {
        let seats = Seats::new(2);
        let of_another_shard = seats.clone();
        assert!(seats.take() && of_another_shard.take());
        assert!(!seats.take() && !of_another_shard.take());
        seats.give_back();
        assert!(of_another_shard.take());
    }
}
