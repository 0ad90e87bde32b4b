//! The slab of connection records, by slot. It grows by whole chunks, so no record ever moves and none is copied.

use core::ops::{Index, IndexMut};

use ring::token::Token;

use super::connection::{Connection, State};

/// Records of one chunk: 256 KiB.
const CHUNK_RECORDS: usize = 1_024;

/// The records of all slots that ever had a connection.
#[derive(Debug)]
pub(super) struct Slab {
    chunks: Vec<Box<[Connection]>>,
    slots: u32,
    occupied: u32,
}

impl Slab {
    pub(super) fn new(slots: u32) -> Self {
        Self { chunks: Vec::new(), slots, occupied: 0 }
    }

    /// How many connections there are.
    pub(super) const fn occupied(&self) -> u32 {
        self.occupied
    }

    /// Makes the record of a connection that was just accepted.
    ///
    /// # Panics
    /// When the slot is not below the number of slots, or has a connection: a fault of the ring.
    pub(super) fn occupy(&mut self, token: Token) -> &mut Connection {
        assert!(token.slot < self.slots, "slot {} of {}", token.slot, self.slots);
        while self.chunks.len() * CHUNK_RECORDS <= token.slot as usize {
            self.chunks.push((0..CHUNK_RECORDS).map(|_| Connection::free()).collect());
        }
        self.occupied += 1;
        let connection = &mut self[token.slot];
        assert!(connection.state == State::Free, "slot {} is occupied", token.slot);
        *connection = Connection::free();
        connection.generation = token.generation;
        connection.state = State::Upgrading;
        connection
    }

    /// Frees the slot.
    pub(super) fn free(&mut self, slot: u32) {
        assert!(self[slot].state == State::Closed);
        self[slot].state = State::Free;
        self.occupied -= 1;
    }

    /// The slot of a token whose connection is still this one; `None` for one that is gone.
    pub(super) fn slot(&self, token: Token) -> Option<u32> {
        let index = token.slot as usize;
        let connection = self.chunks.get(index / CHUNK_RECORDS)?.get(index % CHUNK_RECORDS)?;
        (connection.generation == token.generation && connection.state != State::Free).then_some(token.slot)
    }

    /// Slots that have a record, occupied or not: all connections lie below.
    pub(super) fn end(&self) -> u32 {
        (self.chunks.len() * CHUNK_RECORDS) as u32
    }

    /// All connections.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        let records = self.chunks.iter().flatten().enumerate();
        records.map(|(slot, connection)| (slot as u32, connection)).filter(|(_, c)| c.state != State::Free)
    }
}

impl Index<u32> for Slab {
    type Output = Connection;

    fn index(&self, slot: u32) -> &Connection {
        &self.chunks[slot as usize / CHUNK_RECORDS][slot as usize % CHUNK_RECORDS]
    }
}

impl IndexMut<u32> for Slab {
    fn index_mut(&mut self, slot: u32) -> &mut Connection {
        &mut self.chunks[slot as usize / CHUNK_RECORDS][slot as usize % CHUNK_RECORDS]
    }
}
