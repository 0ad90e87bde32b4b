//! Who leaves and comes back: the news of it may be late, or meet a connection that has since gone on. Nothing is sent
//! twice, and nothing that was begun has a gap.

use gateway::shard::Settings;
use protocol::envelope::ToGateway;
use protocol::event::{ContentV1, Role};
use ring::token::Token;
use serde_json::{Value, json};

use crate::owner::{draft, key};
use crate::world::{World, settings, token};

fn seqs(frames: &[Value]) -> Vec<u64> {
    let events = frames.iter().filter(|frame| frame["op"] == "event");
    events.map(|event| event["seq"].as_u64().unwrap()).collect()
}

/// A log of 20 events in which alice leaves with the fifth and comes back with the ninth.
fn log(world: &mut World) {
    world.owner.conversation("c", &["alice"]);
    for seq in 1..=20 {
        let content = match seq {
            5 => ContentV1::Left { user: "alice" },
            9 => ContentV1::Joined { user: "alice", role: Role::Member },
            _ => crate::owner::message("word"),
        };
        world.owner.append_draft("c", draft("c", "bob", &format!("e{seq}"), content));
    }
}

fn tell_left(world: &mut World, to: Token) {
    world.envelope(ToGateway::Left { connection: to.to_bits(), conversation: key("c"), seq: 5 });
}

fn tell_joined(world: &mut World, to: Token) {
    world.envelope(ToGateway::Joined { connection: to.to_bits(), conversation: key("c"), after: 8 });
}

#[test]
fn late_news_of_an_old_leaving_repeats_nothing() {
    let mut world = World::new();
    log(&mut world);
    let alice = world.session("alice", "d");
    tell_left(&mut world, alice);
    world.owner.append("c", "bob", "21");
    world.run();
    tell_joined(&mut world, alice);
    world.owner.append("c", "bob", "22");
    world.run();
    assert_eq!(seqs(&world.hear(alice)), [21, 22]);
}

#[test]
fn late_news_of_an_old_leaving_leaves_no_gap_in_what_is_caught_up() {
    let mut world = World::with(Settings { outbox_bytes: 1_024, ..settings() });
    log(&mut world);
    let alice = world.websocket();
    world.socket(alice).stalled = true;
    let hello = json!({"op": "hello", "device": "d", "token": token("alice"), "cursors": [["c", 2]]});
    world.say(alice, &hello);
    tell_left(&mut world, alice);
    tell_joined(&mut world, alice);
    world.socket(alice).stalled = false;
    world.run();
    assert_eq!(seqs(&world.hear(alice)), (3..=20).collect::<Vec<_>>());
}

#[test]
fn news_of_a_leaving_and_a_return_before_the_events_leave_no_gap() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    world.owner.mute = true;
    log(&mut world);
    world.owner.mute = false;
    tell_left(&mut world, alice);
    tell_joined(&mut world, alice);
    world.envelope(ToGateway::Head { conversation: key("c"), head: 20 });
    assert_eq!(seqs(&world.hear(alice)), (1..=20).collect::<Vec<_>>());
}

#[test]
fn who_begins_behind_an_old_leaving_stays_when_the_room_comes_to_it() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice", "bob"]);
    let (alice, bob) = (world.session("alice", "d"), world.session("bob", "d"));
    world.envelope(ToGateway::Left { connection: alice.to_bits(), conversation: key("c"), seq: 0 });
    world.owner.mute = true;
    log(&mut world);
    world.owner.mute = false;
    // The room has nothing of the log when she is back, and comes to the end of the time before.
    world.envelope(ToGateway::Joined { connection: alice.to_bits(), conversation: key("c"), after: 5 });
    world.envelope(ToGateway::Head { conversation: key("c"), head: 20 });
    world.run();
    assert_eq!(seqs(&world.hear(alice)), (6..=20).collect::<Vec<_>>());
    assert_eq!(seqs(&world.hear(bob)), (1..=20).collect::<Vec<_>>());
}

#[test]
fn who_left_while_it_lagged_is_sent_nothing_more() {
    let mut world = World::with(Settings { outbox_bytes: 1_024, ..settings() });
    world.owner.conversation("c", &["alice", "bob"]);
    let alice = world.session("alice", "d");
    world.socket(alice).stalled = true;
    for _ in 0..20 {
        world.owner.append("c", "bob", "before");
    }
    world.run();
    world.owner.conversation("c", &["bob"]);
    let seq = world.owner.append_draft("c", draft("c", "bob", "l", ContentV1::Left { user: "alice" }));
    world.envelope(ToGateway::Left { connection: alice.to_bits(), conversation: key("c"), seq });
    world.owner.append("c", "bob", "after");
    world.socket(alice).stalled = false;
    world.run();
    let heard = seqs(&world.hear(alice));
    assert!(heard.last() < Some(&20) && heard == (1..=heard.len() as u64).collect::<Vec<_>>(), "{heard:?}");
    assert_eq!((world.shard.counters().rooms, world.owner.log("c").interest), (0, false));
}

#[test]
fn who_comes_while_the_room_is_behind_his_leaving_and_return_stays() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice", "bob"]);
    let bob = world.session("bob", "d");
    world.owner.append("c", "bob", "1");
    world.run();
    world.owner.mute = true;
    for (number, content) in [
        ContentV1::Left { user: "alice" },
        ContentV1::Joined { user: "alice", role: Role::Member },
        crate::owner::message("word"),
    ]
    .into_iter()
    .enumerate()
    {
        world.owner.append_draft("c", draft("c", "bob", &format!("e{number}"), content));
    }
    world.owner.mute = false;
    let alice = world.websocket();
    let hello = json!({"op": "hello", "device": "d", "token": token("alice"), "cursors": [["c", 1]]});
    world.say(alice, &hello);
    world.run();
    assert_eq!(seqs(&world.hear(alice)), [2, 3, 4]);
    world.owner.append("c", "bob", "5");
    world.run();
    assert_eq!(seqs(&world.hear(alice)), [5]);
    assert_eq!(seqs(&world.hear(bob)), [1, 2, 3, 4, 5]);
}
