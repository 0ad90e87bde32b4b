//! Cursors ahead of what an owner says: what a device has is not sent to it twice by an owner that does not know of it, and a log that
//! was cut off goes on.

use serde_json::json;

use crate::fleet::clustered;
use crate::moves::seqs;
use crate::world::{World, token};

/// Alice with a cursor at `after` in a log of three events.
fn resumed(after: u64) -> (World, ring::token::Token) {
    let mut world = World::cluster(clustered(), &[1, 2], |_| 1);
    world.owner.conversation("c", &["alice"]);
    for number in 1..=3 {
        world.owner.append("c", "bob", &format!("{number}"));
    }
    let alice = world.websocket();
    world.say(
        alice,
        &json!({"op": "hello", "device": "d", "token": token("alice"), "cursors": [["c", after]]}),
    );
    world.run();
    (world, alice)
}

#[test]
fn what_a_device_has_of_a_newer_owner_is_not_sent_twice() {
    let (mut world, alice) = resumed(4);
    for number in 4..=6 {
        world.owner.append("c", "bob", &format!("{number}"));
        world.run();
    }
    assert_eq!(seqs(&world.hear(alice)), [5, 6]);
    world.pass_ms(10_000);
    world.owner.append("c", "bob", "7");
    world.run();
    assert_eq!(seqs(&world.hear(alice)), [7]);
}

#[test]
fn a_log_that_was_cut_off_goes_on_after_a_while() {
    let (mut world, alice) = resumed(99);
    world.owner.append("c", "bob", "4");
    world.run();
    assert!(seqs(&world.hear(alice)).is_empty());
    world.pass_ms(10_000);
    world.owner.append("c", "bob", "5");
    world.run();
    assert_eq!(seqs(&world.hear(alice)), [4, 5]);
}
