//! Changes and creations: complete, idempotent, and what was allowed before a change is decided again after it.

use protocol::envelope::{Change, ConversationKind, Member, ToGateway, ToRouter};
use protocol::error::ErrorCode::{Conflict, Forbidden, NotFound, Unavailable};
use protocol::event::Role;
use protocol::id::{ClientId, ConversationKey, UserId};
use storage::request::Failure;

use crate::world::{Fate, GATEWAY, World, actor, conversation, member, message, refusal, server, stored};

fn create(
    world: &mut World,
    who: protocol::envelope::Actor,
    key: ConversationKey,
    members: Vec<Member>,
) -> ToGateway {
    let kind = ConversationKind::Group;
    let members = members.into();
    world.ask(|caller| ToRouter::Create { caller, actor: who, conversation: key, kind, title: None, members })
}

fn crowd(number: usize) -> Vec<Member> {
    let mut members = vec![member("olga", Role::Owner)];
    members.extend((1..number).map(|number| member(&format!("m{number:05}"), Role::Member)));
    members
}

#[test]
fn creating_twice_shows_what_is_there_and_tells_a_stranger_only_that_the_id_is_taken() {
    let mut world = World::new(1);
    let key = conversation("room");
    let members = || vec![member("alice", Role::Member), member("bob", Role::Member)];
    let first = create(&mut world, actor("alice"), key, members());
    assert!(matches!(first, ToGateway::Created { created: true, .. }));
    let again = create(&mut world, actor("bob"), key, members());
    let ToGateway::Created { created: false, conversation, .. } = again else { panic!("{again:?}") };
    assert_eq!(conversation.members, 2);
    let members = vec![member("mallory", Role::Owner)];
    assert_eq!(refusal(create(&mut world, actor("mallory"), key, members)).code, Conflict);
    // The creator owns what it has created.
    let title = Change::Title { title: Some("mine".into()) };
    assert_eq!(world.change(actor("bob"), key, title.clone()), Err(Forbidden));
    assert_eq!(world.change(actor("alice"), key, title), Ok(1));
}

#[test]
fn more_members_than_a_transaction_holds_all_join() {
    let mut world = World::new(2);
    let key = conversation("crowd");
    let answer = create(&mut world, server(), key, crowd(1_701));
    let ToGateway::Created { conversation, created: true, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((conversation.members, conversation.head), (1_701, 1_201));
    for who in ["m00001", "m00600", "m01700"] {
        assert!(world.attach(who, key, GATEWAY).is_some(), "{who}");
    }
    world.assert_idle();
}

#[test]
fn a_creation_that_broke_off_is_completed_by_its_retry() {
    let mut world = World::new(1);
    let key = conversation("crowd");
    let caller = world.caller(GATEWAY);
    let (kind, members) = (ConversationKind::Group, crowd(1_701).into());
    world.send(ToRouter::Create {
        caller,
        actor: actor("olga"),
        conversation: key,
        kind,
        title: None,
        members,
    });
    world.turn();
    while world.shards[0].counters().stored == 0 {
        world.do_request(0);
        world.turn();
    }
    world.fate = Fate::DoneUnknown;
    world.do_request(0);
    world.turn();
    world.fate = Fate::Failed(Failure::Unavailable);
    world.settle();
    world.pass(5);
    world.fate = Fate::Done;
    world.pass(2_000);
    assert_eq!(refusal(world.answer(&caller)).code, Unavailable);
    let answer = create(&mut world, actor("olga"), key, crowd(1_701));
    let ToGateway::Created { conversation, created: false, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((conversation.members, conversation.head), (1_701, 1_201), "nobody joined twice");
    world.assert_idle();
}

#[test]
fn a_creation_whose_end_is_unknown_is_found_by_its_retry() {
    let mut world = World::new(1);
    let key = conversation("room");
    world.fate = Fate::DoneUnknown;
    assert_eq!(refusal(create(&mut world, actor("olga"), key, crowd(3))).code, Unavailable);
    world.fate = Fate::Done;
    let answer = create(&mut world, actor("olga"), key, crowd(3));
    assert!(matches!(answer, ToGateway::Created { created: false, .. }), "{answer:?}");
    assert_eq!(world.say("olga", key, "1", "x"), Ok(1));
}

#[test]
fn what_was_allowed_before_a_role_changed_is_decided_again() {
    let mut world = World::new(1);
    let room = world.group("room");
    for who in ["alice", "olga", "mona"] {
        world.say(who, room, "warm", "x").unwrap();
    }
    // All in one turn: Alice sends, is removed, and sends again; Mona is demoted, and removes Bob.
    let first = world.append(actor("alice"), room, "1", message("x"));
    let ask = |world: &mut World, who: &str, id: &str, change: Change| {
        let caller = world.caller(GATEWAY);
        let id = ClientId::parse(id).unwrap();
        world.send(ToRouter::Change {
            caller,
            actor: actor(who),
            conversation: room,
            id,
            change,
            lamport: 0,
        });
        caller
    };
    let user = |name: &str| UserId::parse(name).unwrap();
    world.say("bob", room, "warm", "x").unwrap();
    let removed = ask(&mut world, "olga", "o1", Change::Leave { user: user("alice") });
    let second = world.append(actor("alice"), room, "2", message("x"));
    let demoted = ask(&mut world, "olga", "o2", Change::Role { user: user("mona"), role: Role::Reader });
    let third = ask(&mut world, "mona", "m1", Change::Leave { user: user("bob") });
    world.settle();
    let answers = [first, removed, second, demoted, third].map(|caller| stored(world.answer(&caller)));
    assert_eq!(answers, [Ok(4), Ok(6), Err(NotFound), Ok(7), Err(Forbidden)]);
    assert_eq!(world.say("bob", room, "2", "x"), Ok(8));
}

#[test]
fn the_last_owner_stays() {
    let mut world = World::new(1);
    let room = world.group("room");
    let leave = Change::Leave { user: UserId::parse("olga").unwrap() };
    assert_eq!(world.change(actor("olga"), room, leave), Err(Forbidden));
    assert_eq!(world.say("olga", room, "1", "x"), Ok(1));
}

#[test]
fn joining_again_changes_nothing_and_is_no_error() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.attach("alice", room, GATEWAY);
    let join = || Change::Join { user: UserId::parse("alice").unwrap(), role: Role::Owner };
    assert_eq!(world.change(server(), room, join()), Ok(0));
    assert_eq!(world.change(actor("alice"), room, join()), Ok(0));
    assert_eq!(world.published(GATEWAY), [0; 0]);
    let title = Change::Title { title: None };
    assert_eq!(world.change(actor("alice"), room, title), Err(Forbidden), "her role is what it was");
}

#[test]
fn a_removal_waits_for_what_was_sent_before_and_hides_from_what_comes_after() {
    let mut world = World::new(1);
    let room = world.group("room");
    world.say("alice", room, "0", "x").unwrap();
    let before = world.append(actor("alice"), room, "1", message("x"));
    let removal = world.caller(GATEWAY);
    world.send(ToRouter::Remove { caller: removal, actor: server(), conversation: room });
    let after = world.append(actor("alice"), room, "2", message("x"));
    world.settle();
    assert_eq!(stored(world.answer(&before)), Ok(2));
    assert!(matches!(world.answer(&removal), ToGateway::Removed { .. }));
    assert_eq!(stored(world.answer(&after)), Err(NotFound));
    let again = world.group("room");
    assert_eq!(world.say("alice", again, "1", "x"), Ok(1));
    world.assert_idle();
}
