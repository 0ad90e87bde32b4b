//! A router node's lease is written anew, and the node learns who else is there and whether there is a newer table.
//!
//! A process's first beat takes the lease of its name, or a number that no node ever had. A later one keeps only what is
//! still its own: whoever started last under a name has it.

use std::sync::Arc;

use protocol::placement::{NODES_MAX, NodeId};

use crate::damage::Damage;
use crate::key::StoreKey;
use crate::request::{Beaten, Epoch, Failure, Lease, Outcome, Placement};
use crate::run::{open_leases, read_leases};
use crate::value;

use super::commit::Commit;
use super::fence::get;
use super::{Answers, Step};

/// The largest number of a node: [`NodeId::NONE`] is none.
const NODE_MAX: u64 = u16::MAX as u64 - 1;

#[derive(Debug)]
pub(super) struct Beat {
    asked: Lease,
    known: Epoch,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Reads the leases, the last number, and the epoch of the table.
    Look,
    /// Knows which lease is its own, and reads what it writes, and the table where that is newer.
    Settle {
        found: Found,
        newer: bool,
    },
    Write(Beaten),
}

/// What the first reads found.
#[derive(Debug)]
struct Found {
    leases: Vec<Lease>,
    node: NodeId,
}

impl Beat {
    pub(super) fn new(asked: Lease, known: Epoch) -> Self {
        Self { asked, known, stage: Stage::Look }
    }

    pub(super) fn begin(&mut self) -> Step {
        if !self.asked.is_sound() {
            return refused("a node without a name or a core");
        }
        self.stage = Stage::Look;
        let (epoch, last) = (get(&StoreKey::PlacementEpoch, false), get(&StoreKey::LastNode, false));
        Step::Read(vec![read_leases(), epoch, last])
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        match core::mem::replace(&mut self.stage, Stage::Look) {
            Stage::Look => self.looked(&mut answers),
            Stage::Settle { found, newer } => self.settled(found, newer, &mut answers),
            Stage::Write(_) => unreachable!("a commit is answered with Committed"),
        }
    }

    fn looked(&mut self, answers: &mut Answers) -> Result<Step, Damage> {
        let (pairs, _) = answers.pairs();
        let leases = open_leases(&pairs)?;
        let key = StoreKey::PlacementEpoch.encode();
        let placed = value::open_epoch(&key, answers.value().as_deref())?;
        let key = StoreKey::LastNode.encode();
        let last_node = answers.value().map_or(Ok(0), |found| value::open_number(&key, &found))?;
        let Some(node) = self.number(&leases, last_node) else {
            return Ok(refused("there are as many router nodes as may be"));
        };
        let found = Found { leases, node };
        let vanished = placed == Epoch(0) && self.known > Epoch(0);
        if vanished || !self.is_own(&found) {
            let Found { leases, node } = found;
            let placement = if placed == Epoch(0) { Placement::Absent } else { Placement::Known };
            return Ok(Step::Done(Outcome::Beat(Beaten { node, held: false, leases, placement })));
        }
        let newer = placed > self.known;
        let mut reads = vec![get(&StoreKey::Lease(node), true)];
        reads.extend(self.is_first(&found).then(|| get(&StoreKey::LastNode, true)));
        reads.extend(newer.then(|| get(&StoreKey::Placement, false)));
        self.stage = Stage::Settle { found, newer };
        Ok(Step::Read(reads))
    }

    /// The number of this node: that of its name, else the one that it had, else a new one; `None`: too many are there.
    fn number(&self, leases: &[Lease], last_node: u64) -> Option<NodeId> {
        if let Some(lease) = leases.iter().find(|lease| lease.name == self.asked.name) {
            return Some(lease.node);
        }
        if leases.len() >= NODES_MAX {
            return None;
        }
        if self.asked.node != NodeId::NONE {
            return Some(self.asked.node);
        }
        // When all numbers were given, those that are free are given again.
        let last = last_node.min(NODE_MAX);
        let is_free = |number: &u64| leases.iter().all(|lease| u64::from(lease.node.0) != *number);
        let number = (last + 1..=NODE_MAX).chain(1..=last).find(is_free);
        Some(NodeId(number.expect("there are more numbers than leases") as u16))
    }

    /// Whether the lease of this number is this process's, or for the taking.
    fn is_own(&self, found: &Found) -> bool {
        if self.asked.node == NodeId::NONE {
            return true;
        }
        let holder = found.leases.iter().find(|lease| lease.node == found.node);
        found.node == self.asked.node
            && holder.is_none_or(|holder| {
                holder.name == self.asked.name && holder.incarnation == self.asked.incarnation
            })
    }

    /// Whether this gives a number for the first time.
    fn is_first(&self, found: &Found) -> bool {
        self.asked.node == NodeId::NONE && found.leases.iter().all(|lease| lease.node != found.node)
    }

    fn settled(&mut self, found: Found, newer: bool, answers: &mut Answers) -> Result<Step, Damage> {
        let first = self.is_first(&found);
        let Found { mut leases, node } = found;
        let key = StoreKey::Lease(node).encode();
        let old = answers.value().map(|found| Lease::open(&key, &found)).transpose()?;
        let lease = Lease { node, beat: old.map_or(0, |old| old.beat) + 1, ..self.asked.clone() };
        let mut commit = Commit::default();
        commit.set_encoded(key, |key| lease.seal(key));
        if first {
            // Read once more, now so that two new nodes at once do not get the same.
            let _ = answers.value();
            commit.set(&StoreKey::LastNode, |key| value::seal_number(key, u64::from(node.0)));
        }
        let placement = match newer.then(|| answers.value()).flatten() {
            Some(table) => {
                Placement::Newer(Arc::new(value::open_table(&StoreKey::Placement.encode(), &table)?))
            }
            None if newer => {
                return Err(Damage("the placement table: there is an epoch of it alone".to_owned()));
            }
            None if self.known == Epoch(0) => Placement::Absent,
            None => Placement::Known,
        };
        match leases.binary_search_by_key(&node, |lease| lease.node) {
            Ok(place) => leases[place] = lease,
            Err(place) => leases.insert(place, lease),
        }
        self.stage = Stage::Write(Beaten { node, held: true, leases, placement });
        Ok(commit.step())
    }

    pub(super) fn committed(&mut self) -> Step {
        match core::mem::replace(&mut self.stage, Stage::Look) {
            Stage::Write(beaten) => Step::Done(Outcome::Beat(beaten)),
            other => unreachable!("nothing was committed at {other:?}"),
        }
    }
}

fn refused(why: &str) -> Step {
    Step::Done(Outcome::Failed(Failure::Refused(why.to_owned())))
}
