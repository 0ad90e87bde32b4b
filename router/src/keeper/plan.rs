//! Which router shard is to have which slot: pure functions from a table and the nodes that are there to the next table.
//!
//! Each router shard gets a fair share: shares differ by one slot at most, a node's share by less than one from what its
//! shards are of all. Only what must move moves: the slots of an owner that has gone, those of a node that is being emptied,
//! and what others have above their share. The same input always gives the same table.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use protocol::envelope::RouterId;
use protocol::placement::{Epoch, NodeId, RouterNode, SLOTS, Slot, Table, Tenure};

/// What the next table is made from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The table so far.
    pub table: Option<&'a Table>,
    /// The nodes of the next one, ascending by number.
    pub nodes: &'a [RouterNode],
    /// A node whose process has started anew and remembers nothing: its tenures of this epoch and before are renewed.
    pub restarted: Option<(NodeId, Epoch)>,
    /// Evens out the shares; otherwise only what must leave its owner moves.
    pub rebalance: bool,
    /// Slots that are taken from living owners, at most. The slots of those who have gone all move.
    pub moves_max: usize,
}

/// The next table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The table; its epoch is the next one.
    pub table: Table,
    /// Slots that get another owner.
    pub moved: usize,
    /// Slots that are still to move, behind [`Situation::moves_max`].
    pub left: usize,
}

/// The next table, where there is something to change.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Option<Plan> {
    let empty = Table::empty();
    let base = situation.table.unwrap_or(&empty);
    let epoch = Epoch(base.epoch.0 + 1);
    let mut table = Table { epoch, nodes: situation.nodes.to_vec(), tenures: base.tenures.clone() };
    let (moves, left) = moves(base, situation);
    let moved = moves.len();
    for (slot, owner) in moves {
        table.tenures[usize::from(slot.0)] = Tenure { owner, since: epoch };
    }
    if let Some((node, upto)) = situation.restarted {
        let forgotten = |tenure: &&mut Tenure| tenure.owner.node() == node && tenure.since <= upto;
        table.tenures.iter_mut().filter(forgotten).for_each(|tenure| tenure.since = epoch);
    }
    let changes = situation.table.is_none() || table.nodes != base.nodes || table.tenures != base.tenures;
    changes.then_some(Plan { table, moved, left })
}

/// What moves whereto, and how much is still to move.
fn moves(base: &Table, situation: &Situation<'_>) -> (Vec<(Slot, RouterId)>, usize) {
    let takers = Takers::new(situation.nodes);
    let mut held = takers.none_held();
    let (mut forced, mut gentle) = (Vec::new(), Vec::new());
    for slot in Slot::all() {
        let owner = base.owner(slot);
        if let Some(slots) = held.get_mut(&owner) {
            slots.push(slot);
        } else if is_there(situation.nodes, owner) {
            gentle.push(slot);
        } else if owner != RouterId::NOBODY || !takers.0.is_empty() {
            forced.push(slot);
        }
    }
    let targets = takers.targets(&held);
    let mut short = BinaryHeap::new();
    for (&owner, slots) in &held {
        let target = targets[&owner];
        if situation.rebalance && slots.len() > target {
            gentle.extend_from_slice(&slots[target..]);
        }
        if slots.len() < target {
            short.push((target - slots.len(), Reverse(owner)));
        }
    }
    let left = gentle.len().saturating_sub(situation.moves_max);
    gentle.truncate(situation.moves_max);
    let moves = forced.into_iter().chain(gentle).map(|slot| (slot, take(&mut short)));
    (moves.collect(), left)
}

/// Whoever lacks most gets the next slot; nobody, where there is nobody.
fn take(short: &mut BinaryHeap<(usize, Reverse<RouterId>)>) -> RouterId {
    let Some((lacks, Reverse(owner))) = short.pop() else { return RouterId::NOBODY };
    if lacks > 1 {
        short.push((lacks - 1, Reverse(owner)));
    }
    owner
}

fn is_there(nodes: &[RouterNode], owner: RouterId) -> bool {
    nodes.iter().any(|node| node.id == owner.node() && owner.core() < node.cores)
}

/// The nodes that may have slots: those that are not being emptied, or all where there is no other.
struct Takers<'a>(Vec<&'a RouterNode>);

impl<'a> Takers<'a> {
    fn new(nodes: &'a [RouterNode]) -> Self {
        let takers: Vec<_> = nodes.iter().filter(|node| !node.draining).collect();
        Self(if takers.is_empty() { nodes.iter().collect() } else { takers })
    }

    fn none_held(&self) -> BTreeMap<RouterId, Vec<Slot>> {
        let shards = |node: &&'a RouterNode| {
            (0..node.cores).map(|core| RouterId::new(node.id, core)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(shards).map(|shard| (shard, Vec::new())).collect()
    }

    /// How many slots each router shard is to have: first the nodes' shares, then those of their shards.
    fn targets(&self, held: &BTreeMap<RouterId, Vec<Slot>>) -> BTreeMap<RouterId, usize> {
        let held_by = |node: &RouterNode, core: u16| held[&RouterId::new(node.id, core)].len();
        let weights: Vec<usize> = self.0.iter().map(|node| usize::from(node.cores)).collect();
        let of_nodes: Vec<usize> =
            self.0.iter().map(|node| (0..node.cores).map(|core| held_by(node, core)).sum()).collect();
        let mut targets = BTreeMap::new();
        for (node, share) in self.0.iter().zip(shares(usize::from(SLOTS), &weights, &of_nodes)) {
            let cores = usize::from(node.cores);
            let of_cores: Vec<usize> = (0..node.cores).map(|core| held_by(node, core)).collect();
            let shares = shares(share, &vec![1; cores], &of_cores);
            targets.extend((0..node.cores).map(|core| RouterId::new(node.id, core)).zip(shares));
        }
        targets
    }
}

/// Divides `total` by weight, rounded so that the sum is right: up for those who have more than the rounded down share, as
/// that leaves most where it is.
fn shares(total: usize, weights: &[usize], held: &[usize]) -> Vec<usize> {
    let sum: usize = weights.iter().sum();
    let mut shares: Vec<usize> = weights.iter().map(|weight| total * weight / sum).collect();
    let rest = total.saturating_sub(shares.iter().sum());
    let mut uneven: Vec<usize> =
        (0..weights.len()).filter(|&at| !(total * weights[at]).is_multiple_of(sum)).collect();
    uneven.sort_by_key(|&at| Reverse(held[at].saturating_sub(shares[at])));
    for &at in uneven.iter().take(rest) {
        shares[at] += 1;
    }
    shares
}
