//! Bursts in larger conversations are published together, while no ack waits for that, and nobody gets less or later than a
//! commit and some milliseconds.

use protocol::envelope::{Caller, RouterId, ToGateway};
use protocol::error::ErrorCode;
use protocol::id::ConversationKey;
use router::{Completion, Settings};
use storage::request::Failure;

use crate::world::{Fate, GATEWAY, OTHER_GATEWAY, World, actor, message, stored};

/// A room of five in which two batches were made, the first of one event and the second of two. The first is stored.
fn burst() -> (World, ConversationKey, Vec<Caller>) {
    let mut world = World::with(1, Settings { held_members_min: 5, ..Settings::default() });
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    let mut send = |number: u32| {
        let caller = world.append(actor("alice"), room, &format!("{number}"), message("x"));
        world.turn();
        caller
    };
    let callers = vec![send(1), send(2), send(3)];
    world.do_request(0);
    world.turn();
    (world, room, callers)
}

/// The seqs of each publish.
fn publishes(world: &World) -> Vec<Vec<u64>> {
    world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Publish { events, .. } => Some(events.iter().map(protocol::event::Event::seq).collect()),
        _ => None,
    })
}

#[test]
fn a_burst_is_published_at_once_and_acknowledged_as_it_is_stored() {
    let (mut world, _, callers) = burst();
    assert_eq!(stored(world.answer(&callers[0])), Ok(1));
    assert!(publishes(&world).is_empty());
    world.settle();
    assert_eq!(publishes(&world), [[1, 2, 3]]);
    for (caller, seq) in callers[1..].iter().zip(2..) {
        assert_eq!(stored(world.answer(caller)), Ok(seq));
    }
    world.assert_idle();
}

#[test]
fn a_store_that_is_slow_holds_back_nothing_for_long() {
    let (mut world, ..) = burst();
    for published in [0, 0, 1] {
        assert_eq!(publishes(&world).len(), published);
        world.now.monotonic_ms += 2;
        world.handle(RouterId(0), Completion::Tick);
        world.turn();
    }
    world.settle();
    assert_eq!(publishes(&world), [vec![1], vec![2, 3]]);
}

#[test]
fn a_batch_that_fails_lets_the_one_before_it_go() {
    for failure in [Failure::Unavailable, Failure::Unknown] {
        let (mut world, _, callers) = burst();
        world.fate = Fate::Failed(failure);
        world.do_request(0);
        world.turn();
        assert_eq!(publishes(&world), [[1]]);
        assert_eq!(stored(world.answer(&callers[1])), Err(ErrorCode::Unavailable));
    }
}

#[test]
fn a_batch_of_retries_lets_the_one_before_it_go() {
    let mut world = World::with(1, Settings { held_members_min: 5, ..Settings::default() });
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.say("alice", room, "old", "x").unwrap();
    world.append(actor("alice"), room, "new", message("x"));
    world.turn();
    world.append(actor("alice"), room, "old", message("x"));
    world.settle();
    assert_eq!(publishes(&world), [[1], [2]]);
    world.assert_idle();
}

#[test]
fn who_attaches_meanwhile_gets_what_is_behind_the_head_that_it_was_told() {
    let (mut world, room, _) = burst();
    assert_eq!(world.attach("bob", room, OTHER_GATEWAY), Some(1));
    assert_eq!(publishes(&world), [vec![1], vec![2, 3]]);
    assert_eq!(world.published(OTHER_GATEWAY), [2, 3]);
}

#[test]
fn small_conversations_wait_for_nothing() {
    let mut world = World::with(1, Settings { held_members_min: 6, ..Settings::default() });
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    for number in 0..2 {
        world.append(actor("alice"), room, &format!("{number}"), message("x"));
        world.turn();
    }
    world.do_request(0);
    world.turn();
    assert_eq!(publishes(&world), [[1]]);
}
