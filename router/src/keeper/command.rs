//! What the control API asks of a keeper, and what comes of it.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use protocol::envelope::RouterId;
use protocol::placement::{Epoch, NodeId, SLOTS, Slot, Table, Tenure};
use storage::request::Lease;

/// Names a command in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandNumber(pub u64);

/// What the control API asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Empty the node of this name: its slots move away, some at a time, and it gets none.
    Drain(Box<str>),
    /// The node of this name gets slots again.
    Undrain(Box<str>),
    /// Move one slot. It stays there until nodes come or go.
    Move {
        /// Which.
        slot: Slot,
        /// Whereto.
        to: Target,
    },
    /// Tell how things are.
    Status,
}

/// Where a slot is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this router shard.
    Shard(RouterId),
    /// To the router shard with the fewest slots of the node of this name.
    Node(Box<str>),
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A table says so, or said so before: this one. What a drain moves, later ones do.
    Placed(Epoch),
    /// How things are.
    Status(Status),
}

/// Why a command was not carried out. Nothing was changed, but see [`CommandError::Unavailable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// No node has this name.
    NoNode,
    /// No slot has this number.
    NoSlot,
    /// The node has no such router shard.
    NoShard,
    /// The node is being emptied: it gets no slot.
    Draining,
    /// No other node could take the slots.
    LastNode,
    /// The node is about to leave by its own wish.
    Leaving,
    /// Too many commands wait.
    Busy,
    /// The store did not answer in time, or others changed the table each time: it may still happen.
    Unavailable,
}

/// How things are, as this keeper sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The node that tells.
    pub node: NodeId,
    /// Its newest table; 0: there is none.
    pub epoch: Epoch,
    /// Its own lease was not renewed in time.
    pub lapsed: bool,
    /// Slots that nobody has.
    pub unowned: usize,
    /// All nodes of the table, and those with a lease alone, ascending by number.
    pub nodes: Vec<NodeStatus>,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its number.
    pub node: NodeId,
    /// Its name.
    pub name: Box<str>,
    /// Where it takes links.
    pub address: SocketAddr,
    /// How many router shards it has.
    pub cores: u16,
    /// It is being emptied.
    pub draining: bool,
    /// It is in the table.
    pub placed: bool,
    /// Slots that it has.
    pub slots: usize,
    /// For how long its lease has stood still, in milliseconds; `None`: it has none.
    pub silent_ms: Option<u64>,
}

/// What a command makes of a table.
pub(super) enum Made {
    /// This one.
    Table(Table),
    /// It is so already.
    Same,
}

/// Makes the table that a command asks for, from the newest. `leaves` says whether a node wants to leave by itself.
pub(super) fn make(
    command: &Command,
    table: &Table,
    leaves: impl Fn(NodeId) -> bool,
) -> Result<Made, CommandError> {
    match command {
        Command::Drain(name) => drain(table, name, true),
        Command::Undrain(name) => match find(table, name) {
            Ok(at) if leaves(table.nodes[at].id) => Err(CommandError::Leaving),
            _ => drain(table, name, false),
        },
        Command::Move { slot, to } => move_slot(table, *slot, to),
        Command::Status => Ok(Made::Same),
    }
}

fn find(table: &Table, name: &str) -> Result<usize, CommandError> {
    table.nodes.iter().position(|node| &*node.name == name).ok_or(CommandError::NoNode)
}

fn drain(table: &Table, name: &str, draining: bool) -> Result<Made, CommandError> {
    let at = find(table, name)?;
    if table.nodes[at].draining == draining {
        return Ok(Made::Same);
    }
    let is_last = table.nodes.iter().filter(|node| !node.draining).count() == 1;
    if draining && is_last {
        return Err(CommandError::LastNode);
    }
    let mut table = table.clone();
    table.nodes[at].draining = draining;
    Ok(Made::Table(table))
}

fn move_slot(table: &Table, slot: Slot, to: &Target) -> Result<Made, CommandError> {
    if slot.0 >= SLOTS {
        return Err(CommandError::NoSlot);
    }
    let owner = table.owner(slot);
    let owner_to = match to {
        Target::Shard(shard) => *shard,
        Target::Node(name) => {
            let node = &table.nodes[find(table, name)?];
            if owner.node() == node.id {
                return Ok(Made::Same);
            }
            let slots =
                |shard: &RouterId| table.tenures.iter().filter(|tenure| tenure.owner == *shard).count();
            let shards = (0..node.cores).map(|core| RouterId::new(node.id, core));
            shards.min_by_key(slots).ok_or(CommandError::NoShard)?
        }
    };
    let node = table.node(owner_to.node()).ok_or(CommandError::NoNode)?;
    if owner_to.core() >= node.cores {
        return Err(CommandError::NoShard);
    }
    if node.draining {
        return Err(CommandError::Draining);
    }
    if owner == owner_to {
        return Ok(Made::Same);
    }
    let mut table = table.clone();
    let since = Epoch(table.epoch.0 + 1);
    table.tenures[usize::from(slot.0)] = Tenure { owner: owner_to, since };
    Ok(Made::Table(table))
}

/// Puts a status together.
pub(super) fn status(
    node: NodeId,
    lapsed: bool,
    table: &Table,
    leases: &[Lease],
    silent_ms: impl Fn(NodeId) -> Option<u64>,
) -> Status {
    let mut slots = BTreeMap::<NodeId, usize>::new();
    for tenure in table.tenures.iter().filter(|tenure| tenure.owner != RouterId::NOBODY) {
        *slots.entry(tenure.owner.node()).or_default() += 1;
    }
    let unowned = table.tenures.len() - slots.values().sum::<usize>();
    let placed = table.nodes.iter().map(|node| NodeStatus {
        node: node.id,
        name: node.name.clone(),
        address: node.address,
        cores: node.cores,
        draining: node.draining,
        placed: true,
        slots: slots.get(&node.id).copied().unwrap_or(0),
        silent_ms: leases.iter().any(|lease| lease.node == node.id).then(|| silent_ms(node.id)).flatten(),
    });
    let others = leases.iter().filter(|lease| table.node(lease.node).is_none()).map(|lease| NodeStatus {
        node: lease.node,
        name: lease.name.clone(),
        address: lease.address,
        cores: lease.cores,
        draining: lease.draining,
        placed: false,
        slots: 0,
        silent_ms: silent_ms(lease.node),
    });
    let mut nodes: Vec<NodeStatus> = placed.chain(others).collect();
    nodes.sort_by_key(|status| status.node);
    Status { node, epoch: table.epoch, lapsed, unowned, nodes }
}
