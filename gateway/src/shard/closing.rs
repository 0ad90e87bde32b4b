//! Closing: the close handshake (RFC 6455, section 7) with a bounded wait, and the end of a session wherever it comes from.

use protocol::envelope::ToRouter;
use protocol::error::CloseCode;
use protocol::placement::Slot;
use protocol::websocket::write_close;
use ring::operation;

use super::GatewayShard;
use super::caller::Asks;
use super::connection::{Flag, NONE, State};
use super::wheel::{tick_of, ticks};

impl GatewayShard {
    /// Begins to close: what is in the outbox is still sent, then the close frame, then the end of the stream.
    pub(super) fn close(&mut self, slot: u32, code: CloseCode, reason: &str) {
        if !self.slab[slot].is_websocket() {
            return;
        }
        self.counters.count_close(code);
        let packet = self.pool.packet(|out| write_close(code, reason, out));
        self.push(slot, packet);
        self.end(slot);
    }

    /// Closes a client that is over a limit; the reason says when to come back.
    pub(super) fn close_over_limit(&mut self, slot: u32, what: &str, retry_after_ms: u32) {
        if self.slab[slot].is_websocket() {
            self.close(slot, CloseCode::OVER_LIMIT, &format!("{what}; retry after {retry_after_ms} ms"));
        } else {
            self.close_now(slot);
        }
    }

    /// The client closes: its code goes back, and a session ends in order.
    pub(super) fn answer_close(&mut self, slot: u32, code: Option<CloseCode>) {
        if matches!(code, None | Some(CloseCode::NORMAL | CloseCode::GOING_AWAY)) {
            self.slab[slot].flags.set(Flag::NormalEnd);
        }
        self.close(slot, code.unwrap_or(CloseCode::NORMAL), "");
    }

    /// Ends everything but the sending of what is in the outbox.
    pub(super) fn end(&mut self, slot: u32) {
        self.release(slot);
        let connection = &mut self.slab[slot];
        connection.state = State::Closing;
        connection.state_tick = tick_of(self.now.monotonic_ms) + ticks(self.settings.close_timeout_ms);
        self.arm_timer(slot);
        self.mark_dirty(slot);
        // Whatever still comes is thrown away, so that the peer's end of the stream is seen.
        self.listen(slot);
    }

    /// All is sent: ends the stream, or closes the socket when the peer has ended its own.
    pub(super) fn end_stream(&mut self, slot: u32) -> Option<operation::Operation> {
        let connection = &mut self.slab[slot];
        if connection.state != State::Closing || connection.flags.has(Flag::ShutDown) {
            return None;
        }
        if connection.flags.has(Flag::PeerEnded) {
            self.close_now(slot);
            return self.sockets.pop_front();
        }
        connection.flags.set(Flag::ShutDown);
        Some(operation::Operation::Shutdown(connection.token(slot)))
    }

    /// The peer will send no more. What a closing connection has left is sent nevertheless, to a peer without a fault.
    pub(super) fn peer_ended(&mut self, slot: u32, error: i32) {
        let connection = &mut self.slab[slot];
        connection.flags.clear(Flag::Receiving);
        let unsent = connection.flags.has(Flag::Sending) || connection.outbox.head != NONE;
        if connection.state == State::Closing && error == 0 && unsent {
            connection.flags.set(Flag::PeerEnded);
        } else {
            self.close_now(slot);
        }
    }

    /// Closes the socket, whatever is unsent.
    pub(super) fn close_now(&mut self, slot: u32) {
        if matches!(self.slab[slot].state, State::Closed | State::Free) {
            return;
        }
        self.release(slot);
        self.wheel.disarm(&mut self.slab, slot);
        let connection = &mut self.slab[slot];
        connection.state = State::Closed;
        connection.flags.clear(Flag::Receiving);
        self.outboxes.clear(&mut connection.outbox, &mut self.pool);
        let token = connection.token(slot);
        self.sockets.push_back(operation::Operation::Close(token));
    }

    pub(super) fn closed(&mut self, slot: u32) {
        if self.slab[slot].state != State::Closed {
            // The ring closed it of itself.
            self.close_now(slot);
            self.sockets.pop_back();
        }
        self.leave_seat(slot);
        self.went(slot);
        self.slab.free(slot);
    }

    /// Gives back all that a connection holds beside its record and its outbox, and tells the user's owner.
    fn release(&mut self, slot: u32) {
        let flags = self.slab[slot].flags;
        if self.slab[slot].flags.take(Flag::Input) {
            self.inputs.drop(slot);
        }
        if flags.has(Flag::Registered) {
            self.slab[slot].flags.clear(Flag::Registered);
            let caller = self.caller(slot, Asks::Session, 0);
            let (user, normal) = (self.user_key(slot), flags.has(Flag::NormalEnd));
            self.tell_slot(Slot::of_user(&user), ToRouter::SessionClose { caller, user, normal });
        }
        if self.slab[slot].flags.take(Flag::Welcomed) {
            self.counters.sessions -= 1;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.held_up.forget(slot);
        }
        self.openings.remove(&slot);
        self.syncs.remove(&slot);
        self.detach_all(slot);
        self.unwatch_all(slot);
        let tenant = core::mem::replace(&mut self.slab[slot].tenant, NONE);
        if tenant != NONE {
            self.tenants.release(tenant);
        }
    }
}
