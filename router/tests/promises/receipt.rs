//! Cursors are monotone, never past the head, and told together; counts in place of users in large conversations.

use protocol::envelope::{Change, ConversationKind, ToGateway, ToRouter};
use protocol::event::Role;
use protocol::id::{ConversationKey, DeviceId, UserId};
use router::Settings;

use crate::world::{GATEWAY, World, actor, server};

type Receipt = (Option<String>, Option<u64>, Option<u64>, Option<u32>, Option<u32>);

fn mark(world: &mut World, who: &str, room: ConversationKey, received: Option<u64>, read: Option<u64>) {
    let device = DeviceId::parse("d").unwrap();
    world.send(ToRouter::Mark { actor: actor(who), device, conversation: room, received, read });
    world.settle();
}

fn receipts(world: &mut World) -> Vec<Receipt> {
    world.pass(200);
    let receipts = world.mail_to(GATEWAY, |envelope| match envelope {
        ToGateway::Receipt { user, received, read, received_count, read_count, .. } => {
            Some((user.map(|user| user.to_string()), *received, *read, *received_count, *read_count))
        }
        _ => None,
    });
    world.mail.clear();
    receipts
}

fn room_with_messages(world: &mut World, messages: u64) -> ConversationKey {
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    for number in 0..messages {
        world.say("alice", room, &format!("{number}"), "x").unwrap();
    }
    room
}

#[test]
fn one_receipt_tells_what_many_marks_have_moved() {
    let mut world = World::new(1);
    let room = room_with_messages(&mut world, 10);
    for seq in 1..=10 {
        mark(&mut world, "bob", room, Some(seq), Some(seq / 2));
    }
    assert_eq!(receipts(&mut world), [(Some("bob".into()), Some(10), Some(5), None, None)]);
    world.assert_idle();
}

#[test]
fn cursors_never_move_back_nor_past_the_head() {
    let mut world = World::new(1);
    let room = room_with_messages(&mut world, 5);
    mark(&mut world, "bob", room, None, Some(3));
    assert_eq!(receipts(&mut world), [(Some("bob".into()), None, Some(3), None, None)]);
    mark(&mut world, "bob", room, None, Some(2));
    assert_eq!(receipts(&mut world), []);
    mark(&mut world, "bob", room, None, Some(u64::MAX));
    assert_eq!(receipts(&mut world), [(Some("bob".into()), None, Some(5), None, None)]);
    assert!(world.attach("bob", room, GATEWAY).is_some());
}

#[test]
fn large_conversations_tell_counts_and_no_users() {
    let mut world = World::with(1, Settings { large_members: 3, ..Settings::default() });
    let members = ["a", "b", "c", "d"].map(|name| (name, Role::Member));
    let room = world.create("large", ConversationKind::Group, &members);
    world.attach("a", room, GATEWAY);
    for number in 0..4 {
        world.say("a", room, &format!("{number}"), "x").unwrap();
    }
    mark(&mut world, "b", room, None, Some(4));
    mark(&mut world, "c", room, None, Some(4));
    mark(&mut world, "d", room, None, Some(2));
    assert_eq!(receipts(&mut world), [(None, None, Some(4), None, Some(2))]);
}

#[test]
fn cursors_survive_a_store_that_was_away() {
    let mut world = World::new(1);
    let room = room_with_messages(&mut world, 5);
    mark(&mut world, "bob", room, None, Some(1));
    world.fate = crate::world::Fate::Failed(storage::request::Failure::Unavailable);
    mark(&mut world, "bob", room, None, Some(4));
    world.fate = crate::world::Fate::Done;
    world.pass(2_000);
    world.assert_idle();
    let caller = world.caller(GATEWAY);
    let items = [protocol::envelope::AttachItem { conversation: room.conversation, listed: None }].into();
    // A shard that has forgotten everything reads it from the store.
    let epoch = storage::claim(&mut world.engine).unwrap();
    world.shards[0] = router::RouterShard::new(
        protocol::envelope::RouterId(0),
        crate::world::alone(1, epoch),
        Settings::default(),
        1,
    );
    world.send(ToRouter::Attach { caller, actor: actor("bob"), items });
    world.settle();
    let ToGateway::Attached { items, .. } = world.answer(&caller) else { panic!("attached") };
    assert_eq!(items[0].state.unwrap().read, 4);
}

#[test]
fn who_comes_back_begins_without_cursors_and_may_set_them_again() {
    let mut world = World::new(1);
    let room = room_with_messages(&mut world, 5);
    mark(&mut world, "bob", room, Some(5), Some(5));
    assert_eq!(receipts(&mut world), [(Some("bob".into()), Some(5), Some(5), None, None)]);
    let user = UserId::parse("bob").unwrap();
    world.change(server(), room, Change::Leave { user }).unwrap();
    world.change(server(), room, Change::Join { user, role: Role::Member }).unwrap();
    world.mail.clear();
    mark(&mut world, "bob", room, Some(4), Some(4));
    assert_eq!(receipts(&mut world), [(Some("bob".into()), Some(4), Some(4), None, None)]);
}
