//! Chat lists: what a session's list says of a membership saves its attach a load, and is never believed when it is old.

use protocol::envelope::{
    AttachItem, AttachedState, Change, ConversationKind, Listed, RouterId, ToGateway, ToRouter,
};
use protocol::event::Role;
use protocol::id::{ConversationKey, DeviceId, UserId};
use router::{RouterShard, Settings};

use crate::world::{GATEWAY, World, actor, server, user};

/// A session of the user begins: what its chat list says of the only conversation.
fn listed(world: &mut World, who: &str) -> Listed {
    let caller = world.session_caller(GATEWAY);
    world.send(ToRouter::SessionOpen {
        caller,
        user: user(who),
        device: DeviceId::parse("d").unwrap(),
        again: false,
    });
    world.settle();
    let ToGateway::SessionOpened { conversations, .. } = world.answer(&caller) else { panic!("opened") };
    let entry = &conversations[0];
    Listed { head: entry.head, lamport: entry.lamport, read: entry.read, role: entry.role }
}

fn attach(world: &mut World, who: &str, room: ConversationKey, listed: Listed) -> Option<AttachedState> {
    let caller = world.session_caller(GATEWAY);
    let items = [AttachItem { conversation: room.conversation, listed: Some(listed) }].into();
    world.send(ToRouter::Attach { caller, actor: actor(who), items });
    world.settle();
    match world.answer(&caller) {
        ToGateway::Attached { items, refused: None, .. } => items[0].state,
        other => panic!("{other:?}"),
    }
}

fn leave(name: &str) -> Change {
    Change::Leave { user: UserId::parse(name).unwrap() }
}

/// The owner forgets all that it knows, and has looked at the conversation since, for somebody else.
fn forget(world: &mut World, room: ConversationKey) {
    let epoch = storage::claim(&mut world.engine).unwrap();
    world.shards[0] = RouterShard::new(RouterId(0), crate::world::alone(1, epoch), Settings::default(), 1);
    world.attach("alice", room, GATEWAY).unwrap();
}

#[test]
fn a_listed_member_attaches_without_a_load() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.say("alice", room, "1", "x").unwrap();
    let list = listed(&mut world, "bob");
    forget(&mut world, room);
    let loads = world.shards[0].counters().loads;
    let state = attach(&mut world, "bob", room, list).unwrap();
    assert_eq!((state.head, state.role), (1, Role::Member));
    assert_eq!(world.shards[0].counters().loads, loads);
    world.assert_idle();
}

#[test]
fn an_old_list_is_not_believed() {
    let mut world = World::new(1);
    let room = world.group("room");
    let list = listed(&mut world, "bob");
    world.change(server(), room, leave("bob")).unwrap();
    assert_eq!(attach(&mut world, "bob", room, list), None);
    forget(&mut world, room);
    assert_eq!(attach(&mut world, "bob", room, list), None);
}

#[test]
fn a_list_of_an_earlier_life_is_not_believed() {
    let mut world = World::new(1);
    let room = world.group("room");
    let list = listed(&mut world, "bob");
    let removed = world.ask(|caller| ToRouter::Remove { caller, actor: server(), conversation: room });
    assert!(matches!(removed, ToGateway::Removed { .. }));
    // In the same millisecond, and with nothing in its log, like the first.
    let again = world.create("room", ConversationKind::Group, &[("alice", Role::Member)]);
    assert_eq!(again, room);
    forget(&mut world, room);
    assert_eq!(attach(&mut world, "bob", room, list), None);
}
