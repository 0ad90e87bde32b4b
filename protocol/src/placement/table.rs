//! The placement table: which router shard has each slot, and which router nodes there are. Who changes it, and when, is
//! decided elsewhere; a table itself never changes.

use core::net::SocketAddr;

use super::{Epoch, SLOTS, Slot};
use crate::envelope::RouterId;

/// Router nodes of one table at most.
pub const NODES_MAX: usize = 256;
/// Bytes of a node's name at most.
pub const NAME_BYTES_MAX: usize = 64;

/// A router node, by the number that the store gave it. Numbers are never given twice, until 65,534 were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The node of a server that is all there is, and knows of no cluster.
    pub const ALONE: Self = Self(0);
    /// No router node: what a node without router shards takes for its own.
    pub const NONE: Self = Self(u16::MAX);
}

/// A router node of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterNode {
    /// Its number.
    pub id: NodeId,
    /// Its name in the configuration: 1 to [`NAME_BYTES_MAX`] bytes.
    pub name: Box<str>,
    /// Where it takes links.
    pub address: SocketAddr,
    /// How many router shards it has, at least 1.
    pub cores: u16,
    /// True: it is being emptied, and gets no slot.
    pub draining: bool,
}

/// Who has a slot, and since which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The router shard; [`RouterId::NOBODY`] while there is none.
    pub owner: RouterId,
    /// The table that gave it the slot: an owner that lost it and has it again has a new tenure.
    pub since: Epoch,
}

/// Which router shard has each slot. A table with a larger epoch is newer and replaces this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its number. What an owner asks the store to commit names it, and is fenced when a later table took the slot away.
    pub epoch: Epoch,
    /// All router nodes, ascending by number.
    pub nodes: Vec<RouterNode>,
    /// By slot: [`SLOTS`] of them.
    pub tenures: Box<[Tenure]>,
}

impl Table {
    /// The table before all others: nobody has anything.
    #[must_use]
    pub fn empty() -> Self {
        let nobody = Tenure { owner: RouterId::NOBODY, since: Epoch(0) };
        Self { epoch: Epoch(0), nodes: Vec::new(), tenures: vec![nobody; usize::from(SLOTS)].into() }
    }

    /// The table of a server that is all there is: its slots in turn to each of its router shards (at least 1).
    #[must_use]
    pub fn alone(cores: u16, epoch: Epoch) -> Self {
        let tenure =
            |slot: Slot| Tenure { owner: RouterId::new(NodeId::ALONE, slot.0 % cores), since: epoch };
        Self { epoch, nodes: Vec::new(), tenures: Slot::all().map(tenure).collect() }
    }

    /// Who has a slot, and since when.
    #[must_use]
    pub fn tenure(&self, slot: Slot) -> Tenure {
        self.tenures[usize::from(slot.0)]
    }

    /// Who has a slot; [`RouterId::NOBODY`] while nobody does.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> RouterId {
        self.tenure(slot).owner
    }

    /// A router node by its number.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&RouterNode> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The slots of which somebody else, or the same owner anew, has the tenure in `newer`, ascending.
    pub fn moved<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = Slot> + 'a {
        Slot::all().filter(|&slot| self.tenure(slot) != newer.tenure(slot))
    }
}
