//! The same work by well-known libraries, under the clock alone: what ours is to be compared with.

use std::hint::black_box;
use std::io::Cursor;

use serde::{Deserialize, Serialize};
use tungstenite::handshake::server::create_response;
use tungstenite::http::Request;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use crate::path::Path;
use crate::sample;

#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded, not read")]
struct Send<'a> {
    op: &'a str,
    id: &'a str,
    conversation: &'a str,
    body: &'a str,
    kind: Option<&'a str>,
    reply_to: Option<u64>,
    ephemeral: Option<bool>,
}

#[derive(Clone, Serialize)]
struct Event<'a> {
    op: &'a str,
    conversation: &'a str,
    seq: u64,
    time: u64,
    lamport: u64,
    r#type: &'a str,
    sender: &'a str,
    device: &'a str,
    id: &'a str,
    kind: &'a str,
    body: &'a str,
}

#[derive(Serialize)]
struct Page<'a> {
    op: &'a str,
    r#ref: i64,
    conversation: &'a str,
    events: &'a [Event<'a>],
    head: u64,
    more: bool,
}

#[derive(Serialize)]
struct Entry {
    conversation: String,
    head: u64,
    read: u64,
    role: &'static str,
    lamport: u64,
}

const EVENT: Event<'_> = Event {
    op: "event",
    conversation: sample::CONVERSATION,
    seq: 7,
    time: sample::UNIX_MS,
    lamport: 7,
    r#type: "message",
    sender: sample::SENDER,
    device: sample::DEVICE,
    id: "m-000000123",
    kind: "text",
    body: sample::BODY,
};

pub(crate) fn paths() -> Vec<Path> {
    vec![
        Path::new("decode/json-send (serde_json)", || {
            let frame = sample::json_send();
            move || {
                black_box(serde_json::from_slice::<Send<'_>>(black_box(&frame)).expect("a good frame"));
            }
        }),
        Path::new("encode/json-event (serde_json)", || writing(|| EVENT)),
        Path::new("encode/json-page-50 (serde_json)", || {
            let events: Vec<_> = (1..=50).map(|seq| Event { seq, ..EVENT }).collect();
            let mut out = Vec::new();
            move || {
                let (conversation, events) = (sample::CONVERSATION, &events[..]);
                let page = Page { op: "page", r#ref: 7, conversation, events, head: 4_711, more: true };
                write_json(&page, &mut out);
            }
        })
        .of(50),
        Path::new("encode/json-200-chat-list-entries (serde_json)", || {
            let entries: Vec<_> = sample::chat_list(200).iter().map(entry).collect();
            let mut out = Vec::new();
            move || write_json(&entries, &mut out)
        }),
        Path::new("websocket/text-send (tungstenite)", || reading(sample::json_send())),
        Path::new("upgrade/browser (httparse)", parsing),
        Path::new("upgrade/browser (tungstenite)", answering),
    ]
}

fn entry(entry: &protocol::frame::ChatListEntry) -> Entry {
    Entry {
        conversation: entry.conversation.as_str().to_owned(),
        head: entry.head,
        read: entry.read,
        role: entry.role.name(),
        lamport: entry.lamport,
    }
}

fn write_json<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    out.clear();
    serde_json::to_writer(&mut *out, black_box(value)).expect("memory");
    black_box(out);
}

fn writing<T: Serialize>(make: impl Fn() -> T) -> impl FnMut() {
    let (value, mut out) = (make(), Vec::new());
    move || write_json(&value, &mut out)
}

fn reading(payload: Vec<u8>) -> impl FnMut() {
    let config = WebSocketConfig::default().read_buffer_size(4_096);
    let (input, frame) = (Cursor::new(Vec::new()), sample::masked(0x81, &payload));
    let mut socket = WebSocket::from_raw_socket(input, Role::Server, Some(config));
    move || {
        let input = socket.get_mut();
        input.get_mut().clear();
        input.get_mut().extend_from_slice(&frame);
        input.set_position(0);
        black_box(socket.read().expect("a good frame"));
    }
}

fn parsing() -> impl FnMut() {
    let head = sample::upgrade_head("Sec-WebSocket-Protocol: murmuring.v1.json\r\n");
    move || {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        black_box(request.parse(black_box(head.as_bytes())).expect("a good head"));
    }
}

/// The answer alone, to a request that is parsed already.
fn answering() -> impl FnMut() {
    let request = Request::builder()
        .uri("/v1/connect")
        .header("Host", "chat.example.org")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .expect("a good request");
    move || {
        black_box(create_response(black_box(&request)).expect("a handshake"));
    }
}
