//! WebSocket framing of the server's side (RFC 6455, sections 5 to 8): reading a client's messages in place, and
//! writing frames. The handshake before it is in [`crate::upgrade`]; sockets, timers and the memory of unfinished
//! messages are the caller's.
//!
//! No extension is ever negotiated, so every reserved bit is an error.

mod close;
mod header;
mod mask;
mod reader;
mod utf8;
mod write;

pub use close::CLOSE_REASON_BYTES_MAX;
pub use reader::{Message, Reader};
pub use write::{write, write_close, write_with};

use crate::error::CloseCode;

/// Longest payload of a control frame, in bytes (RFC 6455, section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// What sort of frame (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// A message of UTF-8, or its first fragment.
    Text = 0x1,
    /// A message of bytes, or its first fragment.
    Binary = 0x2,
    /// The sender will send nothing more.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or just says that the sender lives.
    Pong = 0xA,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// True for close, ping and pong: short, never fragmented, allowed between fragments.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// How a client broke the framing. The connection fails with [`Violation::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A client's frame without a mask.
    Unmasked,
    /// A reserved bit, though no extension was negotiated.
    ReservedBits,
    /// An opcode that RFC 6455 does not define.
    ReservedOpcode,
    /// A control frame without FIN.
    FragmentedControl,
    /// A control frame of more than [`CONTROL_BYTES_MAX`].
    LongControl,
    /// A length in more bytes than it needs, or beyond 63 bits.
    Length,
    /// A continuation where no message had begun.
    StrayContinuation,
    /// A new message inside of a fragmented one.
    Interleaved,
    /// A close payload of one byte.
    ClosePayload,
    /// A close code that must not be on the wire.
    CloseCode,
    /// Text, or a close reason, that is not UTF-8.
    Utf8,
    /// A message over the limit.
    TooLarge,
}

impl Violation {
    /// What to close with.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Utf8 => CloseCode::INVALID_DATA,
            Self::TooLarge => CloseCode::TOO_LARGE,
            Self::Unmasked
            | Self::ReservedBits
            | Self::ReservedOpcode
            | Self::FragmentedControl
            | Self::LongControl
            | Self::Length
            | Self::StrayContinuation
            | Self::Interleaved
            | Self::ClosePayload
            | Self::CloseCode => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// One sentence for a person, short enough for a close reason.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Unmasked => "a client's frames must be masked",
            Self::ReservedBits => "a reserved bit is set, but no extension was negotiated",
            Self::ReservedOpcode => "the opcode is reserved",
            Self::FragmentedControl => "a control frame must not be fragmented",
            Self::LongControl => "a control frame has at most 125 bytes of payload",
            Self::Length => "the payload length must be written in as few bytes as it needs",
            Self::StrayContinuation => "a continuation frame, but no message to continue",
            Self::Interleaved => "a new message inside of a fragmented one",
            Self::ClosePayload => "a close payload is empty, or has a code of two bytes",
            Self::CloseCode => "the close code must not be on the wire",
            Self::Utf8 => "the text is not UTF-8",
            Self::TooLarge => "the message is over the limit",
        }
    }
}
