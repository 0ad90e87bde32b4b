//! What a client of Murmuring says and hears, written from `docs/PROTOCOL.md` and not from the server's code: framing,
//! the upgrade, and frames in both subprotocols. Pure: bytes in, bytes out. Sockets are the swarm's.

mod archive;
mod client;
mod framing;
mod json;
mod server;
mod text;
mod upgrade;

pub use client::{ClientFrame, Cursor, Range, User};
pub use framing::{
    Close, Masks, Message, Opcode, Reader, SERVER_PAYLOAD_BYTES_MAX, Violation, write_control, write_text,
};
pub use server::{ChatListEntry, Content, Event, Invalid, Limits, Role, ServerFrame};
pub use text::Text;
pub use upgrade::{Key, RESPONSE_BYTES_MAX, Refused, Upgraded, read_response, write_request};

use crate::options::Subprotocol;

/// Appends a frame as one whole masked WebSocket message.
pub fn encode(subprotocol: Subprotocol, frame: &ClientFrame<'_>, mask: [u8; 4], out: &mut Vec<u8>) {
    match subprotocol {
        Subprotocol::Json => framing::write_with(Opcode::Text, mask, out, |out| json::encode(frame, out)),
        Subprotocol::Rkyv => {
            framing::write_with(Opcode::Binary, mask, out, |out| archive::encode(frame, out))
        }
    }
}

/// Reads the payload of a data message. Nothing of it is copied but JSON strings with escapes.
///
/// # Errors
/// [`Invalid`] for bytes that are no frame of version 1 of the subprotocol.
pub fn decode(subprotocol: Subprotocol, payload: &[u8]) -> Result<ServerFrame<'_>, Invalid> {
    match subprotocol {
        Subprotocol::Json => json::decode(payload),
        Subprotocol::Rkyv => archive::decode(payload),
    }
}
