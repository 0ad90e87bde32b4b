//! Dense order, acks before publishes, and no sender overtaken by itself, whatever has to be loaded in between.

use protocol::envelope::ToGateway;

use crate::world::{GATEWAY, OTHER_GATEWAY, World, actor, message};

#[test]
fn events_are_published_once_densely_and_in_order_to_each_gateway_with_interest() {
    let mut world = World::new(1);
    let room = world.group("room");
    assert_eq!(world.attach("alice", room, GATEWAY), Some(0));
    for number in 1..=5 {
        assert_eq!(world.say("alice", room, &format!("a{number}"), "hello"), Ok(number));
    }
    assert_eq!(world.attach("bob", room, OTHER_GATEWAY), Some(5));
    for number in 6..=9 {
        assert_eq!(world.say("bob", room, &format!("b{number}"), "hello"), Ok(number));
    }
    assert_eq!(world.published(GATEWAY), (1..=9).collect::<Vec<_>>());
    assert_eq!(world.published(OTHER_GATEWAY), (6..=9).collect::<Vec<_>>());
    world.assert_idle();
}

#[test]
fn the_ack_goes_out_before_the_publish() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    let callers: Vec<_> =
        (0..3).map(|number| world.append(actor("alice"), room, &format!("{number}"), message("x"))).collect();
    world.settle();
    let publish = world
        .mail
        .iter()
        .position(|(_, envelope)| matches!(envelope, ToGateway::Publish { .. }))
        .expect("it was published");
    for caller in callers {
        let ack = world.mail.iter().position(|(_, envelope)| envelope.caller() == Some(caller));
        assert!(ack.expect("it was acknowledged") < publish);
    }
}

#[test]
fn nothing_is_acknowledged_or_published_before_it_is_stored() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.mail.clear();
    world.append(actor("alice"), room, "1", message("x"));
    world.turn();
    assert!(world.mail.is_empty());
    assert_eq!(world.store.len(), 1);
    world.settle();
    assert_eq!(world.mail.len(), 2);
}

#[test]
fn what_comes_in_one_turn_shares_one_transaction_over_conversations() {
    let mut world = World::new(1);
    let rooms: Vec<_> = (0..10).map(|number| world.group(&format!("room{number}"))).collect();
    for room in &rooms {
        world.attach("alice", *room, GATEWAY);
    }
    for room in &rooms {
        for number in 0..10 {
            world.append(actor("alice"), *room, &format!("{number}"), message("x"));
        }
    }
    world.done.clear();
    world.settle();
    assert_eq!(world.done, ["append"]);
    assert_eq!(world.shards[0].counters().batch_events.sum, 100);
}

#[test]
fn one_batch_of_a_conversation_is_in_flight_and_what_comes_meanwhile_is_the_next() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    for number in 0..3 {
        world.append(actor("alice"), room, &format!("{number}"), message("x"));
        world.turn();
    }
    assert_eq!(world.store.len(), 1);
    world.settle();
    assert_eq!(world.published(GATEWAY), [1, 2, 3]);
}

#[test]
fn who_must_be_loaded_overtakes_nobody_and_is_not_overtaken() {
    let mut world = World::new(1);
    let room = world.group("room");
    // Alice is known; Bob is not; what comes after Bob waits for him, whoever sent it.
    world.say("alice", room, "first", "x").unwrap();
    let mut callers = Vec::new();
    for number in 0..20 {
        let who = if number % 5 == 2 { "bob" } else { "alice" };
        callers.push(world.append(actor(who), room, &format!("{number}"), message("x")));
    }
    world.settle();
    for (caller, seq) in callers.iter().zip(2..) {
        let answer = world.answer(caller);
        assert!(matches!(answer, ToGateway::Appended { seq: found, .. } if found == seq), "{answer:?}");
    }
}

#[test]
fn stamps_grow_in_a_conversation_and_stay_below_2_to_the_53() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    for (number, lamport) in [0, u64::MAX, 5, 1 << 40].into_iter().enumerate() {
        let caller = world.caller(GATEWAY);
        let draft = crate::world::draft(&room, "alice", &format!("{number}"), message("x"));
        world.send(protocol::envelope::ToRouter::Append {
            caller,
            actor: actor("alice"),
            conversation: room,
            draft,
            lamport,
        });
        world.settle();
    }
    let stamps: Vec<u64> = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Publish { events, .. } => Some(events[0].view().lamport.to_native()),
        _ => None,
    });
    assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
    assert!(stamps.iter().all(|&stamp| stamp < 1 << 53));
}
