//! How a peer's bytes can be wrong. Whatever it is, it is the peer's fault, or that of what lies between: the link ends,
//! since nothing behind the error can be trusted to begin where it seems to.

use crate::event::InvalidEvent;
use crate::id::InvalidId;

/// Why bytes are not a frame, or a frame not an envelope. The link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// A length below that of an empty frame.
    TooShort,
    /// A length over what the reader takes.
    TooLarge,
    /// Other bytes than were sent.
    Checksum,
    /// A version that this node does not read: one of the two nodes has to be brought up to date.
    Version(u8),
    /// A kind that no version read here has.
    Kind(u8),
    /// Not an archive of the version's types.
    Archive,
    /// An id that is none.
    Id,
    /// A number outside of its range: a seq over 2^53 - 1, a code that nobody has.
    Number,
    /// An event or a draft that is none, is too large, or does not belong where it stands.
    Event,
    /// Events that are not in order, or have a gap where they may not.
    Order,
    /// A control frame with too few bytes for its kind, or a greeting that is none.
    Control,
}

impl Malformed {
    /// One sentence for a person.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::TooShort => "the peer's frame is shorter than its own head",
            Self::TooLarge => "the peer's frame is over the limit",
            Self::Checksum => "the peer's frame does not match its checksum",
            Self::Version(_) => "the peer's frame has a version that this node does not read",
            Self::Kind(_) => "the peer's frame has a kind that this node does not know",
            Self::Archive => "the peer's frame is not an archive of its version",
            Self::Id => "the peer's envelope has an id that is none",
            Self::Number => "the peer's envelope has a number outside of its range",
            Self::Event => "the peer's envelope has an event that is none, or does not belong there",
            Self::Order => "the peer's envelope has events out of order",
            Self::Control => "the peer's control frame is not what its kind says",
        }
    }
}

impl From<InvalidId> for Malformed {
    fn from(_: InvalidId) -> Self {
        Self::Id
    }
}

impl From<InvalidEvent> for Malformed {
    fn from(_: InvalidEvent) -> Self {
        Self::Event
    }
}
