//! Cursors ahead of what an owner says: it may have been deposed without having heard of it, and what a device has is not sent to it twice
//! then; or the cursor is of another life of the log, which goes on from its end.

use ring::token::Token;
use serde_json::json;

use crate::fleet::clustered;
use crate::moves::seqs;
use crate::world::{World, token};

/// A cluster with a log of three events, and `newer` more that its owner does not know of.
fn cluster(newer: u64) -> World {
    let mut world = World::cluster(clustered(), &[1, 2], |_| 1);
    world.owner.conversation("c", &["alice"]);
    for number in 1..=3 {
        world.owner.append("c", "bob", &format!("{number}"));
    }
    world.owner.log("c").newer = newer;
    world
}

/// Alice, where her cursor is at `after` if she has one, and the head that she is welcomed with.
fn resumed(world: &mut World, after: Option<u64>) -> (Token, u64) {
    let alice = world.websocket();
    let cursors: Vec<_> = after.iter().map(|after| json!(["c", after])).collect();
    world.say(alice, &json!({"op": "hello", "device": "d", "token": token("alice"), "cursors": cursors}));
    world.run();
    let frames = world.hear(alice);
    let head = frames[0]["conversations"][0]["head"].as_u64().unwrap();
    (alice, head)
}

/// The owner learns of two events that it did not know of, or writes them, and of two more.
fn go_on(world: &mut World) {
    world.owner.log("c").newer = 0;
    for number in 4..=7 {
        world.owner.append("c", "bob", &format!("{number}"));
        world.run();
    }
}

#[test]
fn what_a_device_has_of_a_newer_owner_is_not_sent_twice() {
    let mut world = cluster(2);
    let (alice, head) = resumed(&mut world, Some(4));
    assert_eq!(head, 5);
    go_on(&mut world);
    assert_eq!(seqs(&world.hear(alice)), [5, 6, 7]);
}

#[test]
fn a_device_without_a_cursor_begins_at_the_head_that_it_is_told() {
    let mut world = cluster(2);
    let (alice, head) = resumed(&mut world, None);
    assert_eq!(head, 5);
    go_on(&mut world);
    assert_eq!(seqs(&world.hear(alice)), [6, 7]);
}

#[test]
fn a_cursor_beyond_the_log_is_its_end() {
    for newer in [0, 2] {
        let mut world = cluster(newer);
        let (alice, head) = resumed(&mut world, Some(99));
        assert_eq!(head, 3 + newer);
        go_on(&mut world);
        assert!(seqs(&world.hear(alice)).into_iter().eq(head + 1..=7));
    }
}
