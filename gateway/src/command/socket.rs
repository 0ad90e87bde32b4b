//! A blocking WebSocket client of the JSON subprotocol, for `send` and `tail`. An independent implementation
//! (tungstenite) at the other end of our own: it shares no code with the server's.

use core::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{HandshakeError, Message, WebSocket};

/// How long to wait for the TCP connection and for the upgrade.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A read returns at least so often, so that an interrupt is seen.
const READ_SLICE: Duration = Duration::from_millis(200);

/// Why there is no connection, or no longer.
#[derive(Debug)]
pub(super) enum SocketError {
    /// No server there, or no answer.
    Unreachable(SocketAddr, io::Error),
    /// The upgrade was answered with another status than 101.
    Refused(u16, String),
    /// The server closed, or the connection ended (code 1006: without a close frame).
    Closed(u16, String),
    /// Anything else that broke the connection.
    Broken(Box<tungstenite::Error>),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(address, error) => {
                write!(f, "{address}: {error}; does `murmuring serve` run there?")
            }
            Self::Refused(status, reason) => write!(f, "the server refused with status {status}: {reason}"),
            Self::Closed(code, reason) if reason.is_empty() => {
                write!(f, "the server closed with code {code}")
            }
            Self::Closed(code, reason) => write!(f, "the server closed with code {code}: {reason}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

impl core::error::Error for SocketError {}

impl SocketError {
    /// Whether to connect again (PROTOCOL, section 4): not after misuse, a block, a replaced device or bad bytes.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(..) | Self::Broken(_) => true,
            Self::Refused(status, _) => *status >= 500 || *status == 429,
            Self::Closed(code, _) => matches!(code, 1000 | 1001 | 1006 | 1011 | 4401 | 4408 | 4429 | 4503),
        }
    }
}

/// One connection.
pub(super) struct Socket {
    inner: WebSocket<TcpStream>,
    heard: Instant,
}

impl Socket {
    /// Connects and upgrades with a token.
    pub(super) fn connect(address: SocketAddr, token: &str) -> Result<Self, SocketError> {
        let unreachable = |error| SocketError::Unreachable(address, error);
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        stream.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(unreachable)?;
        let mut request = format!("ws://{address}/v1/connect").into_client_request().map_err(broken)?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| SocketError::Refused(401, "the token has letters that no token has".into()))?;
        request.headers_mut().insert("Authorization", bearer);
        let subprotocol = HeaderValue::from_static("murmuring.v1.json");
        request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol);
        let small = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let (inner, _) = tungstenite::client::client_with_config(request, stream, Some(small))
            .map_err(|error| handshake(address, error))?;
        inner.get_ref().set_read_timeout(Some(READ_SLICE)).map_err(unreachable)?;
        Ok(Self { inner, heard: Instant::now() })
    }

    /// Sends one frame.
    pub(super) fn send(&mut self, frame: &Value) -> Result<(), SocketError> {
        self.inner.send(Message::text(frame.to_string())).map_err(closed)
    }

    /// The next frame; `None` when none came within a slice of 200 ms.
    pub(super) fn receive(&mut self) -> Result<Option<Value>, SocketError> {
        match self.inner.read() {
            Ok(Message::Text(text)) => {
                self.heard = Instant::now();
                let frame = serde_json::from_str(&text);
                frame.map(Some).map_err(|_| SocketError::Closed(1002, "not JSON".into()))
            }
            Ok(Message::Close(frame)) => Err(of_close(frame)),
            Ok(_) => {
                self.heard = Instant::now();
                Ok(None)
            }
            Err(tungstenite::Error::Io(error)) if is_slice_over(&error) => Ok(None),
            Err(error) => Err(closed(error)),
        }
    }

    /// The next frame that `wanted` accepts, within `patience`; others go to `other`.
    pub(super) fn receive_until(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
        mut other: impl FnMut(Value),
    ) -> Result<Value, SocketError> {
        let begin = Instant::now();
        while begin.elapsed() < patience {
            match self.receive()? {
                Some(frame) if wanted(&frame) => return Ok(frame),
                Some(frame) => other(frame),
                None => {}
            }
        }
        Err(SocketError::Closed(1006, format!("no answer within {} s", patience.as_secs())))
    }

    /// How long the server has been silent; it pings in between.
    pub(super) fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Says good-bye, so that the user is offline at once.
    pub(super) fn close(mut self) {
        // The server may be gone already: then there is nobody to say it to.
        let _ = self.inner.close(None);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(1) {
            match self.inner.read() {
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if is_slice_over(&error) => {}
                Err(_) => return,
            }
        }
    }
}

/// The `hello` of a device, with what it has.
pub(super) fn hello(device: &str, resume: Option<&str>, cursors: &[(String, u64)]) -> Value {
    let mut hello = json!({ "op": "hello", "device": device, "cursors": cursors });
    if let Some(resume) = resume {
        hello["resume"] = json!(resume);
    }
    hello
}

fn is_slice_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn of_close(frame: Option<CloseFrame>) -> SocketError {
    match frame {
        Some(frame) => SocketError::Closed(frame.code.into(), frame.reason.to_string()),
        None => SocketError::Closed(1006, String::new()),
    }
}

fn closed(error: tungstenite::Error) -> SocketError {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => of_close(None),
        error => broken(error),
    }
}

fn broken(error: tungstenite::Error) -> SocketError {
    SocketError::Broken(Box::new(error))
}

fn handshake(
    address: SocketAddr,
    error: HandshakeError<tungstenite::ClientHandshake<TcpStream>>,
) -> SocketError {
    match error {
        HandshakeError::Failure(tungstenite::Error::Http(answer)) => {
            let body = answer.body().as_deref().unwrap_or_default();
            SocketError::Refused(answer.status().as_u16(), String::from_utf8_lossy(body).trim().to_owned())
        }
        HandshakeError::Failure(error) => broken(error),
        HandshakeError::Interrupted(_) => {
            SocketError::Unreachable(address, io::Error::from(io::ErrorKind::TimedOut))
        }
    }
}
