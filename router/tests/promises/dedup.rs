//! A retry gets the first one's place; the same id with another body is a conflict.

use protocol::envelope::ToGateway;
use protocol::error::ErrorCode;

use crate::world::{GATEWAY, World, actor, message};

#[test]
fn a_retry_is_stored_once_and_answered_with_the_first_place() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    assert_eq!(world.say("alice", room, "1", "x"), Ok(1));
    assert_eq!(world.say("alice", room, "2", "x"), Ok(2));
    let caller = world.append(actor("alice"), room, "1", message("x"));
    world.settle();
    let answer = world.answer(&caller);
    assert!(matches!(answer, ToGateway::Appended { seq: 1, duplicate: true, .. }), "{answer:?}");
    assert_eq!(world.published(GATEWAY), [1, 2]);
}

#[test]
fn retries_in_one_batch_are_stored_once() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    let callers = [(); 3].map(|()| world.append(actor("alice"), room, "same", message("x")));
    world.settle();
    for (caller, first) in callers.iter().zip([true, false, false]) {
        let answer = world.answer(caller);
        let ToGateway::Appended { seq: 1, duplicate, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(duplicate, !first);
    }
    assert_eq!(world.published(GATEWAY), [1]);
}

#[test]
fn the_same_id_with_another_body_is_a_conflict_and_of_another_sender_is_not() {
    let mut world = World::new(1);
    let room = world.group("room");
    assert_eq!(world.say("alice", room, "1", "x"), Ok(1));
    assert_eq!(world.say("alice", room, "1", "y"), Err(ErrorCode::Conflict));
    assert_eq!(world.say("bob", room, "1", "y"), Ok(2));
}
