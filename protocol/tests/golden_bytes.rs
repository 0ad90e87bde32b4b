//! The promise: archives of version 1 keep their bytes for ever. Stores hold them, and clients in other languages were
//! written to them. A difference here asks for a new version, never for a new file.

mod support;

use protocol::event::{EVENT_VERSION, Event};
use protocol::frame::rkyv::{CLIENT_FRAME_V1, SERVER_FRAME_V1, SIGNAL, decode_server, encode_client};
use protocol::frame::{Scratch, ServerFrame, Subprotocol, decode, encode};
use support::{golden, samples};

const GOLDEN: &str = include_str!("golden/v1.txt");

fn server_payload(frame: &ServerFrame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(Subprotocol::Rkyv, frame, &mut out);
    assert_eq!(out[0], 0x82, "one whole binary frame");
    let header = if out[1] < 126 { 2 } else { 4 };
    out.split_off(header)
}

#[test]
fn events_keep_their_bytes_and_a_client_gets_these_very_bytes() {
    let events: Vec<_> =
        samples::events().into_iter().map(|(name, event)| (name, event.as_bytes().to_vec())).collect();
    golden::check(GOLDEN, "event", &events);
    for bytes in golden::read(GOLDEN, "event").values() {
        let event = Event::from_bytes(bytes).expect("an event");
        assert_eq!(server_payload(&ServerFrame::Event(&event)), *bytes);
        assert_eq!(bytes[0], EVENT_VERSION);
    }
}

#[test]
fn client_frames_keep_their_bytes() {
    let frames: Vec<_> = samples::client_frames()
        .into_iter()
        .map(|(name, frame)| {
            let mut out = Vec::new();
            encode_client(&frame, &mut out);
            (name, out)
        })
        .collect();
    golden::check(GOLDEN, "client", &frames);
    let golden = golden::read(GOLDEN, "client");
    for (name, frame) in samples::client_frames() {
        let mut bytes = golden[name].clone();
        assert_eq!(bytes[0], CLIENT_FRAME_V1);
        assert_eq!(decode(Subprotocol::Rkyv, &mut bytes, &mut Scratch::default()), Ok(frame), "{name}");
    }
}

#[test]
fn server_frames_keep_their_bytes() {
    let mut frames: Vec<_> =
        samples::server_frames().iter().map(|(name, frame)| (*name, server_payload(frame))).collect();
    frames.push(("signal", server_payload(&ServerFrame::Signal(&samples::event(0, samples::MESSAGE)))));
    golden::check(GOLDEN, "server", &frames);
    for (name, bytes) in golden::read(GOLDEN, "server") {
        assert!(decode_server(&bytes).is_ok(), "{name}");
        assert_eq!(bytes[0], if name == "signal" { SIGNAL } else { SERVER_FRAME_V1 }, "{name}");
    }
}
