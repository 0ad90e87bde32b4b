//! Whether a promise was kept: how much was checked, or what was broken. Who checks is the ledger.

use core::fmt;

use serde::{Deserialize, Serialize};

/// What became of a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Checked so often, and held each time.
    Kept {
        /// How often.
        checked: u64,
    },
    /// Did not hold.
    Broken {
        /// How often.
        times: u64,
        /// The first case, in words.
        first: String,
    },
}

impl Verdict {
    /// Kept when nothing was found; `first` says what was, and is asked only then.
    #[must_use]
    pub fn of(checked: u64, broken: u64, first: impl FnOnce() -> String) -> Self {
        if broken == 0 { Self::Kept { checked } } else { Self::Broken { times: broken, first: first() } }
    }

    /// Whether the promise was kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { checked: 0 } => write!(out, "nothing to check"),
            Self::Kept { checked } => write!(out, "kept, {checked} times"),
            Self::Broken { times, first } => write!(out, "BROKEN, {times} times; the first: {first}"),
        }
    }
}
