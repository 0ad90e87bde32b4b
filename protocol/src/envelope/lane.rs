//! Lanes: how an envelope behaves when a mailbox fills.

use super::{ToGateway, ToRouter};

/// How an envelope behaves when a mailbox fills. Each class may fill it up to a share of its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Dropped first, from half full on: typing, presence, receipts, signals.
    Ephemeral,
    /// Given back to its sender from three quarters on; the log has it: publishes and heads.
    Publish,
    /// Given back to its sender when full; the sender keeps it and tries again: all else.
    Required,
}

impl Lane {
    /// How many envelopes of a mailbox of `capacity` this lane may fill.
    #[must_use]
    pub const fn fill_max(self, capacity: usize) -> usize {
        match self {
            Self::Ephemeral => capacity / 2,
            Self::Publish => capacity / 4 * 3,
            Self::Required => capacity,
        }
    }
}

impl ToRouter {
    /// The envelope's lane.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Typing { .. } => Lane::Ephemeral,
            _ => Lane::Required,
        }
    }
}

impl ToGateway {
    /// The envelope's lane.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Signal { .. } | Self::Typing { .. } | Self::Receipt { .. } | Self::Presence { .. } => {
                Lane::Ephemeral
            }
            Self::Publish { .. } | Self::Head { .. } => Lane::Publish,
            _ => Lane::Required,
        }
    }
}
