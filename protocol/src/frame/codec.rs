//! Frames to bytes and bytes to frames, by subprotocol: what a gateway calls.

use super::{ClientFrame, FrameError, ServerFrame, Subprotocol, json, rkyv};
use crate::error::Refusal;
use crate::event::Event;
use crate::id::{ConversationId, UserId};
use crate::websocket::{Opcode, write, write_with};

/// Where a decoded frame's lists lie. One a shard: it grows to the longest list (1,000 cursors, 80 KiB) and stays.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) cursors: Vec<(ConversationId, u64)>,
    pub(super) users: Vec<UserId>,
}

/// Decodes the payload of one message, in place: the bytes are changed, and the frame borrows them. Allocates nothing
/// once `scratch` is warm. For [`Subprotocol::Json`] the bytes are UTF-8, as [`crate::websocket::Reader`] has checked.
///
/// # Errors
/// Why it is not a frame of PROTOCOL section 2, and which request to answer.
pub fn decode<'a>(
    subprotocol: Subprotocol,
    payload: &'a mut [u8],
    scratch: &'a mut Scratch,
) -> Result<ClientFrame<'a>, FrameError> {
    match subprotocol {
        Subprotocol::Json => json::decode(payload, scratch),
        Subprotocol::Rkyv => rkyv::decode(payload, scratch),
    }
}

/// Appends a frame as one whole WebSocket message, header and payload.
pub fn encode(subprotocol: Subprotocol, frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    match (subprotocol, frame) {
        (Subprotocol::Json, _) => write_with(Opcode::Text, out, |out| json::encode(frame, out)),
        (Subprotocol::Rkyv, ServerFrame::Event(event)) => write(Opcode::Binary, event.as_bytes(), out),
        (Subprotocol::Rkyv, _) => write_with(Opcode::Binary, out, |out| rkyv::encode(frame, out)),
    }
}

/// Appends an event as the JSON object that stands in a `page`: an `event` frame without `op`.
pub fn write_event_object(event: &Event, out: &mut Vec<u8>) {
    json::event(event, out);
}

/// Appends a refusal as a JSON object: `code`, `message`, and `retry_after_ms` where there is one.
pub fn write_refusal_object(refusal: &Refusal, out: &mut Vec<u8>) {
    json::refusal(refusal, out);
}

/// Whether a text is one JSON object, and nothing else: what `meta` must be.
#[must_use]
pub fn is_json_object(text: &str) -> bool {
    json::is_object(text)
}
