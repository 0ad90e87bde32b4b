//! Links: how envelopes travel between nodes. Pure bytes: sockets, who the peer is, credit and reconnects are the link's
//! own, elsewhere.
//!
//! ```text
//!  0        4          12        13     14          16        18
//!  length   checksum   version   kind   from shard  to shard  archive …
//!  u32      u64        u8        u8     u16         u16
//! ```
//!
//! All numbers are little-endian. The *length* counts what follows it. The *checksum* is the xxh3-64 of what follows it.
//! Both, and the meaning of the four fields behind them, are the same in every version. The *version* says which frozen
//! types the *archive* is of (rkyv; its form is told in [`crate::frame::rkyv`]). Events and drafts lie in an archive as the
//! bytes they are.
//!
//! ```text
//! kind  00        never
//!       01, 02    ToRouter, ToGateway
//!       03 to 7f  unknown: the frame is refused
//!       80 to ff  the link's own ([`Control`], and what later versions add): handed over whatever their version
//! ```
//!
//! # Numbers of shards
//!
//! A [`GatewayId`](crate::envelope::GatewayId) has a meaning in one node only, so no archive holds one. A frame says which
//! shard of the sending node it is from and which of the receiving node it is for. Whoever decodes says what the gateway
//! shard in question is called *here*: for a [`ToRouter`](crate::envelope::ToRouter) the number under which the receiving
//! node knows the sending gateway shard, which the answer will name; for a [`ToGateway`](crate::envelope::ToGateway) the
//! receiving gateway shard's own.
//!
//! # Versions
//!
//! A node reads every version from [`VERSION_OLDEST`] to [`VERSION`], and writes what the peer reads. A new version is a
//! new module beside `v1`, whose types never change; it starts to be written one release after it can be read.

mod control;
mod limits;
mod malformed;
mod reader;
mod sentences;
mod v1;
mod write;

pub use control::{Control, Greeting, HANDSHAKE_FRAME_BYTES_MAX, MAC_BYTES, NONCE_BYTES};
pub use limits::{ENVELOPE_EVENTS_BYTES_MAX, ENVELOPE_EVENTS_MAX, ENVELOPE_ITEMS_MAX, FRAME_BYTES_MAX};
pub use malformed::Malformed;
pub use reader::{Body, Frame, Reader, ToGatewayBytes, ToRouterBytes};
pub use sentences::{SENTENCE_BYTES_MAX, SENTENCES_MAX, Sentences};
pub use write::{TooLarge, write_control, write_to_gateway, write_to_router};

/// The version that this node writes, and the newest that it reads.
pub const VERSION: u8 = 1;
/// The oldest version that this node reads: the one before [`VERSION`], once there is one.
pub const VERSION_OLDEST: u8 = 1;

/// Bytes in front of an archive.
pub const HEAD_BYTES: usize = 18;
/// The first kind that is the link's own.
pub const CONTROL: u8 = 0x80;

const TO_ROUTER: u8 = 0x01;
const TO_GATEWAY: u8 = 0x02;

/// Where in a frame its checksum, and what the checksum is of, begin.
const CHECKSUM: usize = 4;
const CHECKED: usize = 12;

/// Between which shards a frame goes, each by its number in its own node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// The sending shard: a gateway shard's number for what names a caller, otherwise that of whoever speaks.
    pub from: u16,
    /// The shard that it is for.
    pub to: u16,
}
