//! The HTTP/1.1 request that becomes a WebSocket (RFC 6455, section 4.2; RFC 9110 and 9112 for the rest): parsed in
//! place out of the bytes received, and answered. Whether a token is good, and which paths there are, is the
//! caller's to know.
//!
//! A connection carries one request: whatever the answer, it is the last HTTP on it.

mod answer;
mod request;
mod token;

pub use answer::{Answer, Status};
pub use request::{Request, Upgrade, parse};
pub use token::{Token, TokenPlace};

/// Longest request head, in bytes: request line, headers and the empty line.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;
/// The path that clients connect to.
pub const CONNECT_PATH: &str = "/v1/connect";
