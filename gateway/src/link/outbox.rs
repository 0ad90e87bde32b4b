//! A link's outbox: frames behind one another in few large packets, of which one gather at a time is with the kernel.

use std::collections::VecDeque;

use protocol::link::TooLarge;
use ring::packet::{GATHER_PACKETS_MAX, Gather, Packet};

use super::common::Buffers;

/// Bytes from which on an outbox is full, for what fills it to the brim; one frame may be beyond.
pub const UNSENT_BYTES_MAX: usize = 1 << 20;
/// Bytes from which on a packet takes no more frames: half of what its memory grows to.
pub(super) const PACKET_BYTES: usize = 32 * 1024;

/// Where the gather is.
#[derive(Debug)]
enum Flight {
    None,
    /// With the kernel.
    Out,
    /// Back, with something left: it goes before all else.
    Short(Box<Gather>),
}

/// What one end has to send.
#[derive(Debug)]
pub(super) struct Outbox {
    packets: VecDeque<Packet>,
    /// Whether the last packet takes more.
    open: bool,
    flight: Flight,
    /// Bytes in packets, and those of them that are in the gather.
    unsent_bytes: usize,
    flying_bytes: usize,
}

impl Outbox {
    pub(super) const fn new() -> Self {
        Self { packets: VecDeque::new(), open: false, flight: Flight::None, unsent_bytes: 0, flying_bytes: 0 }
    }

    /// Bytes that the kernel has not taken.
    pub(super) const fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// Writes a frame behind the others, whatever there is of them.
    pub(super) fn write(
        &mut self,
        buffers: &mut Buffers,
        frame: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLarge>,
    ) -> Result<(), TooLarge> {
        if !self.open {
            self.packets.push_back(buffers.pool.packet(|_| ()));
            self.open = true;
        }
        let packet = self.packets.back_mut().expect("an open packet is there");
        let bytes = packet.bytes_mut().expect("an open packet has one holder");
        let before = bytes.len();
        let written = frame(bytes);
        self.unsent_bytes += bytes.len() - before;
        self.open = bytes.len() < PACKET_BYTES;
        if bytes.is_empty() {
            // Too large, and the first: no packet is empty.
            self.open = false;
            buffers.pool.release(self.packets.pop_back().expect("just written"));
        }
        written
    }

    /// Puts a packet that others hold too behind the others.
    pub(super) fn push(&mut self, packet: Packet) {
        self.unsent_bytes += packet.as_bytes().len();
        self.open = false;
        self.packets.push_back(packet);
    }

    /// What the kernel is to send next, unless it is at it. Everything written so far goes at once.
    pub(super) fn gather(&mut self, buffers: &mut Buffers) -> Option<Box<Gather>> {
        match core::mem::replace(&mut self.flight, Flight::Out) {
            Flight::Out => None,
            Flight::Short(gather) => Some(gather),
            Flight::None if self.packets.is_empty() => {
                self.flight = Flight::None;
                None
            }
            Flight::None => {
                let mut gather = buffers.gathers.take().unwrap_or_default();
                let count = self.packets.len().min(GATHER_PACKETS_MAX);
                gather.packets.extend(self.packets.drain(..count));
                self.flying_bytes = gather.packets.iter().map(|packet| packet.as_bytes().len()).sum();
                self.open = self.open && !self.packets.is_empty();
                Some(gather)
            }
        }
    }

    /// Takes a gather back of which the kernel took so many bytes.
    pub(super) fn sent(&mut self, mut gather: Box<Gather>, sent: usize, buffers: &mut Buffers) {
        self.unsent_bytes -= sent;
        self.flying_bytes -= sent;
        self.flight = if gather.advance(sent, &mut buffers.pool) {
            buffers.recycle(gather);
            Flight::None
        } else {
            Flight::Short(gather)
        };
    }

    /// Gives everything back. A gather that is with the kernel is forgotten: its packets come back with it.
    pub(super) fn clear(&mut self, buffers: &mut Buffers) {
        for packet in self.packets.drain(..) {
            buffers.pool.release(packet);
        }
        if let Flight::Short(gather) = core::mem::replace(&mut self.flight, Flight::None) {
            buffers.recycle(gather);
        }
        *self = Self::new();
    }

    pub(super) fn invariants(&self) {
        let waiting: usize = self.packets.iter().map(|packet| packet.as_bytes().len()).sum();
        assert_eq!(waiting + self.flying_bytes, self.unsent_bytes);
        assert!(self.packets.iter().all(|packet| !packet.as_bytes().is_empty()), "no packet is empty");
        assert!(!self.open || !self.packets.is_empty());
        assert_eq!(self.flying_bytes == 0, matches!(self.flight, Flight::None));
    }
}
