//! Presence: told to those who watch, in batches, newest state only; offline at once or a minute after the last sign.

use protocol::envelope::{Caller, GatewayId, Lane, ToGateway, ToRouter};

use crate::world::{GATEWAY, OTHER_GATEWAY, World, user};

fn told(world: &mut World, gateway: GatewayId) -> Vec<(bool, Option<u64>)> {
    let told = world.mail_to(gateway, |envelope| match envelope {
        ToGateway::Presence { online, last_seen, .. } => Some((*online, *last_seen)),
        _ => None,
    });
    world.mail.retain(|(to, _)| *to != gateway);
    told
}

fn watch(world: &mut World, gateway: GatewayId, who: &str) {
    world.send(ToRouter::Watch { gateway, users: [user(who)].into() });
    world.settle();
}

fn close(world: &mut World, caller: Caller, who: &str, normal: bool) {
    world.send(ToRouter::SessionClose { caller, user: user(who), normal });
    world.settle();
}

#[test]
fn a_watch_is_answered_at_once_and_on_each_change() {
    let mut world = World::new(1);
    watch(&mut world, GATEWAY, "alice");
    assert_eq!(told(&mut world, GATEWAY), [(false, None)]);
    let session = world.open_session("alice", "d", GATEWAY);
    world.pass(500);
    assert_eq!(told(&mut world, GATEWAY), [(true, None)]);
    let at = world.now.unix_ms;
    close(&mut world, session, "alice", true);
    world.pass(500);
    assert_eq!(told(&mut world, GATEWAY), [(false, Some(at))]);
    world.send(ToRouter::Unwatch { gateway: GATEWAY, users: [user("alice")].into() });
    world.open_session("alice", "d", GATEWAY);
    world.pass(1_000);
    assert_eq!(told(&mut world, GATEWAY), []);
}

#[test]
fn last_seen_is_in_the_store_for_those_who_ask_later() {
    let mut world = World::new(1);
    let session = world.open_session("alice", "d", GATEWAY);
    let at = world.now.unix_ms;
    close(&mut world, session, "alice", true);
    world.pass(1_000);
    let epoch = storage::claim(&mut world.engine).unwrap();
    world.shards[0] = router::RouterShard::new(
        protocol::envelope::RouterId(0),
        crate::world::alone(1, epoch),
        router::Settings::default(),
        1,
    );
    watch(&mut world, GATEWAY, "alice");
    assert_eq!(told(&mut world, GATEWAY), [(false, Some(at))]);
    let answer = world.ask(|caller| ToRouter::PresenceOf { caller, user: user("alice") });
    assert!(
        matches!(answer, ToGateway::PresenceOf { online: false, last_seen: Some(seen), .. } if seen == at)
    );
}

#[test]
fn a_user_whose_connection_broke_is_online_for_a_minute() {
    let mut world = World::new(1);
    watch(&mut world, GATEWAY, "alice");
    let session = world.open_session("alice", "d", GATEWAY);
    world.pass(1_000);
    told(&mut world, GATEWAY);
    let at = world.now.unix_ms;
    close(&mut world, session, "alice", false);
    world.pass(59_000);
    assert_eq!(told(&mut world, GATEWAY), []);
    world.pass(1_500);
    assert_eq!(told(&mut world, GATEWAY), [(false, Some(at))]);
}

#[test]
fn who_comes_back_within_the_minute_was_never_away() {
    let mut world = World::new(1);
    watch(&mut world, GATEWAY, "alice");
    for _ in 0..3 {
        let session = world.open_session("alice", "d", GATEWAY);
        world.pass(40_000);
        close(&mut world, session, "alice", false);
        world.pass(40_000);
    }
    assert_eq!(told(&mut world, GATEWAY), [(false, None), (true, None)]);
    world.pass(30_000);
    assert_eq!(told(&mut world, GATEWAY).len(), 1);
}

#[test]
fn a_user_is_online_while_any_device_is_heard() {
    let mut world = World::new(1);
    watch(&mut world, GATEWAY, "alice");
    let phone = world.open_session("alice", "phone", GATEWAY);
    let laptop = world.open_session("alice", "laptop", GATEWAY);
    world.pass(500);
    told(&mut world, GATEWAY);
    close(&mut world, phone, "alice", true);
    world.pass(500);
    assert_eq!(told(&mut world, GATEWAY), []);
    let heard = |heard| ToRouter::SessionHeard { caller: laptop, user: user("alice"), heard };
    world.send(heard(false));
    let last = world.now.unix_ms - 60_000;
    world.pass(500);
    assert_eq!(told(&mut world, GATEWAY), [(false, Some(last))]);
    world.send(heard(true));
    world.pass(500);
    assert_eq!(told(&mut world, GATEWAY), [(true, None)]);
}

#[test]
fn presence_that_finds_no_room_is_told_later_in_its_newest_state() {
    let mut world = World::new(1);
    watch(&mut world, GATEWAY, "alice");
    watch(&mut world, OTHER_GATEWAY, "alice");
    told(&mut world, GATEWAY);
    told(&mut world, OTHER_GATEWAY);
    world.full.insert(GATEWAY, Lane::Ephemeral);
    let session = world.open_session("alice", "d", OTHER_GATEWAY);
    world.pass(2_000);
    close(&mut world, session, "alice", true);
    let at = world.now.unix_ms;
    world.pass(2_000);
    assert_eq!(told(&mut world, GATEWAY), []);
    assert_eq!(told(&mut world, OTHER_GATEWAY), [(true, None), (false, Some(at))]);
    world.full.clear();
    world.pass(1_000);
    assert_eq!(told(&mut world, GATEWAY), [(false, Some(at))]);
    assert_eq!(told(&mut world, OTHER_GATEWAY), []);
    world.assert_idle();
}

#[test]
fn a_watch_over_the_bound_is_answered_once() {
    let settings = router::Settings { watched_max: 1, ..router::Settings::default() };
    let mut world = World::with(1, settings);
    watch(&mut world, GATEWAY, "alice");
    watch(&mut world, GATEWAY, "bob");
    assert_eq!(told(&mut world, GATEWAY).len(), 2);
    world.open_session("bob", "d", GATEWAY);
    world.pass(1_000);
    assert_eq!(told(&mut world, GATEWAY), []);
    assert_eq!(world.shards[0].counters().watched, 1);
}
