//! Sending: packets into outboxes, outboxes into the socket, one gather in flight a connection.

use protocol::error::Refusal;
use protocol::frame::{ServerFrame, encode};
use protocol::id::ClientId;
use ring::operation;
use ring::packet::{Gather, Packet};

use super::GatewayShard;
use super::connection::{Flag, NONE, State};

impl GatewayShard {
    /// Puts a packet into a connection's outbox, whatever is in there: for answers, whose number is bounded by what is
    /// read. Nothing once the connection closes.
    pub(super) fn push(&mut self, slot: u32, packet: Packet) {
        let connection = &mut self.slab[slot];
        if !connection.is_websocket() {
            self.pool.release(packet);
            return;
        }
        self.outboxes.push(&mut connection.outbox, packet);
        self.counters.packets_out += 1;
        self.mark_dirty(slot);
    }

    /// Puts an answer into a connection's outbox.
    pub(super) fn answer(&mut self, slot: u32, frame: &ServerFrame<'_>) {
        let subprotocol = self.slab[slot].subprotocol;
        let packet = self.pool.packet(|out| encode(subprotocol, frame, out));
        self.push(slot, packet);
    }

    /// Answers a request with an error.
    pub(super) fn refuse(
        &mut self,
        slot: u32,
        reference: Option<i64>,
        id: Option<ClientId>,
        refusal: Refusal,
    ) {
        self.counters.count_error(refusal.code);
        self.answer(slot, &ServerFrame::Error { reference, id, refusal });
    }

    pub(super) fn mark_dirty(&mut self, slot: u32) {
        let connection = &mut self.slab[slot];
        if !connection.flags.has(Flag::Dirty) {
            connection.flags.set(Flag::Dirty);
            self.dirty.push_back(slot);
        }
    }

    /// The next send of a connection that has something new, or the end of its stream.
    pub(super) fn poll_dirty(&mut self) -> Option<operation::Operation> {
        while let Some(slot) = self.dirty.pop_front() {
            let connection = &mut self.slab[slot];
            connection.flags.clear(Flag::Dirty);
            if matches!(connection.state, State::Free | State::Closed) || connection.flags.has(Flag::Sending)
            {
                continue;
            }
            let token = connection.token(slot);
            if let Some(gather) = self.outboxes.gather(&mut connection.outbox) {
                connection.flags.set(Flag::Sending);
                return Some(operation::Operation::Send(token, gather));
            }
            if let Some(operation) = self.end_stream(slot) {
                return Some(operation);
            }
        }
        None
    }

    pub(super) fn sent(&mut self, slot: u32, result: i32, mut gather: Box<Gather>) {
        let connection = &mut self.slab[slot];
        connection.flags.clear(Flag::Sending);
        let sent = usize::try_from(result).unwrap_or(0);
        if connection.state == State::Closed || sent == 0 {
            self.outboxes.recycle(gather, &mut self.pool);
            self.close_now(slot);
            return;
        }
        self.counters.bytes_out += sent as u64;
        if self.outboxes.sent(&mut connection.outbox, &mut gather, sent, &mut self.pool) {
            self.outboxes.recycle(gather, &mut self.pool);
            if connection.outbox.head != NONE || connection.state == State::Closing {
                self.mark_dirty(slot);
            }
        } else {
            connection.flags.set(Flag::Sending);
            let token = connection.token(slot);
            self.sockets.push_back(operation::Operation::Send(token, gather));
        }
        if self.is_half_empty(slot) {
            self.wake(slot);
            self.pump(slot);
            self.continue_sync(slot);
        }
    }

    /// True when at most half of what an outbox holds is unsent: time for more, and room for what may be dropped.
    pub(super) fn is_half_empty(&self, slot: u32) -> bool {
        let outbox = &self.slab[slot].outbox;
        outbox.bytes <= self.settings.outbox_bytes / 2 && outbox.packets <= self.settings.outbox_packets / 2
    }

    /// True when an outbox has room for so many bytes of events.
    pub(super) fn has_room(&self, slot: u32, bytes: usize) -> bool {
        let outbox = &self.slab[slot].outbox;
        if outbox.bytes == 0 {
            return true;
        }
        outbox.bytes as usize + bytes <= self.settings.outbox_bytes as usize
            && outbox.packets < self.settings.outbox_packets
            && self.outboxes.bytes() < self.settings.outbox_total_bytes
    }
}
