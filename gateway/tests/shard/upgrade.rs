//! The upgrade: a WebSocket, or an answer that says why not, within bounds of time and memory.

use gateway::shard::{Completion, Seats, Settings};

use crate::wire::masked;
use crate::world::{World, request, settings, token, token_for};

fn answer(world: &mut World, listener: u8, bytes: &[u8]) -> String {
    let connection = world.accept(listener);
    world.send_bytes(connection, bytes);
    let socket = world.socket(connection);
    let answer = String::from_utf8_lossy(&std::mem::take(&mut socket.output)).into_owned();
    if !answer.starts_with("HTTP/1.1 101") {
        assert!(socket.shut_down, "the answer is the last on the connection");
        world.end(connection, 0);
        assert!(world.socket(connection).closed);
    }
    answer
}

#[test]
fn what_is_no_handshake_gets_an_answer_of_http() {
    let get = |path: &str, rest: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{rest}\r\n");
    for (bytes, status) in [
        (get("/v1/connect", ""), "426"),
        (request("/elsewhere", ""), "404"),
        (request("/v1/connect", "").replace("GET", "POST"), "405"),
        (request("/v1/connect", "").replace("Version: 13", "Version: 12"), "426"),
        (request("/v1/connect", "").replace("dGhl", ""), "400"),
        (request("/v1/connect", "").replace("Key:", "Kez:"), "400"),
        ("garbage\r\n\r\n".to_owned(), "400"),
        ("\u{16}\u{3}\u{1}\u{2}".to_owned(), "400"),
        (get("/v1/connect", &format!("A: {}\r\n", "a".repeat(20_000))), "431"),
        (request("/v1/connect", "Authorization: Bearer nonsense\r\n"), "401"),
    ] {
        let mut world = World::new();
        let answer = answer(&mut world, 0, bytes.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:.80} got {answer}");
        assert!(answer.contains("\"code\":"), "{answer}");
        assert_eq!(world.shard.connections(), 0);
    }
}

#[test]
fn a_bad_token_of_the_upgrade_is_401_and_its_own_place_decides() {
    let good = token("alice");
    let expired = token_for("alice", "default", 0);
    for headers in [
        format!("Authorization: Bearer {expired}\r\n"),
        format!("Authorization: Bearer nonsense\r\nSec-WebSocket-Protocol: bearer.{good}\r\n"),
        format!("Sec-WebSocket-Protocol: bearer.{expired}, murmuring.v1.json\r\n"),
        "Authorization: Bearer \r\n".to_owned(),
    ] {
        let answer = answer(&mut World::new(), 0, request("/v1/connect", &headers).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 401 "), "{headers} got {answer}");
        assert!(answer.contains("\"unauthorized\""), "{answer}");
    }
    let path = format!("/v1/connect?token={expired}");
    assert!(answer(&mut World::new(), 0, request(&path, "").as_bytes()).starts_with("HTTP/1.1 401 "));
}

#[test]
fn a_head_may_come_in_any_two_pieces_with_frames_behind_it() {
    let hello = format!(r#"{{"op":"hello","device":"d","token":"{}"}}"#, token("alice"));
    let mut whole = request("/v1/connect", "").into_bytes();
    whole.extend(masked(0x81, hello.as_bytes()));
    for split in 1..whole.len() {
        let mut world = World::new();
        let connection = world.accept(0);
        world.send_bytes(connection, &whole[..split]);
        world.send_bytes(connection, &whole[split..]);
        assert!(world.take_head(connection).starts_with("HTTP/1.1 101 "), "split at {split}");
        assert_eq!(world.hear(connection)[0]["op"], "welcome", "split at {split}");
    }
}

#[test]
fn a_head_that_trickles_is_closed_after_10_s_and_held_in_16_kib() {
    let mut world = World::new();
    let connection = world.accept(0);
    for byte in request("/v1/connect", "").as_bytes().iter().take(90) {
        world.send_bytes(connection, &[*byte]);
        world.pass_ms(100);
    }
    assert!(!world.socket(connection).closed);
    assert!(world.shard.counters().input_bytes < 1_024);
    world.pass_ms(1_100);
    assert!(world.socket(connection).closed);
    assert_eq!((world.shard.counters().input_bytes, world.shard.connections()), (0, 0));
}

#[test]
fn the_echo_listener_takes_any_path_and_echoes_what_the_protocol_would_not() {
    let mut world = World::new();
    let connection = world.accept(1);
    world.send_bytes(connection, request("/any/path?x", "").as_bytes());
    assert!(world.take_head(connection).starts_with("HTTP/1.1 101 "));
    let body = vec![b'x'; 1 << 20];
    world.send_bytes(connection, &masked(0x82, &body));
    assert_eq!(world.take_frames(connection), [crate::wire::Frame::Binary(body)]);
    world.send_bytes(connection, &masked(0x81, b"text"));
    assert_eq!(world.take_frames(connection), [crate::wire::Frame::Text("text".to_owned())]);
}

#[test]
fn a_draining_shard_answers_503_and_when_to_come_back() {
    let mut world = World::new();
    world.complete(Completion::Drain);
    let answer = answer(&mut world, 0, request("/v1/connect", "").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer}");
    assert!(world.shard.is_drained());
}

#[test]
fn a_connection_too_many_is_told_so_and_a_seat_that_is_left_is_taken_again() {
    let seats = Seats::new(3);
    let world =
        |connections_max| World::with(Settings { seats: seats.clone(), connections_max, ..settings() });
    let (mut one, mut other) = (world(2), world(100));
    let first = one.accept(0);
    one.send_bytes(first, request("/v1/connect", "").as_bytes());
    let upgraded = |world: &mut World| answer(world, 0, request("/v1/connect", "").as_bytes());
    let full = "\u{11}Mall connections of this server are taken; retry after 5000 ms"; // 4429
    assert!(!upgraded(&mut one).contains(full));
    assert!(upgraded(&mut one).ends_with(full), "the shard is full");
    assert!(!upgraded(&mut other).contains(full));
    assert!(upgraded(&mut other).ends_with(full), "the node is full");
    one.end(first, 0);
    assert!(!upgraded(&mut other).contains(full));
    one.shard.invariants();
    other.shard.invariants();
}
