//! Closing: every code of PROTOCOL section 4, a bounded wait, and nothing left behind.

use gateway::shard::{Completion, Settings};
use protocol::envelope::{ToGateway, ToRouter};
use protocol::error::{CloseCode, ErrorCode, Refusal};
use serde_json::json;

use crate::wire::{Frame, masked};
use crate::world::{World, settings, token, token_for};

/// The session's name, as its owner knows it.
fn opened(world: &mut World) -> u64 {
    let asked = world.asked();
    let open = asked.iter().find_map(|(_, envelope)| match envelope {
        ToRouter::SessionOpen { caller, .. } => Some(caller.connection),
        _ => None,
    });
    open.expect("a session was opened")
}

/// How the owner was told of the end, if it was.
fn ended(world: &mut World) -> Option<bool> {
    world.asked().iter().find_map(|(_, envelope)| match envelope {
        ToRouter::SessionClose { normal, .. } => Some(*normal),
        _ => None,
    })
}

#[test]
fn bytes_that_break_the_protocol_close_with_their_code() {
    let text = |payload: &[u8]| masked(0x81, payload);
    for (bytes, code) in [
        (vec![0x81, 0x01, b'x'], 1002),
        (masked(0xc1, b"{}"), 1002),
        (masked(0x83, b"{}"), 1002),
        (masked(0x80, b"{}"), 1002),
        (masked(0x82, b"{}"), 1003),
        (text(b"\"\xff\""), 1007),
        (text(&vec![b' '; 64 * 1024 + 1]), 1009),
        (text(b"{"), 4400),
        (text(b"garbage"), 4400),
        (text(b"[]"), 4400),
        (text(br#"{"op":"hello","device":"again"}"#), 4400),
    ] {
        let mut world = World::new();
        let connection = world.session("alice", "d");
        world.send_bytes(connection, &bytes);
        assert_eq!(world.close_code(connection).0, code, "{:?}", &bytes[..bytes.len().min(40)]);
        assert_eq!(ended(&mut world), Some(false));
        assert!(world.socket(connection).shut_down);
        world.end(connection, 0);
        assert_eq!(world.shard.connections(), 0);
    }
}

#[test]
fn the_first_frame_is_hello_within_10_s() {
    for first in [r#"{"op":"ping","ref":1}"#, r#"{"op":"nonsense"}"#, r#"{"op":"hello"}"#, "x"] {
        let mut world = World::new();
        let connection = world.websocket();
        world.send_bytes(connection, &masked(0x81, first.as_bytes()));
        assert_eq!(world.close_code(connection).0, 4400, "{first}");
    }
    let mut world = World::new();
    let connection = world.websocket();
    world.pass_ms(9_900);
    assert!(world.take_frames(connection).is_empty());
    world.pass_ms(200);
    assert_eq!(world.close_code(connection).0, 4400);
}

#[test]
fn a_missing_or_bad_token_closes_with_4401() {
    let frames = [
        json!({"op": "hello", "device": "d"}),
        json!({"op": "hello", "device": "d", "token": "nonsense"}),
        json!({"op": "hello", "device": "d", "token": token_for("alice", "default", 0)}),
        json!({"op": "hello", "device": "d", "resume": "nonsense"}),
    ];
    for hello in frames {
        let mut world = World::new();
        let connection = world.websocket();
        world.say(connection, &hello);
        assert_eq!(world.close_code(connection).0, 4401, "{hello}");
        assert_eq!(ended(&mut world), None, "no session was opened");
    }
}

#[test]
fn a_session_ends_with_its_token_unless_it_was_refreshed() {
    let mut world = World::new();
    for refreshed in [false, true] {
        let connection = world.websocket();
        let ttl_s = world.now.unix_ms / 1_000 - crate::world::START_UNIX_MS / 1_000 + 20;
        let short = token_for("alice", "default", ttl_s);
        world.say(connection, &json!({"op": "hello", "device": "d", "token": short}));
        assert_eq!(world.hear(connection)[0]["op"], "welcome");
        world.pass_ms(19_000);
        if refreshed {
            world.say(connection, &json!({"op": "refresh", "token": token("alice")}));
            assert_eq!(world.hear(connection), [json!({"op": "refreshed"})]);
        }
        world.pass_ms(2_000);
        if refreshed {
            assert!(world.take_frames(connection).is_empty());
        } else {
            assert_eq!(world.close_code(connection).0, 4401);
        }
    }
}

#[test]
fn a_refresh_with_anothers_or_a_bad_token_closes_with_4401() {
    for bad in [token("bob"), token_for("alice", "other", 60), "nonsense".to_owned()] {
        let mut world = World::new();
        let connection = world.session("alice", "d");
        world.say(connection, &json!({"op": "refresh", "token": bad}));
        assert_eq!(world.close_code(connection).0, 4401);
    }
}

#[test]
fn the_router_closes_a_replaced_and_a_blocked_session() {
    for code in [CloseCode::REPLACED, CloseCode::BLOCKED] {
        let mut world = World::new();
        let session = world.session("alice", "d");
        let connection = opened(&mut world);
        world.envelope(ToGateway::CloseSession { connection, code });
        assert_eq!(world.close_code(session).0, code.0);
    }
}

#[test]
fn a_close_of_the_client_is_answered_with_its_code_and_ends_the_session_in_order() {
    for (payload, code, normal) in [
        (&b""[..], 1000, true),
        (b"\x03\xe8", 1000, true),
        (b"\x03\xe9bye", 1001, true),
        (b"\x0f\xa0", 4000, false),
    ] {
        let mut world = World::new();
        let connection = world.session("alice", "d");
        world.send_bytes(connection, &masked(0x88, payload));
        assert_eq!(world.close_code(connection).0, code);
        assert_eq!(ended(&mut world), Some(normal));
        assert!(world.socket(connection).shut_down && !world.socket(connection).closed);
        world.end(connection, 0);
        assert!(world.socket(connection).closed);
    }
}

#[test]
fn a_connection_that_ends_without_a_close_is_not_normal() {
    for error in [0, 104] {
        let mut world = World::new();
        let connection = world.session("alice", "d");
        world.end(connection, error);
        assert!(world.socket(connection).closed);
        assert_eq!(ended(&mut world), Some(false));
    }
}

#[test]
fn a_peer_that_does_not_answer_a_close_is_cut_after_5_s() {
    for stalled in [false, true] {
        let mut world = World::new();
        let connection = world.session("alice", "d");
        world.socket(connection).stalled = stalled;
        world.send_bytes(connection, &masked(0x81, b"garbage"));
        world.pass_ms(4_900);
        assert!(!world.socket(connection).closed);
        world.pass_ms(200);
        assert!(world.socket(connection).closed);
        assert_eq!(world.shard.connections(), 0);
    }
}

#[test]
fn a_client_is_pinged_when_silent_and_closed_with_4408_after_two_pings() {
    // What is due is looked at together: up to a tick and a 64th of the heartbeat late, and never early.
    const LATE_MS: u64 = 1 + 100 + 400;
    let mut world = World::new();
    // Heard last at the very end of a tick: no deadline is early for that.
    world.pass_ms(99);
    let connection = world.session("alice", "d");
    world.asked();
    world.pass_ms(29_999);
    assert!(world.take_frames(connection).is_empty());
    world.pass_ms(LATE_MS);
    assert_eq!(world.take_frames(connection), [Frame::Ping(vec![])]);
    world.pass_ms(30_000 - LATE_MS);
    assert!(world.take_frames(connection).is_empty());
    let heard = |world: &mut World| {
        world.asked().into_iter().find_map(|(_, envelope)| match envelope {
            ToRouter::SessionHeard { heard, .. } => Some(heard),
            _ => None,
        })
    };
    assert_eq!(heard(&mut world), None, "silent for 1 ms less than 60 s");
    world.pass_ms(LATE_MS);
    assert_eq!(world.take_frames(connection), [Frame::Ping(vec![])]);
    assert_eq!(heard(&mut world), Some(false), "silent for 60 s");
    // Any frame counts, and begins anew.
    world.send_bytes(connection, &masked(0x8a, b""));
    assert_eq!(heard(&mut world), Some(true));
    world.pass_ms(89_999);
    assert_eq!(world.take_frames(connection).len(), 2);
    world.pass_ms(LATE_MS);
    assert_eq!(world.close_code(connection).0, 4408);
}

#[test]
fn a_session_that_can_not_be_opened_says_when_to_come_back() {
    let mut world = World::new();
    world.owner.away = Some(Refusal::retry(ErrorCode::Unavailable, "the store is away", 700));
    let connection = world.websocket();
    world.say(connection, &json!({"op": "hello", "device": "d", "token": token("alice")}));
    let frames = world.take_frames(connection);
    let [Frame::Text(error), Frame::Text(goaway), Frame::Close(4503, _)] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert!(error.contains("unavailable") && error.contains("\"retry_after_ms\":700"), "{error}");
    assert!(goaway.contains("reconnect_after_ms"), "{goaway}");
}

#[test]
fn a_drain_tells_everybody_and_spreads_the_closes() {
    let mut world = World::with(Settings { drain_ms: 1_000, ..settings() });
    let sessions: Vec<_> = (0..1_500).map(|at| world.session(&format!("u{at}"), "d")).collect();
    world.complete(Completion::Drain);
    world.run();
    let mut closed_first = 0;
    for session in &sessions {
        closed_first += usize::from(world.socket(*session).shut_down);
    }
    assert!((100..1_000).contains(&closed_first), "{closed_first} closed at once");
    world.pass_ms(1_000);
    let mut delays = std::collections::BTreeSet::new();
    for session in sessions {
        let frames = world.take_frames(session);
        let [Frame::Text(goaway), Frame::Close(4503, _)] = &frames[..] else { panic!("{frames:?}") };
        let goaway: serde_json::Value = serde_json::from_str(goaway).unwrap();
        delays.insert(goaway["reconnect_after_ms"].as_u64().unwrap());
        world.end(session, 0);
    }
    assert!(delays.len() > 100, "jitter");
    assert!(world.shard.is_drained());
}

#[test]
fn whoever_connects_while_the_server_drains_does_not_hold_it_up() {
    let mut world = World::new();
    let session = world.session("alice", "phone");
    world.complete(Completion::Drain);
    world.run();
    let late = world.accept(0);
    assert!(!world.shard.is_drained(), "the first session is still open");
    world.end(session, 0);
    assert!(world.shard.is_drained(), "{late:?} came later and says nothing");
}
