//! One of each frame, with everything and with as little as it may have.

use protocol::error::{ErrorCode, Refusal};
use protocol::event::{ContentV1, Draft, Event, EventV1, Role};
use protocol::frame::{ChatListEntry, ClientFrame, ClientLimits, Range, ServerFrame};
use protocol::id::{ClientId, ConversationId, DeviceId, UserId};

pub(crate) fn conversation(text: &str) -> ConversationId {
    ConversationId::parse(text).expect("an id")
}

pub(crate) fn client_id(text: &str) -> ClientId {
    ClientId::parse(text).expect("an id")
}

pub(crate) fn user(text: &str) -> UserId {
    UserId::parse(text).expect("an id")
}

pub(crate) fn device(text: &str) -> DeviceId {
    DeviceId::parse(text).expect("an id")
}

/// An event of a log, or a signal when `seq` is 0.
pub(crate) fn event(seq: u64, content: ContentV1<'_>) -> Event {
    let event = EventV1 {
        seq: 0,
        time: 0,
        lamport: 0,
        conversation: "general",
        sender: "alice",
        device: "phone",
        id: "m-1",
        content,
    };
    Draft::encode(&event).expect("a small event").seal(seq, 1_763_800_000_000, 77)
}

pub(crate) const MESSAGE: ContentV1<'_> =
    ContentV1::Message { kind: "text", body: "hello", meta: None, reply_to: None };

/// One of each event.
pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let full =
        ContentV1::Message { kind: "image", body: "héllo", meta: Some(r#"{"w":1}"#), reply_to: Some(3) };
    vec![
        ("message", event(7, MESSAGE)),
        ("message, full", event(8, full)),
        ("edit", event(9, ContentV1::Edit { target: 7, body: "hello!" })),
        ("delete", event(10, ContentV1::Delete { target: 7 })),
        ("reaction", event(11, ContentV1::Reaction { target: 7, emoji: "👍", remove: false })),
        ("joined", event(12, ContentV1::Joined { user: "bob", role: Role::Member })),
        ("left", event(13, ContentV1::Left { user: "bob" })),
        ("changed", event(14, ContentV1::Changed { title: None, user: None, role: None })),
        (
            "changed, full",
            event(15, ContentV1::Changed { title: Some("Tea"), user: Some("bob"), role: Some(Role::Owner) }),
        ),
    ]
}

/// One of each client frame.
pub(crate) fn client_frames() -> Vec<(&'static str, ClientFrame<'static>)> {
    let cursors = &*vec![(conversation("general"), 7), (conversation("a.b_c:d@e|f~g-h"), 0)].leak();
    let users = &*vec![user("bob"), user("carol")].leak();
    let at = conversation("general");
    let id = client_id("m-1");
    let history = |range| ClientFrame::History { reference: 5, conversation: at, range, limit: 200 };
    vec![
        ("hello", ClientFrame::Hello { device: device("phone"), token: None, resume: None, cursors: &[] }),
        (
            "hello, full",
            ClientFrame::Hello {
                device: device("phone"),
                token: Some("a.b.c"),
                resume: Some("ticket"),
                cursors,
            },
        ),
        (
            "send",
            ClientFrame::Send {
                id,
                conversation: at,
                kind: "text",
                body: "",
                meta: None,
                reply_to: None,
                ephemeral: false,
            },
        ),
        (
            "send, full",
            ClientFrame::Send {
                id,
                conversation: at,
                kind: "image",
                body: "héllo \"you\"\n\u{1}😀",
                meta: Some(r#"{"a":[1,2.5e3,null,true],"\u0062":"\n"}"#),
                reply_to: Some((1 << 53) - 1),
                ephemeral: true,
            },
        ),
        ("edit", ClientFrame::Edit { id, conversation: at, target: 1, body: "hello!" }),
        ("delete", ClientFrame::Delete { id, conversation: at, target: 7 }),
        ("react", ClientFrame::React { id, conversation: at, target: 7, emoji: "👍", remove: false }),
        ("react, removed", ClientFrame::React { id, conversation: at, target: 7, emoji: "👍", remove: true }),
        ("history", history(Range::Newest)),
        ("history, before", history(Range::Before(9))),
        ("history, after", history(Range::After(0))),
        ("history, around", history(Range::Around(4))),
        ("history, since", history(Range::Since(1_763_800_000_000))),
        ("sync", ClientFrame::Sync { reference: -6, cursors, limit: 1 }),
        ("received", ClientFrame::Received { conversation: at, seq: 7 }),
        ("read", ClientFrame::Read { conversation: at, seq: 0 }),
        ("typing", ClientFrame::Typing { conversation: at, on: true }),
        ("watch", ClientFrame::Watch { users }),
        ("unwatch", ClientFrame::Unwatch { users: &[] }),
        ("conversations", ClientFrame::Conversations { reference: i64::MAX, after: None, limit: 200 }),
        (
            "conversations, full",
            ClientFrame::Conversations { reference: i64::MIN, after: Some("77:general"), limit: 50 },
        ),
        ("refresh", ClientFrame::Refresh { token: "a.b.c" }),
        ("ping", ClientFrame::Ping { reference: 0 }),
    ]
}

/// One of each server frame that is no event.
#[expect(clippy::too_many_lines, reason = "one entry a frame, nothing else")]
pub(crate) fn server_frames() -> Vec<(&'static str, ServerFrame<'static>)> {
    let at = conversation("general");
    let entry =
        |name, role| ChatListEntry { conversation: conversation(name), head: 9, read: 7, role, lamport: 77 };
    let entries = &*vec![entry("general", Role::Owner), entry("tea", Role::Reader)].leak();
    let events = &*vec![event(7, MESSAGE), event(8, ContentV1::Left { user: "bob" })].leak();
    let limits = ClientLimits {
        frame_bytes: 65_536,
        body_bytes: 8_192,
        meta_bytes: 2_048,
        sends_per_second: 20,
        sends_burst: 40,
        conversations_attached: 1_000,
        page_events: 200,
    };
    let receipt = ServerFrame::Receipt {
        conversation: at,
        user: Some(user("bob")),
        received: Some(9),
        read: None,
        received_count: None,
        read_count: None,
    };
    let counts = ServerFrame::Receipt {
        conversation: at,
        user: None,
        received: None,
        read: Some(7),
        received_count: Some(500),
        read_count: Some(400),
    };
    vec![
        (
            "welcome",
            ServerFrame::Welcome {
                user: user("alice"),
                session: "s-1",
                resume: "ticket",
                heartbeat_ms: 30_000,
                limits,
                conversations: entries,
                more: true,
            },
        ),
        (
            "ack",
            ServerFrame::Ack {
                id: client_id("m-1"),
                conversation: at,
                seq: Some(7),
                time: 1_763_800_000_000,
                duplicate: false,
            },
        ),
        (
            "ack of a signal",
            ServerFrame::Ack {
                id: client_id("m-1"),
                conversation: at,
                seq: None,
                time: 1_763_800_000_000,
                duplicate: true,
            },
        ),
        (
            "page",
            ServerFrame::Page { reference: 5, conversation: at, events, head: 8, more: false, trimmed: None },
        ),
        (
            "page, empty",
            ServerFrame::Page {
                reference: 5,
                conversation: at,
                events: &[],
                head: 8,
                more: true,
                trimmed: Some(3),
            },
        ),
        ("synced", ServerFrame::Synced { reference: -1 }),
        ("receipt", receipt),
        ("receipt, counts", counts),
        ("typing", ServerFrame::Typing { conversation: at, user: user("bob"), on: true }),
        ("presence", ServerFrame::Presence { user: user("bob"), online: true, last_seen: None }),
        (
            "presence, seen",
            ServerFrame::Presence { user: user("bob"), online: false, last_seen: Some(1_763_800_000_000) },
        ),
        (
            "conversations",
            ServerFrame::Conversations { reference: 5, conversations: entries, next: Some("77:tea") },
        ),
        ("conversations, end", ServerFrame::Conversations { reference: 5, conversations: &[], next: None }),
        ("lagging", ServerFrame::Lagging { conversation: at, after: 7, head: 100_007 }),
        ("refreshed", ServerFrame::Refreshed),
        ("pong", ServerFrame::Pong { reference: 5 }),
        ("goaway", ServerFrame::Goaway { reason: "the server \"drains\"", reconnect_after_ms: 1_500 }),
        (
            "error of a request",
            ServerFrame::Error {
                reference: Some(5),
                id: None,
                refusal: Refusal::new(ErrorCode::NotFound, "there is no such conversation"),
            },
        ),
        (
            "error of a send",
            ServerFrame::Error {
                reference: None,
                id: Some(client_id("m-1")),
                refusal: Refusal::retry(ErrorCode::RateLimited, "too many sends", 250),
            },
        ),
    ]
}
