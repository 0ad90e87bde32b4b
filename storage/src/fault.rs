//! Faults of our own inside the store: a broken assertion poisons the store, and the process lives on, since reads and
//! connections still can.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`; `None` when it panicked. Whoever calls answers for what it left behind.
pub fn contain<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    done.ok()
}

/// Whether somebody answers for a panic of this thread now: for a process whose panic hook ends it otherwise.
#[must_use]
pub fn is_contained() -> bool {
    CONTAINED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_contained_for_the_length_of_the_call() {
        assert!(!is_contained());
        assert_eq!(contain(is_contained), Some(true));
        assert_eq!(contain(|| contain(|| panic!("for the test")).unwrap_or(is_contained())), Some(true));
        assert!(!is_contained());
    }
}
