//! The promise: the generator's archives are those of version 1, byte for byte, and it reads those that the protocol froze.

mod support;

use std::collections::BTreeMap;

use bench::options::Subprotocol;
use bench::wire::{ClientFrame, Content, Cursor, Range, ServerFrame, User, decode};
use support::payload;

const GOLDEN: &str = include_str!("../../protocol/tests/golden/v1.txt");

/// The committed bytes of a group: name and hexadecimal digits a line.
fn golden(group: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = (0..hex.len()).step_by(2);
        digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits")).collect()
    };
    let lines =
        GOLDEN.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(": ")?.split_once(" = "));
    lines.map(|(name, hex)| (name, bytes(hex))).collect()
}

fn history(range: Range) -> ClientFrame<'static> {
    ClientFrame::History { reference: 5, conversation: "general", range, limit: Some(200) }
}

fn send<'a>(kind: &'a str, body: &'a str, meta: Option<&'a str>, reply_to: Option<u64>) -> ClientFrame<'a> {
    let ephemeral = reply_to.is_some();
    ClientFrame::Send {
        id: "m-1",
        conversation: "general",
        kind: Some(kind),
        body,
        meta,
        reply_to,
        ephemeral,
    }
}

#[test]
fn client_frames_have_the_frozen_bytes() {
    let (at, id) = ("general", "m-1");
    let cursors = &[Cursor("general", 7), Cursor("a.b_c:d@e|f~g-h", 0)];
    let react = |remove| ClientFrame::React { id, conversation: at, target: 7, emoji: "👍", remove };
    let frames = [
        ("hello", ClientFrame::Hello { device: "phone", token: None, resume: None, cursors: &[] }),
        (
            "hello, full",
            ClientFrame::Hello { device: "phone", token: Some("a.b.c"), resume: Some("ticket"), cursors },
        ),
        ("send", send("text", "", None, None)),
        (
            "send, full",
            send(
                "image",
                "héllo \"you\"\n\u{1}😀",
                Some(r#"{"a":[1,2.5e3,null,true],"\u0062":"\n"}"#),
                Some((1 << 53) - 1),
            ),
        ),
        ("edit", ClientFrame::Edit { id, conversation: at, target: 1, body: "hello!" }),
        ("delete", ClientFrame::Delete { id, conversation: at, target: 7 }),
        ("react", react(false)),
        ("react, removed", react(true)),
        ("history", history(Range::Newest)),
        ("history, before", history(Range::Before(9))),
        ("history, after", history(Range::After(0))),
        ("history, around", history(Range::Around(4))),
        ("history, since", history(Range::Since(1_763_800_000_000))),
        ("sync", ClientFrame::Sync { reference: -6, cursors, limit: Some(1) }),
        ("received", ClientFrame::Received { conversation: at, seq: 7 }),
        ("read", ClientFrame::Read { conversation: at, seq: 0 }),
        ("typing", ClientFrame::Typing { conversation: at, on: true }),
        ("watch", ClientFrame::Watch { users: &[User("bob"), User("carol")] }),
        ("unwatch", ClientFrame::Unwatch { users: &[] }),
        ("conversations", ClientFrame::Conversations { reference: i64::MAX, after: None, limit: Some(200) }),
        (
            "conversations, full",
            ClientFrame::Conversations { reference: i64::MIN, after: Some("77:general"), limit: Some(50) },
        ),
        ("refresh", ClientFrame::Refresh { token: "a.b.c" }),
        ("ping", ClientFrame::Ping { reference: 0 }),
    ];
    let expected = golden("client");
    assert_eq!(frames.len(), expected.len());
    for (name, frame) in frames {
        assert_eq!(payload(Subprotocol::Rkyv, &frame), expected[name], "{name}");
    }
}

fn read<'a>(bytes: &'a BTreeMap<&str, Vec<u8>>, name: &str) -> ServerFrame<'a> {
    decode(Subprotocol::Rkyv, &bytes[name]).expect(name)
}

#[test]
fn frozen_events_are_read() {
    let bytes = golden("event");
    for name in bytes.keys() {
        let ServerFrame::Event(event) = read(&bytes, name) else { panic!("{name} is an event") };
        let ids = [&*event.conversation, &*event.sender, &*event.device, &*event.id];
        assert_eq!(ids, ["general", "alice", "phone", "m-1"], "{name}");
        assert_eq!((event.time, event.lamport), (1_763_800_000_000, 77), "{name}");
    }
    let ServerFrame::Event(event) = read(&bytes, "message, full") else { panic!("an event") };
    assert_eq!(event.seq, 8);
    let content = Content::Message { kind: "image".into(), body: "héllo".into(), reply_to: Some(3) };
    assert_eq!(event.content, content);
}

#[test]
fn frozen_server_frames_are_read() {
    let bytes = golden("server");
    for name in bytes.keys() {
        read(&bytes, name);
    }
    let ServerFrame::Welcome { user, heartbeat_ms, limits, conversations, more, .. } =
        read(&bytes, "welcome")
    else {
        panic!("a welcome")
    };
    assert_eq!((&*user, heartbeat_ms, limits.page_events, more), ("alice", 30_000, 200, true));
    assert_eq!(
        conversations.iter().map(|entry| &*entry.conversation).collect::<Vec<_>>(),
        ["general", "tea"]
    );
    let ServerFrame::Page { events, head, more, trimmed, .. } = read(&bytes, "page") else {
        panic!("a page")
    };
    assert_eq!((events.len(), events[1].seq, head, more, trimmed), (2, 8, 8, false, None));
    let ServerFrame::Error { reference, id, code, retry_after_ms, .. } = read(&bytes, "error of a send")
    else {
        panic!("an error")
    };
    let (id, code) = (id.as_deref(), &*code);
    assert_eq!((reference, id, code, retry_after_ms), (None, Some("m-1"), "rate_limited", Some(250)));
    assert!(matches!(read(&bytes, "signal"), ServerFrame::Signal(event) if event.seq == 0));
}

#[test]
fn no_cut_of_a_frozen_frame_is_taken_for_it() {
    for bytes in golden("server").values().chain(golden("event").values()) {
        let whole = decode(Subprotocol::Rkyv, bytes);
        for length in 0..bytes.len() {
            assert_ne!(decode(Subprotocol::Rkyv, &bytes[..length]), whole);
        }
    }
}
