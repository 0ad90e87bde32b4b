//! The upgrade (RFC 6455, section 4): the request of a client, and what it must see in the response.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::chance::{Chance, mixed};
use crate::options::Subprotocol;

/// Longest response that is waited for, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 8 * 1024;
/// Most headers of a response.
const HEADERS_MAX: usize = 32;
/// What a server appends to the key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What `Sec-WebSocket-Key` holds: 16 bytes that only this connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of a connection of a run: the same seed, the same key, so that nobody must keep it.
    #[must_use]
    pub fn new(seed: u64, connection: u64) -> Self {
        let mut chance = Chance::new(seed ^ mixed(connection));
        let halves = (u128::from(chance.number()) << 64) | u128::from(chance.number());
        Self(halves.to_le_bytes())
    }

    /// As it stands in the request.
    fn text(self) -> String {
        STANDARD.encode(self.0)
    }

    /// What `Sec-WebSocket-Accept` must be.
    fn accept(self) -> String {
        STANDARD.encode(Sha1::new().chain_update(self.text()).chain_update(GUID).finalize())
    }
}

/// Appends the request: `host` as `address:port`, and a token for `Authorization` unless `hello` brings it. Without a
/// subprotocol, that of a plain WebSocket, which other servers than Murmuring speak.
pub fn write_request(
    host: &str,
    subprotocol: Option<Subprotocol>,
    token: Option<&str>,
    key: Key,
    out: &mut Vec<u8>,
) {
    let mut line = |parts: &[&str]| {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    };
    let path = if subprotocol.is_some() { "/v1/connect" } else { "/" };
    line(&["GET ", path, " HTTP/1.1"]);
    line(&["Host: ", host]);
    line(&["Upgrade: websocket"]);
    line(&["Connection: Upgrade"]);
    line(&["Sec-WebSocket-Version: 13"]);
    line(&["Sec-WebSocket-Key: ", &key.text()]);
    if let Some(subprotocol) = subprotocol {
        line(&["Sec-WebSocket-Protocol: ", subprotocol.name()]);
    }
    if let Some(token) = token {
        line(&["Authorization: Bearer ", token]);
    }
    line(&[]);
}

/// The server speaks WebSocket from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// Bytes of the response; frames follow.
    pub response_bytes: usize,
}

/// Why there is no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not a response of HTTP/1.1, or longer than [`RESPONSE_BYTES_MAX`].
    Http,
    /// Another status than 101, and the seconds of `Retry-After`, where it has them.
    Status {
        /// The status.
        status: u16,
        /// Seconds to wait before trying again.
        retry_after_s: Option<u32>,
    },
    /// A 101 without the headers that it must have.
    Headers,
    /// A `Sec-WebSocket-Accept` that does not belong to the key.
    Accept,
    /// Another subprotocol than the one that was offered, or none.
    Subprotocol,
}

/// Reads the response at the start of `bytes`; `None` when it is not all there yet.
///
/// # Errors
/// When it is no upgrade of this request.
pub fn read_response(
    bytes: &[u8],
    subprotocol: Option<Subprotocol>,
    key: Key,
) -> Result<Option<Upgraded>, Refused> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let response_bytes = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < RESPONSE_BYTES_MAX => return Ok(None),
        _ => return Err(Refused::Http),
    };
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| str::from_utf8(header.value).ok()).map(str::trim)
    };
    let status = response.code.ok_or(Refused::Http)?;
    if status != 101 {
        let retry_after_s = header("Retry-After").and_then(|seconds| seconds.parse().ok());
        return Err(Refused::Status { status, retry_after_s });
    }
    let is = |name: &str, value: &str| header(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
    if !is("Upgrade", "websocket") || !is("Connection", "upgrade") {
        return Err(Refused::Headers);
    }
    if header("Sec-WebSocket-Accept") != Some(key.accept().as_str()) {
        return Err(Refused::Accept);
    }
    if header("Sec-WebSocket-Protocol") != subprotocol.map(Subprotocol::name) {
        return Err(Refused::Subprotocol);
    }
    Ok(Some(Upgraded { response_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    const EXAMPLE: Key = Key(*b"the sample nonce");

    fn response(lines: &[&str]) -> Vec<u8> {
        format!("HTTP/1.1 {}\r\n\r\n", lines.join("\r\n")).into_bytes()
    }

    fn good() -> Vec<u8> {
        response(&[
            "101 Switching Protocols",
            "upgrade: WebSocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "Sec-WebSocket-Protocol: murmuring.v1.json",
        ])
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted_on_every_split() {
        assert_eq!(EXAMPLE.text(), "dGhlIHNhbXBsZSBub25jZQ==");
        let mut bytes = good();
        let response_bytes = bytes.len();
        bytes.extend(b"\x81\x02{}");
        for length in 0..bytes.len() {
            let expected = (length >= response_bytes).then_some(Upgraded { response_bytes });
            assert_eq!(read_response(&bytes[..length], Some(Subprotocol::Json), EXAMPLE), Ok(expected));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let read = |bytes: &[u8]| read_response(bytes, Some(Subprotocol::Json), EXAMPLE).unwrap_err();
        assert_eq!(read(b"SSH-2.0\r\n"), Refused::Http);
        assert_eq!(read(&[b'H'; RESPONSE_BYTES_MAX]), Refused::Http);
        assert_eq!(
            read(&response(&["429 Too Many Requests", "Retry-After: 3"])),
            Refused::Status { status: 429, retry_after_s: Some(3) }
        );
        assert_eq!(read(&response(&["101 Hello"])), Refused::Headers);
        let other = Key(*b"another sentence");
        assert_eq!(read_response(&good(), Some(Subprotocol::Json), other), Err(Refused::Accept));
        assert_eq!(read_response(&good(), Some(Subprotocol::Rkyv), EXAMPLE), Err(Refused::Subprotocol));
    }

    #[test]
    fn keys_differ_by_connection_and_by_seed() {
        assert_eq!(Key::new(1, 2), Key::new(1, 2));
        assert_ne!(Key::new(1, 2), Key::new(1, 3));
        assert_ne!(Key::new(1, 2), Key::new(2, 2));
    }
}
