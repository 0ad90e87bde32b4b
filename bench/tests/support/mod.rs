//! What several promises need.

use bench::options::Subprotocol;
use bench::wire::{ClientFrame, encode};

/// The payload of a frame as a client sends it.
pub(crate) fn payload(subprotocol: Subprotocol, frame: &ClientFrame<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    encode(subprotocol, frame, [0; 4], &mut message);
    let header = 6 + if message[1] & 0x7F < 126 { 0 } else { 2 };
    message.split_off(header)
}
