//! Pressure: when clients are not read. A server that is all there is reads nobody while an owner is congested, which is over as soon
//! as that core has had a turn. In a cluster an owner may be slow or dead, and only who speaks to it may notice: each connection has its
//! own bound of unanswered requests, past the bound of an owner requests for it are refused, and what nobody answers is taken once more of
//! each connection, which is held up until there is room. As the last resort nobody is read.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use protocol::placement::Slot;

use super::GatewayShard;

/// Connections that have said something to an owner that is overrun.
#[derive(Debug, Default)]
pub(super) struct HeldUp {
    /// By the connection's slot: the slot whose owner it is.
    connections: HashMap<u32, Slot, FixedState>,
    /// What was said to such an owner last.
    overrun: Option<Slot>,
}

impl HeldUp {
    /// Something was said to an owner that is overrun.
    pub(super) const fn overrun(&mut self, slot: Slot) {
        self.overrun = Some(slot);
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        self.connections.remove(&slot);
    }

    pub(super) fn trim(&mut self) {
        if self.connections.is_empty() {
            self.connections = HashMap::default();
        }
    }

    /// Asserts that whoever is held up is a client that is read otherwise.
    pub(super) fn invariants(&self, is_reading: impl Fn(u32) -> bool) {
        assert!(self.connections.keys().all(|&slot| is_reading(slot)));
    }
}

impl GatewayShard {
    /// True when no client is read.
    pub(super) fn is_congested(&self) -> bool {
        match self.cluster {
            Some(_) => self.owners.are_flooded(self.slab.end() as usize),
            None => self.owners.are_congested(),
        }
    }

    /// True when this client is not, since an owner to which it has spoken is overrun.
    pub(super) fn is_held_up(&self, slot: u32) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.held_up.connections.contains_key(&slot))
    }

    /// What this connection says from now on counts.
    pub(super) fn begin_frame(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.held_up.overrun = None;
        }
    }

    /// It has said something: is its owner overrun, it is held up.
    pub(super) fn end_frame(&mut self, slot: u32) {
        if let Some(cluster) = &mut self.cluster
            && let Some(overrun) = cluster.held_up.overrun.take()
            && self.slab[slot].is_reading()
        {
            cluster.held_up.connections.insert(slot, overrun);
        }
    }

    /// True when some who are held up may go on.
    pub(super) fn has_eased(&self) -> bool {
        let is_held_up = |cluster: &super::Cluster| !cluster.held_up.connections.is_empty();
        self.cluster.as_deref().is_some_and(is_held_up) && self.owners.has_eased()
    }

    /// Calls up those whose owner has room again.
    pub(super) fn ease(&mut self) {
        if !self.has_eased() || !self.owners.take_eased() {
            return;
        }
        let Some(cluster) = &mut self.cluster else { return };
        let free = cluster.held_up.connections.extract_if(|_, owned| !self.owners.is_overrun(*owned));
        let free: Vec<u32> = free.map(|(slot, _)| slot).collect();
        free.into_iter().for_each(|slot| self.wake(slot));
    }
}
