//! Outboxes: what waits to be sent, a queue of shared packets a connection, their entries in one table of the shard.
//!
//! How much may wait is decided by whoever puts something in; see `delivery` and `answers`.

use ring::packet::{GATHER_PACKETS_MAX, Gather, Packet, PacketPool};
use ring::spare::Spare;
use router::chunks::Chunks;

use super::connection::{NONE, Outbox};

/// Gathers kept for the next send at most.
const GATHERS_FREE_MAX: usize = 4_096;
/// Entries of one chunk of their table.
const CHUNK: usize = 1_024;

#[derive(Debug)]
struct Entry {
    packet: Option<Packet>,
    next: u32,
}

/// The entries of all outboxes of a shard.
#[derive(Debug)]
pub(super) struct Outboxes {
    entries: Chunks<Entry, CHUNK>,
    free: u32,
    /// Entries with a packet.
    packets: usize,
    bytes: u64,
    gathers: Spare<Box<Gather>>,
}

impl Outboxes {
    pub(super) const fn new() -> Self {
        let gathers = Spare::new(GATHERS_FREE_MAX);
        Self { entries: Chunks::new(), free: NONE, packets: 0, bytes: 0, gathers }
    }

    /// Unsent bytes of all connections, shared ones counted each time.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts a packet behind the others.
    pub(super) fn push(&mut self, outbox: &mut Outbox, packet: Packet) {
        let bytes = packet.as_bytes().len() as u32;
        let entry = self.entry(packet);
        if outbox.tail == NONE {
            outbox.head = entry;
        } else {
            self.entries[outbox.tail].next = entry;
        }
        outbox.tail = entry;
        outbox.packets += 1;
        outbox.bytes += bytes;
        self.bytes += u64::from(bytes);
    }

    fn entry(&mut self, packet: Packet) -> u32 {
        let entry = Entry { packet: Some(packet), next: NONE };
        self.packets += 1;
        if self.free == NONE {
            return self.entries.push(entry);
        }
        let at = self.free;
        self.free = core::mem::replace(&mut self.entries[at], entry).next;
        at
    }

    fn pop(&mut self, outbox: &mut Outbox) -> Option<Packet> {
        if outbox.head == NONE {
            return None;
        }
        let at = outbox.head;
        let entry = &mut self.entries[at];
        let packet = entry.packet.take();
        self.packets -= 1;
        outbox.head = core::mem::replace(&mut entry.next, self.free);
        self.free = at;
        if outbox.head == NONE {
            outbox.tail = NONE;
        }
        outbox.packets -= 1;
        packet
    }

    /// The next packets for one send, moved out; their bytes count until [`Outboxes::sent`].
    pub(super) fn gather(&mut self, outbox: &mut Outbox) -> Option<Box<Gather>> {
        if outbox.head == NONE {
            return None;
        }
        let mut gather = self.gathers.take().unwrap_or_default();
        debug_assert!(gather.packets.is_empty() && gather.skip == 0);
        while gather.packets.len() < GATHER_PACKETS_MAX
            && let Some(packet) = self.pop(outbox)
        {
            gather.packets.push(packet);
        }
        Some(gather)
    }

    /// Accounts for `sent` bytes of a gather and gives the packets that went out whole back to the pool. True when
    /// nothing of the gather is left.
    pub(super) fn sent(
        &mut self,
        outbox: &mut Outbox,
        gather: &mut Gather,
        sent: usize,
        pool: &mut PacketPool,
    ) -> bool {
        outbox.bytes -= sent as u32;
        self.bytes -= sent as u64;
        gather.advance(sent, pool)
    }

    /// Keeps a gather for the next send; what is in it goes back to the pool.
    pub(super) fn recycle(&mut self, mut gather: Box<Gather>, pool: &mut PacketPool) {
        for packet in gather.packets.drain(..) {
            pool.release(packet);
        }
        gather.skip = 0;
        self.gathers.put(gather);
    }

    /// Gives back memory that nothing has needed for a while: half of the gathers, and the table when it is empty.
    pub(super) fn trim(&mut self) {
        self.gathers.trim();
        if self.packets == 0 && self.entries.len() > CHUNK {
            self.entries.clear();
            self.free = NONE;
        }
    }

    /// Empties an outbox. A gather in flight is forgotten here: its packets come back with it.
    pub(super) fn clear(&mut self, outbox: &mut Outbox, pool: &mut PacketPool) {
        while let Some(packet) = self.pop(outbox) {
            pool.release(packet);
        }
        self.bytes -= u64::from(outbox.bytes);
        outbox.bytes = 0;
    }

    /// Asserts the links and counts of these outboxes, which must be all.
    pub(super) fn invariants<'a>(&self, outboxes: impl Iterator<Item = &'a Outbox>) {
        let (mut bytes, mut packets) = (0, 0);
        for outbox in outboxes {
            let (mut at, mut last, mut count, mut waiting) = (outbox.head, NONE, 0, 0);
            while at != NONE {
                let entry = &self.entries[at];
                waiting += entry.packet.as_ref().expect("a linked entry has a packet").as_bytes().len();
                (last, at) = (at, entry.next);
                count += 1;
            }
            assert_eq!((last, count), (outbox.tail, outbox.packets));
            assert!(waiting <= outbox.bytes as usize);
            bytes += u64::from(outbox.bytes);
            packets += count as usize;
        }
        assert_eq!(bytes, self.bytes);
        assert_eq!(packets, self.packets);
        assert_eq!(packets, self.entries.iter().filter(|entry| entry.packet.is_some()).count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pool: &mut PacketPool, bytes: &[u8]) -> Packet {
        pool.packet(|out| out.extend_from_slice(bytes))
    }

    #[test]
    fn packets_leave_in_order_whatever_the_kernel_takes_at_a_time() {
        for step in 1..=7 {
            let mut pool = PacketPool::new(8, 1_024, 64);
            let mut outboxes = Outboxes::new();
            let mut outbox = Outbox { head: NONE, tail: NONE, bytes: 0, packets: 0 };
            for bytes in [&b"ab"[..], b"cde", b"f", b"ghij"] {
                let packet = packet(&mut pool, bytes);
                outboxes.push(&mut outbox, packet);
            }
            let mut gather = outboxes.gather(&mut outbox).unwrap();
            let mut out = Vec::new();
            loop {
                let rest: Vec<u8> =
                    gather.packets.iter().flat_map(|packet| packet.as_bytes()).copied().collect();
                let rest = &rest[gather.skip..];
                let sent = rest.len().min(step);
                out.extend_from_slice(&rest[..sent]);
                if outboxes.sent(&mut outbox, &mut gather, sent, &mut pool) {
                    break;
                }
            }
            outboxes.recycle(gather, &mut pool);
            assert_eq!((out.as_slice(), outbox.bytes, outboxes.bytes()), (&b"abcdefghij"[..], 0, 0));
            assert!(outboxes.gather(&mut outbox).is_none());
            outboxes.invariants([outbox].iter());
        }
    }

    #[test]
    fn a_cleared_outbox_counts_nothing_even_with_a_send_in_flight() {
        let mut pool = PacketPool::new(8, 1_024, 64);
        let mut outboxes = Outboxes::new();
        let mut outbox = Outbox { head: NONE, tail: NONE, bytes: 0, packets: 0 };
        for _ in 0..GATHER_PACKETS_MAX + 3 {
            let packet = packet(&mut pool, b"x");
            outboxes.push(&mut outbox, packet);
        }
        let gather = outboxes.gather(&mut outbox).unwrap();
        assert_eq!((gather.packets.len(), outbox.packets), (GATHER_PACKETS_MAX, 3));
        outboxes.clear(&mut outbox, &mut pool);
        outboxes.recycle(gather, &mut pool);
        assert_eq!(outboxes.bytes(), 0);
        outboxes.invariants([outbox].iter());
    }
}
