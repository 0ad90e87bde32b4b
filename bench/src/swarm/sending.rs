//! What a client says: packets wait in its outbox to the end of the turn, or of the send before, and leave in one gather.

use ring::operation::Operation;
use ring::packet::{GATHER_PACKETS_MAX, Gather, Packet};

use super::Crowd;
use super::client::{State, flag};
use crate::wire::{self, ClientFrame};

/// Packets that wait for one client's socket at most.
const OUTBOX_PACKETS_MAX: usize = 1_024;
/// Gathers that are kept for the next sends.
const GATHERS_KEPT_MAX: usize = 4_096;

impl Crowd {
    /// Sends a frame, with all others of this turn in one go. False when the client is not online, or when so many frames
    /// wait for its socket that this one is not taken.
    #[must_use]
    pub fn send(&mut self, client: u32, frame: &ClientFrame<'_>) -> bool {
        if !self.is_online(client) {
            return false;
        }
        let packet = self.packet(frame);
        self.send_packet(client, packet)
    }

    /// A frame, encoded and masked once, to be sent by many clients.
    #[must_use]
    pub fn packet(&mut self, frame: &ClientFrame<'_>) -> Packet {
        let mask = self.masks.key();
        self.pool.packet(|out| wire::encode(self.settings.subprotocol, frame, mask, out))
    }

    /// A text frame with this payload, as plain servers get it.
    #[must_use]
    pub fn text_packet(&mut self, payload: &str) -> Packet {
        let mask = self.masks.key();
        self.pool.packet(|out| wire::write_text(payload, mask, out))
    }

    /// As [`Crowd::send`], of a frame from [`Crowd::packet`].
    #[must_use]
    pub fn send_packet(&mut self, client: u32, packet: Packet) -> bool {
        let place = self.place(client);
        if self.clients[place].state == State::Online {
            return self.put(place, packet);
        }
        self.pool.release(packet);
        false
    }

    /// Puts a packet into an outbox; false when that is full.
    pub(super) fn put(&mut self, place: usize, packet: Packet) -> bool {
        let client = &mut self.clients[place];
        let outbox = client.outbox.get_or_insert_default();
        if outbox.len() >= OUTBOX_PACKETS_MAX {
            self.pool.release(packet);
            return false;
        }
        outbox.push_back(packet);
        self.counters.frames += 1;
        if !client.has(flag::DIRTY) {
            client.set(flag::DIRTY);
            self.dirty.push(place as u32);
        }
        true
    }

    /// Sends a packet past what waits for the end of the turn: for the steps of connecting and leaving. Behind a send in
    /// flight it waits like any other.
    pub(super) fn send_at_once(&mut self, place: usize, packet: Packet) {
        let client = &mut self.clients[place];
        if client.has(flag::SENDING) {
            client.outbox.get_or_insert_default().push_back(packet);
            return;
        }
        client.set(flag::SENDING);
        let mut gather = self.gathers.pop().unwrap_or_default();
        gather.packets.push(packet);
        self.operations.push(Operation::Send(client.token, gather));
    }

    /// Sends what waits, as far as nothing is in flight.
    pub(super) fn flush(&mut self) {
        for place in std::mem::take(&mut self.dirty) {
            self.clients[place as usize].clear(flag::DIRTY);
            self.send_next(place as usize);
        }
    }

    fn send_next(&mut self, place: usize) {
        let client = &mut self.clients[place];
        if client.has(flag::SENDING) {
            return;
        }
        let Some(outbox) = &mut client.outbox else { return };
        let mut gather = self.gathers.pop().unwrap_or_default();
        gather.packets.extend(outbox.drain(..outbox.len().min(GATHER_PACKETS_MAX)));
        if outbox.is_empty() {
            client.outbox = None;
        }
        client.set(flag::SENDING);
        self.operations.push(Operation::Send(client.token, gather));
    }

    pub(super) fn sent(&mut self, place: usize, result: i32, mut gather: Box<Gather>) {
        let mut left = usize::try_from(result).unwrap_or(0);
        self.counters.sent_bytes += left as u64;
        let client = &mut self.clients[place];
        let goes_on = result >= 0 && client.state != State::Leaving;
        while goes_on && let Some(first) = gather.packets.first() {
            let length = first.as_bytes().len() - gather.skip;
            if left < length {
                gather.skip += left;
                self.operations.push(Operation::Send(client.token, gather));
                return;
            }
            left -= length;
            gather.skip = 0;
            self.pool.release(gather.packets.remove(0));
        }
        client.clear(flag::SENDING);
        gather.skip = 0;
        gather.packets.drain(..).for_each(|packet| self.pool.release(packet));
        if self.gathers.len() < GATHERS_KEPT_MAX {
            self.gathers.push(gather);
        }
        if self.clients[place].state != State::Leaving {
            self.send_next(place);
        }
    }
}
