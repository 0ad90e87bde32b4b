//! Splits: whatever pieces the bytes come in, the same is done.

use serde_json::json;

use crate::wire::{frames, masked};
use crate::world::{World, request, token};

/// A client's stream: upgrade, hello, requests with control frames between fragments.
fn stream() -> Vec<u8> {
    let hello = json!({"op": "hello", "device": "d", "token": token("alice")}).to_string();
    let send = json!({"op": "send", "id": "m", "conversation": "c", "body": "zwölf Boxkämpfer"}).to_string();
    let middle = send.len() / 2;
    let mut bytes = request("/v1/connect", "").into_bytes();
    bytes.extend(masked(0x81, hello.as_bytes()));
    bytes.extend(masked(0x01, &send.as_bytes()[..middle]));
    bytes.extend(masked(0x89, b"between"));
    bytes.extend(masked(0x80, &send.as_bytes()[middle..]));
    bytes.extend(masked(0x81, br#"{"op":"ping","ref":1}"#));
    bytes
}

/// What the client gets, sorted: an answer of an owner comes when it comes.
fn played(pieces: &[&[u8]]) -> Vec<String> {
    let mut world = World::new();
    world.owner.conversation("c", &["alice"]);
    let connection = world.accept(0);
    for piece in pieces {
        world.send_bytes(connection, piece);
    }
    world.send_bytes(connection, &masked(0x88, b"\x03\xe8"));
    world.end(connection, 0);
    assert_eq!(world.shard.connections(), 0);
    let mut answers = vec![world.take_head(connection)];
    let mut output = std::mem::take(&mut world.socket(connection).output);
    answers.extend(frames(&mut output).iter().map(|frame| format!("{frame:?}")));
    answers.sort();
    answers
}

#[test]
fn every_split_in_two_gives_the_same_answers() {
    let whole = stream();
    let expected = played(&[&whole]);
    for split in 1..whole.len() {
        let (head, tail) = whole.split_at(split);
        assert_eq!(played(&[head, tail]), expected, "split at {split}");
    }
}

#[test]
fn single_bytes_give_the_same_answers() {
    let whole = stream();
    let pieces: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(played(&pieces), played(&[&whole]));
}

#[test]
fn the_answers_are_the_ones_expected() {
    let answers = played(&[&stream()]);
    assert_eq!(answers.len(), 7, "{answers:?}");
    for part in ["101 Switching", "welcome", "Pong(", "ack", "zwölf", "pong", "Close(1000"] {
        assert!(answers.iter().any(|answer| answer.contains(part)), "{part} in {answers:?}");
    }
}

#[test]
fn garbage_in_any_place_ends_one_connection_and_nothing_else() {
    let whole = stream();
    let mut state = 1u64;
    for round in 0..2_000 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] ^= (state >> 20) as u8 | 1;
        }
        let mut world = World::new();
        world.owner.conversation("c", &["alice"]);
        let other = world.session("alice", "other");
        let connection = world.accept(0);
        for piece in bytes.chunks(1 + round % 700) {
            if !world.socket(connection).closing {
                world.send_bytes(connection, piece);
            }
        }
        world.pass_ms(20_000);
        if !world.socket(connection).closing {
            world.end(connection, 104);
        }
        world.take_frames(other);
        world.say(other, &json!({"op": "ping", "ref": 1}));
        assert_eq!(world.hear(other), [json!({"op": "pong", "ref": 1})]);
        assert_eq!(world.shard.connections(), 1);
    }
}
