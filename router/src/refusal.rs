//! What a router shard says when it refuses: each sentence once.

use protocol::error::{ErrorCode, Refusal};
use storage::request::Failure;

use crate::limits::RETRY_AFTER_MS;

/// No such conversation, or none that the caller may know of: nobody can tell the two apart.
pub(crate) const NOT_FOUND: Refusal = Refusal::new(ErrorCode::NotFound, "no such conversation");
/// The target of an edit, a delete or a reaction is not there.
pub(crate) const NO_TARGET: Refusal = Refusal::new(ErrorCode::NotFound, "no such message to act on");
/// The user to remove or to change is no member.
pub(crate) const NO_MEMBER: Refusal = Refusal::new(ErrorCode::NotFound, "no such member");
/// The id was used before.
pub(crate) const CONFLICT: Refusal =
    Refusal::new(ErrorCode::Conflict, "this id was stored before with another content");
/// Another conversation has the id already.
pub(crate) const TAKEN: Refusal = Refusal::new(ErrorCode::Conflict, "this conversation id is taken");
/// A bound of this shard is reached.
pub(crate) const BUSY: Refusal =
    Refusal::retry(ErrorCode::Unavailable, "too much is under way: try again", RETRY_AFTER_MS);
/// The store did not do it.
pub(crate) const STORE_AWAY: Refusal = Refusal::retry(
    ErrorCode::Unavailable,
    "the store can't be reached: try again with the same id",
    RETRY_AFTER_MS,
);
/// Whether the conversation is still this shard's is not certain.
pub(crate) const LAPSED: Refusal = Refusal::retry(
    ErrorCode::Unavailable,
    "this server has lost touch with the others: try again with the same id",
    RETRY_AFTER_MS,
);
/// The same device has another session.
pub(crate) const ELSEWHERE: Refusal =
    Refusal::new(ErrorCode::Conflict, "the same device has connected again elsewhere");
/// Too many devices.
pub(crate) const TOO_MANY_SESSIONS: Refusal =
    Refusal::retry(ErrorCode::RateLimited, "this user has 128 sessions: close one", 60_000);

/// What the caller may not do.
pub(crate) const fn forbidden(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Forbidden, message)
}

/// What makes no sense.
pub(crate) const fn bad_request(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, message)
}

/// What a client is told when the store failed: always that a retry with the same id is safe.
pub(crate) const fn of_failure(failure: &Failure) -> Refusal {
    match failure {
        Failure::Fenced
        | Failure::Unavailable
        | Failure::Unknown
        | Failure::Refused(_)
        | Failure::Poisoned(_)
        | Failure::Damaged(_) => STORE_AWAY,
    }
}
