//! A gateway shard of another node that does not take what it is told: nobody else notices, it is given up in the end, and once it is
//! there again it finds everything.

use protocol::envelope::{GatewayId, Lane, ToGateway, ToRouter};
use protocol::id::ConversationKey;
use router::{Completion, RouterShard, Settings};

use crate::world::{GATEWAY, World, actor, draft, message, server};

const SLOW: GatewayId = GatewayId::REMOTE;
const QUICK: GatewayId = GatewayId(SLOW.0 + 1);
const AGAIN: GatewayId = GatewayId(SLOW.0 + 2);
/// What waits for one at most: `REMOTE_RETURNED_MAX`.
const RETURNED_MAX: u64 = 16_384;

fn ask(world: &mut World, gateway: GatewayId, room: ConversationKey, times: usize) {
    for at in 0..times {
        let caller = world.caller(gateway);
        world.shards[0].handle(
            world.now,
            Completion::Envelope(ToRouter::Show { caller, actor: actor("alice"), conversation: room }),
        );
        if at % 1_000 == 999 {
            world.turn();
        }
    }
    world.turn();
}

/// The link has ended.
fn lose(world: &mut World) {
    world.handle(world.ids[0], Completion::Envelope(ToRouter::GatewayGone { gateway: SLOW }));
}

fn answers(world: &World, gateway: GatewayId) -> usize {
    world.mail_to(gateway, ToGateway::caller).len()
}

fn ready() -> (World, ConversationKey) {
    let mut world = World::cluster(1, Settings::default());
    let room = world.group("room");
    for gateway in [SLOW, QUICK, GATEWAY] {
        world.attach("alice", room, gateway);
    }
    world.open_session("bob", "d", SLOW);
    world.full.insert(SLOW, Lane::Required);
    (world, room)
}

#[test]
fn a_gateway_shard_of_another_node_that_takes_nothing_stops_nobody_and_is_cut() {
    let (mut world, room) = ready();
    ask(&mut world, SLOW, room, RETURNED_MAX as usize);
    assert_eq!(world.shards[0].counters().returned, RETURNED_MAX);
    assert!(world.shards[0].wants_input() && world.cut.is_empty(), "it may only be slow");
    ask(&mut world, QUICK, room, 10);
    assert_eq!((world.say("alice", room, "1", "x"), answers(&world, QUICK)), (Ok(1), 10));
    ask(&mut world, SLOW, room, 1);
    assert_eq!(world.cut, [SLOW]);
    let counters = world.shards[0].counters();
    assert_eq!((counters.returned, counters.gateways_cut), (0, 1));
    assert!(world.shards[0].wants_input());
    assert_eq!(world.say("alice", room, "2", "x"), Ok(2));
    assert_eq!((world.published(QUICK), world.published(GATEWAY)), (vec![1, 2], vec![1, 2]));
}

#[test]
fn what_a_gateway_shard_says_after_it_was_cut_is_not_heard_but_for_its_marks() {
    let (mut world, room) = ready();
    ask(&mut world, SLOW, room, RETURNED_MAX as usize + 1);
    world.full.clear();
    world.mail.clear();
    ask(&mut world, SLOW, room, 5);
    let device = protocol::id::DeviceId::parse("e").unwrap();
    let caller = world.session_caller(SLOW);
    world.send(ToRouter::SessionOpen { caller, user: crate::world::user("olga"), device, again: false });
    world.send(ToRouter::Watch { gateway: SLOW, users: [crate::world::user("bob")].into() });
    let (received, read) = (Some(1), Some(1));
    world.say("alice", room, "1", "x").unwrap();
    world.send(ToRouter::Mark { actor: actor("alice"), device, conversation: room, received, read });
    world.pass(2_000);
    assert_eq!(answers(&world, SLOW), 0);
    assert!(world.published(SLOW).is_empty());
    assert!(world.done.contains(&"mark"));
    let counters = world.shards[0].counters();
    assert_eq!((counters.sessions, counters.watched), (0, 0));
    lose(&mut world);
    world.pass(100);
    assert_eq!((world.cut.len(), world.shards[0].counters().gateways_gone), (1, 1));
    world.assert_idle();
}

#[test]
fn one_that_was_cut_finds_all_that_it_missed_over_its_next_link() {
    let (mut world, room) = ready();
    // A send whose ack it does not take, among what it does not take.
    let unanswered = |caller| {
        let draft = draft(&room, "alice", "m", message("x"));
        ToRouter::Append { caller, actor: actor("alice"), conversation: room, draft, lamport: 0 }
    };
    let caller = world.caller(SLOW);
    world.send(unanswered(caller));
    world.settle();
    ask(&mut world, SLOW, room, RETURNED_MAX as usize);
    assert_eq!(world.cut, [SLOW]);
    world.say("bob", room, "meanwhile", "x").unwrap();
    lose(&mut world);
    world.settle();
    world.mail.clear();
    // The room is announced, the answer tells the head, and what it missed is pulled.
    let caller = world.caller(AGAIN);
    let items = [protocol::envelope::AttachItem { conversation: room.conversation, listed: None }].into();
    world.send(ToRouter::Attach { caller, actor: server(), items });
    world.settle();
    let ToGateway::Attached { items, .. } = world.answer(&caller) else { panic!("attached") };
    assert_eq!(items[0].state.map(|state| state.head), Some(2));
    let caller = world.caller(AGAIN);
    world.send(ToRouter::Backlog { caller, conversation: room, after: 0, limit: 100 });
    world.settle();
    let ToGateway::Backlog { events, .. } = world.answer(&caller) else { panic!("a backlog") };
    assert_eq!(events.iter().map(protocol::event::Event::seq).collect::<Vec<_>>(), [1, 2]);
    // What was unanswered is asked again, and done once.
    let caller = world.caller(AGAIN);
    world.send(unanswered(caller));
    world.settle();
    let answer = world.answer(&caller);
    assert!(matches!(answer, ToGateway::Appended { seq: 1, duplicate: true, .. }), "{answer:?}");
    world.say("bob", room, "later", "x").unwrap();
    assert_eq!(world.published(AGAIN), [3]);
}

#[test]
fn many_slow_ones_together_are_not_asked_for_more_until_there_is_room() {
    let (mut world, room) = ready();
    let many: Vec<_> = (0..8).map(|at| GatewayId(AGAIN.0 + at)).collect();
    for &gateway in &many {
        assert!(world.shards[0].wants_input());
        world.full.insert(gateway, Lane::Required);
        ask(&mut world, gateway, room, 2_000);
    }
    assert!(!world.shards[0].wants_input());
    world.full.clear();
    world.pass(1_000);
    assert!(world.shards.iter().all(RouterShard::wants_input) && world.cut.is_empty());
    assert!(many.iter().all(|&gateway| answers(&world, gateway) == 2_000));
    world.assert_idle();
}
