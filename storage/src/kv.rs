//! The interface that an engine serves, shaped by what FoundationDB serves as it stands: reads in batches at one
//! version, a commit of writes that fails when a key it read was changed meanwhile, and results that come later.
//!
//! Bounds, all asserted where a commit is built: key ≤ 1 KB, value < 100 KB, writes of one commit < 1 MB.

use std::fmt;

/// Bytes of an ordered key.
pub type Key = Vec<u8>;
/// Bytes of a value.
pub type Value = Vec<u8>;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1_000;
/// Longest prefix that a cluster's keys may have in front of ours, in bytes.
pub const PREFIX_BYTES_MAX: usize = 64;
/// Longest value, in bytes (FoundationDB: 100,000).
pub const VALUE_BYTES_MAX: usize = 99_000;
/// All writes of one commit, in bytes (FoundationDB: 10 MB; its advice: under 1 MB).
pub const COMMIT_BYTES_MAX: usize = 1_000_000;

/// One read of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// One key's value. A conflict range of the transaction when `conflict`.
    Get {
        /// Which key.
        key: Key,
        /// True: the commit fails if somebody else changed it since.
        conflict: bool,
    },
    /// Keys of `begin <= key < end`, in order, snapshot (no conflict).
    Range {
        /// First key.
        begin: Key,
        /// Behind the last key.
        end: Key,
        /// At most so many pairs (≥ 1).
        limit: usize,
        /// Stop behind the pair that reaches so many bytes of keys and values.
        bytes_max: usize,
        /// True: from the end downwards.
        reverse: bool,
    },
}

/// What came of one read of a batch, in the batch's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Of a get.
    Value(Option<Value>),
    /// Of a range.
    Pairs {
        /// In the order asked for.
        pairs: Vec<(Key, Value)>,
        /// True when a bound ended it before the range did.
        more: bool,
    },
}

/// One write of a commit, applied in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Set(Key, Value),
    /// Removes a key, there or not.
    Clear(Key),
    /// Removes keys of `begin <= key < end`.
    ClearRange(Key, Key),
}

impl Write {
    /// Bytes that count against [`COMMIT_BYTES_MAX`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Set(key, value) => key.len() + value.len(),
            Self::Clear(key) => key.len(),
            Self::ClearRange(begin, end) => begin.len() + end.len(),
        }
    }
}

/// Takes pairs as [`Read::Range`] asks for them: up to `limit`, and up to the one that reaches `bytes_max`.
///
/// # Errors
/// The first error among the pairs.
pub fn take_pairs<E>(
    pairs: impl Iterator<Item = Result<(Key, Value), E>>,
    limit: usize,
    bytes_max: usize,
) -> Result<Found, E> {
    assert!(limit > 0, "a range asks for at least one pair");
    let mut taken = Vec::new();
    let mut bytes = 0;
    for pair in pairs {
        let (key, value) = pair?;
        if taken.len() == limit || (bytes >= bytes_max && !taken.is_empty()) {
            return Ok(Found::Pairs { pairs: taken, more: true });
        }
        bytes += key.len() + value.len();
        taken.push((key, value));
    }
    Ok(Found::Pairs { pairs: taken, more: false })
}

/// Why an engine could not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// A key that the transaction had read was changed: run it again (FoundationDB 1020 `not_committed`).
    Conflict,
    /// The commit may or may not have happened: run it again, the client ids tell (1021 `commit_unknown_result`).
    Unknown,
    /// The transaction read too long: run it again (1007 `transaction_too_old`).
    TooOld,
    /// The engine's own servers have not caught up: run it again (1037 `process_behind`, 1009 `future_version`).
    Behind,
    /// The engine asks for patience: run it again (1213 `tag_throttled` and its like).
    Busy,
    /// The limit of time ended it (1031 `transaction_timed_out`). A commit may have happened, or happen later.
    TimedOut,
    /// The engine is away for now; nothing was done.
    Unavailable,
    /// The commit, a key or a value is larger than the engine takes (2101 to 2103): nothing was done.
    TooLarge,
    /// The engine refuses this, and would again: one sentence. Nothing was done.
    Refused(String),
    /// The engine can't go on: a failed sync, a full disk, damage. Nothing is taken any more.
    Poisoned(String),
}

impl EngineError {
    /// A word for metrics and logs: FoundationDB's own where it has one.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conflict => "not_committed",
            Self::Unknown => "commit_unknown_result",
            Self::TooOld => "transaction_too_old",
            Self::Behind => "process_behind",
            Self::Busy => "throttled",
            Self::TimedOut => "transaction_timed_out",
            Self::Unavailable => "unavailable",
            Self::TooLarge => "transaction_too_large",
            Self::Refused(_) => "refused",
            Self::Poisoned(_) => "poisoned",
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Poisoned(why) => f.write_str(why),
            Self::TimedOut => f.write_str("no answer within the limit of time (transaction_timed_out)"),
            other => f.write_str(other.name()),
        }
    }
}

impl std::error::Error for EngineError {}
