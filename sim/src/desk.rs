//! Where the API's requests go and its answers come from: the mailboxes of the server that is all there is, or a cluster's
//! nodes.

use protocol::envelope::{ToGateway, ToRouter};
use protocol::placement::{Epoch, Slot, Table};

use crate::cluster::Event;
use crate::node::{Mailboxes, Node};
use crate::tier::{ProcessNumber, Tier};
use crate::world::World;

/// Whoever takes the API's requests.
pub(crate) enum Desk<'a> {
    /// The router shards of one server.
    Alone(&'a mut Mailboxes),
    /// The nodes of a cluster.
    Tier(&'a mut Tier),
}

/// Whom the API asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The server.
    Alone,
    /// A process of a cluster.
    Process(ProcessNumber),
}

impl<'a> Desk<'a> {
    /// Of what is there; `None`: the server is down.
    pub(crate) fn of(node: &'a mut Option<Node>, tier: &'a mut Option<Tier>) -> Option<Self> {
        match tier {
            Some(tier) => Some(Self::Tier(tier)),
            None => node.as_mut().map(|node| Self::Alone(&mut node.mailboxes)),
        }
    }

    /// Hands a request over; `None`: it did not fit.
    pub(crate) fn ask(
        &mut self,
        world: &mut World<Event>,
        routers: u16,
        slot: Slot,
        envelope: ToRouter,
    ) -> Option<Asked> {
        match self {
            Self::Alone(mailboxes) => {
                let owner = Table::alone(routers, Epoch(0)).owner(slot);
                mailboxes.push_router(world, owner, envelope).ok().map(|()| Asked::Alone)
            }
            Self::Tier(tier) => tier.ask(world, envelope).map(Asked::Process),
        }
    }

    /// The next answer.
    pub(crate) fn next_mail(&mut self) -> Option<ToGateway> {
        match self {
            Self::Alone(mailboxes) => mailboxes.to_api.pop(),
            Self::Tier(tier) => tier.next_mail(),
        }
    }

    /// Whether an answer can still come from there.
    pub(crate) fn is_there(&self, asked: Asked) -> bool {
        match (self, asked) {
            (Self::Tier(tier), Asked::Process(number)) => tier.is_running(number),
            _ => true,
        }
    }
}
