//! The promise: the generator and the server's own codec understand one another, frame for frame, in both subprotocols.
//! The server's is the one under test here; nothing else of this crate knows it.

mod support;

use bench::options::Subprotocol;
use bench::wire::{self, ClientFrame, Content, Cursor, Range, Role, ServerFrame};
use protocol::event::{ContentV1, Draft, Event, EventV1};
use protocol::frame as served;
use protocol::id::{ClientId, ConversationId, UserId};
use support::payload;

const BOTH: [(Subprotocol, served::Subprotocol); 2] =
    [(Subprotocol::Json, served::Subprotocol::Json), (Subprotocol::Rkyv, served::Subprotocol::Rkyv)];

/// What the server makes of a frame, in words.
fn as_served(subprotocol: (Subprotocol, served::Subprotocol), frame: &ClientFrame<'_>) -> String {
    let mut bytes = payload(subprotocol.0, frame);
    let mut scratch = served::Scratch::default();
    format!("{:?}", served::decode(subprotocol.1, &mut bytes, &mut scratch).expect("a frame"))
}

#[test]
fn a_server_reads_what_a_client_says_alike_in_both_subprotocols() {
    let cursors = &[Cursor("general", 7)];
    let frames = [
        ClientFrame::Hello { device: "phone", token: Some("a.b.c"), resume: Some("t"), cursors },
        ClientFrame::Hello { device: "phone", token: None, resume: None, cursors: &[] },
        ClientFrame::Send {
            id: "m-1",
            conversation: "general",
            kind: None,
            body: "say \"hello\"\n\u{1}😀",
            meta: Some(r#"{"a":[1,null]}"#),
            reply_to: Some(3),
            ephemeral: true,
        },
        ClientFrame::History { reference: 5, conversation: "general", range: Range::Newest, limit: None },
        ClientFrame::History {
            reference: -5,
            conversation: "general",
            range: Range::Around(9),
            limit: Some(7),
        },
        ClientFrame::History {
            reference: 5,
            conversation: "general",
            range: Range::Since(9),
            limit: Some(7),
        },
        ClientFrame::Sync { reference: 6, cursors, limit: Some(200) },
        ClientFrame::Received { conversation: "general", seq: 9 },
        ClientFrame::Read { conversation: "general", seq: 9 },
        ClientFrame::Typing { conversation: "general", on: true },
        ClientFrame::React { id: "m-2", conversation: "general", target: 1, emoji: "👍", remove: true },
        ClientFrame::Ping { reference: 8 },
    ];
    for frame in frames {
        let [json, rkyv] = BOTH.map(|subprotocol| as_served(subprotocol, &frame));
        assert_eq!(json, rkyv);
    }
}

/// What the generator makes of a frame of the server.
fn as_heard(
    subprotocol: (Subprotocol, served::Subprotocol),
    frame: &served::ServerFrame<'_>,
) -> ServerFrame<'static> {
    let mut message = Vec::new();
    served::encode(subprotocol.1, frame, &mut message);
    let bytes = &*message.leak();
    let mut input = bytes;
    let message =
        Box::leak(Box::<wire::Reader>::default()).next(&mut input).expect("whole frames").expect("one");
    assert!(input.is_empty());
    wire::decode(subprotocol.0, message.payload).expect("a frame")
}

fn event(content: ContentV1<'_>) -> Event {
    let (seq, time, lamport) = (0, 0, 0);
    let (conversation, sender, device, id) = ("general", "alice", "phone", "m-1");
    let event = EventV1 { seq, time, lamport, conversation, sender, device, id, content };
    Draft::encode(&event).expect("a small event").seal(7, 1_763_800_000_000, 77)
}

#[test]
fn a_client_hears_what_a_server_says_alike_in_both_subprotocols() {
    let at = ConversationId::parse("general").expect("an id");
    let id = ClientId::parse("m-1").expect("an id");
    let user = UserId::parse("bob").expect("an id");
    let long = "x\n\"\\é😀 ".repeat(20_000);
    let contents = [
        ContentV1::Message {
            kind: "text",
            body: "say \"hello\"\n\u{1}😀",
            meta: Some("{}"),
            reply_to: Some(3),
        },
        ContentV1::Edit { target: 3, body: "" },
        ContentV1::Delete { target: 3 },
        ContentV1::Reaction { target: 3, emoji: "👍", remove: true },
        ContentV1::Joined { user: "bob", role: protocol::event::Role::Moderator },
        ContentV1::Left { user: "bob" },
        ContentV1::Changed { title: Some("Tea"), user: None, role: None },
    ];
    let events: Vec<Event> = contents.into_iter().map(event).collect();
    let mut frames: Vec<served::ServerFrame<'_>> = events.iter().map(served::ServerFrame::Event).collect();
    let page = |trimmed| served::ServerFrame::Page {
        reference: 5,
        conversation: at,
        events: &events,
        head: 9,
        more: true,
        trimmed,
    };
    frames.extend([page(None), page(Some(4))]);
    frames.extend([
        served::ServerFrame::Signal(&events[0]),
        served::ServerFrame::Ack { id, conversation: at, seq: Some(7), time: 9, duplicate: true },
        served::ServerFrame::Ack { id, conversation: at, seq: None, time: 9, duplicate: false },
        served::ServerFrame::Lagging { conversation: at, after: 7, head: 9 },
        served::ServerFrame::Typing { conversation: at, user, on: true },
        served::ServerFrame::Presence { user, online: false, last_seen: Some(5) },
        served::ServerFrame::Goaway { reason: &long[..9_000], reconnect_after_ms: 5 },
        served::ServerFrame::Goaway { reason: &long, reconnect_after_ms: 5 },
        served::ServerFrame::Synced { reference: -1 },
        served::ServerFrame::Pong { reference: 1 },
        served::ServerFrame::Refreshed,
    ]);
    for frame in &frames {
        let [json, rkyv] = BOTH.map(|subprotocol| as_heard(subprotocol, frame));
        assert_eq!(json, rkyv);
    }
    let ServerFrame::Event(joined) = as_heard(BOTH[0], &frames[4]) else { panic!("an event") };
    assert_eq!(joined.content, Content::Joined { user: "bob".into(), role: Role::Moderator });
    assert_eq!((joined.seq, &*joined.id), (7, "m-1"));
}
