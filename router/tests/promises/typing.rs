//! Typing: at most one a 3 s per user and conversation, over after 5 s without one, never told of whoever may not send.

use protocol::envelope::{ToGateway, ToRouter};
use protocol::id::ConversationKey;

use crate::world::{GATEWAY, World, actor};

fn typing(world: &mut World, who: &str, room: ConversationKey, on: bool) {
    world.send(ToRouter::Typing { actor: actor(who), conversation: room, on });
    world.settle();
}

fn told(world: &mut World) -> Vec<(String, bool)> {
    let told = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Typing { user, on, .. } => Some((user.to_string(), *on)),
        _ => None,
    });
    world.mail.clear();
    told
}

fn room(world: &mut World) -> ConversationKey {
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.mail.clear();
    room
}

#[test]
fn typing_is_told_once_in_three_seconds() {
    let mut world = World::new(1);
    let room = room(&mut world);
    let on = || vec![("bob".to_owned(), true)];
    typing(&mut world, "bob", room, true);
    assert_eq!(told(&mut world), on());
    world.pass(2_999);
    typing(&mut world, "bob", room, true);
    assert_eq!(told(&mut world), []);
    world.pass(1);
    typing(&mut world, "bob", room, true);
    assert_eq!(told(&mut world), on());
}

#[test]
fn typing_is_over_after_five_seconds_without_one() {
    let mut world = World::new(1);
    let room = room(&mut world);
    typing(&mut world, "bob", room, true);
    world.pass(2_000);
    typing(&mut world, "bob", room, true);
    told(&mut world);
    world.pass(4_999);
    assert_eq!(told(&mut world), []);
    world.pass(1);
    assert_eq!(told(&mut world), [("bob".to_owned(), false)]);
    world.pass(20_000);
    assert_eq!(told(&mut world), []);
    world.assert_idle();
}

#[test]
fn an_explicit_end_is_told_at_once_and_does_not_open_the_throttle() {
    let mut world = World::new(1);
    let room = room(&mut world);
    typing(&mut world, "bob", room, false);
    assert_eq!(told(&mut world), []);
    typing(&mut world, "bob", room, true);
    typing(&mut world, "bob", room, false);
    assert_eq!(told(&mut world), [("bob".to_owned(), true), ("bob".to_owned(), false)]);
    for _ in 0..10 {
        typing(&mut world, "bob", room, true);
        typing(&mut world, "bob", room, false);
    }
    assert_eq!(told(&mut world), []);
    world.pass(3_000);
    typing(&mut world, "bob", room, true);
    assert_eq!(told(&mut world), [("bob".to_owned(), true)]);
}

#[test]
fn typing_that_finds_no_room_is_dropped() {
    let mut world = World::new(1);
    let room = room(&mut world);
    world.full.insert(GATEWAY, protocol::envelope::Lane::Ephemeral);
    typing(&mut world, "bob", room, true);
    world.full.clear();
    world.pass(100);
    assert_eq!(told(&mut world), []);
    assert_eq!(world.shards[0].counters().ephemeral_dropped, 1);
}
