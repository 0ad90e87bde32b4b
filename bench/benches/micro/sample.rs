//! What the paths work on: a message of usual length, its names, and what a client sends.

use protocol::event::{ContentV1, Draft, Event, EventV1, Role};
use protocol::frame::{ChatListEntry, ClientFrame, ClientLimits, rkyv};
use protocol::id::{ClientId, ConversationId, ConversationKey, DeviceId, Tenant, UserId, UserKey};
use protocol::time::Now;

pub(crate) const CONVERSATION: &str = "general-0042";
pub(crate) const SENDER: &str = "alice.0017";
pub(crate) const DEVICE: &str = "phone";
/// 84 bytes, as a line of chat has.
pub(crate) const BODY: &str =
    "Are we still on for lunch at noon? The place around the corner has a table for six.";
/// Milliseconds since the Unix epoch.
pub(crate) const UNIX_MS: u64 = 1_900_000_000_000;

pub(crate) fn now() -> Now {
    Now { monotonic_ms: 5_000, unix_ms: UNIX_MS, monotonic_us: 5_000_000 }
}

pub(crate) fn conversation(name: &str) -> ConversationId {
    ConversationId::parse(name).expect("an id")
}

pub(crate) fn key() -> ConversationKey {
    key_of(CONVERSATION)
}

pub(crate) fn key_of(name: &str) -> ConversationKey {
    ConversationKey { tenant: Tenant::default_tenant(), conversation: conversation(name) }
}

pub(crate) fn user(name: &str) -> UserKey {
    UserKey { tenant: Tenant::default_tenant(), user: UserId::parse(name).expect("an id") }
}

pub(crate) fn device() -> DeviceId {
    DeviceId::parse(DEVICE).expect("an id")
}

pub(crate) fn client_id(text: &str) -> ClientId {
    ClientId::parse(text).expect("an id")
}

pub(crate) const MESSAGE: ContentV1<'_> =
    ContentV1::Message { kind: "text", body: BODY, meta: None, reply_to: None };

/// An unsealed message under a client id.
pub(crate) fn message<'a>(conversation: &'a str, id: &'a str) -> EventV1<'a> {
    EventV1 {
        seq: 0,
        time: 0,
        lamport: 0,
        conversation,
        sender: SENDER,
        device: DEVICE,
        id,
        content: MESSAGE,
    }
}

pub(crate) fn draft(conversation: &str, id: &str) -> Draft {
    Draft::encode(&message(conversation, id)).expect("a small event")
}

pub(crate) fn event(seq: u64) -> Event {
    draft(CONVERSATION, "m-000000123").seal(seq, UNIX_MS, seq)
}

/// A copy of an event, in another place of its log.
pub(crate) fn moved(event: &Event, seq: u64) -> Event {
    event.clone().into_draft().seal(seq, UNIX_MS, seq)
}

pub(crate) fn chat_list(entries: usize) -> Vec<ChatListEntry> {
    let entry = |number: usize| ChatListEntry {
        conversation: conversation(&format!("conversation-{number:04}")),
        head: 1_000 + number as u64,
        read: 990 + number as u64,
        role: Role::Member,
        lamport: UNIX_MS + number as u64,
    };
    (0..entries).map(entry).collect()
}

pub(crate) fn limits() -> ClientLimits {
    ClientLimits {
        frame_bytes: 65_536,
        body_bytes: 8_192,
        meta_bytes: 2_048,
        sends_per_second: 20,
        sends_burst: 40,
        conversations_attached: 1_000,
        page_events: 200,
    }
}

/// What a JSON client sends.
pub(crate) fn json_send() -> Vec<u8> {
    let (conversation, body) = (CONVERSATION, BODY);
    format!(r#"{{"op":"send","id":"m-000000123","conversation":"{conversation}","body":"{body}"}}"#)
        .into_bytes()
}

/// The same with an escape in every tenth character of the body.
pub(crate) fn json_send_escaped() -> Vec<u8> {
    let body = r#"Line one\nand \u00e9 \"two\"."#.repeat(4);
    format!(r#"{{"op":"send","id":"m-000000123","conversation":"{CONVERSATION}","body":"{body}"}}"#)
        .into_bytes()
}

/// A `hello` with as many cursors.
pub(crate) fn json_hello(cursors: usize) -> Vec<u8> {
    let list: Vec<String> =
        (0..cursors).map(|number| format!(r#"["conversation-{number:04}",{}]"#, 1_000 + number)).collect();
    format!(r#"{{"op":"hello","device":"{DEVICE}","cursors":[{}]}}"#, list.join(",")).into_bytes()
}

/// What a native client sends.
pub(crate) fn rkyv_frame(frame: &ClientFrame<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    rkyv::encode_client(frame, &mut payload);
    payload
}

pub(crate) fn rkyv_send() -> Vec<u8> {
    rkyv_frame(&ClientFrame::Send {
        id: client_id("m-000000123"),
        conversation: conversation(CONVERSATION),
        kind: "text",
        body: BODY,
        meta: None,
        reply_to: None,
        ephemeral: false,
    })
}

/// A client's frame (RFC 6455, section 5.2): first byte, length, mask, payload.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The request of a browser.
pub(crate) fn upgrade_head(headers: &str) -> String {
    format!(
        "GET /v1/connect HTTP/1.1\r\nHost: chat.example.org\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
         Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
         Upgrade: websocket\r\nOrigin: https://chat.example.org\r\nSec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}
