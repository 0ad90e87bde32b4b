//! What the client library's error codes mean to a transaction, each by its name (FoundationDB, "Error codes").

use foundationdb::FdbError;

use crate::kv::EngineError;

/// What a transaction was doing when the error came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    /// Reading, or waiting to begin again: nothing was written.
    Read,
    /// Its commit was on the way.
    Commit,
}

/// The library's code as what a transaction can do about it.
pub(super) fn engine_error(error: FdbError, during: During) -> EngineError {
    match error.code() {
        // transaction_too_old: read more than five seconds after it began.
        1007 => EngineError::TooOld,
        // future_version, process_behind: the storage servers have not caught up.
        1009 | 1037 => EngineError::Behind,
        // not_committed: a conflict.
        1020 => EngineError::Conflict,
        // commit_unknown_result. cluster_version_changed: the same, when a commit was under way.
        1021 => EngineError::Unknown,
        1039 if during == During::Commit => EngineError::Unknown,
        // transaction_timed_out: by the limit that the database was opened with.
        1031 => EngineError::TimedOut,
        // commit_proxy_memory_limit_exceeded, batch_transaction_throttled, grv_proxy_memory_limit_exceeded,
        // tag_throttled, proxy_tag_throttled; cluster_version_changed while reading.
        1042 | 1051 | 1078 | 1213 | 1223 | 1039 => EngineError::Busy,
        // database_locked: by an operator.
        1038 => EngineError::Unavailable,
        // transaction_cancelled, operation_cancelled: by us, as the process ends.
        1025 | 1101 if during == During::Read => EngineError::Unavailable,
        // transaction_too_large, key_too_large, value_too_large.
        2101..=2103 => EngineError::TooLarge,
        _ if error.is_retryable_not_committed() => EngineError::Busy,
        // Whatever else comes back in place of a commit's answer does not say that nothing happened.
        _ if during == During::Commit => EngineError::Unknown,
        code => EngineError::Refused(format!("FoundationDB says {code}: {}", error.message())),
    }
}

/// True when a transaction may begin again after the pause that the library thinks right.
pub(super) fn is_worth_a_pause(error: &EngineError) -> bool {
    match error {
        EngineError::Conflict
        | EngineError::Unknown
        | EngineError::TooOld
        | EngineError::Behind
        | EngineError::Busy => true,
        EngineError::TimedOut
        | EngineError::TooLarge
        | EngineError::Refused(_)
        | EngineError::Unavailable
        | EngineError::Poisoned(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_handled_by_its_name() {
        let (read, commit) = (During::Read, During::Commit);
        let expected = [
            (1007, read, EngineError::TooOld),
            (1007, commit, EngineError::TooOld),
            (1009, read, EngineError::Behind),
            (1037, read, EngineError::Behind),
            (1020, commit, EngineError::Conflict),
            (1021, commit, EngineError::Unknown),
            (1039, commit, EngineError::Unknown),
            (1039, read, EngineError::Busy),
            (1031, read, EngineError::TimedOut),
            (1031, commit, EngineError::TimedOut),
            (1213, read, EngineError::Busy),
            (1038, commit, EngineError::Unavailable),
            (1025, read, EngineError::Unavailable),
            (1025, commit, EngineError::Unknown),
            (4100, commit, EngineError::Unknown),
            (2101, commit, EngineError::TooLarge),
            (2102, commit, EngineError::TooLarge),
            (2103, commit, EngineError::TooLarge),
        ];
        for (code, during, meaning) in expected {
            assert_eq!(engine_error(FdbError::from_code(code), during), meaning, "{code} during {during:?}");
        }
    }

    #[test]
    fn a_code_without_a_name_here_is_told_in_words_and_not_tried_again() {
        let error = engine_error(FdbError::from_code(2000), During::Read);
        assert!(matches!(&error, EngineError::Refused(why) if why.contains("2000")), "{error:?}");
        assert!(!is_worth_a_pause(&error));
    }

    #[test]
    fn whatever_may_have_been_committed_is_never_taken_for_a_plain_failure() {
        for code in 1_000..3_000 {
            let error = FdbError::from_code(code);
            if error.is_maybe_committed() {
                let meaning = engine_error(error, During::Commit);
                assert_eq!(meaning, EngineError::Unknown, "{code}");
            }
        }
    }
}
