//! What somebody with a view of all nodes at once sees of a cluster, and the few things that a scenario does to one node.

use std::sync::Arc;

use protocol::placement::{NodeId, Table};
use router::keeper::Command;

use super::core::Core;
use super::process::Process;
use super::tally::Tally;
use super::{STOP_PATIENCE_US, Tier, TierEvent};
use crate::cluster::Event;
use crate::node::Outside;
use crate::weather::Weather;

/// A view of all nodes at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    /// Links that each gateway core has made.
    pub(crate) dialled: Vec<usize>,
    /// Links that each router core has taken.
    pub(crate) accepted: Vec<usize>,
    /// The same, a router node.
    pub(crate) accepted_a_node: Vec<usize>,
    /// Sessions that each router core has registered.
    pub(crate) registered: Vec<u64>,
    /// Sockets that each gateway core has.
    pub(crate) connections: Vec<u64>,
    /// Bytes that went into links, since their cores began.
    pub(crate) link_bytes: u64,
    /// Tables among what these were.
    pub(crate) link_tables: u64,
    /// What else these were.
    pub(crate) tally: Tally,
    /// Rooms, sessions and watches that were announced again, as above.
    pub(crate) announced: u64,
    /// Requests that were asked again, as above.
    pub(crate) reasked: u64,
}

impl Census {
    fn add(&mut self, process: &Process) {
        let mut accepted_here = 0;
        for core in &process.cores {
            let (dialled, accepted) = core.links.ready();
            let counters = core.gateway.counters();
            if core.sockets.is_some() {
                self.dialled.push(dialled);
                self.connections.push(counters.connections);
            } else {
                self.accepted.push(accepted);
                self.registered.push(core.router.counters().sessions);
                accepted_here += accepted;
            }
            let sent = core.links.sent();
            self.link_bytes += sent.bytes;
            self.link_tables += sent.tables;
            self.tally.add(&core.links.tally);
            self.announced += counters.announced;
            self.reasked += counters.reasked;
        }
        if process.shared.node != NodeId::NONE {
            self.accepted_a_node.push(accepted_here);
        }
    }
}

impl Tier {
    /// Looks at all nodes.
    pub(crate) fn census(&self) -> Census {
        let mut census = Census::default();
        self.running().for_each(|process| census.add(process));
        census
    }

    /// The newest table of any node.
    pub(crate) fn newest_table(&self) -> Arc<Table> {
        let tables = self.running().map(|process| &process.shared.table);
        tables.max_by_key(|table| table.epoch).map_or_else(|| Arc::new(Table::empty()), Arc::clone)
    }

    /// Whether every core goes by this table, and has a link to each of its nodes.
    pub(crate) fn is_linked(&self, table: &Table) -> bool {
        self.running().all(|process| {
            let others = table.nodes.iter().filter(|node| node.id != process.shared.node).count();
            let follows = |core: &Core| core.table == table.epoch && core.links.ready().0 >= others;
            process.cores.iter().all(follows)
        })
    }

    /// The number of the router node at a place that runs.
    pub(crate) fn node_at(&self, place: usize) -> Option<NodeId> {
        self.nodes[place].process.as_ref().map(|process| process.shared.node)
    }

    /// The tables of sockets of the node at a place.
    pub(crate) fn sockets_at(&self, place: usize) -> std::ops::Range<usize> {
        self.nodes[place].sockets.clone()
    }

    /// The process at a place is gone (kill -9), for good; `noticed`: its kernel tells its peers.
    pub(crate) fn lose(&mut self, place: usize, weather: &Weather, outside: &mut Outside<'_>, noticed: bool) {
        self.end(place, weather, outside, noticed);
    }

    /// A node that is down starts.
    pub(crate) fn start_again(&mut self, place: usize, weather: &Weather, outside: &mut Outside<'_>) {
        self.start(place, weather, outside);
    }

    /// The process at a place is told to stop (SIGTERM).
    pub(crate) fn stop(&mut self, place: usize, outside: &mut Outside<'_>) {
        let Some(process) = &mut self.nodes[place].process else { return };
        process.shared.phase = super::Phase::Draining;
        let number = process.number;
        self.stirred.insert(place);
        outside.world.plan(STOP_PATIENCE_US, Event::Tier(TierEvent::StopNow(number)));
    }

    /// An operator orders something of the keeper at a place.
    pub(crate) fn order_at(&mut self, place: usize, command: Command) {
        if let Some(process) = &mut self.nodes[place].process {
            process.shared.commands.push_back(command);
            self.stirred.insert(place);
        }
    }
}
