//! Packets: encoded bytes that many connections of one shard share, and the gather of packets that one send takes.
//!
//! Whoever is in flight owns its memory: a gather moves into the ring with its operation and comes back with its
//! completion. Buffers come from a pool and return to it, so that delivery allocates nothing once warm.

use std::rc::Rc;

use crate::spare::Spare;

/// Most packets in one gather.
pub const GATHER_PACKETS_MAX: usize = 64;

/// Encoded bytes, shared and immutable while shared. Belongs to one thread.
#[derive(Clone, Debug)]
pub struct Packet {
    bytes: Rc<Vec<u8>>,
}

impl Packet {
    /// The bytes for the wire: one or more whole WebSocket frames.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, to write more behind them; `None` once somebody else holds the packet too.
    pub fn bytes_mut(&mut self) -> Option<&mut Vec<u8>> {
        Rc::get_mut(&mut self.bytes)
    }
}

/// Where packets get their memory and leave it.
#[derive(Debug)]
pub struct PacketPool {
    free: Spare<Rc<Vec<u8>>>,
    packet_bytes_kept_max: usize,
    /// Capacity of all that is free, and its bound.
    free_bytes: usize,
    free_bytes_max: usize,
}

impl PacketPool {
    /// A pool that keeps at most `free_max` unused buffers of `free_bytes_max` together, none larger than
    /// `packet_bytes_kept_max`.
    #[must_use]
    pub const fn new(free_max: usize, free_bytes_max: usize, packet_bytes_kept_max: usize) -> Self {
        Self { free: Spare::new(free_max), packet_bytes_kept_max, free_bytes: 0, free_bytes_max }
    }

    /// Makes a packet of what `write` appends to an empty buffer.
    pub fn packet(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Packet {
        let mut bytes = self.free.take().unwrap_or_default();
        self.free_bytes -= bytes.capacity();
        let buffer = Rc::get_mut(&mut bytes).expect("a free buffer has one holder");
        buffer.clear();
        write(buffer);
        Packet { bytes }
    }

    /// Takes a packet back; the last holder's return frees the buffer for the next.
    pub fn release(&mut self, packet: Packet) {
        let capacity = packet.bytes.capacity();
        let keep = Rc::strong_count(&packet.bytes) == 1
            && capacity <= self.packet_bytes_kept_max
            && self.free_bytes + capacity <= self.free_bytes_max
            && !self.free.is_full();
        if keep {
            self.free_bytes += capacity;
            self.free.put(packet.bytes);
        }
    }

    /// Gives back half of the memory that no packet has needed since the last call.
    pub fn trim(&mut self) {
        self.free.trim();
        self.free_bytes = self.free.iter().map(|bytes| bytes.capacity()).sum();
    }
}

/// The packets of one send, in order: at most [`GATHER_PACKETS_MAX`].
#[derive(Debug, Default)]
pub struct Gather {
    /// The packets, not empty while in flight.
    pub packets: Vec<Packet>,
    /// Bytes of the first packet that went out before (a short send).
    pub skip: usize,
}

impl Gather {
    /// Accounts for `sent` bytes that went out and gives the packets that went out whole back to the pool. True when
    /// nothing is left.
    pub fn advance(&mut self, sent: usize, pool: &mut PacketPool) -> bool {
        self.skip += sent;
        let mut whole = 0;
        while let Some(packet) = self.packets.get(whole)
            && packet.as_bytes().len() <= self.skip
        {
            self.skip -= packet.as_bytes().len();
            whole += 1;
        }
        for packet in self.packets.drain(..whole) {
            pool.release(packet);
        }
        self.packets.is_empty()
    }
}
