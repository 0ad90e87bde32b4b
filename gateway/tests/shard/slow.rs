//! Slow owners in a cluster: whoever speaks to one that does not answer is held up or refused, in bounds; whoever speaks to others does not
//! notice.

use gateway::shard::{Completion, Settings};
use protocol::envelope::{Caller, GatewayId, ToGateway, ToRouter};
use protocol::error::ErrorCode;
use protocol::frame::ClientLimits;
use protocol::placement::{NodeId, Slot};
use ring::token::Token;
use serde_json::{Value, json};

use crate::cluster::{ids, send};
use crate::fleet::{clustered, slot_of, slot_of_user, table, user_key};
use crate::wire::masked;
use crate::world::{World, settings};

/// Of an owner; a connection may have twice as many requests under way.
const QUEUE_MAX: u32 = 10;

/// Conversation `c` and the user `zoe` are on the second node, all else is on the first.
fn place(slot: Slot) -> u16 {
    if slot == slot_of("c") || slot == slot_of_user("zoe") { 2 } else { 1 }
}

fn world(requests_in_flight_max: u16) -> World {
    let settings = Settings {
        router_queue_max: QUEUE_MAX,
        requests_in_flight_max,
        limits: ClientLimits { sends_burst: 1_000, ..settings().limits },
        ..clustered()
    };
    let mut world = World::cluster(settings, &[1, 2], place);
    world.owner.conversation("c", &["u0", "u1", "u2", "u3"]);
    world.owner.conversation("e", &["u0", "u1", "u2", "u3", "bob"]);
    world
}

fn sessions(world: &mut World) -> Vec<Token> {
    (0..4).map(|at| world.session(&format!("u{at}"), "d")).collect()
}

fn flood(world: &mut World, connection: Token, sends: std::ops::Range<usize>) {
    let bytes: Vec<u8> = sends.flat_map(|at| masked(0x81, send(at).to_string().as_bytes())).collect();
    world.send_bytes(connection, &bytes);
}

fn names(sends: std::ops::Range<usize>) -> Vec<String> {
    sends.map(|at| format!("m{at}")).collect()
}

fn to(conversation: &str, id: &str) -> Value {
    json!({"op": "send", "id": id, "conversation": conversation, "body": "b"})
}

fn reads(world: &mut World) -> Vec<u64> {
    let of = |envelope: &ToRouter| match envelope {
        ToRouter::Mark { read: Some(read), .. } => Some(*read),
        _ => None,
    };
    world.asked().iter().filter_map(|(_, envelope)| of(envelope)).collect()
}

#[test]
fn a_flood_to_an_owner_that_does_not_answer_fills_its_senders_window() {
    let mut world = world(15);
    let alice = sessions(&mut world)[0];
    world.down(2);
    flood(&mut world, alice, 0..100);
    assert!(!world.socket(alice).receiving);
    assert_eq!(world.shard.counters().requests, 15);
    world.up(2);
    world.pass_ms(100);
    assert_eq!(ids(&world.hear(alice), "ack"), names(0..100));
    assert!(world.socket(alice).receiving);
}

#[test]
fn floods_of_many_to_one_owner_are_refused_at_once_beyond_its_bound() {
    let mut world = world(8);
    let all = sessions(&mut world);
    // It is within reach, and silent.
    world.owner.cut(NodeId(2));
    for (at, &connection) in all.iter().enumerate() {
        flood(&mut world, connection, at * 100..at * 100 + 8);
    }
    assert_eq!(world.shard.counters().requests, 2 * u64::from(QUEUE_MAX));
    let heard = world.hear(all[2]);
    assert_eq!(ids(&heard, "error"), names(204..208));
    assert!(heard.iter().all(|error| error["code"] == "unavailable" && error["retry_after_ms"].is_number()));
    assert_eq!(ids(&world.hear(all[3]), "error"), names(300..308));
    world.up(2);
    world.say(all[3], &send(399));
    assert_eq!(ids(&world.hear(all[3]), "ack"), ["m399"]);
    assert_eq!(ids(&world.hear(all[0]), "ack"), names(0..8));
    assert_eq!(world.shard.counters().requests, 0);
}

#[test]
fn with_one_owner_that_does_not_answer_clients_of_others_are_served_with_no_refusal() {
    for out_of_reach in [false, true] {
        let mut world = world(100);
        let all = sessions(&mut world);
        let bob = world.session("bob", "d");
        if out_of_reach {
            world.down(2);
        } else {
            world.owner.cut(NodeId(2));
        }
        for round in 0..20 {
            for &connection in &all[..3] {
                flood(&mut world, connection, round * 10..round * 10 + 9);
                world.say(connection, &json!({"op": "read", "conversation": "c", "seq": round}));
            }
            let id = format!("b{round}");
            world.say(bob, &to("e", &id));
            world.say(all[3], &to("e", &format!("a{round}")));
            assert_eq!(ids(&world.hear(bob), "ack"), [id]);
            assert!(world.socket(bob).receiving);
            let carl = world.session(&format!("carl{round}"), "d");
            assert!(world.socket(carl).receiving);
        }
        let heard = world.hear(all[3]);
        assert_eq!(ids(&heard, "ack").len(), 20);
        assert!(ids(&heard, "error").is_empty());
        assert!(world.socket(all[3]).receiving);
    }
}

#[test]
fn a_hello_of_a_user_whose_owner_has_too_much_is_told_to_come_back_and_leaves_nothing_behind() {
    let mut world = world(100);
    let all = sessions(&mut world);
    world.owner.cut(NodeId(2));
    flood(&mut world, all[0], 0..20);
    world.asked();
    let zoe = world.websocket();
    world.say(zoe, &json!({"op": "hello", "device": "d", "token": crate::world::token("zoe")}));
    assert_eq!(world.close_code(zoe).0, 4503);
    assert!(world.asked().is_empty());
}

#[test]
fn marks_for_an_owner_out_of_reach_are_all_kept_and_hold_up_their_senders_alone() {
    let mut world = world(100);
    let all = sessions(&mut world);
    let bob = world.session("bob", "d");
    world.down(2);
    world.asked();
    let mark = |at: u32| json!({"op": "read", "conversation": "c", "seq": at}).to_string();
    let bytes: Vec<u8> = (1..=100).flat_map(|at| masked(0x81, mark(at).as_bytes())).collect();
    world.send_bytes(all[0], &bytes);
    assert!(!world.socket(all[0]).receiving);
    // One more of each other, and no more.
    for at in 1..=3 {
        world.say(all[1], &json!({"op": "read", "conversation": "c", "seq": 200 + at}));
    }
    assert!(!world.socket(all[1]).receiving);
    world.say(bob, &to("e", "m"));
    assert_eq!(ids(&world.hear(bob), "ack"), ["m"]);
    assert!(world.socket(bob).receiving);
    world.up(2);
    world.pass_ms(1_000);
    let told = reads(&mut world);
    let of = |range: std::ops::RangeInclusive<u64>| -> Vec<u64> {
        told.iter().copied().filter(|read| range.contains(read)).collect()
    };
    assert_eq!((of(1..=100), of(201..=203)), ((1..=100).collect(), (201..=203).collect()));
    assert!(world.socket(all[0]).receiving && world.socket(all[1]).receiving);
}

#[test]
fn who_is_held_up_goes_on_when_patience_is_over_or_the_slot_is_elsewhere() {
    for moves in [false, true] {
        let mut world = world(100);
        let alice = sessions(&mut world)[0];
        world.down(2);
        for at in 1..=22 {
            world.say(alice, &json!({"op": "read", "conversation": "c", "seq": at}));
        }
        world.say(alice, &to("e", "m"));
        assert!(ids(&world.hear(alice), "ack").is_empty() && !world.socket(alice).receiving);
        if moves {
            world.place(&[1], |_| 1);
            world.pass_ms(100);
        } else {
            world.pass_ms(6_200);
        }
        assert_eq!(ids(&world.hear(alice), "ack"), ["m"]);
        assert!(world.socket(alice).receiving);
        assert!(!moves || reads(&mut world).ends_with(&[21, 22]));
    }
}

#[test]
fn nobody_tells_an_owner_with_too_much_that_he_types() {
    let mut world = world(100);
    let all = sessions(&mut world);
    let typing = json!({"op": "typing", "conversation": "c", "on": true});
    world.say(all[1], &typing);
    let typings = |world: &mut World| {
        let is_typing = |(_, envelope): &&(_, ToRouter)| matches!(envelope, ToRouter::Typing { .. });
        world.asked().iter().filter(is_typing).count()
    };
    assert_eq!(typings(&mut world), 1);
    world.owner.cut(NodeId(2));
    flood(&mut world, all[0], 0..20);
    world.say(all[1], &typing);
    assert_eq!(typings(&mut world), 0);
    world.say(all[1], &to("e", "m"));
    assert_eq!(ids(&world.hear(all[1]), "ack"), ["m"]);
}

#[test]
fn the_api_is_refused_at_once_too() {
    let mut world = world(100);
    world.owner.cut(NodeId(2));
    for reference in 0..25 {
        let caller = Caller { gateway: GatewayId::API, connection: 7, reference };
        let user = user_key("zoe");
        world.complete(Completion::FromApi(ToRouter::PresenceOf { caller, user }));
    }
    world.run();
    let refused = |answer: &ToGateway| match answer {
        ToGateway::Refused { caller, refusal, .. } => Some((caller.reference, refusal.code)),
        _ => None,
    };
    let refused: Vec<_> = world.to_api.iter().filter_map(refused).collect();
    assert_eq!(refused, (20..25).map(|at| (at, ErrorCode::Unavailable)).collect::<Vec<_>>());
}

#[test]
fn a_slow_owner_does_not_keep_others_from_what_they_must_know() {
    let mut world = world(100);
    let all = sessions(&mut world);
    // The mailbox of one is full with what nobody answers, while rooms have to be announced to the other.
    world.mailbox_room = Some(0);
    for at in 1..=20 {
        world.say(all[0], &json!({"op": "read", "conversation": "c", "seq": at}));
    }
    let before = world.shard.counters().announced;
    world.complete(Completion::NodeUp(NodeId(1)));
    world.pass_ms(300);
    assert!(world.shard.counters().announced > before);
}

#[test]
fn watches_are_told_again_however_often_something_is_misplaced() {
    let mut world = World::cluster(clustered(), &[1, 2], |_| 1);
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    world.say(alice, &json!({"op": "watch", "users": ["carol"]}));
    // The owner does not know for long that it is one of slot after slot.
    world.place(&[1, 2], |slot| if slot == slot_of_user("carol") { 2 } else { 1 });
    world.owner.fleet().watched.clear();
    let without = |slot: Slot| if slot == slot_of("c") { 2 } else { 1 };
    let untold = table(&world.owner.fleet().table, &[1, 2], without);
    world.owner.follow(untold);
    world.asked();
    for at in 0..15 {
        world.say(alice, &send(at));
        world.pass_ms(100);
    }
    assert!(world.shard.counters().misplaced > 10);
    assert!(world.asked().iter().any(|(_, envelope)| matches!(envelope, ToRouter::Watch { .. })));
}
