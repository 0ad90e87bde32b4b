//! What one connection costs a gateway shard: to come and go, to send, to stay.

use protocol::frame::Subprotocol;

use crate::gateway::{Gateway, head, hello};
use crate::path::Path;
use crate::{sample, token};

/// Sessions whose heartbeats are counted.
const SESSIONS: u32 = 1_000;
/// The default of `heartbeat_ms`.
const HEARTBEAT_MS: u64 = 30_000;

pub(crate) fn paths() -> Vec<Path> {
    use Subprotocol::{Json, Rkyv};
    vec![
        Path::new("session/open-with-ticket-and-end", || coming_and_going(ticket())),
        Path::new("session/open-with-token-and-end", || coming_and_going(token_in_head())),
        Path::new("session/json-send-and-ack", || sending(Json, sample::masked(0x81, &sample::json_send()))),
        Path::new("session/rkyv-send-and-ack", || sending(Rkyv, sample::masked(0x82, &sample::rkyv_send()))),
        Path::new("session/heartbeat", heartbeats).of(SESSIONS.into()),
    ]
}

/// The head and the first frame of a client that comes back.
fn ticket() -> (String, Vec<u8>) {
    let ticket = token::ticket(&token::authenticator(), sample::SENDER);
    (head(Subprotocol::Json, None), hello(Subprotocol::Json, Some(&ticket)))
}

/// Those of a client that comes with a token.
fn token_in_head() -> (String, Vec<u8>) {
    (head(Subprotocol::Json, Some(&token::token(sample::SENDER))), hello(Subprotocol::Json, None))
}

/// Connects, upgrades, is welcomed, attaches its one conversation, and is gone. Another session keeps the room there.
fn coming_and_going((head, hello): (String, Vec<u8>)) -> impl FnMut() {
    let (mut gateway, _) = Gateway::with_sessions(Subprotocol::Json, 1);
    move || {
        let connection = gateway.accept(1);
        gateway.receive(connection, &mut head.clone().into_bytes());
        gateway.receive(connection, &mut hello.clone());
        gateway.end(connection);
        assert_eq!(gateway.connections(), 1);
    }
}

/// From the received bytes to the envelope for the owner, and from its answer to the ack on the wire.
fn sending(subprotocol: Subprotocol, frame: Vec<u8>) -> impl FnMut() {
    let (mut gateway, sessions) = Gateway::with_sessions(subprotocol, 1);
    let mut received = frame.clone();
    move || {
        received.copy_from_slice(&frame);
        gateway.receive(sessions[0], &mut received);
    }
}

/// One heartbeat of each session, with the ticks of the whole interval.
fn heartbeats() -> impl FnMut() {
    let (mut gateway, _) = Gateway::with_sessions(Subprotocol::Json, SESSIONS);
    let mut pong = [0; 6];
    pong.copy_from_slice(&sample::masked(0x8a, b""));
    move || gateway.pass(HEARTBEAT_MS, &pong)
}
