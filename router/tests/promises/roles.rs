//! Who may do what, by role; and a stranger learns nothing.

use protocol::envelope::{Actor, Authority, Change, ConversationKind, ToGateway, ToRouter};
use protocol::error::ErrorCode::{Forbidden, NotFound};
use protocol::error::Refusal;
use protocol::event::{ContentV1, Role};
use protocol::frame::Range;
use protocol::id::{ConversationKey, DeviceId, Tenant, UserId, UserKey};

use crate::world::{GATEWAY, World, actor, conversation, draft, message, refusal, server, user};

fn id(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn join(name: &str, role: Role) -> Change {
    Change::Join { user: id(name), role }
}

fn role(name: &str, role: Role) -> Change {
    Change::Role { user: id(name), role }
}

fn leave(name: &str) -> Change {
    Change::Leave { user: id(name) }
}

#[test]
fn members_send_and_readers_do_not() {
    let mut world = World::new(1);
    let room = world.group("room");
    for (who, seq) in [("olga", 1), ("mona", 2), ("alice", 3), ("system", 4)] {
        assert_eq!(world.say(who, room, "1", "x"), Ok(seq), "{who}");
    }
    assert_eq!(world.say("rita", room, "1", "x"), Err(Forbidden));
    let react = ContentV1::Reaction { target: 1, emoji: "+", remove: false };
    assert_eq!(world.tell("rita", room, "2", react), Err(Forbidden));
    assert_eq!(world.tell("alice", room, "2", react), Ok(5));
}

#[test]
fn members_edit_and_delete_their_own_and_moderators_delete_anybodys() {
    let mut world = World::new(1);
    let room = world.group("room");
    for number in 1..=3 {
        world.say("alice", room, &format!("{number}"), "x").unwrap();
    }
    let edit = ContentV1::Edit { target: 1, body: "y" };
    assert_eq!(world.tell("bob", room, "e", edit), Err(Forbidden));
    assert_eq!(world.tell("mona", room, "e", edit), Err(Forbidden));
    assert_eq!(world.tell("alice", room, "e", edit), Ok(4));
    let delete = |target| ContentV1::Delete { target };
    assert_eq!(world.tell("bob", room, "d", delete(1)), Err(Forbidden));
    assert_eq!(world.tell("alice", room, "d", delete(1)), Ok(5));
    assert_eq!(world.tell("mona", room, "d", delete(2)), Ok(6));
    assert_eq!(world.tell("olga", room, "d", delete(3)), Ok(7));
    assert_eq!(world.tell("alice", room, "n", delete(99)), Err(NotFound));
}

/// Every request of a stranger to a conversation, and its answer.
fn answers_of_a_stranger(world: &mut World, who: Actor, key: ConversationKey, prefix: &str) -> Vec<Refusal> {
    let sender = who.key.user.as_str().to_owned();
    let event = |id: &str| draft(&key, &sender, &format!("{prefix}{id}"), message("x"));
    let change_id = protocol::id::ClientId::parse(format!("{prefix}c")).unwrap();
    let (conversation, after) = (key, None);
    let newest = Range::Newest;
    vec![
        refusal(world.ask(|caller| ToRouter::Append {
            caller,
            actor: who,
            conversation,
            draft: event("1"),
            lamport: 0,
        })),
        refusal(world.ask(|caller| ToRouter::Signal { caller, actor: who, conversation, draft: event("2") })),
        refusal(world.ask(|caller| ToRouter::History {
            caller,
            actor: who,
            conversation,
            range: newest,
            limit: 9,
        })),
        refusal(world.ask(|caller| ToRouter::Show { caller, actor: who, conversation })),
        refusal(world.ask(|caller| ToRouter::Members { caller, actor: who, conversation, after, limit: 9 })),
        refusal(world.ask(|caller| ToRouter::Remove { caller, actor: who, conversation })),
        refusal(world.ask(|caller| ToRouter::Change {
            caller,
            actor: who,
            conversation,
            id: change_id,
            change: join(&sender, Role::Member),
            lamport: 0,
        })),
    ]
}

#[test]
fn a_stranger_cannot_tell_a_conversation_from_none() {
    let mut world = World::new(1);
    let room = world.group("room");
    let stranger = actor("stranger");
    let there = answers_of_a_stranger(&mut world, stranger, room, "a");
    let nowhere = answers_of_a_stranger(&mut world, stranger, conversation("nowhere"), "b");
    assert_eq!(there, nowhere);
    assert!(there.iter().all(|refusal| refusal.code == NotFound && refusal.retry_after_ms.is_none()));
    assert_eq!(world.attach("stranger", room, GATEWAY), None);
    // And of what happens there nothing reaches the stranger's gateway shard.
    world.mail.clear();
    world.say("alice", room, "1", "x").unwrap();
    assert!(world.mail.is_empty());
}

#[test]
fn another_tenant_sees_nothing_even_with_the_servers_authority() {
    let mut world = World::new(1);
    let room = world.group("room");
    let tenant = Tenant::parse("other").unwrap();
    for authority in [Authority::User, Authority::Server] {
        let who = Actor { key: UserKey { tenant, user: id("alice") }, authority };
        for refusal in answers_of_a_stranger(&mut world, who, room, "t") {
            assert_eq!(refusal.code, NotFound);
        }
    }
}

#[test]
fn a_stranger_marks_and_types_unheard() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    world.say("alice", room, "1", "x").unwrap();
    world.mail.clear();
    world.done.clear();
    let device = DeviceId::parse("d").unwrap();
    let who = actor("stranger");
    world.send(ToRouter::Mark { actor: who, device, conversation: room, received: Some(1), read: Some(1) });
    world.send(ToRouter::Typing { actor: who, conversation: room, on: true });
    world.send(ToRouter::Typing { actor: actor("rita"), conversation: room, on: true });
    world.settle();
    world.pass(10_000);
    assert!(world.mail.is_empty());
    assert!(!world.done.contains(&"mark"));
}

#[test]
fn anyone_of_the_tenant_reads_and_joins_a_public_conversation() {
    let mut world = World::new(1);
    let plaza = world.create("plaza", ConversationKind::Public, &[("olga", Role::Owner)]);
    world.say("olga", plaza, "1", "x").unwrap();
    let page = world.ask(|caller| ToRouter::History {
        caller,
        actor: actor("visitor"),
        conversation: plaza,
        range: Range::Newest,
        limit: 10,
    });
    assert!(matches!(page, ToGateway::Page { events, .. } if events.len() == 1));
    assert_eq!(world.say("visitor", plaza, "1", "x"), Err(Forbidden));
    assert_eq!(world.attach("visitor", plaza, GATEWAY), None);
    assert_eq!(world.change(actor("visitor"), plaza, join("visitor", Role::Moderator)), Err(Forbidden));
    assert_eq!(world.change(actor("visitor"), plaza, join("friend", Role::Member)), Err(Forbidden));
    assert_eq!(world.change(actor("visitor"), plaza, join("visitor", Role::Member)), Ok(2));
    assert_eq!(world.say("visitor", plaza, "1", "x"), Ok(3));
}

#[test]
fn moderators_manage_members_but_not_owners_and_grant_nothing_above_themselves() {
    let mut world = World::new(1);
    let room = world.group("room");
    assert_eq!(world.change(actor("alice"), room, join("zoe", Role::Member)), Err(Forbidden));
    assert_eq!(world.change(actor("mona"), room, join("zoe", Role::Owner)), Err(Forbidden));
    assert_eq!(world.change(actor("mona"), room, join("zoe", Role::Moderator)), Ok(1));
    assert_eq!(world.change(actor("mona"), room, role("olga", Role::Member)), Err(Forbidden));
    assert_eq!(world.change(actor("mona"), room, leave("olga")), Err(Forbidden));
    assert_eq!(world.change(actor("mona"), room, role("alice", Role::Owner)), Err(Forbidden));
    assert_eq!(world.change(actor("mona"), room, role("alice", Role::Reader)), Ok(2));
    assert_eq!(world.say("alice", room, "1", "x"), Err(Forbidden));
    assert_eq!(world.change(actor("mona"), room, leave("alice")), Ok(3));
    assert_eq!(world.say("alice", room, "1", "x"), Err(NotFound));
    assert_eq!(world.change(actor("mona"), room, leave("alice")), Err(NotFound));
    assert_eq!(world.change(actor("olga"), room, role("bob", Role::Owner)), Ok(4));
    assert_eq!(world.change(actor("rita"), room, leave("rita")), Ok(5));
}

#[test]
fn only_owners_and_the_server_change_and_remove_a_conversation() {
    let mut world = World::new(1);
    let room = world.group("room");
    let title = |title: &str| Change::Title { title: Some(title.into()) };
    assert_eq!(world.change(actor("mona"), room, title("a")), Err(Forbidden));
    assert_eq!(world.change(actor("olga"), room, title("b")), Ok(1));
    assert_eq!(world.change(server(), room, title("c")), Ok(2));
    let shown = world.ask(|caller| ToRouter::Show { caller, actor: actor("rita"), conversation: room });
    let ToGateway::Conversation { conversation: shown, .. } = shown else { panic!("{shown:?}") };
    assert_eq!((shown.title.as_deref(), shown.members, shown.head), (Some("c"), 5, 2));
    let remove = |who| move |caller| ToRouter::Remove { caller, actor: who, conversation: room };
    assert_eq!(refusal(world.ask(remove(actor("mona")))).code, Forbidden);
    assert!(matches!(world.ask(remove(actor("olga"))), ToGateway::Removed { .. }));
    assert_eq!(world.say("olga", room, "1", "x"), Err(NotFound));
}

#[test]
fn a_direct_conversation_has_two_members_for_ever_and_an_id_of_its_own_kind() {
    let mut world = World::new(1);
    let pair =
        world.create("direct:ab", ConversationKind::Direct, &[("alice", Role::Owner), ("bob", Role::Member)]);
    for who in [actor("alice"), server()] {
        assert_eq!(world.change(who, pair, join("carl", Role::Member)), Err(Forbidden));
        assert_eq!(world.change(who, pair, leave("alice")), Err(Forbidden));
        assert_eq!(world.change(who, pair, role("bob", Role::Owner)), Err(Forbidden));
    }
    assert_eq!(world.change(actor("carl"), pair, join("carl", Role::Member)), Err(NotFound));
    assert_eq!(world.say("bob", pair, "1", "x"), Ok(1));
    let bad = [
        ("direct:x", ConversationKind::Group, 2),
        ("x", ConversationKind::Direct, 2),
        ("direct:y", ConversationKind::Direct, 1),
        ("direct:y", ConversationKind::Direct, 3),
    ];
    for (name, kind, members) in bad {
        let members = ["a", "b", "c"][..members].iter();
        let members = members.map(|name| crate::world::member(name, Role::Member)).collect();
        let key = conversation(name);
        let answer = world.ask(|caller| ToRouter::Create {
            caller,
            actor: server(),
            conversation: key,
            kind,
            title: None,
            members,
        });
        assert_eq!(refusal(answer).code, protocol::error::ErrorCode::BadRequest, "{name}");
    }
}

#[test]
fn an_event_in_a_false_name_is_refused() {
    let mut world = World::new(1);
    let room = world.group("room");
    let forged = [(room, "bob"), (conversation("elsewhere"), "alice")];
    for (named, sender) in forged {
        let event = draft(&named, sender, "1", message("x"));
        let answer = world.ask(|caller| ToRouter::Append {
            caller,
            actor: actor("alice"),
            conversation: room,
            draft: event,
            lamport: 0,
        });
        assert_eq!(refusal(answer).code, protocol::error::ErrorCode::BadRequest);
    }
    let joined = ContentV1::Joined { user: "mallory", role: Role::Owner };
    assert_eq!(world.tell("alice", room, "j", joined), Err(protocol::error::ErrorCode::BadRequest));
    assert!(world.attach(user("mallory").user.as_str(), room, GATEWAY).is_none());
}
