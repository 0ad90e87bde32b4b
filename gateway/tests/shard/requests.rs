//! Requests: each operation of PROTOCOL section 2 reaches its owner as it was meant, and each answer its client.

use gateway::shard::Settings;
use protocol::envelope::{Authority, ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::frame::{ChatListEntry, Range};
use protocol::id::{ConversationId, Tenant, UserId, UserKey};
use protocol::limits::WATCH_USERS_MAX;
use serde_json::{Value, json};

use crate::owner::key;
use crate::world::{World, settings, token_for};

fn ready() -> (World, ring::token::Token) {
    let mut world = World::new();
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "phone");
    world.asked();
    (world, alice)
}

fn asked_one(world: &mut World) -> ToRouter {
    let mut asked = world.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    asked.pop().unwrap().1
}

#[test]
fn edits_deletions_and_reactions_are_appends_of_their_own_kind() {
    let (mut world, alice) = ready();
    for (frame, expected) in [
        (
            json!({"op": "send", "id": "1", "conversation": "c", "body": "b", "kind": "k", "meta": {"a": 1}, "reply_to": 3}),
            json!({"type": "message", "kind": "k", "body": "b", "meta": {"a": 1}, "reply_to": 3}),
        ),
        (
            json!({"op": "edit", "id": "2", "conversation": "c", "target": 1, "body": "B"}),
            json!({"type": "edit", "target": 1, "body": "B"}),
        ),
        (
            json!({"op": "delete", "id": "3", "conversation": "c", "target": 1}),
            json!({"type": "delete", "target": 1}),
        ),
        (
            json!({"op": "react", "id": "4", "conversation": "c", "target": 1, "emoji": "+", "remove": true}),
            json!({"type": "reaction", "target": 1, "emoji": "+", "remove": true}),
        ),
    ] {
        world.say(alice, &frame);
        let heard = world.hear(alice);
        assert_eq!((&heard[0]["op"], &heard[0]["id"]), (&json!("ack"), &frame["id"]));
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&heard[1][name], value, "{name} of {}", heard[1]);
        }
        assert_eq!((&heard[1]["device"], &heard[1]["sender"]), (&json!("phone"), &json!("alice")));
    }
}

#[test]
fn an_ephemeral_send_is_a_signal_and_its_ack_has_no_seq() {
    let (mut world, alice) = ready();
    world.say(alice, &json!({"op": "send", "id": "1", "conversation": "c", "body": "b", "ephemeral": true}));
    let ToRouter::Signal { caller, conversation, draft, .. } = asked_one(&mut world) else { panic!() };
    let id = protocol::id::ClientId::parse("1").unwrap();
    let event = draft.seal(0, 5, 6);
    world.envelope(ToGateway::Signalled { caller, conversation, id, time: 5 });
    world.envelope(ToGateway::Signal { conversation, event });
    let heard = world.hear(alice);
    assert_eq!((&heard[0]["op"], &heard[0]["id"], heard[0].get("seq")), (&json!("ack"), &json!("1"), None));
    assert_eq!(
        (&heard[1]["op"], &heard[1]["body"], heard[1].get("seq")),
        (&json!("signal"), &json!("b"), None)
    );
}

#[test]
fn history_asks_in_its_four_directions_and_echoes_ref() {
    let (mut world, alice) = ready();
    for (field, expected) in [
        (json!({}), Range::Newest),
        (json!({"before": 7}), Range::Before(7)),
        (json!({"after": 7}), Range::After(7)),
        (json!({"around": 7}), Range::Around(7)),
        (json!({"since": 7}), Range::Since(7)),
    ] {
        let mut frame = json!({"op": "history", "ref": -5, "conversation": "c", "limit": 200});
        frame.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        world.say(alice, &frame);
        let ToRouter::History { range, limit, actor, .. } = asked_one(&mut world) else { panic!() };
        assert_eq!((range, limit, actor.authority), (expected, 200, Authority::User));
        let heard = world.hear(alice);
        assert_eq!((&heard[0]["op"], &heard[0]["ref"]), (&json!("page"), &json!(-5)));
    }
}

#[test]
fn a_sync_gives_one_page_a_conversation_and_then_synced() {
    let mut world = World::new();
    let names: Vec<String> = (0..50).map(|at| format!("c{at}")).collect();
    for (at, name) in names.iter().enumerate() {
        world.owner.conversation(name, &["alice"]);
        for _ in 0..at {
            world.owner.append(name, "bob", "x");
        }
    }
    let alice = world.session("alice", "d");
    let cursors: Vec<Value> = names.iter().map(|name| json!([name, 2])).collect();
    world.say(alice, &json!({"op": "sync", "ref": 9, "cursors": cursors, "limit": 10}));
    let mut heard = world.hear(alice);
    assert_eq!(heard.len(), 51);
    heard[..50].sort_by_key(|page| page["head"].as_u64());
    for (at, page) in heard[..50].iter().enumerate() {
        assert_eq!((&page["op"], &page["ref"], &page["head"]), (&json!("page"), &json!(9), &json!(at)));
        assert_eq!(page["events"].as_array().unwrap().len(), at.saturating_sub(2).min(10));
    }
    assert_eq!(heard[50], json!({"op": "synced", "ref": 9}));
    world.say(alice, &json!({"op": "sync", "ref": 10, "cursors": []}));
    assert_eq!(world.hear(alice), [json!({"op": "synced", "ref": 10})]);
}

#[test]
fn a_refused_page_of_a_sync_is_an_error_and_the_sync_still_ends() {
    let (mut world, alice) = ready();
    world.owner.away = Some(Refusal::new(ErrorCode::NotFound, "there is no such conversation"));
    world.say(alice, &json!({"op": "sync", "ref": 1, "cursors": [["x", 1], ["y", 1]]}));
    let heard = world.hear(alice);
    let ops: Vec<_> = heard.iter().map(|frame| frame["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["error", "error", "synced"]);
    assert_eq!((&heard[0]["ref"], &heard[0]["code"]), (&json!(1), &json!("not_found")));
}

#[test]
fn a_refusal_names_the_id_of_a_send_and_the_ref_of_any_other() {
    let (mut world, alice) = ready();
    world.owner.away = Some(Refusal::retry(ErrorCode::Unavailable, "away", 250));
    for frame in [
        json!({"op": "send", "id": "m", "conversation": "c", "body": "b"}),
        json!({"op": "history", "ref": 7, "conversation": "c"}),
        json!({"op": "conversations", "ref": 8}),
    ] {
        world.say(alice, &frame);
        let heard = world.hear(alice);
        assert_eq!((&heard[0]["op"], &heard[0]["code"]), (&json!("error"), &json!("unavailable")));
        assert_eq!((heard[0].get("id"), heard[0].get("ref")), (frame.get("id"), frame.get("ref")));
        assert_eq!(heard[0]["retry_after_ms"], 250);
    }
}

#[test]
fn frames_that_are_wrong_are_answered_and_the_connection_stays() {
    let (mut world, alice) = ready();
    for (frame, code) in [
        (json!({"op": "nonsense", "ref": 1}), "unknown_op"),
        (json!({"op": "history", "ref": 1}), "bad_request"),
        (json!({"op": "history", "ref": 1, "conversation": "not an id"}), "bad_request"),
        (json!({"op": "conversations", "ref": 1, "after": "nonsense"}), "bad_request"),
    ] {
        world.say(alice, &frame);
        let heard = world.hear(alice);
        assert_eq!((&heard[0]["code"], &heard[0]["ref"]), (&json!(code), &json!(1)), "{frame}");
    }
    world.say(alice, &json!({"op": "ping", "ref": 2}));
    assert_eq!(world.hear(alice), [json!({"op": "pong", "ref": 2})]);
}

#[test]
fn a_body_or_meta_over_its_limit_is_too_large() {
    let (mut world, alice) = ready();
    for (bytes, fits) in [(8 * 1024, true), (8 * 1024 + 1, false)] {
        let body = "x".repeat(bytes);
        world.say(alice, &json!({"op": "send", "id": "b", "conversation": "c", "body": body}));
        let expected = if fits { "ack" } else { "error" };
        let heard = world.hear(alice);
        assert_eq!(heard[0]["op"], expected);
        assert!(fits || heard[0]["code"] == "too_large" && heard[0]["id"] == "b");
        world.say(alice, &json!({"op": "edit", "id": "e", "conversation": "c", "target": 1, "body": body}));
        assert_eq!(world.hear(alice)[0]["op"], expected);
    }
    for (padding, fits) in [(2 * 1024 - 8, true), (2 * 1024 - 7, false)] {
        let meta = json!({"k": "x".repeat(padding)});
        assert_eq!(meta.to_string().len() <= 2 * 1024, fits);
        world.say(alice, &json!({"op": "send", "id": "m", "conversation": "c", "body": "", "meta": meta}));
        assert_eq!(world.hear(alice)[0]["op"], if fits { "ack" } else { "error" });
    }
}

#[test]
fn marks_and_typing_go_to_the_owner_and_are_not_answered() {
    let (mut world, alice) = ready();
    world.say(alice, &json!({"op": "received", "conversation": "c", "seq": 3}));
    let ToRouter::Mark { received, read, device, .. } = asked_one(&mut world) else { panic!() };
    assert_eq!((received, read, device.as_str()), (Some(3), None, "phone"));
    world.say(alice, &json!({"op": "read", "conversation": "c", "seq": 4}));
    let ToRouter::Mark { received, read, .. } = asked_one(&mut world) else { panic!() };
    assert_eq!((received, read), (None, Some(4)));
    world.say(alice, &json!({"op": "typing", "conversation": "c", "on": true}));
    let ToRouter::Typing { on, .. } = asked_one(&mut world) else { panic!() };
    assert!(on && world.hear(alice).is_empty());
}

#[test]
fn the_chat_list_goes_on_where_it_ended() {
    let (mut world, alice) = ready();
    world.say(alice, &json!({"op": "conversations", "ref": 1, "limit": 2}));
    let ToRouter::Conversations { caller, after: None, limit: 2, .. } = asked_one(&mut world) else {
        panic!()
    };
    let entry = |name: &str, lamport| ChatListEntry {
        conversation: ConversationId::parse(name).unwrap(),
        head: 5,
        read: 2,
        role: protocol::event::Role::Owner,
        lamport,
    };
    let conversations = [entry("b", 9), entry("a", 8)].into();
    world.envelope(ToGateway::Conversations { caller, conversations, more: true });
    let heard = world.hear(alice);
    assert_eq!(heard[0]["conversations"][1]["conversation"], "a");
    world.say(alice, &json!({"op": "conversations", "ref": 2, "after": heard[0]["next"]}));
    let ToRouter::Conversations { caller, after, .. } = asked_one(&mut world) else { panic!() };
    assert_eq!(after, Some((8, ConversationId::parse("a").unwrap())));
    world.envelope(ToGateway::Conversations { caller, conversations: [].into(), more: false });
    assert!(world.hear(alice)[0].get("next").is_none_or(Value::is_null));
}

#[test]
fn a_users_presence_is_asked_for_once_a_shard_and_told_to_each_watcher() {
    let mut world = World::new();
    let (alice, bob) = (world.session("alice", "d"), world.session("bob", "d"));
    world.asked();
    let watched = |world: &mut World| -> usize {
        let asked = world.asked();
        asked.iter().filter(|(_, envelope)| matches!(envelope, ToRouter::Watch { .. })).count()
    };
    world.say(alice, &json!({"op": "watch", "users": ["carol"]}));
    assert_eq!(watched(&mut world), 1);
    world.say(bob, &json!({"op": "watch", "users": ["carol"]}));
    assert_eq!(watched(&mut world), 0);
    let carol = UserKey { tenant: Tenant::default_tenant(), user: UserId::parse("carol").unwrap() };
    world.envelope(ToGateway::Presence { user: carol, online: true, last_seen: None });
    let online = json!({"op": "presence", "user": "carol", "online": true});
    for session in [alice, bob] {
        assert_eq!(world.hear(session), std::slice::from_ref(&online));
    }
    // A watch is answered at once when it is known, also one that is there already.
    world.say(alice, &json!({"op": "watch", "users": ["carol"]}));
    assert_eq!(world.hear(alice), [online]);
    world.say(alice, &json!({"op": "unwatch", "users": ["carol", "nobody"]}));
    world.asked();
    world.envelope(ToGateway::Presence { user: carol, online: false, last_seen: Some(9) });
    assert!(world.hear(alice).is_empty());
    assert_eq!(
        world.hear(bob),
        [json!({"op": "presence", "user": "carol", "online": false, "last_seen": 9})]
    );
    world.end(bob, 0);
    assert!(world.asked().iter().any(|(_, envelope)| matches!(envelope, ToRouter::Unwatch { .. })));
}

#[test]
fn who_watched_many_is_unwatched_in_as_many_envelopes_as_it_takes() {
    let mut world = World::with(Settings { watch_users_max: 1_200, ..settings() });
    let alice = world.session("alice", "d");
    for hundreds in 0..12 {
        let users: Vec<String> = (0..100).map(|user| format!("u{}", hundreds * 100 + user)).collect();
        world.say(alice, &json!({"op": "watch", "users": users}));
    }
    world.asked();
    world.end(alice, 0);
    let asked = world.asked();
    let unwatched: Vec<usize> = asked
        .iter()
        .filter_map(|(_, envelope)| match envelope {
            ToRouter::Unwatch { users, .. } => Some(users.len()),
            _ => None,
        })
        .collect();
    assert_eq!(unwatched.iter().sum::<usize>(), 1_200);
    assert!(unwatched.iter().all(|users| *users <= WATCH_USERS_MAX), "{unwatched:?}");
}

#[test]
fn a_ticket_resumes_the_same_device_and_no_other() {
    let mut world = World::new();
    let first = world.websocket();
    let short = token_for("alice", "acme", 60);
    world.say(first, &json!({"op": "hello", "device": "phone", "token": short}));
    let ticket = world.hear(first)[0]["resume"].clone();
    let second = world.websocket();
    world.say(second, &json!({"op": "hello", "device": "phone", "resume": ticket}));
    let welcome = world.hear(second);
    assert_eq!((&welcome[0]["op"], &welcome[0]["user"]), (&json!("welcome"), &json!("alice")));
    let open = world.asked().into_iter().rev().find_map(|(_, envelope)| match envelope {
        ToRouter::SessionOpen { user, .. } => Some(user),
        _ => None,
    });
    assert_eq!(open.unwrap().tenant.as_str(), "acme");
    let other = world.websocket();
    world.say(other, &json!({"op": "hello", "device": "laptop", "resume": ticket}));
    assert_eq!(world.close_code(other).0, 4401);
    // A session by ticket ends with the token that it stands for.
    world.pass_ms(60_100);
    assert_eq!(world.close_code(second).0, 4401);
    let late = world.websocket();
    world.say(late, &json!({"op": "hello", "device": "phone", "resume": ticket}));
    assert_eq!(world.close_code(late).0, 4401);
}

#[test]
fn a_late_answer_reaches_nobody_in_the_slot_of_the_one_that_asked() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice", "bob"]);
    let alice = world.session("alice", "d");
    world.asked();
    world.owner.silent = true;
    world.say(alice, &json!({"op": "send", "id": "m", "conversation": "c", "body": "b"}));
    let ToRouter::Append { caller, .. } = asked_one(&mut world) else { panic!() };
    world.owner.silent = false;
    world.end(alice, 0);
    let bob = world.accept_in(alice.slot, 0);
    world.send_bytes(bob, crate::world::request("/v1/connect", "").as_bytes());
    world.take_head(bob);
    world.say(bob, &json!({"op": "hello", "device": "d", "token": crate::world::token("bob")}));
    world.hear(bob);
    let id = protocol::id::ClientId::parse("m").unwrap();
    world.envelope(ToGateway::Appended {
        caller,
        conversation: key("c"),
        id,
        seq: 1,
        time: 1,
        duplicate: false,
    });
    assert!(world.hear(bob).is_empty());
}
