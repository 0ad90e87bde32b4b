//! Frames as rkyv archives (`murmuring.v1.rkyv`): one binary message a frame. A tag byte, then one archive whose types
//! are frozen: a change is a new type behind a new tag, and the golden bytes of the tests hold us to it.
//!
//! ```text
//! client   01  ClientFrameV1
//! server   01  EventV1: an event, the very bytes of the store, whose version byte is the tag
//!          81  ServerFrameV1
//!          c0  the bytes of an event, version byte included: a signal
//! ```
//!
//! Tags 01 to 7f of the server are versions of events, 80 and up are ours.
//!
//! # The bytes of an archive, for other languages
//!
//! rkyv 0.8 with `little_endian`, `unaligned`, `pointer_width_32`. No padding, no alignment. The root lies at the *end*:
//! its size is known from its type, and what it points to lies in front of it.
//!
//! | type | bytes |
//! |---|---|
//! | `u8`, `bool` | 1 (`bool`: 0 or 1) |
//! | `u16`, `u32`, `u64`, `i64` | 2, 4, 8, 8, little-endian |
//! | `&str`, `&[u8]` as box | 8: `i32` offset from this field's own address to the first byte, `u32` length in bytes |
//! | `&[T]` | 8: `i32` offset from this field's own address to the first element, `u32` number of elements |
//! | `Option<T>` | 1 (0: none, 1: some), then `T`; for none the bytes of `T` are 0 |
//! | struct | its fields in order |
//! | enum | 1 (the variant's number from 0, in the order of its declaration), then the variant's fields in order, then 0 up to the size of the largest variant |
//!
//! Strings are UTF-8. An offset into the middle of something else, or two that share bytes, make the archive invalid.

mod client;
mod list;
mod server;

pub use client::{ArchivedClientFrameV1, ClientFrameV1, CursorV1, RangeV1, UserV1};
pub use list::{AsV1, Each};
pub use server::{
    ArchivedChatListEntryV1, ArchivedEventBytesV1, ArchivedServerFrameV1, ChatListEntryV1, ClientLimitsV1,
    EventBytesV1, ServerArchive, ServerFrameV1,
};

pub(super) use client::decode;
pub use client::encode_client;
pub use server::decode_server;
pub(super) use server::encode;

/// The first byte of a client's frame: [`ClientFrameV1`] follows.
pub const CLIENT_FRAME_V1: u8 = 0x01;
/// The first byte of a server's frame that is no event: [`ServerFrameV1`] follows.
pub const SERVER_FRAME_V1: u8 = 0x81;
/// The first byte of a signal: an event's bytes follow.
pub const SIGNAL: u8 = 0xC0;

/// Appends a tag and an archive.
fn write<T>(tag: u8, frame: &T, out: &mut Vec<u8>)
where
    T: for<'a> ::rkyv::Serialize<
            ::rkyv::api::high::HighSerializer<
                Vec<u8>,
                ::rkyv::ser::allocator::ArenaHandle<'a>,
                ::rkyv::rancor::Panic,
            >,
        >,
{
    out.push(tag);
    // Writing into memory fails only beyond the 2 GiB of an offset, and a frame is bounded far below.
    let Ok(bytes) = ::rkyv::api::high::to_bytes_in(frame, core::mem::take(out));
    *out = bytes;
}
