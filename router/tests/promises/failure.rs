//! A store that fails: nothing is promised that is not stored, everybody is answered, and no gap is ever published.

use protocol::envelope::{ToGateway, ToRouter};
use protocol::error::ErrorCode::Unavailable;
use protocol::frame::Range;
use storage::request::Failure;

use crate::world::{Fate, GATEWAY, World, actor, message, refusal};

fn failures() -> [Failure; 5] {
    [
        Failure::Fenced,
        Failure::Unavailable,
        Failure::Unknown,
        Failure::Poisoned("disk".into()),
        Failure::Damaged("record".into()),
    ]
}

#[test]
fn every_failure_is_unavailable_with_a_time_to_come_back() {
    for failure in failures() {
        let mut world = World::new(1);
        let room = world.group("room");
        world.attach("alice", room, GATEWAY);
        world.say("alice", room, "0", "x").unwrap();
        world.fate = Fate::Failed(failure.clone());
        let caller = world.append(actor("alice"), room, "1", message("x"));
        world.settle();
        let refusal = refusal(world.answer(&caller));
        assert_eq!(refusal.code, Unavailable, "{failure:?}");
        assert!(refusal.retry_after_ms.is_some());
        world.fate = Fate::Done;
        world.pass(1_000);
        assert_eq!(world.say("alice", room, "1", "x"), Ok(2));
        assert_eq!(world.published(GATEWAY), [1, 2]);
        world.assert_idle();
    }
}

#[test]
fn what_was_stored_unknown_is_published_before_anything_newer() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.say("alice", room, "0", "x").unwrap();
    let callers = ["1", "2", "3"].map(|id| world.append(actor("alice"), room, id, message("x")));
    world.turn();
    world.fate = Fate::DoneUnknown;
    world.do_request(0);
    world.fate = Fate::Done;
    for caller in &callers {
        world.turn();
        assert_eq!(refusal(world.answer(caller)).code, Unavailable);
    }
    // The retry, at once, and something new behind it.
    let retry = world.append(actor("alice"), room, "2", message("x"));
    let newer = world.append(actor("bob"), room, "4", message("x"));
    world.settle();
    assert!(matches!(world.answer(&retry), ToGateway::Appended { seq: 3, duplicate: true, .. }));
    assert!(matches!(world.answer(&newer), ToGateway::Appended { seq: 5, duplicate: false, .. }));
    assert_eq!(world.published(GATEWAY), [1, 2, 3, 4, 5]);
    world.assert_idle();
}

#[test]
fn a_change_that_was_stored_unknown_takes_effect() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.say("alice", room, "0", "x").unwrap();
    let session = world.open_session("alice", "d", GATEWAY);
    let change = protocol::envelope::Change::Leave { user: protocol::id::UserId::parse("alice").unwrap() };
    world.say("olga", room, "0", "x").unwrap();
    let caller = world.caller(GATEWAY);
    let id = protocol::id::ClientId::parse("c").unwrap();
    world.send(ToRouter::Change { caller, actor: actor("olga"), conversation: room, id, change, lamport: 0 });
    world.turn();
    world.do_request(0);
    world.turn();
    world.fate = Fate::DoneUnknown;
    world.do_request(0);
    world.fate = Fate::Done;
    let late = world.append(actor("alice"), room, "late", message("x"));
    world.settle();
    assert_eq!(refusal(world.answer(&late)).code, protocol::error::ErrorCode::NotFound);
    let left = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Left { connection, seq, .. } => Some((*connection, *seq)),
        _ => None,
    });
    assert_eq!(left, [(session.connection, 3)]);
}

#[test]
fn a_log_in_doubt_is_read_again_until_it_can_be() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.append(actor("alice"), room, "1", message("x"));
    world.turn();
    world.fate = Fate::DoneUnknown;
    world.do_request(0);
    world.fate = Fate::Failed(Failure::Unavailable);
    world.settle();
    world.pass(5_000);
    let refused = world.append(actor("alice"), room, "2", message("x"));
    world.settle();
    assert_eq!(refusal(world.answer(&refused)).code, protocol::error::ErrorCode::Unavailable);
    assert_eq!(world.published(GATEWAY), [0; 0]);
    world.fate = Fate::Done;
    world.pass(1_000);
    assert_eq!(world.published(GATEWAY), [1]);
    assert_eq!(world.say("alice", room, "2", "x"), Ok(2));
    assert_eq!(world.published(GATEWAY), [1, 2]);
    world.assert_idle();
}

#[test]
fn requests_that_wait_for_a_load_are_refused_at_once_when_the_store_is_away() {
    for failure in failures() {
        let mut world = World::new(1);
        let room = crate::world::conversation("unknown");
        world.fate = Fate::Failed(failure);
        let caller = world.append(actor("alice"), room, "1", message("x"));
        let page = world.caller(GATEWAY);
        let (range, limit) = (Range::Newest, 10);
        world.send(ToRouter::History { caller: page, actor: actor("bob"), conversation: room, range, limit });
        let attach = world.caller(GATEWAY);
        let items = [protocol::envelope::AttachItem { conversation: room.conversation, listed: None }].into();
        world.send(ToRouter::Attach { caller: attach, actor: actor("bob"), items });
        world.settle();
        assert_eq!(refusal(world.answer(&caller)).code, Unavailable);
        assert_eq!(refusal(world.answer(&page)).code, Unavailable);
        let ToGateway::Attached { items, refused: Some(refused), .. } = world.answer(&attach) else {
            panic!("refused")
        };
        assert!(items.len() == 1 && items[0].state.is_none());
        assert_eq!(refused.code, Unavailable);
        world.assert_idle();
    }
}

#[test]
fn reads_go_on_from_recent_events_while_the_store_is_away() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.say("alice", room, "1", "x").unwrap();
    world.fate = Fate::Failed(Failure::Unavailable);
    let answer = world.ask(|caller| ToRouter::History {
        caller,
        actor: actor("alice"),
        conversation: room,
        range: Range::Newest,
        limit: 10,
    });
    assert!(matches!(answer, ToGateway::Page { events, .. } if events.len() == 1));
}

#[test]
fn a_full_store_queue_is_tried_again_and_given_up_in_a_second() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.say("alice", room, "0", "x").unwrap();
    world.store_full = true;
    let caller = world.append(actor("alice"), room, "1", message("x"));
    world.turn();
    world.pass(100);
    world.store_full = false;
    world.pass(10);
    assert!(matches!(world.answer(&caller), ToGateway::Appended { seq: 2, .. }));
    world.store_full = true;
    let caller = world.append(actor("alice"), room, "2", message("x"));
    world.turn();
    world.pass(1_100);
    assert_eq!(refusal(world.answer(&caller)).code, Unavailable);
    world.store_full = false;
    world.pass(1_000);
    assert_eq!(world.say("alice", room, "2", "x"), Ok(3));
    world.assert_idle();
}
