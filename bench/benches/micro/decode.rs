//! Decoding client frames in both subprotocols, from their unmasked payload on.

use std::hint::black_box;

use protocol::frame::{ClientFrame, Scratch, Subprotocol, decode};

use crate::path::Path;
use crate::sample;

pub(crate) fn paths() -> Vec<Path> {
    use Subprotocol::{Json, Rkyv};
    vec![
        Path::new("decode/json-send", || decoding(Json, sample::json_send())),
        Path::new("decode/json-send-escaped", || decoding(Json, sample::json_send_escaped())),
        Path::new("decode/json-hello-100-cursors", || decoding(Json, sample::json_hello(100))),
        Path::new("decode/json-ping", || decoding(Json, br#"{"op":"ping","ref":123456}"#.to_vec())),
        Path::new("decode/json-read", || {
            let conversation = sample::CONVERSATION;
            let frame = format!(r#"{{"op":"read","conversation":"{conversation}","seq":4711}}"#);
            decoding(Json, frame.into_bytes())
        }),
        Path::new("decode/rkyv-send", || decoding(Rkyv, sample::rkyv_send())),
        Path::new("decode/rkyv-hello-100-cursors", || decoding(Rkyv, rkyv_hello(100))),
        Path::new("decode/rkyv-ping", || {
            decoding(Rkyv, sample::rkyv_frame(&ClientFrame::Ping { reference: 123_456 }))
        }),
    ]
}

fn rkyv_hello(cursors: usize) -> Vec<u8> {
    let cursors: Vec<_> = sample::chat_list(cursors).iter().map(|e| (e.conversation, e.head)).collect();
    sample::rkyv_frame(&ClientFrame::Hello {
        device: sample::device(),
        token: None,
        resume: None,
        cursors: &cursors,
    })
}

fn decoding(subprotocol: Subprotocol, payload: Vec<u8>) -> impl FnMut() {
    let mut received = payload.clone();
    let mut scratch = Scratch::default();
    move || {
        received.copy_from_slice(&payload);
        let frame = decode(subprotocol, black_box(&mut received), &mut scratch);
        black_box(frame.expect("a good frame"));
    }
}
