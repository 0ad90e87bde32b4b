//! Encoding server frames as whole WebSocket messages, in both subprotocols, and events as what is stored and shared.

use std::hint::black_box;

use protocol::event::Draft;
use protocol::frame::{ServerFrame, Subprotocol, encode};
use protocol::id::UserId;

use crate::path::Path;
use crate::sample;

pub(crate) fn paths() -> Vec<Path> {
    use Subprotocol::{Json, Rkyv};
    vec![
        Path::new("encode/json-event", || event(Json)),
        Path::new("encode/rkyv-event", || event(Rkyv)),
        Path::new("encode/json-ack", || ack(Json)),
        Path::new("encode/rkyv-ack", || ack(Rkyv)),
        Path::new("encode/json-page-50", || page(Json)).of(50),
        Path::new("encode/rkyv-page-50", || page(Rkyv)).of(50),
        Path::new("encode/json-welcome-1", || welcome(Json, 1)),
        Path::new("encode/json-welcome-200", || welcome(Json, 200)),
        Path::new("encode/rkyv-welcome-200", || welcome(Rkyv, 200)),
        Path::new("event/encode", || {
            || {
                drop(black_box(Draft::encode(black_box(&sample::message(
                    sample::CONVERSATION,
                    "m-000000123",
                )))))
            }
        }),
        Path::new("event/view", || {
            let event = sample::event(7);
            move || {
                black_box(black_box(&event).view());
            }
        }),
        Path::new("event/seq", || {
            let event = sample::event(7);
            move || {
                black_box(black_box(&event).seq());
            }
        }),
        Path::new("event/copy-and-seal", || {
            let event = sample::event(7);
            move || drop(black_box(sample::moved(black_box(&event), 8)))
        }),
    ]
}

fn encoded(subprotocol: Subprotocol, frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    out.clear();
    encode(subprotocol, black_box(frame), out);
    black_box(out);
}

fn event(subprotocol: Subprotocol) -> impl FnMut() {
    let (event, mut out) = (sample::event(7), Vec::new());
    move || encoded(subprotocol, &ServerFrame::Event(&event), &mut out)
}

fn ack(subprotocol: Subprotocol) -> impl FnMut() {
    let (id, conversation) = (sample::client_id("m-000000123"), sample::conversation(sample::CONVERSATION));
    let (seq, time, duplicate) = (Some(4_711), sample::UNIX_MS, false);
    let mut out = Vec::new();
    move || encoded(subprotocol, &ServerFrame::Ack { id, conversation, seq, time, duplicate }, &mut out)
}

fn page(subprotocol: Subprotocol) -> impl FnMut() {
    let events: Vec<_> = (1..=50).map(sample::event).collect();
    let conversation = sample::conversation(sample::CONVERSATION);
    let mut out = Vec::new();
    move || {
        let (events, head, more, trimmed) = (&events[..], 4_711, true, None);
        let page = ServerFrame::Page { reference: 7, conversation, events, head, more, trimmed };
        encoded(subprotocol, &page, &mut out);
    }
}

fn welcome(subprotocol: Subprotocol, entries: usize) -> impl FnMut() {
    let conversations = sample::chat_list(entries);
    let user = UserId::parse(sample::SENDER).expect("an id");
    let resume = "AQBAqKq5ugEAAECoqrm6AQAAB2RlZmF1bHQKYWxpY2UuMDAxNwVwaG9uZQ".repeat(2);
    let mut out = Vec::new();
    move || {
        let welcome = ServerFrame::Welcome {
            user,
            session: "0-12345678-9",
            resume: &resume,
            heartbeat_ms: 30_000,
            limits: sample::limits(),
            conversations: &conversations,
            more: false,
        };
        encoded(subprotocol, &welcome, &mut out);
    }
}
