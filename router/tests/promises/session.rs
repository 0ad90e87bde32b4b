//! Sessions: the chat list, one a device, and news of memberships behind the list that they belong to.

use protocol::envelope::{Change, ToGateway, ToRouter};
use protocol::error::CloseCode;
use protocol::event::Role;
use protocol::id::{DeviceId, UserId};

use crate::world::{GATEWAY, OTHER_GATEWAY, World, actor, server, user};

fn join(name: &str) -> Change {
    Change::Join { user: UserId::parse(name).unwrap(), role: Role::Member }
}

#[test]
fn a_session_gets_its_chat_list() {
    let mut world = World::new(2);
    for number in 0..3 {
        world.group(&format!("room{number}"));
    }
    let caller = world.session_caller(GATEWAY);
    let device = DeviceId::parse("d").unwrap();
    world.send(ToRouter::SessionOpen { caller, user: user("alice"), device, again: false });
    world.settle();
    let ToGateway::SessionOpened { conversations, more: false, .. } = world.answer(&caller) else {
        panic!("opened")
    };
    assert_eq!(conversations.len(), 3);
}

#[test]
fn a_newer_session_of_the_same_device_closes_the_older() {
    let mut world = World::new(1);
    let older = world.open_session("alice", "phone", GATEWAY);
    let other = world.open_session("alice", "laptop", GATEWAY);
    world.mail.clear();
    let newer = world.open_session("alice", "phone", OTHER_GATEWAY);
    let closed = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::CloseSession { connection, code } => Some((*connection, *code)),
        _ => None,
    });
    assert_eq!(closed, [(older.connection, CloseCode::REPLACED)]);
    // The older one's end changes nothing any more.
    world.send(ToRouter::SessionClose { caller: older, user: user("alice"), normal: true });
    world.settle();
    assert_eq!(world.shards[0].counters().sessions, 2);
    for caller in [other, newer] {
        world.send(ToRouter::SessionClose { caller, user: user("alice"), normal: true });
    }
    world.settle();
    assert_eq!(world.shards[0].counters().sessions, 0);
}

#[test]
fn every_session_of_a_user_hears_of_its_memberships_wherever_the_user_lives() {
    let mut world = World::new(5);
    let room = world.group("room");
    let phone = world.open_session("zoe", "phone", GATEWAY);
    let laptop = world.open_session("zoe", "laptop", OTHER_GATEWAY);
    world.say("alice", room, "1", "x").unwrap();
    assert_eq!(world.change(server(), room, join("zoe")), Ok(2));
    let leave = Change::Leave { user: UserId::parse("zoe").unwrap() };
    assert_eq!(world.change(actor("zoe"), room, leave), Ok(3));
    for (gateway, session) in [(GATEWAY, phone), (OTHER_GATEWAY, laptop)] {
        let news = world.mail_to(gateway, |envelope| match envelope {
            ToGateway::Joined { connection, conversation, after } => {
                Some((*connection, *conversation, true, *after))
            }
            ToGateway::Left { connection, conversation, seq } => {
                Some((*connection, *conversation, false, *seq))
            }
            _ => None,
        });
        // The first event is the one that says that it joined.
        assert_eq!(news, [(session.connection, room, true, 1), (session.connection, room, false, 3)]);
    }
}

#[test]
fn members_of_a_new_and_of_a_removed_conversation_hear_of_it() {
    let mut world = World::new(3);
    let session = world.open_session("alice", "phone", GATEWAY);
    let room = world.group("room");
    let remove = |caller| ToRouter::Remove { caller, actor: server(), conversation: room };
    assert!(matches!(world.ask(remove), ToGateway::Removed { .. }));
    let news = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Joined { connection, after, .. } => Some((*connection, true, *after)),
        ToGateway::Left { connection, seq, .. } => Some((*connection, false, *seq)),
        _ => None,
    });
    assert_eq!(news, [(session.connection, true, 0), (session.connection, false, 0)]);
}

#[test]
fn news_never_overtakes_the_chat_list_of_a_session_that_begins() {
    for joins in [1, 200] {
        let mut world = World::new(1);
        let rooms: Vec<_> = (0..joins).map(|number| world.group(&format!("room{number}"))).collect();
        let caller = world.session_caller(GATEWAY);
        let device = DeviceId::parse("d").unwrap();
        world.send(ToRouter::SessionOpen { caller, user: user("zoe"), device, again: false });
        world.turn();
        let (router, id, request) = world.store.pop_front().unwrap();
        let old_list = storage::run(&mut world.engine, request);
        for room in rooms {
            world.change(server(), room, join("zoe")).unwrap();
        }
        assert!(
            world
                .mail_to(GATEWAY, |envelope| matches!(envelope, ToGateway::Joined { .. }).then_some(()))
                .is_empty()
        );
        world.handle(router, router::Completion::Store(id, old_list));
        world.settle();
        let at = world.mail.iter().position(|(_, envelope)| envelope.caller() == Some(caller)).unwrap();
        let before = &world.mail[..at];
        assert!(!before.iter().any(|(_, envelope)| matches!(envelope, ToGateway::Joined { .. })));
        let ToGateway::SessionOpened { conversations, .. } = world.answer(&caller) else { panic!("opened") };
        let news =
            world.mail_to(GATEWAY, |envelope| matches!(envelope, ToGateway::Joined { .. }).then_some(()));
        assert_eq!(conversations.len() + news.len(), joins, "each by the list or by news");
    }
}

#[test]
fn a_session_whose_chat_list_cannot_be_read_is_refused_and_forgotten() {
    let mut world = World::new(1);
    world.fate = crate::world::Fate::Failed(storage::request::Failure::Unavailable);
    let caller = world.session_caller(GATEWAY);
    let device = DeviceId::parse("d").unwrap();
    world.send(ToRouter::SessionOpen { caller, user: user("alice"), device, again: false });
    world.settle();
    let refusal = crate::world::refusal(world.answer(&caller));
    assert!(refusal.retry_after_ms.is_some());
    assert_eq!(world.shards[0].counters().sessions, 0);
}

#[test]
fn a_user_has_a_bounded_number_of_sessions() {
    let mut world = World::new(1);
    for number in 0..128 {
        world.open_session("alice", &format!("d{number}"), GATEWAY);
    }
    let caller = world.session_caller(GATEWAY);
    let device = DeviceId::parse("one-more").unwrap();
    world.send(ToRouter::SessionOpen { caller, user: user("alice"), device, again: false });
    world.settle();
    let refusal = crate::world::refusal(world.answer(&caller));
    assert_eq!(refusal.code, protocol::error::ErrorCode::RateLimited);
    world.open_session("alice", "d5", GATEWAY);
}

#[test]
fn everybody_is_told_of_a_removal_at_once_even_when_nothing_else_happens() {
    let mut world = World::new(1);
    let names: Vec<String> = (0..6_000).map(|number| format!("m{number:04}")).collect();
    let mut members: Vec<_> = names.iter().map(|name| (name.as_str(), Role::Member)).collect();
    members[0].1 = Role::Owner;
    let room = world.create("room", protocol::envelope::ConversationKind::Group, &members);
    world.pass(100);
    let last = world.open_session("m5999", "phone", GATEWAY);
    let answer = world.ask(|caller| ToRouter::Remove { caller, actor: server(), conversation: room });
    assert!(matches!(answer, ToGateway::Removed { .. }), "{answer:?}");
    world.pass(10);
    let told = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Left { connection, .. } => Some(*connection),
        _ => None,
    });
    assert_eq!(told, [last.connection]);
    world.assert_idle();
}
