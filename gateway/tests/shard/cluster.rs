//! Requests in a cluster: each is answered exactly once, whoever is out of reach and whatever comes late.

use std::sync::Arc;

use gateway::shard::Completion;
use protocol::envelope::{Caller, GatewayId, RouterId, ToGateway, ToRouter};
use protocol::error::ErrorCode;
use protocol::id::{ConversationId, ConversationKey, Tenant};
use protocol::placement::{NodeId, Table};
use ring::token::Token;
use serde_json::{Value, json};

use crate::fleet::{clustered, slot_of, slot_of_user, table, user_key};
use crate::owner::{draft, key, message};
use crate::world::{World, token};

pub(crate) fn send(at: usize) -> Value {
    json!({"op": "send", "id": format!("m{at}"), "conversation": "c", "body": "b"})
}

pub(crate) fn ids(frames: &[Value], op: &str) -> Vec<String> {
    let found = frames.iter().filter(|frame| frame["op"] == op);
    found.map(|frame| frame["id"].as_str().unwrap().to_owned()).collect()
}

/// A shard of two nodes, with all on the first, and alice in `c`.
fn ready() -> (World, Token) {
    let mut world = World::cluster(clustered(), &[1, 2], |_| 1);
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    world.asked();
    (world, alice)
}

fn of_api(reference: i64) -> Caller {
    Caller { gateway: GatewayId::API, connection: 77, reference }
}

#[test]
fn what_nobody_answers_is_refused_when_patience_is_over_and_a_late_answer_is_dropped() {
    let (mut world, alice) = ready();
    world.owner.fleet().held = true;
    world.say(alice, &send(1));
    world.say(alice, &json!({"op": "history", "ref": 5, "conversation": "c", "before": 9}));
    world.pass_ms(5_900);
    assert!(world.hear(alice).is_empty());
    assert_eq!(world.shard.counters().requests, 2);
    world.pass_ms(200);
    let heard = world.hear(alice);
    assert_eq!((&heard[0]["id"], &heard[0]["code"]), (&json!("m1"), &json!("unavailable")));
    assert_eq!((&heard[1]["ref"], &heard[1]["code"]), (&json!(5), &json!("unavailable")));
    assert!(heard.iter().all(|error| error["retry_after_ms"].as_u64() > Some(0)));
    world.owner.fleet().held = false;
    world.run();
    let heard = world.hear(alice);
    assert!(heard.iter().all(|frame| frame["op"] == "event"), "{heard:?}");
    assert_eq!((world.shard.counters().late_answers, world.shard.counters().requests), (2, 0));
    assert_eq!(world.shard.counters().patience_over, 2);
}

#[test]
fn a_hello_that_nobody_answers_is_told_to_come_back() {
    let (mut world, _) = ready();
    world.down(1);
    let bob = world.websocket();
    world.say(bob, &json!({"op": "hello", "device": "d", "token": token("bob")}));
    world.pass_ms(6_100);
    assert_eq!(world.close_code(bob).0, 4503);
}

#[test]
fn a_hello_waits_for_the_first_table() {
    let mut world = World::cluster(clustered(), &[1], |_| 1);
    world.shard = World::with_table(clustered(), &Table::empty()).shard;
    let alice = world.websocket();
    world.say(alice, &json!({"op": "hello", "device": "d", "token": token("alice")}));
    world.pass_ms(3_000);
    assert!(world.asked().is_empty());
    world.complete(Completion::NodeUp(NodeId(1)));
    let table = Arc::clone(&world.owner.fleet().table);
    world.complete(Completion::Table(table));
    world.run();
    assert_eq!(world.hear(alice)[0]["op"], "welcome");
}

#[test]
fn an_older_table_changes_nothing() {
    let (mut world, alice) = ready();
    world.complete(Completion::Table(Arc::new(Table::empty())));
    world.say(alice, &send(1));
    assert_eq!(ids(&world.hear(alice), "ack"), ["m1"]);
}

#[test]
fn of_a_node_that_was_long_out_of_reach_nobody_waits() {
    let (mut world, alice) = ready();
    world.down(1);
    world.say(alice, &send(1));
    world.pass_ms(6_000);
    assert_eq!(ids(&world.hear(alice), "error"), ["m1"]);
    world.down(1);
    world.pass_ms(200);
    world.say(alice, &send(2));
    assert_eq!(ids(&world.hear(alice), "error"), ["m2"]);
    world.up(1);
    world.say(alice, &send(3));
    assert_eq!(ids(&world.hear(alice), "ack"), ["m3"]);
}

#[test]
fn the_api_asks_through_the_shard_and_is_answered_once() {
    let mut world = World::cluster(clustered(), &[1, 2], |_| 1);
    let user = user_key("carol");
    world.owner.fleet().held = true;
    for reference in [4, 5] {
        world.complete(Completion::FromApi(ToRouter::PresenceOf { caller: of_api(reference), user }));
    }
    world.run();
    let asked = world.asked();
    assert!(asked.iter().all(|(_, envelope)| envelope.request().unwrap().gateway == GatewayId(3)));
    world.place(&[1, 2], |_| 2);
    assert_eq!(world.asked()[0].0, RouterId::new(NodeId(2), 0));
    world.owner.fleet().held = false;
    world.run();
    let callers: Vec<_> = world.to_api.iter().map(|answer| answer.caller().unwrap()).collect();
    assert_eq!(callers, [of_api(4), of_api(5)]);
    assert!(world.to_api.iter().all(|answer| matches!(answer, ToGateway::PresenceOf { .. })));
}

#[test]
fn the_api_is_refused_in_the_form_of_what_it_asked() {
    let mut world = World::cluster(clustered(), &[1], |_| 1);
    world.down(1);
    let actor = protocol::envelope::Actor {
        key: user_key("carol"),
        authority: protocol::envelope::Authority::Server,
    };
    let draft = draft("c", "carol", "m1", message("b"));
    let envelope = ToRouter::Append { caller: of_api(9), actor, conversation: key("c"), draft, lamport: 0 };
    world.complete(Completion::Drain);
    world.complete(Completion::FromApi(envelope));
    world.run();
    assert!(!world.shard.is_drained(), "the API waits");
    world.pass_ms(6_100);
    let [ToGateway::Refused { caller, id: Some(id), refusal }] = &world.to_api[..] else { panic!() };
    assert_eq!((*caller, id.as_str(), refusal.code), (of_api(9), "m1", ErrorCode::Unavailable));
    assert!(world.shard.is_drained());
}

#[test]
fn events_of_the_system_are_the_apis() {
    let (mut world, _) = ready();
    let conversation =
        ConversationKey { tenant: Tenant::SYSTEM, conversation: ConversationId::parse("bans").unwrap() };
    let event = draft("bans", "system", "x", message("b")).seal(1, 1, 1);
    world.envelope(ToGateway::Publish { conversation, events: [event].into() });
    world.envelope(ToGateway::Head { conversation, head: 4 });
    assert!(matches!(&world.to_api[..], [ToGateway::Publish { .. }, ToGateway::Head { head: 4, .. }]));
}

#[test]
fn misplaced_requests_wait_for_the_table_and_go_before_all_else_in_their_order() {
    let (mut world, alice) = ready();
    let moved = |slot| if slot == slot_of("c") { 2 } else { 1 };
    let newer = table(&world.owner.fleet().table, &[1, 2], moved);
    world.owner.follow(Arc::clone(&newer));
    world.say(alice, &send(1));
    assert_eq!(world.shard.counters().misplaced, 1);
    world.asked();
    for frame in [
        json!({"op": "read", "conversation": "c", "seq": 1}),
        send(2),
        json!({"op": "typing", "conversation": "c", "on": true}),
        send(3),
    ] {
        world.say(alice, &frame);
    }
    assert!(world.asked().is_empty(), "all waits behind the first");
    world.complete(Completion::Table(newer));
    world.run();
    let asked = world.asked();
    assert!(asked.iter().all(|(router, _)| router.node() == NodeId(2)), "{asked:?}");
    let names: Vec<_> = asked
        .iter()
        .filter_map(|(_, envelope)| match envelope {
            ToRouter::Append { draft, .. } => Some(draft.view().id.to_string()),
            ToRouter::Mark { .. } => Some("mark".into()),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["m1", "m2", "m3", "mark"]);
    assert_eq!(ids(&world.hear(alice), "ack"), ["m1", "m2", "m3"]);
}

#[test]
fn who_learns_late_that_it_is_the_owner_is_asked_until_it_knows() {
    let (mut world, alice) = ready();
    world.say(alice, &json!({"op": "watch", "users": ["carol"]}));
    let newer = table(&world.owner.fleet().table, &[1, 2], |_| 2);
    world.complete(Completion::Table(Arc::clone(&newer)));
    world.say(alice, &send(1));
    world.say(alice, &send(2));
    world.pass_ms(250);
    assert!(ids(&world.hear(alice), "ack").is_empty());
    world.owner.follow(newer);
    world.pass_ms(200);
    assert_eq!(ids(&world.hear(alice), "ack"), ["m1", "m2"]);
    world.pass_ms(1_000);
    assert!(world.owner.log("c").interest);
    assert_eq!(world.owner.fleet().sessions[&user_key("alice")], alice.to_bits());
    assert!(world.owner.fleet().watched.contains("carol"));
}

#[test]
fn marks_wait_for_a_node_for_a_while() {
    let (mut world, alice) = ready();
    world.down(1);
    world.say(alice, &json!({"op": "read", "conversation": "c", "seq": 3}));
    world.pass_ms(1_000);
    world.up(1);
    assert!(
        world.asked().iter().any(|(_, envelope)| matches!(envelope, ToRouter::Mark { read: Some(3), .. }))
    );
    world.down(1);
    world.say(alice, &json!({"op": "read", "conversation": "c", "seq": 4}));
    world.pass_ms(6_100);
    world.up(1);
    assert!(!world.asked().iter().any(|(_, envelope)| matches!(envelope, ToRouter::Mark { .. })));
}

#[test]
fn a_foreign_answer_to_an_attach_counts_as_a_refusal() {
    let (mut world, alice) = ready();
    world.owner.conversation("e", &["alice"]);
    world.owner.silent = true;
    let joined = ToGateway::Joined { connection: alice.to_bits(), conversation: key("e"), after: 0 };
    world.envelope(joined);
    let caller = *world.asked()[0].1.request().unwrap();
    world.envelope(ToGateway::Attached {
        caller,
        tenant: Tenant::default_tenant(),
        items: [].into(),
        refused: None,
    });
    assert_eq!(world.shard.counters().rooms, 1);
    world.owner.silent = false;
    world.pass_ms(2_000);
    assert_eq!(world.shard.counters().rooms, 2, "it is tried again");
    let _ = slot_of_user("alice");
}
