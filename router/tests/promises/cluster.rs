//! Router shards of several nodes over one store, and tables that change: what the keeper does to them, in one call.

use std::sync::Arc;

use protocol::envelope::{Caller, RouterId, ToGateway, ToRouter};
use protocol::placement::{Epoch, NodeId, Slot, Table, Tenure};
use router::{Completion, Settings};
use storage::request::{Outcome, Request};

use crate::world::World;

/// The only router shard of a node, by the node's number in the world.
pub(crate) fn shard(node: u16) -> RouterId {
    RouterId::new(NodeId(node + 1), 0)
}

impl World {
    /// So many nodes with a router shard each, and the slots in turn to each of them.
    pub(crate) fn cluster(nodes: u16, settings: Settings) -> Self {
        Self::of((0..nodes).map(shard).collect(), settings, |epoch| {
            let tenure = |slot: Slot| Tenure { owner: shard(slot.0 % nodes), since: epoch };
            Table { epoch, nodes: Vec::new(), tenures: Slot::all().map(tenure).collect() }
        })
    }

    /// The store gives slots to other shards, or to the same anew; nobody was told yet.
    pub(crate) fn place(&mut self, place: impl Fn(Slot) -> Option<RouterId>) {
        let mut table = Table::clone(&self.table);
        table.epoch = Epoch(table.epoch.0 + 1);
        let moved: Vec<Slot> = Slot::all().filter(|&slot| place(slot).is_some()).collect();
        for &slot in &moved {
            let owner = place(slot).expect("it moves");
            table.tenures[usize::from(slot.0)] = Tenure { owner, since: table.epoch };
        }
        let mut fence = Epoch(0);
        while fence < table.epoch && !moved.is_empty() {
            let request = Request::Claim { slots: moved.clone().into() };
            let Outcome::Claimed(claimed) = storage::run(&mut self.engine, request) else {
                panic!("claimed")
            };
            fence = claimed;
        }
        self.engine.sync().unwrap();
        self.table = Arc::new(table);
    }

    /// Tells a shard the newest table.
    pub(crate) fn tell_table(&mut self, number: usize) {
        self.told[number] = self.table.epoch;
        let table = Arc::clone(&self.table);
        self.handle(self.ids[number], Completion::Table(table));
    }

    /// Moves slots, and tells all shards.
    pub(crate) fn move_slots(&mut self, place: impl Fn(Slot) -> Option<RouterId>) {
        self.place(place);
        (0..self.shards.len()).for_each(|number| self.tell_table(number));
    }

    /// True when a shard takes what another sends: no node reads what was decided by a table that it has not got.
    pub(crate) fn reads(&self, to: RouterId, from: usize) -> bool {
        self.number(to).is_some_and(|number| self.told[number] >= self.told[from])
    }

    /// Gives an envelope to this shard, whoever its slot's owner is.
    pub(crate) fn send_to(&mut self, to: RouterId, envelope: ToRouter) {
        self.handle(to, Completion::Envelope(envelope));
    }

    /// Who was told that something is misplaced, taken out of the mail.
    pub(crate) fn misplaced(&mut self) -> Vec<Caller> {
        let mut callers = Vec::new();
        self.mail.retain(|(_, envelope)| match envelope {
            ToGateway::Misplaced { caller } => {
                callers.push(*caller);
                false
            }
            _ => true,
        });
        callers
    }
}
