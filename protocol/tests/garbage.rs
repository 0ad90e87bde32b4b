//! The promise: no bytes from outside make a decoder panic, and what a damaged frame comes to is a frame or a refusal.

mod support;

use protocol::event::Event;
use protocol::frame::rkyv::{decode_server, encode_client};
use protocol::frame::{ClientFrame, Scratch, ServerFrame, Subprotocol, decode, encode};
use protocol::upgrade::parse;
use support::{Chance, samples};

/// Some bytes changed, taken out, put in, or cut off.
fn damaged(chance: &mut Chance, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = chance.one_of(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'{']),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, chance.number() as u8),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Reads all of a frame, so that every borrow of it is looked at.
fn decode_whole(subprotocol: Subprotocol, bytes: &mut [u8], scratch: &mut Scratch) -> Option<String> {
    decode(subprotocol, bytes, scratch).ok().map(|frame: ClientFrame<'_>| format!("{frame:?}"))
}

#[test]
fn damaged_archives_are_frames_or_refusals() {
    let mut scratch = Scratch::default();
    let mut frames = 0;
    for (_, frame) in samples::client_frames() {
        let mut bytes = Vec::new();
        encode_client(&frame, &mut bytes);
        for seed in 0..400 {
            let mut damaged = damaged(&mut Chance(seed), &bytes);
            frames += usize::from(decode_whole(Subprotocol::Rkyv, &mut damaged, &mut scratch).is_some());
        }
        for length in 0..bytes.len() {
            decode_whole(Subprotocol::Rkyv, &mut bytes.clone()[..length], &mut scratch);
        }
    }
    assert!(frames > 0, "some damage goes unseen in any encoding without a checksum");
}

#[test]
fn an_archive_with_anything_missing_in_front_of_its_root_is_refused() {
    let mut scratch = Scratch::default();
    for (name, frame) in samples::client_frames() {
        let mut bytes = Vec::new();
        encode_client(&frame, &mut bytes);
        bytes[0] = 0x02;
        let error = decode(Subprotocol::Rkyv, &mut bytes, &mut scratch).expect_err("another version");
        assert!(error.garbage, "{name}");
        let error = decode(Subprotocol::Rkyv, &mut bytes[..1], &mut scratch).expect_err("no archive");
        assert!(error.garbage, "{name}");
    }
    assert!(decode(Subprotocol::Rkyv, &mut [], &mut scratch).expect_err("nothing").garbage);
}

#[test]
fn damaged_json_frames_are_frames_or_refusals() {
    let mut scratch = Scratch::default();
    let texts = [
        r#"{"op":"hello","device":"phone","token":"a.b.c","cursors":[["general",7],["b\u0061",0]]}"#,
        r#"{"op":"send","id":"m-1","conversation":"general","body":"\ud83d\ude00\n","meta":{"a":[1,2.5e3]},"reply_to":9}"#,
        r#"{"op":"watch","users":["bob","carol"],"x":{"y":[[],{}]}}"#,
    ];
    for text in texts {
        for seed in 0..4_000 {
            let mut damaged = damaged(&mut Chance(seed), text.as_bytes());
            decode_whole(Subprotocol::Json, &mut damaged, &mut scratch);
        }
    }
}

#[test]
fn random_bytes_are_refused_by_every_decoder() {
    let mut scratch = Scratch::default();
    for seed in 0..5_000 {
        let mut chance = Chance(seed);
        let length = chance.below(200);
        let mut bytes = chance.bytes(length);
        assert!(decode(Subprotocol::Json, &mut bytes.clone(), &mut scratch).is_err(), "seed {seed}");
        if let Some(first) = bytes.first_mut() {
            *first = chance.one_of(&[0x01, 0x81, 0xc0]);
        }
        let _ = decode_whole(Subprotocol::Rkyv, &mut bytes, &mut scratch);
        let _ = decode_server(&bytes);
        let _ = Event::from_bytes(&bytes);
        let _ = parse(&bytes);
    }
}

#[test]
fn damaged_events_and_server_frames_never_panic_a_reader() {
    for (_, event) in samples::events() {
        for seed in 0..500 {
            let damaged = damaged(&mut Chance(seed), event.as_bytes());
            if let Ok(event) = Event::from_bytes(&damaged) {
                let mut out = Vec::new();
                encode(Subprotocol::Rkyv, &ServerFrame::Event(&event), &mut out);
            }
        }
    }
    for (_, frame) in samples::server_frames() {
        let mut bytes = Vec::new();
        encode(Subprotocol::Rkyv, &frame, &mut bytes);
        for seed in 0..300 {
            let _ = decode_server(&damaged(&mut Chance(seed), &bytes[2..]));
        }
    }
}

#[test]
fn damaged_request_heads_are_requests_or_answers() {
    let head = "GET /v1/connect?token=a%2Eb HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Protocol: murmuring.v1.json, bearer.x\r\nAuthorization: Bearer y\r\n\r\n";
    for seed in 0..5_000 {
        let damaged = damaged(&mut Chance(seed), head.as_bytes());
        if let Ok(Some(request)) = parse(&damaged) {
            let mut out = Vec::new();
            match request.upgrade() {
                Ok(upgrade) => upgrade.write(&mut out),
                Err(answer) => answer.write(&mut out),
            }
            assert!(out.starts_with(b"HTTP/1.1 "), "seed {seed}");
        }
    }
}
