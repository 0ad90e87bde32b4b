//! Answers to a request that does not become a WebSocket: a status, a short JSON body, and the end of the connection.

use crate::error::ErrorCode;
use crate::error::Refusal;
use crate::frame::write_refusal_object;

/// The status of an answer (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// 400: not HTTP, or not a handshake of RFC 6455.
    BadRequest,
    /// 401: a token that is not good.
    Unauthorized,
    /// 403: not from here.
    Forbidden,
    /// 404: no such path.
    NotFound,
    /// 405: another method than GET.
    MethodNotAllowed,
    /// 426: not a WebSocket handshake, or of another version than 13.
    UpgradeRequired,
    /// 429: over a limit; later.
    TooManyRequests,
    /// 431: a head over [`super::HEAD_BYTES_MAX`] or [`super::HEADERS_MAX`] (RFC 6585, section 5).
    HeadTooLarge,
    /// 503: not now; later.
    Unavailable,
}

impl Status {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::UpgradeRequired => 426,
            Self::TooManyRequests => 429,
            Self::HeadTooLarge => 431,
            Self::Unavailable => 503,
        }
    }

    /// The code in the body (PROTOCOL, section 4).
    #[must_use]
    pub const fn error_code(self) -> ErrorCode {
        match self {
            Self::BadRequest | Self::MethodNotAllowed | Self::UpgradeRequired => ErrorCode::BadRequest,
            Self::Unauthorized => ErrorCode::Unauthorized,
            Self::Forbidden => ErrorCode::Forbidden,
            Self::NotFound => ErrorCode::NotFound,
            Self::TooManyRequests => ErrorCode::RateLimited,
            Self::HeadTooLarge => ErrorCode::TooLarge,
            Self::Unavailable => ErrorCode::Unavailable,
        }
    }

    /// The status line, and the headers that belong to the status.
    const fn lines(self) -> &'static str {
        match self {
            Self::BadRequest => "HTTP/1.1 400 Bad Request\r\n",
            Self::Unauthorized => "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n",
            Self::Forbidden => "HTTP/1.1 403 Forbidden\r\n",
            Self::NotFound => "HTTP/1.1 404 Not Found\r\n",
            Self::MethodNotAllowed => "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n",
            Self::UpgradeRequired => {
                "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            }
            Self::TooManyRequests => "HTTP/1.1 429 Too Many Requests\r\n",
            Self::HeadTooLarge => "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            Self::Unavailable => "HTTP/1.1 503 Service Unavailable\r\n",
        }
    }
}

/// Why a request does not become a WebSocket. The connection closes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: Status,
    /// One sentence for a person.
    pub message: &'static str,
    /// Milliseconds after which another try may succeed.
    pub retry_after_ms: Option<u32>,
}

impl Answer {
    /// An answer that a later try of the same request won't change.
    #[must_use]
    pub const fn new(status: Status, message: &'static str) -> Self {
        Self { status, message, retry_after_ms: None }
    }

    /// An answer that may be another one after `retry_after_ms`.
    #[must_use]
    pub const fn retry(status: Status, message: &'static str, retry_after_ms: u32) -> Self {
        Self { status, message, retry_after_ms: Some(retry_after_ms) }
    }

    /// The answer to a path that is not served.
    #[must_use]
    pub const fn not_found() -> Self {
        Self::new(Status::NotFound, "there is nothing here: WebSockets connect to /v1/connect")
    }

    /// Appends the whole answer: head and body.
    pub fn write(&self, out: &mut Vec<u8>) {
        let refusal = Refusal {
            code: self.status.error_code(),
            message: self.message,
            retry_after_ms: self.retry_after_ms,
        };
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(b"{\"error\":");
        write_refusal_object(&refusal, &mut body);
        body.push(b'}');

        out.extend_from_slice(self.status.lines().as_bytes());
        if let Some(retry_after_ms) = self.retry_after_ms {
            header(out, "Retry-After", retry_after_ms.div_ceil(1_000) as usize);
        }
        out.extend_from_slice(b"Content-Type: application/json\r\n");
        header(out, "Content-Length", body.len());
        out.extend_from_slice(if matches!(self.status, Status::UpgradeRequired) {
            b"Connection: Upgrade, close\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
        out.extend_from_slice(&body);
    }
}

fn header(out: &mut Vec<u8>, name: &str, value: usize) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}
