//! Pages and backlogs: from recent events where they can be, and never an event that was not published.

use protocol::envelope::{Caller, ToGateway, ToRouter};
use protocol::event::Event;
use protocol::frame::Range;
use protocol::id::ConversationKey;

use crate::world::{GATEWAY, World, actor, message};

fn room_with_messages(world: &mut World, messages: u64) -> ConversationKey {
    let room = world.group("room");
    for number in 1..=messages {
        world.append(actor("alice"), room, &format!("{number}"), message("x"));
        world.settle();
    }
    room
}

fn history(world: &mut World, room: ConversationKey, range: Range, limit: u16) -> (Vec<u64>, u64, bool) {
    let answer = world.ask(|caller| ToRouter::History {
        caller,
        actor: actor("bob"),
        conversation: room,
        range,
        limit,
    });
    let ToGateway::Page { events, head, more, .. } = answer else { panic!("{answer:?}") };
    (events.iter().map(Event::seq).collect(), head, more)
}

fn seqs(first: u64, last: u64) -> Vec<u64> {
    (first..=last).collect()
}

/// Everything that history can be asked for, in a log of 250 events.
fn check_all_ranges(world: &mut World, room: ConversationKey) {
    assert_eq!(history(world, room, Range::Newest, 50), (seqs(201, 250), 250, true));
    assert_eq!(history(world, room, Range::Newest, 200), (seqs(51, 250), 250, true));
    assert_eq!(history(world, room, Range::Before(200), 10), (seqs(190, 199), 250, true));
    assert_eq!(history(world, room, Range::Before(10), 50), (seqs(1, 9), 250, false));
    assert_eq!(history(world, room, Range::Before(1), 50), (vec![], 250, false));
    assert_eq!(history(world, room, Range::Before(u64::MAX), 5), (seqs(246, 250), 250, true));
    assert_eq!(history(world, room, Range::After(245), 50), (seqs(246, 250), 250, false));
    assert_eq!(history(world, room, Range::After(0), 50), (seqs(1, 50), 250, true));
    assert_eq!(history(world, room, Range::After(240), 3), (seqs(241, 243), 250, true));
    assert_eq!(history(world, room, Range::After(250), 3), (vec![], 250, false));
    assert_eq!(history(world, room, Range::After(u64::MAX), 3), (vec![], 250, false));
    let (around, head, _) = history(world, room, Range::Around(100), 11);
    assert!(around.contains(&100) && around.len() == 11 && head == 250, "{around:?}");
    let (since, ..) = history(world, room, Range::Since(0), 5);
    assert_eq!(since, seqs(1, 5));
}

#[test]
fn recent_events_and_the_store_give_the_same_pages() {
    let mut world = World::new(1);
    let room = room_with_messages(&mut world, 250);
    world.done.clear();
    check_all_ranges(&mut world, room);
    assert!(world.shards[0].counters().pages_recent > 0);
    let epoch = storage::claim(&mut world.engine).unwrap();
    let settings = router::Settings { recent_bytes_max: 0, ..router::Settings::default() };
    world.shards[0] =
        router::RouterShard::new(protocol::envelope::RouterId(0), crate::world::alone(1, epoch), settings, 1);
    check_all_ranges(&mut world, room);
}

#[test]
fn the_newest_hundred_need_no_store() {
    let mut world = World::new(1);
    let room = room_with_messages(&mut world, 150);
    history(&mut world, room, Range::Newest, 1);
    world.done.clear();
    assert_eq!(history(&mut world, room, Range::Newest, 100).0, seqs(51, 150));
    assert_eq!(history(&mut world, room, Range::After(50), 200).0, seqs(51, 150));
    assert!(world.done.is_empty());
    history(&mut world, room, Range::After(49), 200);
    assert_eq!(world.done, ["page"]);
}

#[test]
fn a_page_of_the_store_that_ends_at_the_head_serves_the_next_who_asks() {
    let mut world = World::new(1);
    let room = room_with_messages(&mut world, 60);
    let epoch = storage::claim(&mut world.engine).unwrap();
    world.shards[0] = router::RouterShard::new(
        protocol::envelope::RouterId(0),
        crate::world::alone(1, epoch),
        router::Settings::default(),
        1,
    );
    assert_eq!(history(&mut world, room, Range::Newest, 50).0, seqs(11, 60));
    world.done.clear();
    assert_eq!(history(&mut world, room, Range::Newest, 50).0, seqs(11, 60));
    assert!(world.done.is_empty());
    world.say("alice", room, "after", "x").unwrap();
    assert_eq!(history(&mut world, room, Range::Newest, 50).0, seqs(12, 61));
}

#[test]
fn no_page_shows_what_is_stored_and_not_published() {
    let mut world = World::with(1, router::Settings { recent_bytes_max: 0, ..router::Settings::default() });
    let room = room_with_messages(&mut world, 5);
    history(&mut world, room, Range::Newest, 1);
    // The append reaches the store first; its outcome is on the way while the pages are read.
    world.append(actor("alice"), room, "6", message("x"));
    world.turn();
    let (router, id, request) = world.store.pop_front().unwrap();
    let outcome = storage::run(&mut world.engine, request);
    let mut callers: Vec<Caller> = Vec::new();
    for range in [Range::Newest, Range::After(2), Range::Around(5), Range::Since(0), Range::Before(u64::MAX)]
    {
        let caller = world.caller(GATEWAY);
        let (actor, limit) = (actor("bob"), 50);
        world.send(ToRouter::History { caller, actor, conversation: room, range, limit });
        callers.push(caller);
    }
    let caller = world.caller(GATEWAY);
    world.send(ToRouter::Backlog { caller, conversation: room, after: 2, limit: 50 });
    world.settle();
    for caller in &callers {
        let answer = world.answer(caller);
        let ToGateway::Page { events, head: 5, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(events.last().map(Event::seq), Some(5));
    }
    let answer = world.answer(&caller);
    let ToGateway::Backlog { events, head: 5, after: 2, refused: None, .. } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(events.iter().map(Event::seq).collect::<Vec<_>>(), [3, 4, 5]);
    world.handle(router, router::Completion::Store(id, outcome));
    world.settle();
    assert_eq!(history(&mut world, room, Range::Newest, 1), (vec![6], 6, true));
}

#[test]
fn an_empty_page_since_a_time_ends_where_the_log_did_when_it_was_read() {
    let mut world = World::with(1, router::Settings { recent_bytes_max: 0, ..router::Settings::default() });
    let room = room_with_messages(&mut world, 3);
    let (caller, range) = (world.caller(GATEWAY), Range::Since(world.now.unix_ms + 1));
    world.send(ToRouter::History { caller, actor: actor("bob"), conversation: room, range, limit: 50 });
    world.turn();
    let (router, id, request) = world.store.pop_front().unwrap();
    let outcome = storage::run(&mut world.engine, request);
    world.pass(10);
    world.append(actor("alice"), room, "4", message("x"));
    world.settle();
    world.handle(router, router::Completion::Store(id, outcome));
    world.settle();
    let answer = world.answer(&caller);
    let ToGateway::Page { events, head: 3, more: false, .. } = answer else { panic!("{answer:?}") };
    assert!(events.is_empty());
}

#[test]
fn an_empty_log_has_empty_pages() {
    let mut world = World::new(1);
    let room = world.group("room");
    for range in
        [Range::Newest, Range::Before(9), Range::After(0), Range::After(9), Range::Around(1), Range::Since(1)]
    {
        assert_eq!(history(&mut world, room, range, 50), (vec![], 0, false), "{range:?}");
    }
}

#[test]
fn a_backlog_of_nowhere_is_refused_in_its_own_form() {
    let mut world = World::new(1);
    let nowhere = crate::world::conversation("nowhere");
    let answer = world.ask(|caller| ToRouter::Backlog { caller, conversation: nowhere, after: 3, limit: 5 });
    let ToGateway::Backlog { events, after: 3, refused: Some(refusal), .. } = answer else {
        panic!("{answer:?}")
    };
    assert!(events.is_empty());
    assert_eq!(refusal.code, protocol::error::ErrorCode::NotFound);
}
