//! A store of its own may make a commit after it was given up: what lands late is published in its place, and nothing
//! lands behind the reading that settles the doubt.

use protocol::envelope::{Caller, Change, ConversationKind, ToRouter};
use protocol::error::ErrorCode::{NotFound, Unavailable};
use protocol::event::{ContentV1, Role};
use protocol::id::{ClientId, ConversationKey};
use router::{Completion, Settings};
use storage::kv::{EngineError, Key, Read, Write};
use storage::request::{Failure, Outcome, Request};
use storage::transaction::{Reply, Step, Transaction};

use crate::world::{Fate, GATEWAY, World, actor, message, refusal, server, stored, user};

/// A commit on its way, whose answer was lost.
struct Late {
    conflicts: Vec<Key>,
    writes: Vec<Write>,
}

/// Runs the request that waits longest at the store up to its commit, which goes on by itself; the shard is told that
/// nobody knows.
fn lose_answer(world: &mut World) -> Late {
    let (router, id, request) = world.store.pop_front().unwrap();
    let (mut transaction, mut step) = Transaction::begin(request);
    let mut conflicts = Vec::new();
    let writes = loop {
        step = match step {
            Step::Read(reads) => {
                conflicts.extend(reads.iter().filter_map(|read| match read {
                    Read::Get { key, conflict: true } => Some(key.clone()),
                    _ => None,
                }));
                transaction.resume(world.engine.read(&reads).map(Reply::Found))
            }
            Step::Commit(writes) => break writes,
            Step::Done(outcome) => panic!("nothing to commit: {outcome:?}"),
        };
    };
    world.handle(router, Completion::Store(id, Outcome::Failed(Failure::Unknown)));
    world.turn();
    Late { conflicts, writes }
}

fn land(world: &mut World, late: Late) {
    world.engine.commit(late.writes).unwrap();
    world.engine.sync().unwrap();
}

/// A room that alice watches, and her first message there on its way, its answer lost.
fn in_doubt() -> (World, ConversationKey, Late) {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.append(actor("alice"), room, "1", message("x"));
    world.turn();
    let late = lose_answer(&mut world);
    (world, room, late)
}

/// The server takes alice out of a room.
fn leave(world: &mut World, room: ConversationKey) -> Caller {
    let caller = world.caller(GATEWAY);
    let (id, change) = (ClientId::parse("c").unwrap(), Change::Leave { user: user("alice").user });
    world.send(ToRouter::Change { caller, actor: server(), conversation: room, id, change, lamport: 0 });
    world.turn();
    caller
}

#[test]
fn what_lands_before_it_is_barred_is_published_in_its_place() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.say("alice", room, "0", "x").unwrap();
    let caller = world.append(actor("alice"), room, "1", message("x"));
    world.turn();
    let late = lose_answer(&mut world);
    assert_eq!(refusal(world.answer(&caller)).code, Unavailable);
    land(&mut world, late);
    let newer = world.append(actor("bob"), room, "2", message("x"));
    world.settle();
    assert_eq!(stored(world.answer(&newer)), Ok(3));
    assert_eq!(world.published(GATEWAY), [1, 2, 3]);
    world.assert_idle();
}

#[test]
fn the_log_is_not_read_before_nothing_can_land_any_more() {
    let (mut world, room, late) = in_doubt();
    // The bar writes what the late commit rests on: the store refuses that one from now on.
    let bar = lose_answer(&mut world);
    let voids = |write: &Write| matches!(write, Write::Set(key, _) if late.conflicts.contains(key));
    assert!(bar.writes.iter().any(voids), "{:?}", bar.writes);
    // As long as nobody knows whether it is barred, it may land, and nothing newer is appended: who asks is told so.
    let queued = world.append(actor("bob"), room, "2", message("x"));
    world.fate = Fate::Failed(Failure::Unavailable);
    world.pass(5_000);
    assert!(!world.done.contains(&"page"), "{:?}", world.done);
    assert_eq!(refusal(world.answer(&queued)).code, Unavailable);
    land(&mut world, late);
    world.fate = Fate::Done;
    world.pass(1_000);
    assert_eq!(world.published(GATEWAY), [1]);
    assert_eq!(world.say("bob", room, "2", "x"), Ok(2));
    assert_eq!(world.published(GATEWAY), [1, 2]);
    world.assert_idle();
}

#[test]
fn while_a_log_in_doubt_cannot_be_read_everything_for_it_is_refused_at_once() {
    let (mut world, room, _) = in_doubt();
    world.fate = Fate::Failed(Failure::Unavailable);
    world.pass(1_000);
    let append = world.append(actor("bob"), room, "2", message("x"));
    world.turn();
    assert_eq!(refusal(world.answer(&append)).code, Unavailable);
    let caller = leave(&mut world, room);
    assert_eq!(refusal(world.answer(&caller)).code, Unavailable);
    // A removal waits for the log; the next try to read it tells that there is none.
    let caller = world.caller(GATEWAY);
    world.send(ToRouter::Remove { caller, actor: server(), conversation: room });
    world.pass(1_000);
    assert_eq!(refusal(world.answer(&caller)).code, Unavailable);
    world.fate = Fate::Done;
    world.pass(1_000);
    assert_eq!(world.say("bob", room, "2", "x"), Ok(1));
    world.assert_idle();
}

/// Lets alice be taken out of a room, by a commit whose answer is lost.
fn lose_leaving(world: &mut World, room: ConversationKey) -> Late {
    leave(world, room);
    lose_answer(world)
}

#[test]
fn who_loses_a_role_late_sends_nothing_behind_that() {
    let mut world = World::new(1);
    let room = world.group("room");
    let late = lose_leaving(&mut world, room);
    let sent = world.append(actor("alice"), room, "1", message("x"));
    land(&mut world, late);
    world.settle();
    assert_eq!(refusal(world.answer(&sent)).code, NotFound);
    assert_eq!(world.say("bob", room, "2", "x"), Ok(2));
}

#[test]
fn who_gets_a_role_late_is_not_denied_for_good() {
    let mut world = World::new(1);
    let room = world.group("room");
    assert_eq!(world.say("mallory", room, "1", "x"), Err(NotFound));
    let caller = world.caller(GATEWAY);
    let (id, user) = (ClientId::parse("c").unwrap(), user("mallory").user);
    let change = Change::Join { user, role: Role::Member };
    world.send(ToRouter::Change { caller, actor: server(), conversation: room, id, change, lamport: 0 });
    world.turn();
    let late = lose_answer(&mut world);
    land(&mut world, late);
    world.fate = Fate::Failed(Failure::Unavailable);
    world.pass(1_000);
    assert_eq!(world.say("mallory", room, "1", "x"), Err(Unavailable));
    world.fate = Fate::Done;
    world.pass(1_000);
    assert_eq!(world.say("mallory", room, "1", "x"), Ok(2));
    world.assert_idle();
}

#[test]
fn a_load_from_before_a_late_change_is_made_again() {
    let mut world = World::with(1, Settings { members_max: 0, ..Settings::default() });
    let room = world.group("room");
    let late = lose_leaving(&mut world, room);
    let bar = world.store.pop_front().unwrap();
    // So many others are known now that alice is not.
    let names: Vec<String> = (0..300).map(|number| format!("u{number}")).collect();
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), Role::Owner)).collect();
    world.create("large", ConversationKind::Group, &members);
    let sent = world.append(actor("alice"), room, "1", message("x"));
    world.turn();
    let (router, id, load) = world.store.pop_front().unwrap();
    assert!(matches!(load, Request::Load { .. }), "{load:?}");
    let loaded = storage::run(&mut world.engine, load);
    land(&mut world, late);
    world.store.push_back(bar);
    world.settle();
    world.handle(router, Completion::Store(id, loaded));
    world.settle();
    assert_eq!(refusal(world.answer(&sent)).code, NotFound);
    world.assert_idle();
}

#[test]
fn a_newer_owner_bars_as_well() {
    let (mut world, ..) = in_doubt();
    world.fate = Fate::Failed(Failure::Fenced);
    world.do_request(0);
    world.fate = Fate::Done;
    world.settle();
    assert_eq!(world.done.last(), Some(&"page"));
    world.assert_idle();
}

#[test]
fn a_batch_that_was_stored_after_all_is_published_in_the_order_of_its_log() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    let react = ContentV1::Reaction { target: 2, emoji: "+", remove: false };
    let first = world.append(actor("alice"), room, "0", message("x"));
    let reaction = world.append(actor("alice"), room, "1", react);
    let sent = world.append(actor("alice"), room, "2", message("x"));
    world.turn();
    let (router, id, request) = world.store.pop_front().unwrap();
    let (mut transaction, mut step) = Transaction::begin(request);
    let mut lost = false;
    let outcome = loop {
        step = match step {
            Step::Read(reads) => transaction.resume(world.engine.read(&reads).map(Reply::Found)),
            // The first attempt stores the messages, and its answer is lost; the second finds what the reaction is to.
            Step::Commit(writes) => {
                world.engine.commit(writes).unwrap();
                let answer = if lost { Ok(Reply::Committed) } else { Err(EngineError::Unknown) };
                lost = true;
                transaction.resume(answer)
            }
            Step::Done(outcome) => break outcome,
        };
    };
    world.engine.sync().unwrap();
    world.handle(router, Completion::Store(id, outcome));
    world.settle();
    let seqs = [first, reaction, sent].map(|caller| stored(world.answer(&caller)));
    assert_eq!(seqs, [Ok(1), Ok(3), Ok(2)]);
    assert_eq!(world.published(GATEWAY), [1, 2, 3]);
    world.assert_idle();
}
