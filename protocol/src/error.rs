//! Error codes of frames and close codes of connections (PROTOCOL, section 4).

/// `error.code` of a frame and of an HTTP answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed or breaks a bound.
    BadRequest,
    /// The frame's `op` is not one of this version's.
    UnknownOp,
    /// No valid token.
    Unauthorized,
    /// Known to the caller, but not allowed.
    Forbidden,
    /// Not there, or not for the caller to know of.
    NotFound,
    /// The same id was stored before with another content.
    Conflict,
    /// Over a size limit.
    TooLarge,
    /// Over a rate; `retry_after_ms` says when to try again.
    RateLimited,
    /// The store or an owner can't be reached: nothing was stored, or a retry with the same id tells.
    Unavailable,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// Every code, in the order of the numbers that `as` gives them.
    pub const ALL: [Self; 10] = [
        Self::BadRequest,
        Self::UnknownOp,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::RateLimited,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownOp => "unknown_op",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// Why a request was refused, and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// One sentence for a person.
    pub message: &'static str,
    /// Milliseconds after which a retry may succeed; `None` when a retry of the same request can't.
    pub retry_after_ms: Option<u32>,
}

impl Refusal {
    /// A refusal that no retry mends.
    #[must_use]
    pub const fn new(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message, retry_after_ms: None }
    }

    /// A refusal that may end after `retry_after_ms`.
    #[must_use]
    pub const fn retry(code: ErrorCode, message: &'static str, retry_after_ms: u32) -> Self {
        Self { code, message, retry_after_ms: Some(retry_after_ms) }
    }
}

/// A WebSocket close code: RFC 6455 section 7.4.1, and ours from 4400 (PROTOCOL, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Done as asked.
    pub const NORMAL: Self = Self(1000);
    /// The server stops.
    pub const GOING_AWAY: Self = Self(1001);
    /// A broken frame.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A wrong kind of frame for the subprotocol.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// A frame over the limit.
    pub const TOO_LARGE: Self = Self(1009);
    /// A fault of the server.
    pub const INTERNAL: Self = Self(1011);
    /// Protocol misuse: no `hello`, garbage.
    pub const MISUSE: Self = Self(4400);
    /// Token missing, bad or expired.
    pub const UNAUTHORIZED: Self = Self(4401);
    /// User blocked or revoked.
    pub const BLOCKED: Self = Self(4403);
    /// Heartbeat missed.
    pub const HEARTBEAT: Self = Self(4408);
    /// The same device connected again.
    pub const REPLACED: Self = Self(4409);
    /// Over a limit.
    pub const OVER_LIMIT: Self = Self(4429);
    /// The server drains.
    pub const DRAINING: Self = Self(4503);
}

const _: () = {
    let mut at = 0;
    while at < ErrorCode::ALL.len() {
        assert!(ErrorCode::ALL[at] as usize == at, "a code stands at its number");
        at += 1;
    }
};
