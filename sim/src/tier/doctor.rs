//! Faults of the simulator's own making, which the checker must find: a simulator that finds nothing proves nothing.

use protocol::envelope::{ToGateway, ToRouter};

/// What is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doctor {
    /// Nothing.
    #[default]
    None,
    /// Events are lost between an owner and the gateway shards of other nodes and cores.
    LosesEvents,
    /// A gateway shard's interest in a room never reaches its owner.
    LosesInterest,
    /// The store commits what rests on something that was changed meanwhile.
    ForgetsConflicts,
}

impl Doctor {
    pub(super) fn loses_to_gateway(self, envelope: &ToGateway) -> bool {
        let is_event = matches!(envelope, ToGateway::Publish { .. } | ToGateway::Head { .. });
        self == Self::LosesEvents && is_event
    }

    pub(super) fn loses_to_router(self, envelope: &ToRouter) -> bool {
        self == Self::LosesInterest && matches!(envelope, ToRouter::Attach { .. })
    }
}
