//! What all cores of a simulated node have in common: the newest table, the lease, mailboxes, and the gateway shards of
//! other nodes. As `gateway::core`'s exchange and placement, without threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use gateway::link::UNSENT_BYTES_MAX;
use protocol::envelope::{GatewayId, Lane, ToGateway, ToRouter};
use protocol::placement::{Epoch, NodeId, Table};
use router::keeper::Command;
use storage::request::{Outcome, RequestId};

use crate::cluster::Event;
use crate::coverage::Mark;
use crate::mailbox::Mailbox;
use crate::random::Chance;
use crate::weather::Weather;
use crate::world::World;

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    Draining,
    Stopping,
}

/// A gateway shard of another node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    pub(super) core: u16,
    pub(super) envelopes: usize,
    pub(super) bytes: usize,
    /// A router shard gave it up.
    pub(super) cut: bool,
}

/// One core's mail.
#[derive(Debug)]
pub(super) struct CoreMail {
    pub(super) gateway: Mailbox<ToGateway>,
    pub(super) router: Mailbox<(Epoch, ToRouter)>,
    pub(super) outcomes: VecDeque<(RequestId, Outcome)>,
    pub(super) links: VecDeque<(GatewayId, ToGateway)>,
}

/// Envelopes that the API's mailboxes hold.
const API_MAILBOX: usize = 64;

/// All of it.
#[derive(Debug)]
pub(super) struct Shared {
    /// The node's place in the run.
    pub(super) place: usize,
    pub(super) process: u32,
    pub(super) node: NodeId,
    pub(super) phase: Phase,
    pub(super) table: Arc<Table>,
    pub(super) lapsed: bool,
    pub(super) wanted: Epoch,
    /// The keeper was told to stop, or has left.
    pub(super) given_up: bool,
    pub(super) mail: Vec<CoreMail>,
    pub(super) to_api: Mailbox<ToGateway>,
    pub(super) from_api: Mailbox<ToRouter>,
    pub(super) commands: VecDeque<Command>,
    remotes: BTreeMap<GatewayId, Remote>,
    next_remote: u32,
    pub(super) refuses: Chance,
    gateway_places: usize,
}

impl Shared {
    pub(super) fn new(place: usize, process: u32, node: NodeId, cores: u16, weather: &Weather) -> Self {
        let shape = &weather.shape;
        let mail = || CoreMail {
            gateway: Mailbox::new(shape.gateway_mailbox),
            router: Mailbox::new(shape.router_mailbox),
            outcomes: VecDeque::new(),
            links: VecDeque::new(),
        };
        Self {
            place,
            process,
            node,
            phase: Phase::Running,
            table: Arc::new(Table::empty()),
            lapsed: false,
            wanted: Epoch(0),
            given_up: false,
            mail: (0..cores).map(|_| mail()).collect(),
            to_api: Mailbox::new(API_MAILBOX),
            from_api: Mailbox::new(API_MAILBOX),
            commands: VecDeque::new(),
            remotes: BTreeMap::new(),
            next_remote: GatewayId::REMOTE.0,
            refuses: weather.network.mailbox_refuses,
            gateway_places: shape.gateway_mailbox,
        }
    }

    pub(super) fn cores(&self) -> u16 {
        self.mail.len() as u16
    }

    /// Takes a table, when it is newer.
    pub(super) fn replace(&mut self, table: Arc<Table>) {
        if table.epoch > self.table.epoch {
            self.table = table;
        }
    }

    pub(super) fn next_remote(&mut self) -> GatewayId {
        self.next_remote += 1;
        GatewayId(self.next_remote - 1)
    }

    pub(super) fn insert_remote(&mut self, gateway: GatewayId, core: u16) {
        self.remotes.insert(gateway, Remote { core, envelopes: 0, bytes: 0, cut: false });
    }

    pub(super) fn remove_remote(&mut self, gateway: GatewayId) {
        self.remotes.remove(&gateway);
    }

    pub(super) fn remote_mut(&mut self, gateway: GatewayId) -> Option<&mut Remote> {
        self.remotes.get_mut(&gateway)
    }

    fn refuses(&self, world: &mut World<Event>) -> bool {
        world.random.happens(self.refuses)
    }

    /// To a gateway shard that is not this core's, wherever it is; gives it back when it does not fit.
    #[expect(clippy::result_large_err, reason = "what does not fit comes back as it is")]
    pub(super) fn push_gateway(
        &mut self,
        world: &mut World<Event>,
        to: GatewayId,
        envelope: ToGateway,
    ) -> Result<(), ToGateway> {
        let lane = envelope.lane();
        let result = if self.refuses(world) {
            Err(envelope)
        } else if let Some(mail) = self.mail.get_mut(to.0 as usize) {
            mail.gateway.push(lane, envelope)
        } else {
            self.push_remote(lane, to, envelope)
        };
        if result.is_err() {
            world.coverage.hit(Mark::GatewayFull);
        }
        result
    }

    #[expect(clippy::result_large_err, reason = "what does not fit comes back as it is")]
    fn push_remote(&mut self, lane: Lane, to: GatewayId, envelope: ToGateway) -> Result<(), ToGateway> {
        let places = self.gateway_places;
        let Some(remote) = self.remotes.get_mut(&to) else { return Ok(()) };
        if remote.envelopes >= lane.fill_max(places) || remote.bytes >= lane.fill_max(UNSENT_BYTES_MAX) {
            return Err(envelope);
        }
        remote.envelopes += 1;
        let core = usize::from(remote.core);
        self.mail[core].links.push_back((to, envelope));
        Ok(())
    }

    /// To the router shard of a core of this node; gives it back when it does not fit.
    #[expect(clippy::result_large_err, reason = "what does not fit comes back as it is")]
    pub(super) fn push_router(
        &mut self,
        world: &mut World<Event>,
        core: u16,
        by: Epoch,
        envelope: ToRouter,
    ) -> Result<(), ToRouter> {
        let lane = envelope.lane();
        let result = if self.refuses(world) {
            Err((by, envelope))
        } else {
            self.mail[usize::from(core)].router.push(lane, (by, envelope))
        };
        result.map_err(|(_, envelope)| {
            world.coverage.hit(Mark::RouterFull);
            envelope
        })
    }
}
