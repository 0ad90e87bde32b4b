//! Reading a client's WebSocket frames: header, unmasking, UTF-8. The copy of the bytes, which a read changes, counts.

use std::hint::black_box;

use protocol::websocket::{Message, Reader};

use crate::path::Path;
use crate::sample;

pub(crate) fn paths() -> Vec<Path> {
    vec![
        Path::new("websocket/text-send", || reading(0x81, sample::json_send())),
        Path::new("websocket/binary-send", || reading(0x82, sample::rkyv_send())),
        Path::new("websocket/text-16k", || reading(0x81, vec![b'x'; 16 * 1024])),
        Path::new("websocket/text-16k-greek", || reading(0x81, "αβγδ".repeat(2 * 1024).into_bytes())),
        Path::new("websocket/pong", || reading(0x8a, Vec::new())),
    ]
}

fn reading(first: u8, payload: Vec<u8>) -> impl FnMut() {
    let frame = sample::masked(first, &payload);
    let mut received = frame.clone();
    let (mut reader, mut assembly) = (Reader::new(), Vec::new());
    move || {
        received.copy_from_slice(&frame);
        let mut input = black_box(&mut received[..]);
        let message: Option<Message<'_>> =
            reader.read(&mut input, &mut assembly, 65_536).expect("a good frame");
        black_box(message.expect("a whole message"));
    }
}
