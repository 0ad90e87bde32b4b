//! Counts of what an engine answered in place of what was asked, by name: nothing is tried again in silence.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::kv::EngineError;

/// The names, in the order of the counters.
pub const NAMES: [&str; 10] = [
    "not_committed",
    "commit_unknown_result",
    "transaction_too_old",
    "process_behind",
    "throttled",
    "transaction_timed_out",
    "unavailable",
    "transaction_too_large",
    "refused",
    "poisoned",
];

/// The counters, readable from every thread.
#[derive(Debug, Default)]
pub struct Setbacks {
    counts: [AtomicU64; NAMES.len()],
    /// The last that no retry helps against, in words, until somebody takes it.
    notice: Mutex<Option<String>>,
}

impl Setbacks {
    /// Counts one.
    pub fn count(&self, error: &EngineError) {
        let name = error.name();
        let index = NAMES.iter().position(|other| *other == name).expect("every name is in the list");
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        if matches!(error, EngineError::TooLarge | EngineError::Refused(_)) {
            *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
    }

    /// How often each, in the order of [`NAMES`].
    #[must_use]
    pub fn counts(&self) -> [u64; NAMES.len()] {
        core::array::from_fn(|index| self.counts[index].load(Ordering::Relaxed))
    }

    /// The last refusal since this was called last, in words, for the log.
    #[must_use]
    pub fn take_notice(&self) -> Option<String> {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_counter_of_its_own_and_a_refusal_is_told_once() {
        let setbacks = Setbacks::default();
        let errors = [
            EngineError::Conflict,
            EngineError::Unknown,
            EngineError::TooOld,
            EngineError::Behind,
            EngineError::Busy,
            EngineError::TimedOut,
            EngineError::Unavailable,
            EngineError::TooLarge,
            EngineError::Refused("2000".into()),
            EngineError::Poisoned("full".into()),
        ];
        for error in &errors {
            setbacks.count(error);
        }
        assert_eq!(setbacks.counts(), [1; NAMES.len()]);
        assert_eq!(setbacks.take_notice().as_deref(), Some("2000"));
        assert_eq!(setbacks.take_notice(), None);
    }
}
