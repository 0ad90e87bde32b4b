//! Promise: a call asks the owner exactly what it says, and the answer shows exactly what the owner said.

mod support;

use std::sync::{Arc, Mutex};

use protocol::envelope::{Change, Conversation, ConversationKind, Member, ToGateway, ToRouter};
use protocol::event::{ContentV1, Draft, EventV1, Role};
use protocol::frame::{ChatListEntry, Range};
use protocol::id::{ConversationId, ConversationKey, Tenant, UserId};
use serde_json::json;
use support::{Answer, KEY, World, settings};

/// Puts one call to a server whose router shards answer with what `reply` makes of the envelope; gives that envelope too.
fn call(
    reply: impl Fn(&ToRouter) -> ToGateway + Send + Sync + 'static,
    (method, path, credential, body): (&str, &str, &str, &str),
) -> (Answer, ToRouter) {
    let asked = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&asked);
    let routers = move |envelope: ToRouter| {
        if is_canary(&envelope) {
            return Vec::new();
        }
        let answer = reply(&envelope);
        *noted.lock().unwrap() = Some(envelope);
        vec![answer]
    };
    let world = World::start(settings(), Arc::new(routers));
    let answer = world.call(method, path, credential, body);
    let envelope = asked.lock().unwrap().take().expect("asked");
    (answer, envelope)
}

fn is_canary(envelope: &ToRouter) -> bool {
    matches!(envelope, ToRouter::Create { conversation, .. } if conversation.tenant == Tenant::SYSTEM)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn key(id: &str) -> ConversationKey {
    ConversationKey { tenant: Tenant::default_tenant(), conversation: ConversationId::parse(id).unwrap() }
}

fn conversation(key: ConversationKey) -> Conversation {
    let kind = ConversationKind::Group;
    Conversation { key, kind, title: Some("\"T\"".into()), created: 5, head: 7, lamport: 9, members: 3 }
}

fn created(is_new: bool) -> impl Fn(&ToRouter) -> ToGateway {
    move |envelope| match envelope {
        ToRouter::Create { caller, conversation: key, .. } => {
            ToGateway::Created { caller: *caller, conversation: conversation(*key), created: is_new }
        }
        other => panic!("{other:?}"),
    }
}

fn appended(seq: u64, duplicate: bool) -> impl Fn(&ToRouter) -> ToGateway {
    move |envelope| match envelope {
        ToRouter::Change { caller, conversation, id, .. } => ToGateway::Appended {
            caller: *caller,
            conversation: *conversation,
            id: *id,
            seq,
            time: 8,
            duplicate,
        },
        ToRouter::Append { caller, conversation, draft, .. } => ToGateway::Appended {
            caller: *caller,
            conversation: *conversation,
            id: protocol::id::ClientId::parse(&*draft.view().id).unwrap(),
            seq,
            time: 8,
            duplicate,
        },
        other => panic!("{other:?}"),
    }
}

fn members_of(envelope: &ToRouter) -> Vec<(String, Role)> {
    let ToRouter::Create { members, .. } = envelope else { panic!("{envelope:?}") };
    members.iter().map(|member| (member.user.to_string(), member.role)).collect()
}

#[test]
fn creating_is_201_once_and_200_after() {
    for (is_new, status) in [(true, 201), (false, 200)] {
        let body = r#"{"conversation":"c","kind":"public","title":"Ü","members":["bob"]}"#;
        let (answer, envelope) = call(created(is_new), ("POST", "/v1/conversations", "alice", body));
        assert_eq!(answer.status, status);
        let shown = json!({
            "conversation": "c", "kind": "group", "title": "\"T\"",
            "created": 5, "head": 7, "lamport": 9, "member_count": 3,
        });
        assert_eq!(answer.json(), shown);
        let ToRouter::Create { conversation, kind, title, .. } = &envelope else { panic!("{envelope:?}") };
        assert_eq!((*conversation, *kind, title.as_deref()), (key("c"), ConversationKind::Public, Some("Ü")));
        assert_eq!(members_of(&envelope), [("alice".into(), Role::Owner), ("bob".into(), Role::Member)]);
    }
}

#[test]
fn a_creator_is_owner_whatever_the_list_says_and_a_server_is_no_member() {
    let body = r#"{"members":["alice",{"user":"bob","role":"moderator"},{"user":"carol"},"bob"]}"#;
    let (_, envelope) = call(created(true), ("POST", "/v1/conversations", "alice", body));
    let expected = [("alice", Role::Owner), ("bob", Role::Moderator), ("carol", Role::Member)]
        .map(|(u, r)| (u.into(), r));
    assert_eq!(members_of(&envelope), expected);
    for credential in [KEY, "root!"] {
        let body = r#"{"members":["alice",{"user":"bob","role":"owner"}]}"#;
        let (_, envelope) = call(created(true), ("POST", "/v1/conversations", credential, body));
        let expected = [("alice", Role::Member), ("bob", Role::Owner)].map(|(u, r)| (u.into(), r));
        assert_eq!(members_of(&envelope), expected);
    }
}

#[test]
fn a_conversation_without_an_id_gets_one_that_no_other_has() {
    let id =
        || call(created(true), ("POST", "/v1/conversations", "alice", "{}")).0.json()["conversation"].clone();
    let (one, other) = (id(), id());
    assert_ne!(one, other);
    assert!(one.as_str().unwrap().starts_with('c'));
}

#[test]
fn a_direct_conversation_has_the_same_id_whoever_creates_it() {
    let id = |credential: &str, members: &str| {
        let body = format!(r#"{{"kind":"direct","members":{members}}}"#);
        let (answer, envelope) = call(created(true), ("POST", "/v1/conversations", credential, &body));
        assert_eq!(
            members_of(&envelope),
            [("alice", Role::Member), ("bob", Role::Member)].map(|(u, r)| (u.into(), r))
        );
        answer.json()["conversation"].as_str().unwrap().to_owned()
    };
    let first = id("alice", r#"["bob"]"#);
    assert!(first.starts_with("direct:"));
    assert_eq!(first, id("bob", r#"["alice"]"#));
    assert_eq!(first, id("alice", r#"["bob","alice"]"#));
    assert_eq!(first, id(KEY, r#"["bob","alice"]"#));
    let named = format!(r#"{{"conversation":"{first}","kind":"direct","members":["alice"]}}"#);
    assert_eq!(call(created(false), ("POST", "/v1/conversations", "bob", &named)).0.status, 200);
}

#[test]
fn percent_encoded_ids_are_decoded() {
    let reply = |envelope: &ToRouter| match envelope {
        ToRouter::Show { caller, conversation: key, .. } => {
            ToGateway::Conversation { caller: *caller, conversation: conversation(*key) }
        }
        other => panic!("{other:?}"),
    };
    let (answer, _) = call(reply, ("GET", "/v1/conversations/a%3Ab%40c%7C~", "alice", ""));
    assert_eq!(answer.json()["conversation"], "a:b@c|~");
    let (answer, _) = call(reply, ("HEAD", "/v1/conversations/c", "alice", ""));
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
}

#[test]
fn a_change_of_members_says_what_and_is_answered_with_its_event() {
    let path = "/v1/conversations/c/members";
    let (answer, envelope) = call(appended(4, false), ("POST", path, "alice", r#"{"user":"bob","id":"x1"}"#));
    let expected = json!({ "user": "bob", "role": "member", "seq": 4, "time": 8, "duplicate": false });
    assert_eq!(answer.json(), expected);
    let ToRouter::Change { id, change, .. } = envelope else { panic!() };
    assert_eq!(id.as_str(), "x1");
    assert_eq!(change, Change::Join { user: user("bob"), role: Role::Member });

    let one = format!("{path}/bob");
    let (answer, envelope) = call(appended(5, false), ("PATCH", &one, "alice", r#"{"role":"reader"}"#));
    assert_eq!(answer.json()["role"], "reader");
    let ToRouter::Change { change, .. } = envelope else { panic!() };
    assert_eq!(change, Change::Role { user: user("bob"), role: Role::Reader });

    let (answer, envelope) = call(appended(0, true), ("DELETE", &one, "alice", ""));
    assert_eq!(answer.json(), json!({ "user": "bob", "duplicate": true }));
    let ToRouter::Change { change, .. } = envelope else { panic!() };
    assert_eq!(change, Change::Leave { user: user("bob") });

    let several = r#"{"members":["bob",{"user":"carol","role":"moderator"}]}"#;
    let (answer, _) = call(appended(4, false), ("POST", path, "alice", several));
    assert_eq!(answer.json()["members"][1]["role"], "moderator");
}

/// An owner that answers in batches: what it was asked waits until there are so many.
#[test]
fn members_of_one_request_are_added_together_in_the_order_of_their_names() {
    const TOGETHER: usize = 32;
    let waiting = Mutex::new(Vec::new());
    let routers = move |envelope: ToRouter| {
        let ToRouter::Change { caller, id, conversation, change: Change::Join { user, .. }, .. } = envelope
        else {
            return Vec::new();
        };
        let mut waiting = waiting.lock().unwrap();
        waiting.push((caller, id, conversation, user));
        if waiting.len() < TOGETHER {
            return Vec::new();
        }
        let answer = |(seq, (caller, id, conversation, _))| ToGateway::Appended {
            caller,
            id,
            conversation,
            seq,
            time: 8,
            duplicate: false,
        };
        (1..).zip(waiting.drain(..)).map(answer).collect()
    };
    let world = World::start(settings(), Arc::new(routers));
    let users: Vec<String> = (0..2 * TOGETHER).map(|number| format!("u{number:03}")).collect();
    let body = json!({ "members": users }).to_string();
    let answer = world.call("POST", "/v1/conversations/c/members", KEY, &body);
    let added = &answer.json()["members"];
    for (number, user) in users.iter().enumerate() {
        assert_eq!(
            (added[number]["user"].as_str(), added[number]["seq"].as_u64()),
            (Some(&**user), Some((number % TOGETHER) as u64 + 1))
        );
    }
}

#[test]
fn members_are_paged() {
    let reply = |envelope: &ToRouter| match envelope {
        ToRouter::Members { caller, .. } => ToGateway::Members {
            caller: *caller,
            members: Box::new([Member { user: user("bob"), role: Role::Reader }]),
            more: true,
        },
        other => panic!("{other:?}"),
    };
    let path = "/v1/conversations/c/members?after=alice&limit=1";
    let (answer, envelope) = call(reply, ("GET", path, "alice", ""));
    let expected = json!({ "members": [{ "user": "bob", "role": "reader" }], "more": true, "next": "bob" });
    assert_eq!(answer.json(), expected);
    assert!(
        matches!(envelope, ToRouter::Members { after: Some(after), limit: 1, .. } if after == user("alice"))
    );
}

#[test]
fn a_send_becomes_an_append_and_the_answer_is_the_ack() {
    let body = r#"{"id":"m1","body":"h\u00e9\"","kind":"note","meta":{"b":1, "a":"\u00e9"},"reply_to":3}"#;
    let path = "/v1/conversations/c/messages";
    let (answer, envelope) = call(appended(6, true), ("POST", path, "alice", body));
    let ack = json!({ "op": "ack", "id": "m1", "conversation": "c", "seq": 6, "time": 8, "duplicate": true });
    assert_eq!(answer.json(), ack);
    let ToRouter::Append { draft, .. } = envelope else { panic!() };
    let sent = EventV1 {
        seq: 0,
        time: 0,
        lamport: 0,
        conversation: "c",
        sender: "alice",
        device: "api",
        id: "m1",
        content: ContentV1::Message {
            kind: "note",
            body: "hé\"",
            meta: Some(r#"{"b":1, "a":"\u00e9"}"#),
            reply_to: Some(3),
        },
    };
    assert_eq!(draft, Draft::encode(&sent).unwrap());
}

#[test]
fn an_ephemeral_send_is_a_signal_and_has_no_seq() {
    let reply = |envelope: &ToRouter| match envelope {
        ToRouter::Signal { caller, conversation, draft, .. } => ToGateway::Signalled {
            caller: *caller,
            conversation: *conversation,
            id: protocol::id::ClientId::parse(&*draft.view().id).unwrap(),
            time: 8,
        },
        other => panic!("{other:?}"),
    };
    let body = r#"{"id":"m1","body":"x","ephemeral":true}"#;
    let (answer, _) = call(reply, ("POST", "/v1/conversations/c/messages", "alice", body));
    let ack = json!({ "op": "ack", "id": "m1", "conversation": "c", "time": 8, "duplicate": false });
    assert_eq!(answer.json(), ack);
}

#[test]
fn a_page_shows_its_events_as_over_the_socket() {
    let event = |seq| {
        let content =
            ContentV1::Message { kind: "text", body: "a\u{1}\"b", meta: Some("{\"x\":1}"), reply_to: None };
        let (conversation, sender, device, id) = ("c", "alice", "d", "m1");
        let draft = EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device, id, content };
        Draft::encode(&draft).unwrap().seal(seq, 11, 12)
    };
    let reply = move |envelope: &ToRouter| match envelope {
        ToRouter::History { caller, conversation, .. } => ToGateway::Page {
            caller: *caller,
            conversation: *conversation,
            events: Box::new([event(3), event(4)]),
            head: 9,
            more: true,
            trimmed: Some(3),
        },
        other => panic!("{other:?}"),
    };
    let path = "/v1/conversations/c/messages?after=1&limit=2";
    let (answer, envelope) = call(reply, ("GET", path, "alice", ""));
    assert!(matches!(envelope, ToRouter::History { range: Range::After(1), limit: 2, .. }));
    let body = answer.json();
    assert_eq!((&body["conversation"], &body["head"]), (&json!("c"), &json!(9)));
    assert_eq!((&body["more"], &body["trimmed"]), (&json!(true), &json!(3)));
    let expected = json!({
        "conversation": "c", "seq": 3, "time": 11, "lamport": 12, "type": "message", "sender": "alice",
        "device": "d", "id": "m1", "kind": "text", "body": "a\u{1}\"b", "meta": { "x": 1 },
    });
    assert_eq!(body["events"][0], expected);
    assert_eq!(body["events"][1]["seq"], 4);
}

#[test]
fn a_chat_list_counts_what_is_unread_and_says_where_it_goes_on() {
    let entry = |name: &str, head, read| ChatListEntry {
        conversation: ConversationId::parse(name).unwrap(),
        head,
        read,
        role: Role::Owner,
        lamport: 77,
    };
    let reply = move |envelope: &ToRouter| match envelope {
        ToRouter::Conversations { caller, .. } => ToGateway::Conversations {
            caller: *caller,
            conversations: Box::new([entry("a", 9, 4), entry("b.c", 1, 2)]),
            more: true,
        },
        other => panic!("{other:?}"),
    };
    let (answer, _) = call(reply, ("GET", "/v1/users/alice/conversations", "alice", ""));
    let body = answer.json();
    let expected =
        json!({ "conversation": "a", "head": 9, "read": 4, "unread": 5, "role": "owner", "lamport": 77 });
    assert_eq!(body["conversations"][0], expected);
    assert_eq!(body["conversations"][1]["unread"], 0);
    let path = format!("/v1/users/alice/conversations?limit=2&after={}", body["next"].as_str().unwrap());
    let (_, envelope) = call(reply, ("GET", &path, "alice", ""));
    let expected = Some((77, ConversationId::parse("b.c").unwrap()));
    assert!(matches!(envelope, ToRouter::Conversations { after, limit: 2, .. } if after == expected));
}

#[test]
fn presence_is_shown_with_and_without_a_last_time() {
    for last_seen in [None, Some(123)] {
        let reply = move |envelope: &ToRouter| match envelope {
            ToRouter::PresenceOf { caller, user } => {
                ToGateway::PresenceOf { caller: *caller, user: *user, online: false, last_seen }
            }
            other => panic!("{other:?}"),
        };
        let (answer, _) = call(reply, ("GET", "/v1/users/bob/presence", "alice", ""));
        let mut expected = json!({ "user": "bob", "online": false });
        if let Some(last_seen) = last_seen {
            expected["last_seen"] = last_seen.into();
        }
        assert_eq!(answer.json(), expected);
    }
}
