//! Delivery: dense and in order for every reader, fast or slow, in memory that does not grow.

use gateway::shard::operation::{Completion as SocketCompletion, Operation as SocketOperation};
use gateway::shard::{Completion, Operation, Settings};
use protocol::envelope::{ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::event::ContentV1;
use protocol::event::Role;
use ring::token::Token;
use serde_json::{Value, json};

use crate::owner::{draft, key, message};
use crate::wire::masked;
use crate::world::{World, settings, token};

fn seqs(frames: &[Value]) -> Vec<u64> {
    let events = frames.iter().filter(|frame| frame["op"] == "event");
    events.map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn dense(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

fn small() -> Settings {
    Settings { outbox_bytes: 8 * 1024, ..settings() }
}

fn resume(world: &mut World, user: &str, cursors: Value) -> (Token, Vec<Value>) {
    let connection = world.websocket();
    world.say(connection, &json!({"op": "hello", "device": "d", "token": token(user), "cursors": cursors}));
    let frames = world.hear(connection);
    (connection, frames)
}

#[test]
fn a_reader_that_stops_loses_nothing_and_holds_nobody_up_in_flat_memory() {
    let mut world = World::with(small());
    world.owner.conversation("c", &["slow", "fast", "sender"]);
    let (slow, fast) = (world.session("slow", "d"), world.session("fast", "d"));
    world.socket(slow).stalled = true;
    let body = "x".repeat(1_000);
    let mut most = 0;
    for round in 1..=2_000u64 {
        world.owner.append("c", "sender", &body);
        world.run();
        assert_eq!(seqs(&world.hear(fast)), [round]);
        most = most.max(world.shard.counters().outbox_bytes);
    }
    assert!(most <= 8 * 1024, "{most} bytes for one reader that stopped");
    assert_eq!(world.shard.counters().lags, 1);
    world.socket(slow).stalled = false;
    world.run();
    assert_eq!(seqs(&world.hear(slow)), dense(1, 2_000));
    world.owner.append("c", "sender", "live again");
    world.run();
    assert_eq!(seqs(&world.hear(slow)), [2_001]);
    assert_eq!(world.shard.counters().outbox_bytes, 0);
}

#[test]
fn events_that_come_while_a_reader_catches_up_are_not_repeated() {
    for send_max in [1, 100, 3_000] {
        let mut world = World::with(small());
        world.owner.conversation("c", &["slow"]);
        let slow = world.session("slow", "d");
        world.socket(slow).stalled = true;
        for _ in 0..60 {
            world.owner.append("c", "sender", &"x".repeat(700));
        }
        world.run();
        let socket = world.socket(slow);
        (socket.stalled, socket.send_max) = (false, send_max);
        for _ in 0..60 {
            world.owner.append("c", "sender", &"y".repeat(300));
            world.run();
        }
        assert_eq!(seqs(&world.hear(slow)), dense(1, 120));
    }
}

#[test]
fn a_device_that_comes_back_gets_what_it_missed_after_its_welcome() {
    let mut world = World::new();
    world.owner.conversation("a", &["alice"]);
    world.owner.conversation("b", &["alice"]);
    for _ in 0..500 {
        world.owner.append("a", "bob", "to a");
    }
    world.owner.append("b", "bob", "to b");
    let (connection, frames) = resume(&mut world, "alice", json!([["a", 3], ["b", 99], ["strange", 7]]));
    assert_eq!(frames[0]["op"], "welcome");
    assert_eq!(frames[0]["conversations"][0]["head"], 500);
    assert_eq!(seqs(&frames), dense(4, 500));
    world.owner.append("b", "bob", "live");
    world.run();
    assert_eq!(seqs(&world.hear(connection)), [2], "a cursor beyond the head is the head");
}

#[test]
fn a_device_without_a_cursor_begins_at_the_head() {
    let mut world = World::new();
    world.owner.conversation("a", &["alice"]);
    world.owner.append("a", "bob", "before");
    let (connection, frames) = resume(&mut world, "alice", json!([]));
    assert_eq!(frames.len(), 1);
    world.owner.append("a", "bob", "after");
    world.run();
    assert_eq!(seqs(&world.hear(connection)), [2]);
}

#[test]
fn a_reader_too_far_behind_is_told_and_goes_on_live() {
    let mut world = World::with(Settings { lag_events_max: 50, ..small() });
    world.owner.conversation("c", &["slow"]);
    let slow = world.session("slow", "d");
    world.socket(slow).stalled = true;
    for _ in 0..200 {
        world.owner.append("c", "sender", &"x".repeat(700));
    }
    world.run();
    world.socket(slow).stalled = false;
    world.run();
    let frames = world.hear(slow);
    let lagging = frames.iter().find(|frame| frame["op"] == "lagging").expect("lagging");
    let sent = seqs(&frames);
    assert_eq!(sent, dense(1, sent.len() as u64));
    assert_eq!((lagging["after"].as_u64(), &lagging["head"]), (sent.last().copied(), &json!(200)));
    world.owner.append("c", "sender", "live");
    world.run();
    assert_eq!(seqs(&world.hear(slow)), [201]);
}

#[test]
fn a_room_pulls_what_a_full_mailbox_left_out() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    world.owner.append("c", "bob", "1");
    world.run();
    world.owner.mute = true;
    for _ in 0..300 {
        world.owner.append("c", "bob", "missed");
    }
    world.owner.mute = false;
    world.owner.append("c", "bob", "302");
    world.run();
    assert_eq!(seqs(&world.hear(alice)), dense(1, 302));
    // And when nothing follows, by the head.
    world.owner.mute = true;
    world.owner.append("c", "bob", "303");
    world.envelope(ToGateway::Head { conversation: key("c"), head: 303 });
    assert_eq!(seqs(&world.hear(alice)), [303]);
}

#[test]
fn who_came_while_its_room_pulled_is_sent_what_follows_its_welcome_at_once() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice", "bob"]);
    let alice = world.session("alice", "d");
    world.owner.mute = true;
    for _ in 0..5 {
        world.owner.append("c", "carol", "missed");
    }
    let answer = |world: &mut World| {
        world.owner.silent = false;
        for (router, envelope) in world.asked() {
            world.owner.take(router, envelope);
        }
        world.owner.unanswered.clear();
        world.owner.silent = true;
        world.run();
    };
    let bob = world.websocket();
    world.asked();
    world.owner.silent = true;
    world.say(bob, &json!({"op": "hello", "device": "d", "token": token("bob")}));
    answer(&mut world);
    answer(&mut world);
    assert_eq!(world.hear(bob)[0]["conversations"][0]["head"], 5);
    // What the room has missed comes with more, in one piece.
    for _ in 0..2 {
        world.owner.append("c", "carol", "missed too");
    }
    answer(&mut world);
    assert_eq!(seqs(&world.hear(alice)), dense(1, 7));
    answer(&mut world);
    assert_eq!(seqs(&world.hear(bob)), [6, 7]);
}

#[test]
fn a_pull_that_is_refused_is_tried_again() {
    let mut world = World::with(small());
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    world.owner.away = Some(Refusal::retry(ErrorCode::Unavailable, "away", 300));
    world.socket(alice).stalled = true;
    for _ in 0..50 {
        world.owner.append("c", "bob", &"x".repeat(700));
    }
    world.run();
    world.socket(alice).stalled = false;
    world.run();
    let before = seqs(&world.hear(alice));
    assert!(before.len() < 50);
    world.pass_ms(1_000);
    assert!(world.hear(alice).is_empty());
    world.owner.away = None;
    world.pass_ms(1_000);
    let after = seqs(&world.hear(alice));
    assert_eq!([before, after].concat(), dense(1, 50));
}

#[test]
fn what_retention_let_go_of_is_told_and_not_waited_for() {
    let mut world = World::with(small());
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    world.socket(alice).stalled = true;
    for _ in 0..100 {
        world.owner.append("c", "bob", &"x".repeat(300));
    }
    world.run();
    world.owner.silent = true;
    world.socket(alice).stalled = false;
    world.run();
    let sent = *seqs(&world.hear(alice)).last().unwrap();
    let pulls = world.asked();
    let Some(ToRouter::Backlog { caller, conversation, after, .. }) =
        pulls.into_iter().map(|(_, envelope)| envelope).find(|e| matches!(e, ToRouter::Backlog { .. }))
    else {
        panic!("a pull")
    };
    assert_eq!(after, sent);
    let events = world.owner.log("c").events[89..].into();
    world.owner.silent = false;
    world.envelope(ToGateway::Backlog { caller, conversation, after, events, head: 100, refused: None });
    let frames = world.hear(alice);
    assert_eq!(frames[0], json!({"op": "lagging", "conversation": "c", "after": sent, "head": 89}));
    assert_eq!(seqs(&frames), dense(90, 100));
}

#[test]
fn who_left_among_what_it_is_not_sent_hears_no_more_though_the_news_of_it_be_lost() {
    let mut world = World::with(Settings { lag_events_max: 20, ..small() });
    world.owner.conversation("c", &["alice", "bob"]);
    let (alice, bob) = (world.session("alice", "d"), world.session("bob", "d"));
    world.socket(alice).stalled = true;
    for number in 0..100 {
        if number == 50 {
            world.owner.conversation("c", &["bob"]);
            world.owner.append_draft("c", draft("c", "bob", "l", ContentV1::Left { user: "alice" }));
        }
        world.owner.append("c", "bob", &"x".repeat(300));
    }
    world.run();
    world.socket(alice).stalled = false;
    world.run();
    world.owner.append("c", "bob", "after");
    world.run();
    let frames = world.hear(alice);
    let told = frames.iter().position(|frame| frame["op"] == "lagging").expect("she is told");
    assert_eq!(frames[told]["head"], 101);
    assert!(seqs(&frames[told..]).is_empty());
    assert_eq!(seqs(&world.hear(bob)).last(), Some(&102));
}

#[test]
fn a_new_member_gets_events_from_its_joining_on_and_a_former_one_none_after_its_leaving() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice"]);
    let (alice, bob) = (world.session("alice", "d"), world.session("bob", "d"));
    world.owner.append("c", "alice", "1");
    world.run();
    let bob_named = bob.to_bits();
    world.owner.conversation("c", &["alice", "bob"]);
    let joined = ContentV1::Joined { user: "bob", role: Role::Member };
    world.owner.append_draft("c", draft("c", "alice", "j", joined));
    world.envelope(ToGateway::Joined { connection: bob_named, conversation: key("c"), after: 1 });
    world.owner.append("c", "alice", "3");
    world.run();
    assert_eq!(seqs(&world.hear(bob)), [2, 3]);
    // The word of the leaving may come before the event, or after it.
    for word_first in [true, false] {
        let left = ContentV1::Left { user: "bob" };
        let seq = world.owner.log("c").events.len() as u64 + 1;
        world.owner.conversation("c", &["alice"]);
        let word = ToGateway::Left { connection: bob_named, conversation: key("c"), seq };
        if word_first {
            world.envelope(word);
            world.owner.append_draft("c", draft("c", "alice", &format!("l{seq}"), left));
        } else {
            world.owner.append_draft("c", draft("c", "alice", &format!("l{seq}"), left));
            world.envelope(word);
        }
        world.owner.append("c", "alice", "not for bob");
        world.run();
        assert_eq!(seqs(&world.hear(bob)), [seq], "word first: {word_first}");
        let after = world.owner.log("c").events.len() as u64;
        world.owner.conversation("c", &["alice", "bob"]);
        world.envelope(ToGateway::Joined { connection: bob_named, conversation: key("c"), after });
        world.owner.append("c", "alice", "for bob again");
        world.run();
        assert_eq!(seqs(&world.hear(bob)), [after + 1]);
    }
    assert_eq!(seqs(&world.hear(alice)), dense(1, 9));
}

#[test]
fn a_removed_conversation_is_gone_at_once() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    assert_eq!(world.shard.counters().rooms, 1);
    world.envelope(ToGateway::Left { connection: alice.to_bits(), conversation: key("c"), seq: 0 });
    assert_eq!(world.shard.counters().rooms, 0);
    assert!(!world.owner.log("c").interest);
}

#[test]
fn interest_ends_with_the_last_member_and_never_with_one_on_its_way() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice", "bob"]);
    let alice = world.session("alice", "d");
    // Bob's attach is on its way while Alice goes.
    world.owner.silent = true;
    let bob = world.websocket();
    world.say(bob, &json!({"op": "hello", "device": "d", "token": token("bob")}));
    let mut asked = world.asked();
    world.owner.silent = false;
    let (router, open) = asked.pop().unwrap();
    world.owner.take(router, open);
    world.owner.silent = true;
    world.run();
    world.end(alice, 0);
    world.owner.silent = false;
    for (router, envelope) in world.asked() {
        world.owner.take(router, envelope);
    }
    world.run();
    assert_eq!(world.hear(bob)[0]["op"], "welcome");
    assert!(world.owner.log("c").interest);
    world.owner.append("c", "alice", "hello bob");
    world.run();
    assert_eq!(seqs(&world.hear(bob)), [1]);
    world.end(bob, 0);
    assert!(!world.owner.log("c").interest);
    assert_eq!((world.shard.counters().rooms, world.shard.counters().attachments), (0, 0));
}

#[test]
fn ephemeral_frames_are_dropped_first() {
    let mut world = World::with(small());
    world.owner.conversation("c", &["alice", "bob"]);
    let alice = world.session("alice", "d");
    let typing = |on| ToGateway::Typing {
        conversation: key("c"),
        user: protocol::id::UserId::parse("bob").unwrap(),
        on,
    };
    world.envelope(typing(true));
    assert_eq!(world.hear(alice), [json!({"op": "typing", "conversation": "c", "user": "bob", "on": true})]);
    world.socket(alice).stalled = true;
    for _ in 0..7 {
        world.owner.append("c", "bob", &"x".repeat(700));
    }
    world.run();
    world.envelope(typing(false));
    assert_eq!(world.shard.counters().ephemeral_dropped, 1);
    world.socket(alice).stalled = false;
    world.run();
    assert_eq!(seqs(&world.hear(alice)), dense(1, 7));
}

#[test]
fn a_user_does_not_see_itself_type() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    let user = protocol::id::UserId::parse("alice").unwrap();
    world.envelope(ToGateway::Typing { conversation: key("c"), user, on: true });
    assert!(world.hear(alice).is_empty());
}

#[test]
fn what_a_client_asks_goes_ahead_of_what_outboxes_have_to_send() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice", "bob"]);
    let (alice, _bob) = (world.session("alice", "d"), world.session("bob", "d"));
    let event = draft("c", "bob", "b1", message("hello")).seal(1, 1, 1);
    world.complete(Completion::Envelope(ToGateway::Publish {
        conversation: key("c"),
        events: [event].into(),
    }));
    let mut bytes = masked(0x81, br#"{"op":"send","id":"m1","conversation":"c","body":"hello there"}"#);
    world.complete(Completion::Socket(SocketCompletion::Received { token: alice, bytes: &mut bytes }));
    let polled: Vec<Operation> = std::iter::from_fn(|| world.shard.poll_operation()).collect();
    assert!(
        matches!(
            polled[..],
            [
                Operation::ToRouter(_, ToRouter::Append { .. }),
                Operation::Socket(SocketOperation::Send(..)),
                Operation::Socket(SocketOperation::Send(..)),
            ]
        ),
        "{polled:?}"
    );
}
