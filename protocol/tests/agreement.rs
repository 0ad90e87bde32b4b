//! The promise: JSON and rkyv say the same, frame for frame, and refuse the same.

mod support;

use protocol::event::{ArchivedContentV1, ArchivedEventV1, ContentV1, Role, view};
use protocol::frame::rkyv::{ArchivedServerFrameV1 as Frame, ServerArchive, decode_server, encode_client};
use protocol::frame::{
    ChatListEntry, ClientFrame, Range, Scratch, ServerFrame, Subprotocol, decode, encode, is_json_object,
};
use serde_json::{Map, Value, json};
use support::{Chance, samples};

/// What random frames borrow.
struct Pieces {
    texts: Vec<String>,
    cursors: Vec<(protocol::id::ConversationId, u64)>,
    users: Vec<protocol::id::UserId>,
    meta: String,
}

fn random_pieces(chance: &mut Chance) -> Pieces {
    let seq = |chance: &mut Chance| chance.number() >> 11;
    let count = chance.below(5);
    Pieces {
        texts: (0..3).map(|_| chance.text(40)).collect(),
        cursors: (0..count).map(|_| (samples::conversation(&chance.id()), seq(chance))).collect(),
        users: (0..count).map(|_| samples::user(&chance.id())).collect(),
        meta: json!({chance.text(5): chance.text(9), "n": [chance.below(9), null]}).to_string(),
    }
}

fn random_client_frame<'a>(chance: &mut Chance, pieces: &'a Pieces) -> ClientFrame<'a> {
    let id = samples::client_id(&chance.id());
    let conversation = samples::conversation(&chance.id());
    let target = 1 + (chance.number() >> 12);
    let reference = chance.number() as i64;
    let limit = 1 + chance.below(200) as u16;
    let text = &*pieces.texts[0];
    let some = chance.once_in(2);
    match chance.below(15) {
        0 => ClientFrame::Hello {
            device: samples::device(&chance.id()),
            token: some.then_some(text),
            resume: (!some).then_some(&*pieces.texts[1]),
            cursors: &pieces.cursors,
        },
        1 => ClientFrame::Send {
            id,
            conversation,
            kind: chance.one_of(&["text", "image", "\"", "a\\b"]),
            body: text,
            meta: some.then_some(&*pieces.meta),
            reply_to: some.then_some(target),
            ephemeral: some,
        },
        2 => ClientFrame::Edit { id, conversation, target, body: text },
        3 => ClientFrame::Delete { id, conversation, target },
        4 => ClientFrame::React {
            id,
            conversation,
            target,
            emoji: chance.one_of(&["👍", "x", "\n"]),
            remove: some,
        },
        5 => {
            let range = chance.one_of(&[
                Range::Newest,
                Range::Before(target),
                Range::After(target),
                Range::Around(target),
                Range::Since(target),
            ]);
            ClientFrame::History { reference, conversation, range, limit }
        }
        6 => ClientFrame::Sync { reference, cursors: &pieces.cursors, limit },
        7 => ClientFrame::Received { conversation, seq: target },
        8 => ClientFrame::Read { conversation, seq: target },
        9 => ClientFrame::Typing { conversation, on: some },
        10 => ClientFrame::Watch { users: &pieces.users },
        11 => ClientFrame::Unwatch { users: &pieces.users },
        12 => ClientFrame::Conversations { reference, after: some.then_some(text), limit },
        13 => ClientFrame::Refresh { token: text },
        _ => ClientFrame::Ping { reference },
    }
}

/// A client's frame in JSON, written apart from the crate. `meta` goes in as its very text.
fn client_json(frame: &ClientFrame<'_>) -> String {
    let pairs = |cursors: &[(protocol::id::ConversationId, u64)]| -> Vec<Value> {
        cursors.iter().map(|(conversation, seq)| json!([conversation.as_str(), seq])).collect()
    };
    let names =
        |users: &[protocol::id::UserId]| -> Vec<String> { users.iter().map(ToString::to_string).collect() };
    let value = match frame {
        ClientFrame::Hello { device, token, resume, cursors } => {
            json!({"op": "hello", "device": device.as_str(), "token": token, "resume": resume, "cursors": pairs(cursors)})
        }
        ClientFrame::Send { id, conversation, kind, body, meta, reply_to, ephemeral } => {
            let frame = json!({"op": "send", "id": id.as_str(), "conversation": conversation.as_str(), "kind": kind, "body": body,
                "reply_to": reply_to, "ephemeral": ephemeral})
            .to_string();
            return format!("{},\"meta\":{}}}", &frame[..frame.len() - 1], meta.unwrap_or("null"));
        }
        ClientFrame::Edit { id, conversation, target, body } => {
            json!({"op": "edit", "id": id.as_str(), "conversation": conversation.as_str(), "target": target, "body": body})
        }
        ClientFrame::Delete { id, conversation, target } => {
            json!({"op": "delete", "id": id.as_str(), "conversation": conversation.as_str(), "target": target})
        }
        ClientFrame::React { id, conversation, target, emoji, remove } => {
            json!({"op": "react", "id": id.as_str(), "conversation": conversation.as_str(), "target": target,
                "emoji": emoji, "remove": remove})
        }
        ClientFrame::History { reference, conversation, range, limit } => {
            let mut frame = json!({"op": "history", "ref": reference, "conversation": conversation.as_str(), "limit": limit});
            let (name, value) = match range {
                Range::Newest => ("before", None),
                Range::Before(seq) => ("before", Some(seq)),
                Range::After(seq) => ("after", Some(seq)),
                Range::Around(seq) => ("around", Some(seq)),
                Range::Since(time) => ("since", Some(time)),
            };
            frame[name] = json!(value);
            frame
        }
        ClientFrame::Sync { reference, cursors, limit } => {
            json!({"op": "sync", "ref": reference, "cursors": pairs(cursors), "limit": limit})
        }
        ClientFrame::Received { conversation, seq } => {
            json!({"op": "received", "conversation": conversation.as_str(), "seq": seq})
        }
        ClientFrame::Read { conversation, seq } => {
            json!({"op": "read", "conversation": conversation.as_str(), "seq": seq})
        }
        ClientFrame::Typing { conversation, on } => {
            json!({"op": "typing", "conversation": conversation.as_str(), "on": on})
        }
        ClientFrame::Watch { users } => json!({"op": "watch", "users": names(users)}),
        ClientFrame::Unwatch { users } => json!({"op": "unwatch", "users": names(users)}),
        ClientFrame::Conversations { reference, after, limit } => {
            json!({"op": "conversations", "ref": reference, "after": after, "limit": limit})
        }
        ClientFrame::Refresh { token } => json!({"op": "refresh", "token": token}),
        ClientFrame::Ping { reference } => json!({"op": "ping", "ref": reference}),
    };
    value.to_string()
}

#[test]
fn random_client_frames_come_back_from_both_as_they_were() {
    let (mut json, mut rkyv) = (Scratch::default(), Scratch::default());
    for seed in 0..3_000 {
        let mut chance = Chance(seed);
        let pieces = random_pieces(&mut chance);
        let frame = random_client_frame(&mut chance, &pieces);
        let mut text = client_json(&frame).into_bytes();
        assert_eq!(decode(Subprotocol::Json, &mut text, &mut json), Ok(frame), "seed {seed}");
        // Archives are read at any address.
        let mut archive = chance.bytes(3);
        let offset = chance.below(4).min(archive.len());
        archive.truncate(offset);
        encode_client(&frame, &mut archive);
        assert_eq!(decode(Subprotocol::Rkyv, &mut archive[offset..], &mut rkyv), Ok(frame), "seed {seed}");
    }
}

#[test]
fn what_breaks_a_rule_of_the_wire_is_refused_alike() {
    let at = samples::conversation("c");
    let id = samples::client_id("a");
    let many: Vec<_> = (0..1_001).map(|index| (samples::conversation(&format!("c{index}")), 1)).collect();
    let users: Vec<_> = (0..501).map(|index| samples::user(&format!("u{index}"))).collect();
    let long = "k".repeat(65);
    let send = |kind, meta, reply_to| ClientFrame::Send {
        id,
        conversation: at,
        kind,
        body: "",
        meta,
        reply_to,
        ephemeral: false,
    };
    let history = |range, limit| ClientFrame::History { reference: 5, conversation: at, range, limit };
    let broken = [
        send("", None, None),
        send(&long, None, None),
        send("text", Some("[]"), None),
        send("text", None, Some(0)),
        send("text", None, Some(1 << 53)),
        ClientFrame::Edit { id, conversation: at, target: 0, body: "" },
        ClientFrame::React { id, conversation: at, target: 1, emoji: "", remove: false },
        ClientFrame::React { id, conversation: at, target: 1, emoji: &long, remove: false },
        history(Range::Before(1 << 53), 1),
        history(Range::Newest, 0),
        history(Range::Newest, 201),
        ClientFrame::Sync { reference: 5, cursors: &many, limit: 1 },
        ClientFrame::Read { conversation: at, seq: 1 << 53 },
        ClientFrame::Watch { users: &users },
    ];
    for frame in broken {
        let mut scratch = Scratch::default();
        let mut text = client_json(&frame).into_bytes();
        let by_json = decode(Subprotocol::Json, &mut text, &mut scratch).expect_err("refused");
        let mut archive = Vec::new();
        encode_client(&frame, &mut archive);
        let mut scratch = Scratch::default();
        let by_rkyv = decode(Subprotocol::Rkyv, &mut archive, &mut scratch).expect_err("refused");
        assert_eq!(by_json, by_rkyv, "{frame:?}");
        assert!(!by_json.garbage);
    }
    for meta in ["{", "{}x", " {}", "{}\n", "", "null", "{\"a\":\"\\ud800\"}"] {
        assert!(!is_json_object(meta), "{meta}");
        let mut archive = Vec::new();
        encode_client(&send("text", Some(meta), None), &mut archive);
        let mut scratch = Scratch::default();
        let error = decode(Subprotocol::Rkyv, &mut archive, &mut scratch).expect_err("refused");
        assert!(error.refusal.message.contains("`meta`"), "{meta}");
    }
}

#[test]
fn server_frames_say_the_same() {
    let mut checked = 0;
    for (name, frame) in samples::server_frames() {
        agree(name, &frame);
        checked += 1;
    }
    for (name, event) in samples::events() {
        agree(name, &ServerFrame::Event(&event));
        agree(name, &ServerFrame::Signal(&samples::event(0, samples::MESSAGE)));
        checked += 1;
    }
    assert!(checked > 20);
}

#[test]
fn pages_and_chat_lists_of_any_length_say_the_same() {
    for seed in 0..100 {
        let mut chance = Chance(seed);
        let count = chance.one_of(&[0, 1, 2, 50, 200]);
        let events: Vec<_> = (0..count)
            .map(|seq| {
                let (kind, body) = (chance.text(9), chance.text(500));
                let content = ContentV1::Message { kind: &kind, body: &body, meta: None, reply_to: Some(1) };
                samples::event(seq + 1, content)
            })
            .collect();
        let conversation = samples::conversation(&chance.id());
        let page = ServerFrame::Page {
            reference: chance.number() as i64,
            conversation,
            events: &events,
            head: chance.number() >> 11,
            more: true,
            trimmed: None,
        };
        agree("page", &page);
        let conversations: Vec<_> = (0..count)
            .map(|head| ChatListEntry {
                conversation: samples::conversation(&chance.id()),
                head,
                read: 0,
                role: chance.one_of(&[Role::Reader, Role::Member, Role::Moderator, Role::Owner]),
                lamport: chance.number() >> 11,
            })
            .collect();
        agree(
            "list",
            &ServerFrame::Conversations { reference: 1, conversations: &conversations, next: None },
        );
    }
}

fn agree(name: &str, frame: &ServerFrame<'_>) {
    let payload = |subprotocol| {
        // What stands in front stays, wherever the frame goes.
        let mut out = b"before".to_vec();
        encode(subprotocol, frame, &mut out);
        assert_eq!(&out[..6], b"before");
        let header = match out[7] {
            0..=125 => 2,
            126 => 4,
            _ => 10,
        };
        out.split_off(6 + header)
    };
    let by_json: Value = serde_json::from_slice(&payload(Subprotocol::Json)).unwrap();
    let archive = payload(Subprotocol::Rkyv);
    let by_rkyv = match decode_server(&archive).unwrap() {
        ServerArchive::Event(event) => event_json(Some("event"), event),
        ServerArchive::Signal(event) => event_json(Some("signal"), event),
        ServerArchive::Frame(frame) => server_json(frame),
    };
    assert_eq!(by_json, by_rkyv, "{name}");
}

/// An archive in JSON, written apart from the crate: members without value are left out.
fn server_json(frame: &Frame<'_>) -> Value {
    macro_rules! number {
        ($option:expr) => {
            $option.as_ref().map(|value| value.to_native())
        };
    }
    let list = |entries: &[protocol::frame::rkyv::ArchivedChatListEntryV1<'_>]| -> Vec<Value> {
        entries
            .iter()
            .map(|entry| {
                json!({"conversation": &*entry.conversation, "head": entry.head.to_native(),
                    "read": entry.read.to_native(), "role": Role::from(entry.role).name(),
                    "lamport": entry.lamport.to_native()})
            })
            .collect()
    };
    without_nulls(match frame {
        Frame::Welcome { user, session, resume, heartbeat_ms, limits, conversations, more } => json!({
            "op": "welcome", "user": &**user, "session": &**session, "resume": &**resume,
            "heartbeat_ms": heartbeat_ms.to_native(), "conversations": list(conversations), "more": more,
            "limits": {
                "frame_bytes": limits.frame_bytes.to_native(), "body_bytes": limits.body_bytes.to_native(),
                "meta_bytes": limits.meta_bytes.to_native(), "sends_per_second": limits.sends_per_second.to_native(),
                "sends_burst": limits.sends_burst.to_native(),
                "conversations_attached": limits.conversations_attached.to_native(),
                "page_events": limits.page_events.to_native(),
            },
        }),
        Frame::Ack { id, conversation, seq, time, duplicate } => json!({"op": "ack", "id": &**id,
            "conversation": &**conversation, "seq": number!(seq), "time": time.to_native(), "duplicate": duplicate}),
        Frame::Page { reference, conversation, events, head, more, trimmed } => {
            let events: Vec<Value> =
                events.iter().map(|event| event_json(None, view(&event.bytes).expect("an event"))).collect();
            json!({"op": "page", "ref": reference.to_native(), "conversation": &**conversation, "events": events,
                "head": head.to_native(), "more": more, "trimmed": number!(trimmed)})
        }
        Frame::Synced { reference } => json!({"op": "synced", "ref": reference.to_native()}),
        Frame::Receipt { conversation, user, received, read, received_count, read_count } => {
            json!({"op": "receipt", "conversation": &**conversation, "user": user.as_deref(),
                "received": number!(received), "read": number!(read), "received_count": number!(received_count),
                "read_count": number!(read_count)})
        }
        Frame::Typing { conversation, user, on } => {
            json!({"op": "typing", "conversation": &**conversation, "user": &**user, "on": on})
        }
        Frame::Presence { user, online, last_seen } => {
            json!({"op": "presence", "user": &**user, "online": online, "last_seen": number!(last_seen)})
        }
        Frame::Conversations { reference, conversations, next } => json!({"op": "conversations",
            "ref": reference.to_native(), "conversations": list(conversations), "next": next.as_deref()}),
        Frame::Lagging { conversation, after, head } => {
            json!({"op": "lagging", "conversation": &**conversation,
            "after": after.to_native(), "head": head.to_native()})
        }
        Frame::Refreshed => json!({"op": "refreshed"}),
        Frame::Pong { reference } => json!({"op": "pong", "ref": reference.to_native()}),
        Frame::Goaway { reason, reconnect_after_ms } => {
            json!({"op": "goaway", "reason": &**reason, "reconnect_after_ms": reconnect_after_ms.to_native()})
        }
        Frame::Error { reference, id, code, message, retry_after_ms } => json!({"op": "error",
            "ref": number!(reference), "id": id.as_deref(), "code": &**code, "message": &**message,
            "retry_after_ms": number!(retry_after_ms)}),
    })
}

fn event_json(op: Option<&str>, event: &ArchivedEventV1<'_>) -> Value {
    let mut value = match &event.content {
        ArchivedContentV1::Message { kind, body, meta, reply_to } => {
            let meta: Option<Value> = meta.as_deref().map(|meta| serde_json::from_str(meta).unwrap());
            let reply_to = reply_to.as_ref().map(|seq| seq.to_native());
            json!({"type": "message", "kind": &**kind, "body": &**body, "meta": meta, "reply_to": reply_to})
        }
        ArchivedContentV1::Edit { target, body } => {
            json!({"type": "edit", "target": target.to_native(), "body": &**body})
        }
        ArchivedContentV1::Delete { target } => json!({"type": "delete", "target": target.to_native()}),
        ArchivedContentV1::Reaction { target, emoji, remove } => {
            json!({"type": "reaction", "target": target.to_native(), "emoji": &**emoji, "remove": remove})
        }
        ArchivedContentV1::Joined { user, role } => {
            json!({"type": "joined", "user": &**user, "role": Role::from(*role).name()})
        }
        ArchivedContentV1::Left { user } => json!({"type": "left", "user": &**user}),
        ArchivedContentV1::Changed { title, user, role } => {
            let role = role.as_ref().map(|role| Role::from(*role).name());
            json!({"type": "changed", "title": title.as_deref(), "user": user.as_deref(), "role": role})
        }
    };
    let seq = Some(event.seq.to_native()).filter(|&seq| seq > 0);
    let common = json!({"op": op, "seq": seq, "time": event.time.to_native(), "lamport": event.lamport.to_native(),
        "conversation": &*event.conversation, "sender": &*event.sender, "device": &*event.device, "id": &*event.id});
    let Value::Object(common) = common else { unreachable!("an object") };
    value.as_object_mut().expect("an object").extend(common);
    without_nulls(value)
}

fn without_nulls(value: Value) -> Value {
    let Value::Object(members) = value else { unreachable!("an object") };
    members.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
}
