//! What a keeper finds to be placed: what differs between the leases and the newest table, and who is to place it when.

use protocol::envelope::RouterId;
use protocol::placement::{Epoch, NodeId, RouterNode, Table};
use storage::request::{Holder, Lease, Stale};

use super::command::{self, Answer, Made};
use super::plan::{Situation, plan};
use super::state::{Keeper, Next, Purpose};
use super::{GENTLE_PAUSE_MS, GENTLE_SLOTS_MAX, KeeperOperation};

impl Keeper {
    pub(super) fn is_dead(&self, node: NodeId) -> bool {
        node != self.node
            && (self.settings.exclusive || self.watch.is_dead(node, self.answered_ms, self.settings.lease_ms))
    }

    /// The leases of those who have gone.
    fn dead(&self) -> Vec<Stale> {
        self.leases.iter().filter(|lease| self.is_dead(lease.node)).map(stale).collect()
    }

    /// The nodes of the next table: those of this one that have a lease, and those that come.
    fn next_nodes(&self) -> Vec<RouterNode> {
        let placed = |node: NodeId| self.table.as_ref().and_then(|table| table.node(node));
        let is_next = |lease: &&Lease| {
            let comes = lease.node == self.node || self.watch.is_alive(lease.node);
            (comes || placed(lease.node).is_some()) && !self.is_dead(lease.node)
        };
        let of_lease = |lease: &Lease| {
            // Draining was asked of the process before this one.
            let forgets = lease.node == self.node && self.undrains;
            let drained = placed(lease.node).is_some_and(|node| node.draining) && !forgets;
            RouterNode {
                id: lease.node,
                name: lease.name.clone(),
                address: lease.address,
                cores: lease.cores,
                draining: lease.draining || drained,
            }
        };
        self.leases.iter().filter(is_next).map(of_lease).collect()
    }

    /// Looks whether there is something to place.
    pub(super) fn review(&mut self) {
        self.next = None;
        let (nodes, removed) = (self.next_nodes(), self.dead());
        let table = self.table.as_deref();
        let settled = removed.is_empty()
            && self.restarted.is_none()
            && !self.uneven
            && table.is_some_and(|table| table.nodes == nodes && !has_leftovers(table));
        if !settled {
            let situation = Situation {
                table,
                nodes: &nodes,
                restarted: self.restarted.map(|upto| (self.node, upto)),
                rebalance: self.uneven
                    || table.is_none_or(|table| shape_of(&table.nodes) != shape_of(&nodes)),
                moves_max: GENTLE_SLOTS_MAX,
            };
            let planned = plan(&situation).map(|plan| plan.table);
            self.uneven &= planned.is_some();
            let next = planned.or_else(|| table.filter(|_| !removed.is_empty()).cloned());
            self.next = next.map(|table| Next { table, removed });
        }
        if self.next.is_none() {
            self.need_ms = None;
        } else if self.need_ms.is_none() {
            self.need_ms = Some(self.now_ms);
            self.patience_ms = self.settings.beat_ms + self.below(self.settings.beat_ms);
        }
    }

    /// When what is to be placed since then is placed by this keeper.
    pub(super) fn place_at_ms(&self, since_ms: u64) -> u64 {
        let urgent =
            self.restarted.is_some() || self.next.as_ref().is_some_and(|next| !next.removed.is_empty());
        let is_first = self
            .leases
            .iter()
            .find(|lease| !self.is_dead(lease.node))
            .is_some_and(|lease| lease.node == self.node);
        let is_own = self.restarted.is_some() || self.undrains;
        let mine = if is_first || is_own { since_ms } else { since_ms + self.patience_ms };
        if urgent || self.table.is_none() { mine } else { mine.max(self.placed_ms + GENTLE_PAUSE_MS) }
    }

    /// Gives all slots away and ends the own lease, with that of everybody who has gone.
    pub(super) fn leave(&mut self) {
        let own = self.leases.iter().find(|lease| lease.node == self.node).map(stale);
        let (Some(table), Some(own)) = (self.table.clone(), own) else {
            return self.stop(KeeperOperation::Left);
        };
        let mut nodes = self.next_nodes();
        nodes.retain(|node| node.id != self.node);
        let situation =
            Situation { table: Some(&table), nodes: &nodes, restarted: None, rebalance: false, moves_max: 0 };
        let next = plan(&situation).map_or_else(|| Table::clone(&table), |plan| plan.table);
        let mut removed = self.dead();
        removed.push(own);
        self.place(Purpose::Leave, next, removed);
    }

    /// Answers commands that need nothing, up to one that needs a table; true when that is placed.
    pub(super) fn place_command(&mut self) -> bool {
        loop {
            let (Some(table), Some(first)) = (&self.table, self.commands.first()) else { return false };
            let leaves = |node: NodeId| self.leases.iter().any(|lease| lease.node == node && lease.draining);
            match command::make(&first.command, table, leaves) {
                Ok(Made::Table(table)) => {
                    self.place(Purpose::Command, table, Vec::new());
                    return true;
                }
                made => {
                    let done = made.map(|_| Answer::Placed(table.epoch));
                    if let Some(number) = self.commands.pop() {
                        self.command_done(number, done);
                    }
                }
            }
        }
    }
}

fn stale(lease: &Lease) -> Stale {
    Stale { holder: Holder { node: lease.node, incarnation: lease.incarnation }, beat: lease.beat }
}

/// Whether a node has slots since a table up to this one.
pub(super) fn has_tenure(table: &Table, node: NodeId, upto: Epoch) -> bool {
    table.tenures.iter().any(|tenure| tenure.owner.node() == node && tenure.since <= upto)
}

/// What shares depend on.
fn shape_of(nodes: &[RouterNode]) -> Vec<(NodeId, u16, bool)> {
    nodes.iter().map(|node| (node.id, node.cores, node.draining)).collect()
}

pub(super) fn shape(table: &Table) -> Vec<(NodeId, u16, bool)> {
    shape_of(&table.nodes)
}

/// Whether a table has slots that nobody has, or that are on their way from a node which is being emptied.
fn has_leftovers(table: &Table) -> bool {
    let draining = |owner: RouterId| table.node(owner.node()).is_none_or(|node| node.draining);
    table.tenures.iter().any(|tenure| draining(tenure.owner))
}
