//! Full mailboxes: publishes become one head, answers keep their order, and nothing required is lost.

use protocol::envelope::{AttachItem, Change, Lane, RouterId, ToGateway, ToRouter};
use protocol::event::Role;
use protocol::id::{ConversationKey, UserId};
use router::{Completion, Operation, RouterShard};

use crate::world::{GATEWAY, OTHER_GATEWAY, World, actor, message, server};

fn heads(world: &World, room: ConversationKey) -> Vec<u64> {
    world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Head { conversation, head } if *conversation == room => Some(*head),
        _ => None,
    })
}

#[test]
fn publishes_that_found_no_room_become_one_head_even_when_nothing_new_comes() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.attach("bob", room, OTHER_GATEWAY);
    world.full.insert(GATEWAY, Lane::Publish);
    for number in 0..5 {
        world.append(actor("bob"), room, &format!("{number}"), message("x"));
        world.settle();
    }
    assert_eq!(world.published(OTHER_GATEWAY), [1, 2, 3, 4, 5]);
    assert_eq!(world.published(GATEWAY), [0; 0]);
    world.full.clear();
    world.pass(100);
    assert_eq!(heads(&world, room), [5]);
    world.say("bob", room, "next", "x").unwrap();
    assert_eq!(world.published(GATEWAY), [6]);
    world.assert_idle();
}

#[test]
fn a_gateway_shard_without_interest_any_more_gets_no_head() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.full.insert(GATEWAY, Lane::Publish);
    world.say("alice", room, "1", "x").unwrap();
    world.send(ToRouter::Detach { gateway: GATEWAY, conversation: room });
    world.full.clear();
    world.pass(100);
    assert_eq!(heads(&world, room), [0; 0]);
    world.assert_idle();
}

#[test]
fn answers_that_found_no_room_arrive_later_in_their_order_and_once() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.say("alice", room, "warm", "x").unwrap();
    world.full.insert(GATEWAY, Lane::Required);
    let mut callers = Vec::new();
    for number in 0..600 {
        callers.push(world.append(actor("alice"), room, &format!("{number}"), message("x")));
        if number % 7 == 0 {
            world.settle();
        }
        if number == 300 {
            world.pass(10);
        }
    }
    world.settle();
    assert!(world.mail.is_empty());
    world.full.clear();
    world.pass(100);
    let order: Vec<_> = world.mail_to(GATEWAY, ToGateway::caller);
    assert_eq!(order, callers);
    world.assert_idle();
}

#[test]
fn an_attach_answer_that_came_late_is_followed_by_a_head() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.full.insert(GATEWAY, Lane::Required);
    let caller = world.caller(GATEWAY);
    let items = [AttachItem { conversation: room.conversation, listed: None }].into();
    world.send(ToRouter::Attach { caller, actor: actor("alice"), items });
    world.settle();
    // Room again, but the answer waits for its next try: what is published now must not be overlooked.
    world.full.clear();
    let other = world.caller(OTHER_GATEWAY);
    let draft = crate::world::draft(&room, "bob", "1", message("x"));
    world.send(ToRouter::Append {
        caller: other,
        actor: actor("bob"),
        conversation: room,
        draft,
        lamport: 0,
    });
    world.settle();
    world.pass(100);
    let attached = world.mail.iter().position(|(_, envelope)| envelope.caller() == Some(caller)).unwrap();
    let behind = &world.mail[attached..];
    let told = behind.iter().any(|(_, envelope)| matches!(envelope, ToGateway::Head { head: 1, .. }));
    assert!(told, "{behind:?}");
    world.assert_idle();
}

#[test]
fn an_attach_that_waits_for_another_conversation_tells_the_head_at_its_answer() {
    let mut world = World::new(1);
    let (known, unknown) = (world.group("known"), world.group("unknown"));
    for room in [known, unknown] {
        world.say("alice", room, "1", "x").unwrap();
    }
    let epoch = storage::claim(&mut world.engine).unwrap();
    world.shards[0] = router::RouterShard::new(
        protocol::envelope::RouterId(0),
        crate::world::alone(1, epoch),
        router::Settings::default(),
        1,
    );
    world.say("alice", known, "2", "x").unwrap();
    let caller = world.caller(GATEWAY);
    let items =
        [known, unknown].map(|key| AttachItem { conversation: key.conversation, listed: None }).into();
    world.send(ToRouter::Attach { caller, actor: actor("alice"), items });
    world.turn();
    let load = world.store.pop_front().unwrap();
    world.say("alice", known, "3", "x").unwrap();
    world.store.push_back(load);
    world.settle();
    let ToGateway::Attached { items, refused: None, .. } = world.answer(&caller) else { panic!("attached") };
    let heads: Vec<_> = items.iter().map(|item| item.state.unwrap().head).collect();
    assert_eq!(heads, [3, 1]);
    assert_eq!(world.published(GATEWAY), [0; 0], "events up to the head are not published again");
}

#[test]
fn memberships_that_found_no_room_are_told_later() {
    let mut world = World::new(4);
    let room = world.group("room");
    let names: Vec<String> = (0..20).map(|number| format!("zoe{number}")).collect();
    for name in &names {
        world.open_session(name, "d", GATEWAY);
    }
    world.routers_full = true;
    for name in &names {
        let change = Change::Join { user: UserId::parse(name).unwrap(), role: Role::Member };
        world.send(ToRouter::Change {
            caller: protocol::envelope::Caller { gateway: OTHER_GATEWAY, connection: 0, reference: 0 },
            actor: server(),
            conversation: room,
            id: protocol::id::ClientId::parse(name).unwrap(),
            change,
            lamport: 0,
        });
    }
    for _ in 0..3 {
        world.turn();
        while !world.store.is_empty() {
            world.do_request(0);
            world.turn();
        }
        world.now.monotonic_ms += 10;
    }
    world.routers_full = false;
    world.pass(100);
    let joined =
        world.mail_to(GATEWAY, |envelope| matches!(envelope, ToGateway::Joined { .. }).then_some(()));
    assert_eq!(joined.len(), names.len());
    world.assert_idle();
}

#[test]
fn a_shard_with_too_much_to_return_wants_no_input_until_there_is_room() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.say("alice", room, "warm", "x").unwrap();
    world.full.insert(GATEWAY, Lane::Required);
    let mut sent = 0;
    while world.shards[0].wants_input() {
        let caller = world.caller(GATEWAY);
        world.send(ToRouter::Show { caller, actor: actor("alice"), conversation: room });
        sent += 1;
        if sent % 500 == 0 {
            world.turn();
        }
        assert!(sent < 20_000, "the bound is there");
    }
    world.full.clear();
    world.pass(1_000);
    assert!(world.shards[0].wants_input());
    assert_eq!(world.mail_to(GATEWAY, ToGateway::caller).len(), sent);
}

#[test]
fn an_attach_answer_that_is_overtaken_by_a_publish_is_followed_by_a_head() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.say("bob", room, "warm", "x").unwrap();
    world.attach("alice", room, OTHER_GATEWAY);
    let caller = world.caller(GATEWAY);
    let items = [AttachItem { conversation: room.conversation, listed: None }].into();
    world.send(ToRouter::Attach { caller, actor: actor("alice"), items });
    let Some(Operation::ToGateway(GATEWAY, attached)) = world.shards[0].poll_operation() else {
        panic!("the answer")
    };
    // The answer finds no room; before the shard hears of it, a publish finds some.
    world.say("bob", room, "1", "x").unwrap();
    assert_eq!(world.published(GATEWAY), [2]);
    world.handle(RouterId(0), Completion::GatewayFull(GATEWAY, attached));
    world.pass(100);
    let told: Vec<_> = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Attached { .. } => Some(0),
        ToGateway::Head { head, .. } => Some(*head),
        _ => None,
    });
    assert_eq!(told, [0, 2]);
}

#[test]
fn no_publish_overtakes_the_head_that_makes_up_for_earlier_ones() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.full.insert(GATEWAY, Lane::Publish);
    world.say("alice", room, "1", "x").unwrap();
    world.full.clear();
    world.say("alice", room, "2", "x").unwrap();
    assert_eq!(world.published(GATEWAY), [0; 0]);
    world.pass(100);
    assert_eq!(heads(&world, room), [2]);
}

#[test]
fn a_detach_counts_for_an_attach_that_came_before_it_and_is_answered_after_it() {
    let mut world = World::new(1);
    let (known, unknown) = (world.group("known"), world.group("unknown"));
    world.say("alice", known, "1", "x").unwrap();
    let epoch = storage::claim(&mut world.engine).unwrap();
    world.shards[0] =
        RouterShard::new(RouterId(0), crate::world::alone(1, epoch), router::Settings::default(), 1);
    world.say("alice", known, "2", "x").unwrap();
    let caller = world.caller(GATEWAY);
    let items =
        [known, unknown].map(|key| AttachItem { conversation: key.conversation, listed: None }).into();
    world.send(ToRouter::Attach { caller, actor: actor("alice"), items });
    world.send(ToRouter::Detach { gateway: GATEWAY, conversation: known });
    world.settle();
    assert!(matches!(world.answer(&caller), ToGateway::Attached { refused: None, .. }));
    for room in [known, unknown] {
        world.say("alice", room, "3", "x").unwrap();
    }
    let published = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Publish { conversation, .. } => Some(*conversation),
        _ => None,
    });
    assert_eq!(published, [unknown]);
}

#[test]
fn router_shards_that_wait_for_one_another_still_take_what_they_are_told() {
    let mut world = World::new(2);
    let members: Vec<_> = (0..500).map(|number| format!("m{number:05}")).collect();
    let members: Vec<_> = members.iter().map(|name| (name.as_str(), Role::Member)).collect();
    world.routers_full = true;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        world.create(name, protocol::envelope::ConversationKind::Group, &members);
    }
    world.pass(200);
    assert!(world.shards.iter().all(|shard| shard.counters().returned > 500));
    assert!(world.shards.iter().all(RouterShard::wants_input));
    world.routers_full = false;
    world.pass(1_000);
    world.assert_idle();
}

#[test]
fn who_missed_something_is_told_soon_however_often_others_miss_something() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    let others: Vec<_> = (0..40).map(|number| world.group(&format!("other-{number}"))).collect();
    for &other in &others {
        world.attach("alice", other, OTHER_GATEWAY);
    }
    world.full.extend([(GATEWAY, Lane::Publish), (OTHER_GATEWAY, Lane::Publish)]);
    world.say("bob", room, "1", "x").unwrap();
    world.full.remove(&GATEWAY);
    for &other in &others[..10] {
        world.say("bob", other, "1", "x").unwrap();
        world.pass(1);
    }
    assert_eq!(heads(&world, room), [1]);
}
