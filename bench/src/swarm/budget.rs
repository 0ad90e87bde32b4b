//! How many clients may be connecting at once, over all rings. First come, first served: few rings connect at a time and
//! each many at once, since a turn of a ring costs the same for one completion as for a hundred.

use std::sync::atomic::{AtomicU32, Ordering};

/// Places that are left.
#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

impl Budget {
    pub(super) fn new(places: u32) -> Self {
        Self(AtomicU32::new(places))
    }

    /// Takes a place; false when none is left.
    pub(super) fn take(&self) -> bool {
        let less_one = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one).is_ok()
    }

    pub(super) fn give_back(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
