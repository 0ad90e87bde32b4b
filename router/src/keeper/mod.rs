//! The keeper of a router node: holds the node's lease, learns of new placement tables, and makes them: for nodes that come,
//! leave, die, are drained. Pure, as a router shard is: one completion in, operations out; no clock, no I/O.
//!
//! ```text
//! Beat ─► the store ─► leases, newer table ─► Node, Table, Lapsed          (each beat_ms)
//!                          │
//!                          └─► what differs from the table ─► plan ─► Place ─► the store ─► Table
//! ```
//!
//! All keepers see the same and would make the same table. The node with the smallest number among those that live does; the
//! others do when nothing happened for a while. The store takes one of two tables that were made from the same one.
//!
//! What is to be placed, and by whom, is `placing.rs`; which slot goes where `plan.rs`, who counts as gone `watch.rs`, what the control API may ask `command.rs`.

mod command;
mod commands;
mod placing;
pub mod plan;
mod state;
mod watch;

use core::net::SocketAddr;
use std::sync::Arc;

use protocol::placement::{Epoch, NodeId, Table};
use storage::request::{Failure, Outcome, Request};

pub use command::{Answer, Command, CommandError, CommandNumber, NodeStatus, Status, Target};
pub use state::Keeper;

/// Slots that are taken from living owners by one table, at most: a drain and a new node are gentle.
pub const GENTLE_SLOTS_MAX: usize = 256;
/// Pause between two tables that take slots from living owners, in milliseconds.
pub const GENTLE_PAUSE_MS: u64 = 100;
/// Commands that wait, at most.
pub const COMMANDS_MAX: usize = 64;
/// How long a command may wait for the store, in milliseconds.
pub const COMMAND_PATIENCE_MS: u64 = 10_000;
/// How long a node that leaves tries to give its slots away, in milliseconds.
pub const LEAVE_PATIENCE_MS: u64 = 3_000;

/// What a keeper is told about its node when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperSettings {
    /// The node's number, as the store gave it to the name when this process registered. It keeps it though others find its lease
    /// without life before the first beat, and take it away.
    pub node: NodeId,
    /// The node's name in the configuration, 1 to 64 bytes: who starts again under it has its number and its slots.
    pub name: Box<str>,
    /// Where it takes links.
    pub address: SocketAddr,
    /// How many router shards it has, at least 1.
    pub cores: u16,
    /// Random, of each start of the process.
    pub incarnation: u64,
    /// How often the lease is renewed, in milliseconds.
    pub beat_ms: u64,
    /// How long a lease may stand still until its node counts as gone, in milliseconds: at least four times `beat_ms`.
    pub lease_ms: u64,
    /// The store is this process's alone (an engine of this process): whoever else has a lease has gone.
    pub exclusive: bool,
}

impl KeeperSettings {
    /// Of a node with such a number and name, with the usual times.
    #[must_use]
    pub fn new(node: NodeId, name: &str, address: SocketAddr, cores: u16, incarnation: u64) -> Self {
        Self {
            node,
            name: name.into(),
            address,
            cores,
            incarnation,
            beat_ms: 500,
            lease_ms: 2_000,
            exclusive: false,
        }
    }
}

/// A keeper's word for a request, echoed in its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestNumber(pub u64);

/// What happened, for a keeper.
#[derive(Debug)]
pub enum KeeperCompletion {
    /// The store answers a request.
    Store(RequestNumber, Outcome),
    /// The store's queue was full: the request was dropped.
    StoreFull(RequestNumber),
    /// The control API asks.
    Command(CommandNumber, Command),
    /// A link says that there is a table of this epoch.
    Wanted(Epoch),
    /// The process is about to leave and asks to be emptied first, some slots at a time.
    Retire,
    /// The process ends: its slots go to others at once.
    Leave,
    /// Time passed: at least every 100 ms, and at [`Keeper::deadline`].
    Tick,
}

/// What a keeper wants done, in this order.
#[derive(Debug)]
pub enum KeeperOperation {
    /// Hand a request to the store's driver.
    Store(RequestNumber, Request),
    /// A newer table, for everybody on this node: first for its router shards.
    Table(Arc<Table>),
    /// True: the own lease was not renewed in time, others may have the slots: answer `unavailable`. False: it is renewed
    /// again; what others have taken meanwhile, the table before this says.
    Lapsed(bool),
    /// This process must stop. Nothing more comes.
    Replaced(Replaced),
    /// The node has left: its process may end. Nothing more comes.
    Left,
    /// What came of a command.
    CommandDone(CommandNumber, Result<Answer, CommandError>),
    /// Something for the log.
    Note(Note),
}

/// Why a process must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Another process runs under the node's name.
    ByName,
    /// A server that is all there is has taken the whole store.
    ByClaim,
}

/// Something for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A node is in the table for the first time.
    Joined {
        /// Its number.
        node: NodeId,
        /// Its name.
        name: Box<str>,
    },
    /// A node is not in the table any more: it left, or had gone.
    Gone {
        /// Its number.
        node: NodeId,
        /// Its name.
        name: Box<str>,
    },
    /// This keeper found that a node had gone.
    Dead {
        /// Its number.
        node: NodeId,
        /// For how long its lease had stood still, in milliseconds.
        silent_ms: u64,
    },
    /// A new table gives slots to other owners, or anew to the same.
    Moved {
        /// The table.
        epoch: Epoch,
        /// How many slots.
        slots: usize,
    },
    /// The store fails; told once until it answers again.
    StoreFails(Failure),
    /// The store answers again.
    StoreAnswers,
}
