//! What the links of a core carried, by sort: what `gateway::link::Counters` do not tell apart. Counted where an envelope
//! goes into a link.

use std::collections::BTreeMap;

use protocol::envelope::{ToGateway, ToRouter};
use protocol::id::ConversationKey;

/// A sort of envelope, requests and their answers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Sends and their acks.
    Sends,
    /// Publishes, and heads in their place.
    Publishes,
    /// Interest in conversations, and its end.
    Rooms,
    /// Sessions that open, are heard of and close, and their chat lists.
    Sessions,
    /// All else.
    Others,
}

impl Sort {
    const COUNT: usize = 5;

    fn of_request(envelope: &ToRouter) -> Self {
        match envelope {
            ToRouter::Append { .. } => Self::Sends,
            ToRouter::Attach { .. } | ToRouter::Detach { .. } => Self::Rooms,
            ToRouter::SessionOpen { .. }
            | ToRouter::SessionHeard { .. }
            | ToRouter::SessionClose { .. }
            | ToRouter::Conversations { .. } => Self::Sessions,
            _ => Self::Others,
        }
    }

    fn of_answer(envelope: &ToGateway) -> Self {
        match envelope {
            ToGateway::Appended { .. } => Self::Sends,
            ToGateway::Publish { .. } | ToGateway::Head { .. } => Self::Publishes,
            ToGateway::Attached { .. } => Self::Rooms,
            ToGateway::SessionOpened { .. }
            | ToGateway::CloseSession { .. }
            | ToGateway::Conversations { .. } => Self::Sessions,
            _ => Self::Others,
        }
    }
}

/// Publishes of one conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// Envelopes.
    pub(crate) envelopes: u64,
    /// Events in them.
    pub(crate) events: u64,
}

/// Counts of a core's links since the core began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    to_router: [u64; Sort::COUNT],
    to_gateway: [u64; Sort::COUNT],
    published: BTreeMap<ConversationKey, Published>,
}

impl Tally {
    /// An envelope to a router shard went into a link.
    pub(super) fn request(&mut self, envelope: &ToRouter) {
        self.to_router[Sort::of_request(envelope) as usize] += 1;
    }

    /// An envelope to a gateway shard went into a link.
    pub(super) fn answer(&mut self, envelope: &ToGateway) {
        self.to_gateway[Sort::of_answer(envelope) as usize] += 1;
        if let ToGateway::Publish { conversation, events } = envelope {
            let published = self.published.entry(*conversation).or_default();
            published.envelopes += 1;
            published.events += events.len() as u64;
        }
    }

    /// Adds what another core counted.
    pub(crate) fn add(&mut self, other: &Self) {
        let sums = self.to_router.iter_mut().zip(other.to_router);
        sums.chain(self.to_gateway.iter_mut().zip(other.to_gateway)).for_each(|(sum, count)| *sum += count);
        for (conversation, more) in &other.published {
            let published = self.published.entry(*conversation).or_default();
            published.envelopes += more.envelopes;
            published.events += more.events;
        }
    }

    /// Envelopes of a sort to router shards.
    pub(crate) fn to_router(&self, sort: Sort) -> u64 {
        self.to_router[sort as usize]
    }

    /// Envelopes of a sort to gateway shards.
    pub(crate) fn to_gateway(&self, sort: Sort) -> u64 {
        self.to_gateway[sort as usize]
    }

    /// What was published of a conversation.
    pub(crate) fn published(&self, conversation: &ConversationKey) -> Published {
        self.published.get(conversation).copied().unwrap_or_default()
    }
}
