//! Gateway shards of other nodes that are gone: nothing is kept for them, nothing is told to them, and their users linger.

use protocol::envelope::{GatewayId, Lane, ToGateway, ToRouter};
use router::{Completion, Settings};

use crate::world::{GATEWAY, World, actor, conversation, message, user};

const REMOTE: GatewayId = GatewayId::REMOTE;

fn lose(world: &mut World, gateway: GatewayId) {
    for id in world.ids.clone() {
        world.handle(id, Completion::Envelope(ToRouter::GatewayGone { gateway }));
    }
    world.turn();
    world.mail.clear();
}

#[test]
fn rooms_of_a_gone_gateway_shard_are_left_and_forgotten() {
    let settings = Settings { conversations_idle_max: 0, ..Settings::default() };
    let mut world = World::cluster(1, settings);
    let rooms: Vec<_> = (0..50).map(|number| world.group(&format!("room{number}"))).collect();
    for room in &rooms {
        world.attach("alice", *room, REMOTE);
    }
    world.attach("bob", rooms[0], GATEWAY);
    lose(&mut world, REMOTE);
    // At once nothing is published there any more.
    let sent = world.append(actor("alice"), rooms[0], "1", message("x"));
    world.settle();
    world.answer(&sent);
    assert_eq!((world.published(REMOTE), world.published(GATEWAY)), (vec![], vec![1]));
    world.pass(1_000);
    assert_eq!(world.shards[0].counters().conversations, 1);
    assert_eq!(world.shards[0].counters().gateways_gone, 1);
    world.assert_idle();
}

#[test]
fn what_waits_for_a_gone_gateway_shard_is_dropped() {
    let mut world = World::cluster(1, Settings::default());
    let room = world.group("room");
    world.attach("alice", room, REMOTE);
    world.full.insert(REMOTE, Lane::Required);
    let caller = world.caller(REMOTE);
    let draft = crate::world::draft(&room, "alice", "1", message("x"));
    world.send(ToRouter::Append { caller, actor: actor("alice"), conversation: room, draft, lamport: 0 });
    world.settle();
    assert!(world.shards[0].counters().returned > 0);
    lose(&mut world, REMOTE);
    assert_eq!(world.shards[0].counters().returned, 0);
    world.full.clear();
    world.pass(1_000);
    assert!(world.mail.is_empty(), "{:?}", world.mail);
    world.assert_idle();
}

#[test]
fn answers_that_come_later_are_dropped_and_attaches_come_to_nothing() {
    let mut world = World::cluster(1, Settings::default());
    let room = world.group("room");
    world.say("alice", room, "0", "x").unwrap();
    let caller = world.caller(REMOTE);
    let draft = crate::world::draft(&room, "alice", "1", message("x"));
    world.send(ToRouter::Append { caller, actor: actor("alice"), conversation: room, draft, lamport: 0 });
    world.turn();
    let caller = world.caller(REMOTE);
    let items = [room, conversation("unknown")];
    let items =
        items.map(|key| protocol::envelope::AttachItem { conversation: key.conversation, listed: None });
    world.send(ToRouter::Attach { caller, actor: actor("rita"), items: items.into() });
    world.turn();
    lose(&mut world, REMOTE);
    world.settle();
    world.pass(1_000);
    assert!(world.mail.is_empty(), "{:?}", world.mail);
    // What it had sent is sent.
    assert_eq!(world.say("alice", room, "2", "x"), Ok(3));
    assert_eq!(world.published(REMOTE), [0; 0]);
    world.assert_idle();
}

#[test]
fn users_of_a_gone_gateway_shard_linger_and_who_watches_is_told() {
    let mut world = World::cluster(1, Settings::default());
    for number in 0..300 {
        world.open_session(&format!("u{number}"), "d", REMOTE);
    }
    world.open_session("alice", "d", REMOTE);
    world.open_session("alice", "laptop", GATEWAY);
    world.open_session("bob", "d", REMOTE);
    let at = world.now.unix_ms;
    let users = [user("alice"), user("bob")];
    world.send(ToRouter::Watch { gateway: GATEWAY, users: users.into() });
    world.send(ToRouter::Watch { gateway: REMOTE, users: users.into() });
    world.settle();
    lose(&mut world, REMOTE);
    world.pass(1_000);
    assert_eq!(world.shards[0].counters().sessions, 1);
    assert!(world.mail.is_empty(), "{:?}", world.mail);
    world.pass(60_000);
    let told = |(gateway, envelope): &(GatewayId, ToGateway)| match envelope {
        ToGateway::Presence { user, online, last_seen } => Some((*gateway, user.user, *online, *last_seen)),
        _ => None,
    };
    let told: Vec<_> = world.mail.iter().filter_map(told).collect();
    assert_eq!(told, [(GATEWAY, users[1].user, false, Some(at))]);
    world.assert_idle();
}

#[test]
fn a_chat_list_on_its_way_to_a_gone_gateway_shard_harms_nobody() {
    let mut world = World::cluster(1, Settings::default());
    let caller = world.session_caller(REMOTE);
    let device = protocol::id::DeviceId::parse("d").unwrap();
    world.send(ToRouter::SessionOpen { caller, user: user("alice"), device, again: false });
    world.turn();
    lose(&mut world, REMOTE);
    world.pass(1_000);
    assert_eq!(world.shards[0].counters().sessions, 0);
    let next = GatewayId(REMOTE.0 + 1);
    world.open_session("alice", "d", next);
    assert_eq!(world.shards[0].counters().sessions, 1);
    world.assert_idle();
}
