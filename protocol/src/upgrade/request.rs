//! A request head and what it asks for. Refuses by the rules of RFC 6455 section 4.2.1; knows no tokens' worth.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::answer::{Answer, Status};
use super::token::{self, Token, TokenPlace};
use super::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::frame::Subprotocol;

/// RFC 6455, section 1.3: what makes an accept key prove that the server speaks WebSocket.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a client's nonce, and of its base64.
const KEY_BYTES: usize = 16;
const KEY_TEXT_BYTES: usize = 24;

/// A whole request head, borrowed from the bytes received.
#[derive(Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Bytes of the head: what follows them is WebSocket, if the request is answered so.
    pub head_bytes: usize,
    /// The method, `GET` for an upgrade.
    pub method: &'a str,
    /// The path as it came, without the query.
    pub path: &'a str,
    /// `Origin`, which browsers send.
    pub origin: Option<&'a str>,
    /// The first token that was given, in the order of [`TokenPlace`].
    pub token: Option<Token<'a>>,
    has_body: bool,
    host: Once<'a>,
    upgrade: bool,
    connection_upgrade: bool,
    version: Once<'a>,
    key: Once<'a>,
    subprotocol: Option<Subprotocol>,
}

/// A header that may be there once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Once<'a> {
    Missing,
    Given(&'a str),
    Repeated,
}

/// A handshake that can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// How frames are written from now on: the first known one that the client offered, and JSON when it offered none
    /// that is known.
    pub subprotocol: Subprotocol,
    /// Whether the answer names it.
    named: bool,
    accept: [u8; 28],
}

/// The request at the start of `bytes`; `None` when its head is not all there yet.
///
/// # Errors
/// What to answer when the bytes are not the head of an HTTP/1.1 request, or too many.
pub fn parse(bytes: &[u8]) -> Result<Option<Request<'_>>, Answer> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let visible = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    match parsed.parse(visible) {
        Ok(httparse::Status::Complete(head_bytes)) => request(head_bytes, &parsed).map(Some),
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Ok(None),
        Ok(httparse::Status::Partial) => {
            Err(Answer::new(Status::HeadTooLarge, "the request head is longer than 16,384 bytes"))
        }
        Err(httparse::Error::TooManyHeaders) => {
            Err(Answer::new(Status::HeadTooLarge, "the request has more than 64 headers"))
        }
        Err(_) => Err(Answer::new(Status::BadRequest, "this is not an HTTP/1.1 request")),
    }
}

fn request<'a>(head_bytes: usize, parsed: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Answer> {
    if parsed.version != Some(1) {
        return Err(Answer::new(Status::BadRequest, "a WebSocket begins with HTTP/1.1"));
    }
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        head_bytes,
        method: parsed.method.unwrap_or_default(),
        path,
        origin: None,
        token: token::of_query(query).map(|text| Token { place: TokenPlace::Query, text }),
        has_body: false,
        host: Once::Missing,
        upgrade: false,
        connection_upgrade: false,
        version: Once::Missing,
        key: Once::Missing,
        subprotocol: None,
    };
    for header in &*parsed.headers {
        request.take_header(header.name, header.value)?;
    }
    Ok(request)
}

impl<'a> Request<'a> {
    fn take_header(&mut self, name: &str, value: &'a [u8]) -> Result<(), Answer> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("host") {
            self.host.take(text(value)?);
        } else if is("upgrade") {
            self.upgrade |= elements(text(value)?).any(|element| element.eq_ignore_ascii_case("websocket"));
        } else if is("connection") {
            self.connection_upgrade |=
                elements(text(value)?).any(|element| element.eq_ignore_ascii_case("upgrade"));
        } else if is("sec-websocket-version") {
            self.version.take(text(value)?);
        } else if is("sec-websocket-key") {
            self.key.take(text(value)?);
        } else if is("sec-websocket-protocol") {
            elements(text(value)?).for_each(|element| self.take_subprotocol(element));
        } else if is("authorization") {
            if let Some(token) = token::of_authorization(text(value)?) {
                self.take_token(TokenPlace::Authorization, token);
            }
        } else if is("origin") {
            self.origin = Some(text(value)?);
        } else if is("transfer-encoding") {
            self.has_body = true;
        } else if is("content-length") {
            self.has_body |= text(value)? != "0";
        }
        Ok(())
    }

    fn take_subprotocol(&mut self, element: &'a str) {
        if let Some(token) = token::of_subprotocol(element) {
            self.take_token(TokenPlace::Subprotocol, token);
        } else if self.subprotocol.is_none() {
            self.subprotocol =
                [Subprotocol::Json, Subprotocol::Rkyv].into_iter().find(|known| known.name() == element);
        }
    }

    /// Keeps the token of the earliest place, and of one place the first.
    fn take_token(&mut self, place: TokenPlace, token: &'a str) {
        if self.token.as_ref().is_none_or(|given| (place as u8) < given.place as u8) {
            self.token = Some(Token { place, text: token.into() });
        }
    }

    /// Checks that the request is a handshake of RFC 6455.
    ///
    /// The subprotocol is the first known one in the client's order. When none is offered, or none that is known, it
    /// is JSON and the answer names none: section 4.2.2 allows no other name, and leaves it to a client that insists on
    /// one of its own to fail the connection, as browsers do. So a browser that puts `bearer.<token>` on its list puts
    /// `murmuring.v1.json` there too.
    ///
    /// # Errors
    /// What to answer instead.
    pub fn upgrade(&self) -> Result<Upgrade, Answer> {
        if self.method != "GET" {
            return Err(Answer::new(Status::MethodNotAllowed, "a WebSocket begins with GET"));
        }
        if self.has_body {
            return Err(Answer::new(Status::BadRequest, "a WebSocket handshake has no body"));
        }
        if !matches!(self.host, Once::Given(_)) {
            return Err(Answer::new(Status::BadRequest, "an HTTP/1.1 request has one Host header"));
        }
        if !self.upgrade {
            return Err(Answer::new(
                Status::UpgradeRequired,
                "this is a WebSocket: Upgrade: websocket is missing",
            ));
        }
        if !self.connection_upgrade {
            return Err(Answer::new(Status::BadRequest, "the Connection header does not say Upgrade"));
        }
        let accept = self.accept()?;
        let subprotocol = self.subprotocol.unwrap_or(Subprotocol::Json);
        Ok(Upgrade { subprotocol, named: self.subprotocol.is_some(), accept })
    }

    fn accept(&self) -> Result<[u8; 28], Answer> {
        match self.version {
            Once::Given("13") => {}
            Once::Given(_) => {
                return Err(Answer::new(Status::UpgradeRequired, "Sec-WebSocket-Version must be 13"));
            }
            Once::Missing | Once::Repeated => {
                return Err(Answer::new(
                    Status::BadRequest,
                    "a handshake has one Sec-WebSocket-Version header",
                ));
            }
        }
        match self.key {
            Once::Given(key) if is_nonce(key) => Ok(accept_of(key)),
            Once::Given(_) => {
                Err(Answer::new(Status::BadRequest, "Sec-WebSocket-Key must be 16 bytes in base64"))
            }
            Once::Missing | Once::Repeated => {
                Err(Answer::new(Status::BadRequest, "a handshake has one Sec-WebSocket-Key header"))
            }
        }
    }
}

impl core::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("origin", &self.origin)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl<'a> Once<'a> {
    fn take(&mut self, value: &'a str) {
        *self = if *self == Once::Missing { Once::Given(value) } else { Once::Repeated };
    }
}

impl Upgrade {
    /// Appends the answer that turns the connection into a WebSocket (RFC 6455, section 4.2.2).
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        out.extend_from_slice(b"Sec-WebSocket-Accept: ");
        out.extend_from_slice(&self.accept);
        if self.named {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(self.subprotocol.name().as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// A header's value as text.
fn text(value: &[u8]) -> Result<&str, Answer> {
    core::str::from_utf8(value)
        .map(str::trim)
        .map_err(|_| Answer::new(Status::BadRequest, "a header of the handshake is not text"))
}

/// The elements of a list (RFC 9110, section 5.6.1).
fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty())
}

fn is_nonce(key: &str) -> bool {
    let mut nonce = [0; KEY_BYTES + 2];
    key.len() == KEY_TEXT_BYTES && STANDARD.decode_slice(key, &mut nonce) == Ok(KEY_BYTES)
}

fn accept_of(key: &str) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(ACCEPT_SUFFIX).finalize();
    let mut accept = [0; 28];
    let length = STANDARD.encode_slice(digest, &mut accept).expect("20 bytes are 28 in base64");
    debug_assert_eq!(length, accept.len());
    accept
}
