//! What all cores of a node know alike: the newest placement table, whether the node holds its lease, and the gateway shards
//! of other nodes. Each core looks at a number once a turn and at what is behind it only when that has changed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use protocol::envelope::{GatewayId, Lane};
use protocol::placement::{Epoch, NodeId, Table};

/// The newest table that the node knows, and whether its lease lapsed.
#[derive(Debug)]
pub struct Placement {
    /// Set once, before there are cores.
    node: OnceLock<NodeId>,
    /// The table's epoch: read before the table, written behind it.
    epoch: AtomicU64,
    table: RwLock<Arc<Table>>,
    lapsed: AtomicBool,
    /// The largest epoch that a link has told of.
    wanted: AtomicU64,
}

impl Placement {
    /// With this table, and a lease that holds.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        let epoch = AtomicU64::new(table.epoch.0);
        let (lapsed, wanted) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { node: OnceLock::new(), epoch, table: RwLock::new(table), lapsed, wanted }
    }

    /// Says which router node this process is.
    pub fn name(&self, node: NodeId) {
        // A second name would be a fault of the one who starts nodes, and of no consequence.
        let _ = self.node.set(node);
    }

    /// The router node that this process is; [`NodeId::NONE`] when it has no router shards, or is not registered yet.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node.get().copied().unwrap_or(NodeId::NONE)
    }

    /// The table's epoch. What this core takes out of a mailbox after that was put there by somebody who knew no newer one.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a table; false when one as new is there already. Whoever sleeps is to be woken.
    pub fn replace(&self, table: Arc<Table>) -> bool {
        let mut current = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let is_newer = table.epoch > current.epoch;
        if is_newer {
            self.epoch.store(table.epoch.0, Ordering::Release);
            *current = table;
        }
        is_newer
    }

    /// Whether the node's lease was not renewed in time.
    #[must_use]
    pub fn is_lapsed(&self) -> bool {
        self.lapsed.load(Ordering::Acquire)
    }

    /// Says whether the node's lease holds.
    pub fn set_lapsed(&self, lapsed: bool) {
        self.lapsed.store(lapsed, Ordering::Release);
    }

    /// A link follows a table of this epoch: true when it is newer than any that was told of, so that somebody should look.
    pub fn want(&self, epoch: Epoch) -> bool {
        self.wanted.fetch_max(epoch.0, Ordering::AcqRel) < epoch.0 && epoch > self.epoch()
    }

    /// The largest epoch that a link has told of.
    #[must_use]
    pub fn wanted(&self) -> Epoch {
        Epoch(self.wanted.load(Ordering::Acquire))
    }
}

/// How much is on its way to a gateway shard of another node.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Envelopes that were handed over and are not in the link's output yet.
    envelopes: AtomicUsize,
    /// Bytes in the link's output.
    bytes: AtomicUsize,
    /// A router shard has given the shard up: the link is to end.
    cut: AtomicBool,
}

/// The bounds of what a [`Gauge`] measures.
#[derive(Clone, Copy, Debug)]
pub struct Brim {
    /// Envelopes.
    pub envelopes: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Gauge {
    /// Counts one more envelope; false when there are too many for its lane.
    pub(super) fn admit(&self, lane: Lane, brim: Brim) -> bool {
        let fits = self.envelopes.load(Ordering::Relaxed) < lane.fill_max(brim.envelopes)
            && self.bytes.load(Ordering::Relaxed) < lane.fill_max(brim.bytes);
        if fits {
            self.envelopes.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// An envelope has reached the link's output, or was dropped.
    pub(super) fn took(&self) {
        self.envelopes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Says that the link is to end.
    fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub(super) fn set_bytes(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// A gateway shard of another node: which core has its link, and how much is on its way.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// The core of this node.
    pub(super) core: u16,
    /// Shared with that core.
    pub(super) gauge: Arc<Gauge>,
}

/// All gateway shards of other nodes that have a link here.
#[derive(Debug)]
pub struct Remotes {
    next: AtomicU32,
    /// Grows when one is gone.
    gone: AtomicU64,
    /// Grows when one is given up: written behind its gauge.
    cuts: AtomicU64,
    map: RwLock<HashMap<GatewayId, Remote>>,
}

impl Default for Remotes {
    fn default() -> Self {
        let next = AtomicU32::new(GatewayId::REMOTE.0);
        Self { next, gone: AtomicU64::new(0), cuts: AtomicU64::new(0), map: RwLock::default() }
    }
}

impl Remotes {
    /// A number that no shard had before. At most 2^32 - 2^16 of them: a link that came each millisecond for seven weeks.
    pub(super) fn number(&self) -> GatewayId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        assert!(GatewayId(number).is_remote(), "numbers of gateway shards are used up");
        GatewayId(number)
    }

    pub(super) fn insert(&self, gateway: GatewayId, remote: Remote) {
        self.map.write().unwrap_or_else(PoisonError::into_inner).insert(gateway, remote);
    }

    pub(super) fn remove(&self, gateway: GatewayId) {
        self.map.write().unwrap_or_else(PoisonError::into_inner).remove(&gateway);
        self.gone.fetch_add(1, Ordering::Release);
    }

    pub(super) fn get(&self, gateway: GatewayId) -> Option<Remote> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).get(&gateway).cloned()
    }

    /// Says that a shard's link is to end, which the core that has it finds out when it looks at [`Remotes::cuts`].
    pub(super) fn cut(&self, remote: &Remote) {
        remote.gauge.cut();
        self.cuts.fetch_add(1, Ordering::Release);
    }

    /// Grows whenever one is given up: links are to be looked at then.
    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    /// Grows whenever one is gone: what was remembered of others is to be forgotten then.
    pub(super) fn gone(&self) -> u64 {
        self.gone.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_table_never_replaces_a_newer_one() {
        let table = |epoch| Arc::new(Table::alone(1, Epoch(epoch)));
        let placement = Placement::new(table(3));
        assert!(!placement.replace(table(2)) && !placement.replace(table(3)));
        assert!(placement.replace(table(4)));
        assert_eq!((placement.epoch(), placement.table().epoch), (Epoch(4), Epoch(4)));
    }

    #[test]
    fn a_newer_epoch_is_wanted_once() {
        let placement = Placement::new(Arc::new(Table::alone(1, Epoch(3))));
        assert!(!placement.want(Epoch(3)));
        assert!(placement.want(Epoch(5)));
        assert!(!placement.want(Epoch(4)) && !placement.want(Epoch(5)));
        assert_eq!(placement.wanted(), Epoch(5));
    }

    #[test]
    fn each_lane_fills_a_link_to_its_share() {
        let (gauge, brim) = (Gauge::default(), Brim { envelopes: 16, bytes: 1_000 });
        let admitted = |lane| (0..64).take_while(|_| gauge.admit(lane, brim)).count();
        assert_eq!([Lane::Ephemeral, Lane::Publish, Lane::Required].map(admitted), [8, 4, 4]);
        (0..16).for_each(|_| gauge.took());
        gauge.set_bytes(500);
        assert!(!gauge.admit(Lane::Ephemeral, brim) && gauge.admit(Lane::Publish, brim));
        gauge.set_bytes(1_000);
        assert!(!gauge.admit(Lane::Required, brim));
    }
}
