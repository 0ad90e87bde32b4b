//! Pressure: rates, bounds and full mailboxes. Whatever a client does, others go on, and memory stays in its bounds.

use gateway::shard::Settings;
use protocol::envelope::{ToGateway, ToRouter};
use protocol::frame::ClientLimits;
use serde_json::{Value, json};

use crate::owner::key;
use crate::wire::masked;
use crate::world::{World, request, settings, token};

fn sent_ids(world: &mut World) -> Vec<String> {
    let asked = world.asked();
    asked
        .iter()
        .filter_map(|(_, envelope)| match envelope {
            ToRouter::Append { draft, .. } => Some(draft.view().id.to_string()),
            _ => None,
        })
        .collect()
}

fn send(at: usize) -> Value {
    json!({"op": "send", "id": format!("m{at}"), "conversation": "c", "body": "b"})
}

#[test]
fn sends_over_the_rate_are_told_when_to_try_again_and_then_succeed() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    for at in 0..60 {
        world.say(alice, &send(at));
    }
    let heard = world.hear(alice);
    assert_eq!(heard.iter().filter(|frame| frame["op"] == "ack").count(), 40);
    let refused: Vec<_> = heard.iter().filter(|frame| frame["op"] == "error").collect();
    assert_eq!(refused.len(), 20);
    assert!(refused.iter().all(|error| error["code"] == "rate_limited" && error["id"].is_string()));
    let retry_after_ms = refused[19]["retry_after_ms"].as_u64().unwrap();
    assert!((1..=50).contains(&retry_after_ms));
    world.pass_ms(retry_after_ms);
    world.say(alice, &send(99));
    assert_eq!(world.hear(alice)[0]["op"], "ack");
}

#[test]
fn frames_over_the_rate_are_refused_and_a_client_that_goes_on_is_closed_with_4429() {
    let mut world = World::new();
    let alice = world.session("alice", "d");
    let mut errors = 0;
    for at in 0..199 {
        world.say(alice, &json!({"op": "ping", "ref": at}));
        assert_eq!(world.hear(alice)[0]["op"], "pong");
    }
    loop {
        world.say(alice, &json!({"op": "ping", "ref": 7}));
        let mut frames = world.take_frames(alice);
        match frames.pop() {
            Some(crate::wire::Frame::Close(4429, reason)) => {
                assert!(reason.contains("retry after"), "{reason}");
                break;
            }
            Some(crate::wire::Frame::Text(text)) => assert!(text.contains("rate_limited"), "{text}"),
            other => panic!("{other:?}"),
        }
        errors += 1;
    }
    assert!(errors > 500, "closed after {errors}");
}

#[test]
fn a_full_mailbox_pauses_the_sender_and_keeps_the_order() {
    let mut world = World::with(Settings {
        router_queue_max: 4,
        limits: ClientLimits { sends_burst: 1_000, ..settings().limits },
        ..settings()
    });
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    world.asked();
    world.mailbox_room = Some(0);
    let expected: Vec<String> = (0..100).map(|at| format!("m{at}")).collect();
    let mut bytes = Vec::new();
    for at in 0..100 {
        bytes.extend(masked(0x81, send(at).to_string().as_bytes()));
    }
    world.send_bytes(alice, &bytes);
    assert!(!world.socket(alice).receiving, "the sender's window fills");
    assert!(sent_ids(&mut world).is_empty());
    let mut sent = Vec::new();
    for room in [1, 0, 2, 1, 0, 3] {
        world.mailbox_room = Some(room);
        world.pass_ms(100);
        sent.extend(sent_ids(&mut world));
    }
    world.mailbox_room = None;
    world.pass_ms(1_000);
    sent.extend(sent_ids(&mut world));
    assert_eq!(sent, expected);
    assert!(world.socket(alice).receiving, "and is read again");
}

#[test]
fn a_client_with_too_many_requests_under_way_is_not_read_until_they_are_answered() {
    let mut world = World::with(Settings { requests_in_flight_max: 3, ..settings() });
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    world.asked();
    world.owner.silent = true;
    for at in 0..10 {
        world.say(alice, &send(at));
    }
    assert!(!world.socket(alice).receiving);
    let mut sent = Vec::new();
    world.owner.silent = false;
    for _ in 0..10 {
        for (router, envelope) in world.asked() {
            if let ToRouter::Append { draft, .. } = &envelope {
                sent.push(draft.view().id.to_string());
                world.owner.take(router, envelope);
            }
        }
        world.owner.unanswered.clear();
        world.owner.silent = true;
        world.run();
        world.owner.silent = false;
    }
    assert_eq!(sent.len(), 10, "{sent:?}");
    assert!(world.socket(alice).receiving);
}

#[test]
fn a_client_that_asks_and_does_not_read_is_not_read_itself() {
    let mut world = World::with(Settings {
        outbox_bytes: 16 * 1024,
        frames_per_second: 1_000_000,
        frames_burst: 1_000_000,
        ..settings()
    });
    let alice = world.session("alice", "d");
    world.socket(alice).stalled = true;
    for at in 0..20_000 {
        world.say(alice, &json!({"op": "ping", "ref": at}));
        let counters = world.shard.counters();
        assert!(counters.outbox_bytes + counters.input_bytes <= 64 * 1024, "{counters:?}");
        if !world.socket(alice).receiving {
            break;
        }
    }
    assert!(!world.socket(alice).receiving);
    world.socket(alice).stalled = false;
    world.run();
    assert!(world.socket(alice).receiving);
    let heard = world.hear(alice);
    let refs: Vec<_> = heard.iter().map(|pong| pong["ref"].as_u64().unwrap()).collect();
    assert_eq!(refs, (0..heard.len() as u64).collect::<Vec<_>>());
}

#[test]
fn an_echo_that_is_not_read_stops_reading() {
    let mut world = World::new();
    let connection = world.accept(1);
    world.send_bytes(connection, request("/", "").as_bytes());
    world.take_head(connection);
    world.socket(connection).stalled = true;
    let message = masked(0x82, &vec![7; 100_000]);
    for _ in 0..100 {
        world.send_bytes(connection, &message);
    }
    assert!(!world.socket(connection).receiving);
    assert!(world.shard.counters().outbox_bytes < 500_000);
    world.socket(connection).stalled = false;
    world.run();
    assert_eq!(world.take_frames(connection).len(), 100);
}

#[test]
fn unfinished_input_of_all_together_is_bounded() {
    let mut world = World::with(Settings { input_total_bytes: 1 << 20, ..settings() });
    let mut closed = 0;
    for at in 0..100 {
        let connection = world.session(&format!("u{at}"), "d");
        let unfinished = masked(0x81, &vec![b' '; 60_000]);
        world.send_bytes(connection, &unfinished[..50_000]);
        assert!(world.shard.counters().input_bytes <= 1 << 20);
        if world.socket(connection).shut_down {
            let (code, reason) = world.close_code(connection);
            assert_eq!(code, 4429);
            assert!(reason.contains("retry after"), "{reason}");
            closed += 1;
        }
    }
    assert!(closed > 50, "{closed}");
}

#[test]
fn hellos_beyond_those_under_way_wait_their_turn() {
    let mut world = World::with(Settings { openings_max: 2, ..settings() });
    world.owner.silent = true;
    let connections: Vec<_> = (0..7).map(|_| world.websocket()).collect();
    for (at, connection) in connections.iter().enumerate() {
        let user = format!("u{at}");
        world.say(*connection, &json!({"op": "hello", "device": "d", "token": token(&user)}));
    }
    let mut opened = 0;
    for _ in 0..7 {
        let asked = world.asked();
        assert!(asked.len() <= 2);
        opened += asked.len();
        world.owner.silent = false;
        for (router, envelope) in asked {
            world.owner.take(router, envelope);
        }
        world.owner.unanswered.clear();
        world.owner.silent = true;
        world.run();
    }
    assert_eq!(opened, 7);
    for connection in connections {
        assert_eq!(world.hear(connection)[0]["op"], "welcome");
    }
}

#[test]
fn frames_behind_hello_wait_for_the_welcome() {
    let mut world = World::new();
    let connection = world.websocket();
    let hello = json!({"op": "hello", "device": "d", "token": token("alice")});
    let mut bytes = masked(0x81, hello.to_string().as_bytes());
    bytes.extend(masked(0x81, br#"{"op":"ping","ref":1}"#));
    world.send_bytes(connection, &bytes);
    let heard = world.hear(connection);
    assert_eq!((&heard[0]["op"], &heard[1]), (&json!("welcome"), &json!({"op": "pong", "ref": 1})));
    assert!(world.socket(connection).receiving);
}

#[test]
fn an_attach_that_is_refused_leaves_no_room_and_a_later_one_succeeds() {
    use protocol::envelope::ToGateway;
    use protocol::error::{ErrorCode, Refusal};
    let mut world = World::new();
    let alice = world.session("alice", "d");
    world.owner.conversation("c", &["alice"]);
    world.owner.away = Some(Refusal::retry(ErrorCode::Unavailable, "away", 200));
    let joined =
        ToGateway::Joined { connection: alice.to_bits(), conversation: crate::owner::key("c"), after: 0 };
    world.envelope(joined);
    assert_eq!(world.shard.counters().rooms, 0);
    world.owner.away = None;
    world.pass_ms(500);
    assert_eq!(world.shard.counters().rooms, 1);
    world.owner.append("c", "bob", "hello");
    world.run();
    assert_eq!(world.hear(alice)[0]["seq"], 1);
}

#[test]
fn a_lagging_reader_for_whom_there_is_no_memory_is_not_read_for_again_and_again() {
    let mut world = World::with(Settings { outbox_total_bytes: 8 * 1024, ..settings() });
    for (conversation, user) in [("h", "hog"), ("c", "slow"), ("d", "slow")] {
        world.owner.conversation(conversation, &[user]);
    }
    let (hog, slow) = (world.session("hog", "d"), world.session("slow", "d"));
    for connection in [hog, slow] {
        world.socket(connection).stalled = true;
    }
    world.owner.append("c", "bob", "one that waits");
    for _ in 0..20 {
        world.owner.append("h", "bob", &"x".repeat(1_000));
    }
    world.owner.append("c", "bob", "one without room");
    world.run();
    // It lags. Something makes it look for what it missed, while nothing can be sent.
    let pulls = world.shard.counters().backlog_pulls;
    let told = ToGateway::Joined { connection: slow.to_bits(), conversation: key("d"), after: 0 };
    world.complete(gateway::shard::Completion::Envelope(ToGateway::Left {
        connection: slow.to_bits(),
        conversation: key("d"),
        seq: 0,
    }));
    world.complete(gateway::shard::Completion::Envelope(told));
    world.run_at_most(1_000);
    assert!(world.shard.counters().backlog_pulls <= pulls + 1);
    for connection in [hog, slow] {
        world.socket(connection).stalled = false;
    }
    world.run();
    let events = world.hear(slow).iter().filter(|frame| frame["op"] == "event").count();
    assert_eq!(events, 2);
}

#[test]
fn a_client_that_asks_for_pages_and_does_not_read_them_costs_a_few_pages() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice"]);
    for _ in 0..200 {
        world.owner.append("c", "bob", &"\u{1}".repeat(2_000));
    }
    let alice = world.session("alice", "d");
    world.owner.silent = true;
    world.socket(alice).stalled = true;
    world.asked();
    for at in 0..120 {
        let history = json!({"op": "history", "ref": at, "conversation": "c", "before": 201, "limit": 200});
        world.say(alice, &history);
    }
    // All that came through is answered at the same time, as an owner that was away for a moment does.
    world.owner.silent = false;
    let asked = world.asked();
    assert!((1..=4).contains(&asked.len()), "{}", asked.len());
    for (router, envelope) in asked {
        world.owner.take(router, envelope);
    }
    world.run();
    let page = 200 * 2_000 * 6;
    assert!(world.shard.counters().outbox_bytes < 5 * page);
    world.socket(alice).stalled = false;
    world.run();
    assert_eq!(world.hear(alice).iter().filter(|frame| frame["op"] == "page").count(), 120);
}

#[test]
fn when_all_outboxes_are_full_each_client_gets_one_answer_at_a_time() {
    let mut world = World::with(Settings { outbox_total_bytes: 8 * 1024, ..settings() });
    world.owner.conversation("h", &["hog"]);
    world.owner.conversation("c", &["alice"]);
    let (hog, alice) = (world.session("hog", "d"), world.session("alice", "d"));
    world.socket(hog).stalled = true;
    for _ in 0..20 {
        world.owner.append("h", "bob", &"x".repeat(1_000));
    }
    world.run();
    world.socket(alice).stalled = true;
    for at in 0..10 {
        world.say(alice, &json!({"op": "ping", "ref": at}));
    }
    assert!(!world.socket(alice).receiving);
    world.socket(alice).stalled = false;
    world.run();
    assert_eq!(world.hear(alice).len(), 10);
    assert!(world.socket(alice).receiving);
}
