//! What all links of a core have in common: who this end is, memory, sentences, counters. One a core.

use protocol::link::{Control, Greeting, Sentences};
use protocol::placement::{Epoch, Table};
use ring::packet::{Gather, Packet, PacketPool};
use ring::spare::Spare;

use super::counters::Counters;
use super::proof::ClusterKey;

/// Packets and gathers kept for reuse: their number, their bytes together, and the largest one's. A packet of a link is
/// [`PACKET_BYTES`](super::outbox::PACKET_BYTES) and one frame.
const PACKETS_FREE_MAX: usize = 256;
const PACKETS_FREE_BYTES_MAX: usize = 8 << 20;
const PACKET_BYTES_KEPT_MAX: usize = 256 * 1024;
const GATHERS_FREE_MAX: usize = 256;
/// Largest memory for an unfinished frame that is kept for the next one, in bytes.
const ASSEMBLY_BYTES_KEPT_MAX: usize = 256 * 1024;

/// Who this end is.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) key: ClusterKey,
    pub(super) greeting: Greeting,
    pub(super) greeting_bytes: Vec<u8>,
}

/// Memory that the links of a core take from and give back to, so that an idle one has none.
#[derive(Debug)]
pub(super) struct Buffers {
    pub(super) pool: PacketPool,
    pub(super) gathers: Spare<Box<Gather>>,
    /// Empty; its capacity is for whichever link has an unfinished frame next.
    pub(super) assembly: Vec<u8>,
}

impl Buffers {
    const fn new() -> Self {
        Self {
            pool: PacketPool::new(PACKETS_FREE_MAX, PACKETS_FREE_BYTES_MAX, PACKET_BYTES_KEPT_MAX),
            gathers: Spare::new(GATHERS_FREE_MAX),
            assembly: Vec::new(),
        }
    }

    /// Keeps a gather for the next send; what is in it goes back to the pool.
    pub(super) fn recycle(&mut self, mut gather: Box<Gather>) {
        for packet in gather.packets.drain(..) {
            self.pool.release(packet);
        }
        gather.skip = 0;
        self.gathers.put(gather);
    }

    /// Keeps the memory of a frame that is finished.
    pub(super) fn keep_assembly(&mut self, assembly: Vec<u8>) {
        debug_assert!(assembly.is_empty());
        if (self.assembly.capacity()..=ASSEMBLY_BYTES_KEPT_MAX).contains(&assembly.capacity()) {
            self.assembly = assembly;
        }
    }
}

/// A table as a frame, written once for all links of a core.
#[derive(Debug)]
pub struct TableFrame {
    pub(super) epoch: Epoch,
    pub(super) packet: Packet,
}

impl TableFrame {
    /// The table's number.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// What all links of a core have in common.
#[derive(Debug)]
pub struct Common {
    pub(super) local: Local,
    pub(super) buffers: Buffers,
    pub(super) sentences: Sentences,
    /// The newest table that the core knows.
    pub(super) table: Epoch,
    pub(super) counters: Counters,
}

impl Common {
    /// For a core that tells its peers this. Links are of the versions that the greeting says.
    #[must_use]
    pub fn new(key: ClusterKey, greeting: Greeting) -> Self {
        let mut greeting_bytes = Vec::new();
        greeting.write(&mut greeting_bytes);
        Self {
            local: Local { key, greeting, greeting_bytes },
            buffers: Buffers::new(),
            sentences: Sentences::new(),
            table: Epoch(0),
            counters: Counters::default(),
        }
    }

    /// The core knows a table: older ones, and this one again, are not looked at when they come.
    pub fn knows_table(&mut self, epoch: Epoch) {
        self.table = self.table.max(epoch);
    }

    /// A table as a frame, for [`Link::send_table`](super::Link::send_table) of every link.
    ///
    /// # Panics
    /// Never: a table of the largest size is a small frame.
    pub fn table_frame(&mut self, table: &Table) -> TableFrame {
        let (epoch, bytes) = (table.epoch, table.to_bytes());
        let control = Control::Table { epoch, bytes: &bytes };
        let packet = self.buffers.pool.packet(|out| control.write(out).expect("a table fits a frame"));
        TableFrame { epoch, packet }
    }

    /// Takes back a gather whose link is gone.
    pub fn recycle(&mut self, gather: Box<Gather>) {
        self.buffers.recycle(gather);
    }

    /// What the core's links have done.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Gives back half of the memory that nobody has needed since the last call; to be called every few seconds.
    pub fn trim(&mut self) {
        self.buffers.pool.trim();
        self.buffers.gathers.trim();
        self.buffers.assembly = Vec::new();
    }
}
