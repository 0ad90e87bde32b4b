//! Bounds: what is over one is refused in words, what is idle is forgotten, and nothing breaks by being forgotten.

use protocol::envelope::ToGateway;
use protocol::error::ErrorCode::Unavailable;
use router::Settings;

use crate::world::{GATEWAY, World, actor, message, refusal};

#[test]
fn idle_conversations_are_forgotten_and_come_back_as_they_were() {
    let settings = Settings { conversations_idle_max: 2, conversations_max: 5, ..Settings::default() };
    let mut world = World::with(1, settings);
    let rooms: Vec<_> = (0..20).map(|number| world.group(&format!("room{number}"))).collect();
    for round in 1..=3 {
        for room in &rooms {
            assert_eq!(world.say("alice", *room, &format!("{round}"), "x"), Ok(round));
            assert!(world.shards[0].counters().conversations <= 3);
        }
    }
}

#[test]
fn a_table_full_of_conversations_in_use_refuses_more() {
    let settings = Settings { conversations_max: 3, ..Settings::default() };
    let mut world = World::with(1, settings);
    let rooms: Vec<_> = (0..4).map(|number| world.group(&format!("room{number}"))).collect();
    for room in &rooms[..3] {
        assert!(world.attach("alice", *room, GATEWAY).is_some());
    }
    assert_eq!(world.say("alice", rooms[3], "1", "x"), Err(Unavailable));
    let detach = protocol::envelope::ToRouter::Detach { gateway: GATEWAY, conversation: rooms[0] };
    world.send(detach);
    assert_eq!(world.say("alice", rooms[3], "1", "x"), Ok(1));
}

#[test]
fn known_members_are_bounded_and_forgetting_them_changes_no_answer() {
    let settings = Settings { members_max: 1, ..Settings::default() };
    let mut world = World::with(1, settings);
    let rooms: Vec<_> = (0..10).map(|number| world.group(&format!("room{number}"))).collect();
    for room in &rooms {
        world.attach("alice", *room, GATEWAY);
    }
    for number in 0..300 {
        let room = rooms[number % 10];
        let stranger = format!("stranger{number}");
        assert_eq!(world.say(&stranger, room, "1", "x"), Err(protocol::error::ErrorCode::NotFound));
        assert!(world.say("alice", room, &format!("{number}"), "x").is_ok());
    }
}

#[test]
fn recent_events_are_bounded_in_bytes() {
    let settings = Settings { recent_bytes_max: 10_000, ..Settings::default() };
    let mut world = World::with(1, settings);
    let rooms: Vec<_> = (0..5).map(|number| world.group(&format!("room{number}"))).collect();
    let body = "x".repeat(1_000);
    for number in 0..100 {
        world.say("alice", rooms[number % 5], &format!("{number}"), &body).unwrap();
    }
}

#[test]
fn sends_over_the_bound_are_refused_and_the_rest_is_stored() {
    let settings = Settings { pending_bytes_max: 100_000, ..Settings::default() };
    let mut world = World::with(1, settings);
    let room = world.group("room");
    world.say("alice", room, "warm", "x").unwrap();
    let body = "x".repeat(8_000);
    let callers: Vec<_> = (0..50)
        .map(|number| world.append(actor("alice"), room, &format!("{number}"), message(&body)))
        .collect();
    assert!(!world.shards[0].wants_input());
    world.settle();
    assert!(world.shards[0].wants_input());
    let (mut stored, mut refused) = (0, 0);
    for caller in &callers {
        match world.answer(caller) {
            ToGateway::Appended { .. } => stored += 1,
            other => {
                let refusal = refusal(other);
                assert_eq!(refusal.code, Unavailable);
                assert!(refusal.retry_after_ms.is_some());
                refused += 1;
            }
        }
    }
    assert!(stored >= 10 && refused >= 10, "{stored} stored, {refused} refused");
    world.assert_idle();
}

#[test]
fn a_batch_of_the_largest_events_stays_below_the_stores_bound() {
    let mut world = World::new(1);
    let rooms: Vec<_> = (0..3).map(|number| world.group(&format!("room{number}"))).collect();
    for room in &rooms {
        world.say("alice", *room, "warm", "x").unwrap();
    }
    let body = "x".repeat(80_000);
    let mut callers = Vec::new();
    for number in 0..40 {
        callers.push(world.append(actor("alice"), rooms[number % 3], &format!("{number}"), message(&body)));
    }
    world.settle();
    for caller in &callers {
        assert!(matches!(world.answer(caller), ToGateway::Appended { .. }));
    }
}
