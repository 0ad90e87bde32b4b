//! The slab of connection records, by slot.

use core::ops::{Index, IndexMut};

use ring::token::Token;
use router::chunks::Chunks;

use super::connection::{Connection, State};

/// Records of one chunk: 44 KiB.
const CHUNK: usize = 256;

/// The records of all slots that ever had a connection.
#[derive(Debug)]
pub(super) struct Slab {
    records: Chunks<Connection, CHUNK>,
    slots: u32,
    occupied: u32,
}

impl Slab {
    pub(super) fn new(slots: u32) -> Self {
        Self { records: Chunks::new(), slots, occupied: 0 }
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
        while self.records.len() <= token.slot as usize {
            self.records.push(Connection::free());
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
        let connection = self.records.get(token.slot)?;
        (connection.generation == token.generation && connection.state != State::Free).then_some(token.slot)
    }

    /// Slots that have a record, occupied or not: all connections lie below.
    pub(super) fn end(&self) -> u32 {
        self.records.len() as u32
    }

    /// All connections.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        let records = self.records.iter().enumerate();
        records.map(|(slot, connection)| (slot as u32, connection)).filter(|(_, c)| c.state != State::Free)
    }
}

impl Index<u32> for Slab {
    type Output = Connection;

    fn index(&self, slot: u32) -> &Connection {
        &self.records[slot]
    }
}

impl IndexMut<u32> for Slab {
    fn index_mut(&mut self, slot: u32) -> &mut Connection {
        &mut self.records[slot]
    }
}
