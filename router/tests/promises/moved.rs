//! Slots that move: whoever asks the old owner, or waits there, is told to ask anew, once; what was stored is found by the
//! new owner; and nothing that stays is disturbed.

use protocol::envelope::{AttachItem, Change, GatewayId, RouterId, ToGateway, ToRouter};
use protocol::error::{CloseCode, ErrorCode};
use protocol::frame::Range;
use protocol::id::{ClientId, ConversationKey, DeviceId, UserId};
use protocol::placement::Slot;
use router::{Completion, Settings};
use storage::request::{Failure, Request};

use crate::cluster::shard;
use crate::world::{
    Fate, GATEWAY, OTHER_GATEWAY, World, actor, conversation, message, refusal, server, user,
};

fn cluster(nodes: u16) -> World {
    World::cluster(nodes, Settings::default())
}

fn slot(key: &ConversationKey) -> Slot {
    Slot::of_conversation(key)
}

/// A room with an owner, and another shard than that.
fn room(world: &mut World) -> (ConversationKey, RouterId, RouterId) {
    let room = world.group("room");
    let old = world.table.owner(slot(&room));
    let new = if old == shard(0) { shard(1) } else { shard(0) };
    (room, old, new)
}

fn only(moving: Slot, to: RouterId) -> impl Fn(Slot) -> Option<RouterId> {
    move |slot| (slot == moving).then_some(to)
}

fn send(world: &mut World, to: RouterId, key: ConversationKey, id: &str) -> protocol::envelope::Caller {
    let caller = world.caller(GATEWAY);
    let draft = crate::world::draft(&key, "alice", id, message("x"));
    world.send_to(
        to,
        ToRouter::Append { caller, actor: actor("alice"), conversation: key, draft, lamport: 0 },
    );
    caller
}

#[test]
fn a_request_for_a_slot_of_somebody_else_is_misplaced() {
    let mut world = cluster(2);
    let (room, _, new) = room(&mut world);
    let caller = send(&mut world, new, room, "1");
    world.turn();
    assert_eq!(world.misplaced(), [caller]);
    let number = world.number(new).unwrap();
    assert_eq!(world.shards[number].counters().misplaced, 1);
    assert_eq!(world.shards[number].counters().conversations, 0);
    assert!(world.store.is_empty());
}

#[test]
fn appends_under_way_at_the_move_are_told_once_and_found_by_the_new_owner() {
    let mut world = cluster(2);
    let (room, old, new) = room(&mut world);
    world.attach("bob", room, GATEWAY);
    world.say("alice", room, "0", "x").unwrap();
    let flying = send(&mut world, old, room, "1");
    world.turn();
    let queued = send(&mut world, old, room, "2");
    world.turn();
    let (router, id, request) = world.store.pop_front().unwrap();
    // The first is stored, but its answer comes when the slot is gone.
    let outcome = storage::run(&mut world.engine, request);
    world.move_slots(only(slot(&room), new));
    world.turn();
    assert_eq!(world.misplaced(), [flying, queued]);
    world.handle(router, Completion::Store(id, outcome));
    world.settle();
    assert_eq!(world.misplaced(), []);
    world.mail.clear();
    assert_eq!(world.attach("bob", room, GATEWAY), Some(2));
    let retry = send(&mut world, new, room, "1");
    world.settle();
    assert!(matches!(world.answer(&retry), ToGateway::Appended { seq: 2, duplicate: true, .. }));
    assert_eq!(world.say("alice", room, "2", "x"), Ok(3));
    assert_eq!(world.published(GATEWAY), [3]);
    world.assert_idle();
}

#[test]
fn a_slot_that_comes_back_finds_nothing_of_before() {
    let mut world = cluster(2);
    let (room, old, _) = room(&mut world);
    world.attach("bob", room, GATEWAY);
    let caller = send(&mut world, old, room, "1");
    world.turn();
    world.move_slots(only(slot(&room), old));
    world.turn();
    assert_eq!(world.misplaced(), [caller]);
    let number = world.number(old).unwrap();
    assert_eq!(world.shards[number].counters().conversations, 0);
    // The commit of the earlier tenure is barred.
    world.settle();
    assert_eq!(world.say("alice", room, "1", "x"), Ok(1));
    assert_eq!(world.published(GATEWAY), [0; 0], "interest is announced anew");
}

#[test]
fn a_fence_before_the_table_misplaces_and_never_fails() {
    let mut world = cluster(2);
    let (room, old, new) = room(&mut world);
    let callers: Vec<_> = ["1", "2", "3"].iter().map(|id| send(&mut world, old, room, id)).collect();
    let change = Change::Title { title: None };
    let caller = world.caller(GATEWAY);
    let id = ClientId::parse("c").unwrap();
    world.send_to(
        old,
        ToRouter::Change { caller, actor: server(), conversation: room, id, change, lamport: 0 },
    );
    world.place(only(slot(&room), new));
    world.settle();
    assert_eq!(world.misplaced(), [&callers[..], &[caller]].concat());
    let creation = world.caller(GatewayId::API);
    let create = ToRouter::Remove { caller: creation, actor: server(), conversation: room };
    world.send_to(old, create);
    world.settle();
    assert_eq!(world.misplaced(), [creation]);
    (0..2).for_each(|number| world.tell_table(number));
    assert_eq!(world.say("alice", room, "1", "x"), Ok(1));
    world.assert_idle();
}

#[test]
fn conversations_beside_one_that_is_gone_notice_nothing() {
    let mut world = cluster(1);
    let rooms: Vec<_> = (0..6).map(|number| world.group(&format!("room{number}"))).collect();
    for room in &rooms {
        world.attach("bob", *room, GATEWAY);
        world.say("alice", *room, "0", "x").unwrap();
    }
    let callers: Vec<_> = rooms
        .iter()
        .flat_map(|room| ["1", "2"].map(|id| (*room, id)))
        .map(|(room, id)| send(&mut world, shard(0), room, id))
        .collect();
    world.place(only(slot(&rooms[2]), shard(9)));
    world.settle();
    let misplaced = world.misplaced();
    assert_eq!(misplaced, callers[4..6]);
    for (number, caller) in callers.iter().enumerate().filter(|(_, caller)| !misplaced.contains(caller)) {
        let ToGateway::Appended { seq, .. } = world.answer(caller) else { panic!("stored") };
        assert_eq!(seq, 2 + number as u64 % 2);
    }
    assert_eq!(world.shards[0].counters().tried_alone, 6);
    world.tell_table(0);
    world.settle();
    world.assert_idle();
}

#[test]
fn a_server_that_is_alone_says_that_the_store_is_away() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.fate = Fate::Failed(Failure::Fenced);
    let caller = world.append(actor("alice"), room, "1", message("x"));
    world.settle();
    assert_eq!(refusal(world.answer(&caller)).code, ErrorCode::Unavailable);
}

#[test]
fn an_attach_with_one_item_elsewhere_is_misplaced_as_a_whole() {
    let settings = Settings { conversations_idle_max: 0, ..Settings::default() };
    let mut world = World::cluster(2, settings);
    let rooms: Vec<_> = (0..12).map(|number| world.group(&format!("room{number}"))).collect();
    let (here, there): (Vec<_>, Vec<_>) =
        rooms.into_iter().partition(|room| world.table.owner(slot(room)) == shard(0));
    assert!(here.len() > 2 && !there.is_empty());
    let items = |rooms: &[ConversationKey]| -> Box<[AttachItem]> {
        rooms.iter().map(|room| AttachItem { conversation: room.conversation, listed: None }).collect()
    };
    let ask = |world: &mut World, rooms: &[ConversationKey]| {
        let caller = world.caller(GATEWAY);
        let items = items(rooms);
        world.send_to(shard(0), ToRouter::Attach { caller, actor: actor("rita"), items });
        world.turn();
        caller
    };
    let mixed = ask(&mut world, &[here[0], there[0], here[1]]);
    assert_eq!(world.misplaced(), [mixed]);
    world.settle();
    // The same when one of them goes while others, or it, wait for a load.
    let waiting = ask(&mut world, &here);
    world.do_request(0);
    world.move_slots(only(slot(&here[1]), shard(1)));
    world.turn();
    assert_eq!(world.misplaced(), [waiting]);
    world.settle();
    world.assert_idle();
    world.mail.clear();
    for room in &here {
        world.say("alice", *room, "1", "x").unwrap();
    }
    assert_eq!(world.published(GATEWAY), [0; 0], "nothing was attached");
    let again = ask(&mut world, &[here[0], here[2]]);
    world.settle();
    assert!(matches!(world.answer(&again), ToGateway::Attached { refused: None, .. }));
}

#[test]
fn everything_that_waits_for_a_lost_slot_is_told_once() {
    let mut world = cluster(2);
    let (key, old, new) = room(&mut world);
    let other = conversation("other");
    let callers: Vec<_> = (0..7).map(|_| world.caller(GATEWAY)).collect();
    let who = actor("stranger");
    let requests = [
        ToRouter::History {
            caller: callers[0],
            actor: who,
            conversation: key,
            range: Range::Newest,
            limit: 1,
        },
        ToRouter::Backlog { caller: callers[1], conversation: key, after: 0, limit: 1 },
        ToRouter::Show { caller: callers[2], actor: who, conversation: key },
        ToRouter::SessionOpen {
            caller: callers[3],
            user: user("zoe"),
            device: DeviceId::parse("d").unwrap(),
            again: false,
        },
        ToRouter::PresenceOf { caller: callers[4], user: user("yan") },
        ToRouter::Remove { caller: callers[5], actor: server(), conversation: key },
        ToRouter::Create {
            caller: callers[6],
            actor: server(),
            conversation: other,
            kind: protocol::envelope::ConversationKind::Public,
            title: None,
            members: [].into(),
        },
    ];
    requests.into_iter().for_each(|request| world.send(request));
    world.turn();
    let of_user = |name| Slot::of_user(&user(name));
    let all = [slot(&key), slot(&other), of_user("zoe"), of_user("yan")];
    let swap = move |id: RouterId| if id == old { new } else { old };
    let table = world.table.clone();
    world.move_slots(move |slot| all.contains(&slot).then(|| swap(table.owner(slot))));
    world.turn();
    let mut misplaced = world.misplaced();
    misplaced.sort_by_key(|caller| caller.reference);
    assert_eq!(misplaced, callers);
    world.settle();
    assert_eq!(world.misplaced(), []);
    assert!(world.mail.iter().all(|(_, envelope)| envelope.caller().is_none()), "{:?}", world.mail);
    world.assert_idle();
}

#[test]
fn a_mark_is_passed_on_to_the_owner() {
    let mut world = cluster(3);
    let (room, _, new) = room(&mut world);
    for seq in 1..=3 {
        assert_eq!(world.say("bob", room, &format!("{seq}"), "x"), Ok(seq));
    }
    world.attach("bob", room, GATEWAY);
    let device = DeviceId::parse("d").unwrap();
    let (received, read) = (None, Some(2));
    world.send_to(new, ToRouter::Mark { actor: actor("alice"), device, conversation: room, received, read });
    world.pass(1_000);
    let read = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Receipt { read, .. } => Some(*read),
        _ => None,
    });
    assert_eq!(read, [Some(2)]);
    assert!(world.done.contains(&"mark"));
    world.assert_idle();
}

#[test]
fn a_membership_finds_the_owner_of_the_user_wherever_the_slot_goes_meanwhile() {
    let mut world = cluster(3);
    let (room, here, _) = room(&mut world);
    // A user of another shard than the room's.
    let name = (0..).map(|number| format!("u{number}"));
    let mut name = name.filter(|name| world.table.owner(Slot::of_user(&user(name))) != here);
    let name = name.next().unwrap();
    let moving = Slot::of_user(&user(&name));
    let join = Change::Join { user: UserId::parse(&name).unwrap(), role: protocol::event::Role::Member };
    // Its owner died, and the slot has nobody for a while.
    world.move_slots(only(moving, RouterId::NOBODY));
    assert_eq!(world.change(server(), room, join), Ok(1));
    world.pass(100);
    world.move_slots(only(moving, shard(9)));
    world.pass(100);
    let third = (0..3).map(shard).find(|&id| id != here).unwrap();
    world.move_slots(only(moving, third));
    let session = world.open_session(&name, "d", OTHER_GATEWAY);
    world.pass(100);
    let joined = world.mail_to(OTHER_GATEWAY, |envelope| match envelope {
        ToGateway::Joined { connection, after, .. } => Some((*connection, *after)),
        _ => None,
    });
    assert_eq!(joined, [(session.connection, 0)]);
    world.assert_idle();
}

#[test]
fn a_change_that_lands_after_the_move_is_told_to_the_user() {
    let mut world = cluster(2);
    let (room, _, new) = room(&mut world);
    let session = world.open_session("zoe", "d", GATEWAY);
    let join = Change::Join { user: UserId::parse("zoe").unwrap(), role: protocol::event::Role::Member };
    let caller = world.caller(GATEWAY);
    let id = ClientId::parse("c").unwrap();
    world.send(ToRouter::Change {
        caller,
        actor: server(),
        conversation: room,
        id,
        change: join,
        lamport: 0,
    });
    world.turn();
    // What she is there is asked for first.
    world.do_request(0);
    world.turn();
    let at = world.store.iter().position(|(_, _, request)| matches!(request, Request::Append(_))).unwrap();
    let (router, id, request) = world.store.remove(at).unwrap();
    let outcome = storage::run(&mut world.engine, request);
    world.move_slots(only(slot(&room), new));
    world.handle(router, Completion::Store(id, outcome));
    world.settle();
    let joined = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Joined { connection, .. } => Some(*connection),
        _ => None,
    });
    assert_eq!(joined, [session.connection]);
}

fn open(world: &mut World, gateway: GatewayId, again: bool) -> protocol::envelope::Caller {
    let caller = world.session_caller(gateway);
    let caller = protocol::envelope::Caller { reference: world.references, ..caller };
    let device = DeviceId::parse("phone").unwrap();
    world.send(ToRouter::SessionOpen { caller, user: user("alice"), device, again });
    world.settle();
    caller
}

fn closed(world: &World, gateway: GatewayId) -> Vec<u64> {
    world.mail_to(gateway, |envelope| match envelope {
        ToGateway::CloseSession { connection, code: CloseCode::REPLACED } => Some(*connection),
        _ => None,
    })
}

#[test]
fn a_session_announced_again_replaces_none_and_yields_to_a_fresh_one() {
    let mut world = cluster(1);
    let first = open(&mut world, GATEWAY, true);
    let second = open(&mut world, OTHER_GATEWAY, true);
    assert!(closed(&world, GATEWAY).is_empty() && closed(&world, OTHER_GATEWAY).is_empty());
    assert_eq!(world.shards[0].counters().sessions, 2);
    let fresh = open(&mut world, GATEWAY, false);
    assert_eq!(closed(&world, GATEWAY), [first.connection]);
    assert_eq!(closed(&world, OTHER_GATEWAY), [second.connection]);
    let late = open(&mut world, OTHER_GATEWAY, true);
    assert_eq!(closed(&world, OTHER_GATEWAY), [second.connection, late.connection]);
    assert!(matches!(world.answer(&late), ToGateway::Refused { .. }));
    for caller in [first, second, fresh] {
        assert!(matches!(world.answer(&caller), ToGateway::SessionOpened { .. }));
    }
    // Announced where it is known, it only gets its list.
    let device = DeviceId::parse("phone").unwrap();
    world.send(ToRouter::SessionOpen { caller: fresh, user: user("alice"), device, again: true });
    world.settle();
    assert!(matches!(world.answer(&fresh), ToGateway::SessionOpened { .. }));
    assert_eq!(world.shards[0].counters().sessions, 1);
}

#[test]
fn nobody_of_a_slot_that_came_is_told_offline_before_sessions_were_announced() {
    let mut world = cluster(2);
    let alice = Slot::of_user(&user("alice"));
    let old = world.table.owner(alice);
    let new = if old == shard(0) { shard(1) } else { shard(0) };
    world.move_slots(only(alice, new));
    world.send(ToRouter::Watch { gateway: GATEWAY, users: [user("alice")].into() });
    let caller = world.caller(GATEWAY);
    world.send(ToRouter::PresenceOf { caller, user: user("alice") });
    world.pass(4_900);
    assert!(world.mail.is_empty(), "{:?}", world.mail);
    world.pass(700);
    let told = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Presence { online, .. } => Some(*online),
        _ => None,
    });
    assert_eq!(told, [false]);
    assert!(matches!(world.answer(&caller), ToGateway::PresenceOf { online: false, .. }));
    world.assert_idle();
}

#[test]
fn when_a_user_was_last_heard_is_not_lost_with_the_slot() {
    let mut world = cluster(2);
    let alice = Slot::of_user(&user("alice"));
    let session = world.open_session("alice", "d", GATEWAY);
    let at = world.now.unix_ms;
    world.send(ToRouter::SessionClose { caller: session, user: user("alice"), normal: false });
    world.pass(10_000);
    let new = if world.table.owner(alice) == shard(0) { shard(1) } else { shard(0) };
    world.move_slots(only(alice, new));
    world.pass(10_000);
    let answer = world.ask(|caller| ToRouter::PresenceOf { caller, user: user("alice") });
    assert!(
        matches!(answer, ToGateway::PresenceOf { online: false, last_seen: Some(seen), .. } if seen == at)
    );
}

#[test]
fn an_older_table_changes_nothing() {
    let mut world = cluster(2);
    let older = world.table.clone();
    let (room, _, new) = room(&mut world);
    world.move_slots(only(slot(&room), new));
    world.handle(new, Completion::Table(older));
    assert_eq!(world.say("alice", room, "1", "x"), Ok(1));
    let owned: u64 = world.shards.iter().map(|shard| shard.counters().slots_owned).sum();
    assert_eq!(owned, 4_096);
    let number = world.number(new).unwrap();
    assert_eq!(world.shards[number].counters().slots_gained, 1);
}

#[test]
fn a_lapsed_lease_refuses_what_needs_the_owner_and_ends_what_is_under_way() {
    let mut world = cluster(1);
    let room = world.group("room");
    world.say("alice", room, "0", "x").unwrap();
    let under_way = world.append(actor("alice"), room, "1", message("x"));
    world.turn();
    world.handle(shard(0), Completion::Lapsed(true));
    world.settle();
    assert!(matches!(world.answer(&under_way), ToGateway::Appended { seq: 2, .. }));
    let refused = world.append(actor("alice"), room, "2", message("x"));
    world.settle();
    let refusal = refusal(world.answer(&refused));
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert!(refusal.retry_after_ms.is_some());
    let items = [AttachItem { conversation: room.conversation, listed: None }].into();
    let attached = world.ask(|caller| ToRouter::Attach { caller, actor: actor("alice"), items });
    assert!(matches!(attached, ToGateway::Attached { refused: Some(_), .. }));
    world.handle(shard(0), Completion::Lapsed(false));
    assert_eq!(world.say("alice", room, "2", "x"), Ok(3));
}
