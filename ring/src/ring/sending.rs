//! How a ring sends, one gather at a time a socket, and shuts down behind the last. The memory in flight is kept in
//! `sends`.

use io_uring::{opcode, types};

use super::Ring;
use super::slots::{NO_SEND, in_flight, mark};
use super::tag::{Kind, Tag};
use crate::operation::Completion;
use crate::packet::Gather;
use crate::token::Token;

impl Ring {
    pub(super) fn send(&mut self, token: Token, gather: Box<Gather>) {
        let Some(slot) = self.slots.tenant(token) else { return };
        assert!(slot.send == NO_SEND, "one send at a time a socket");
        let (index, entry) = self.sends.start(token.slot, gather);
        slot.send = index;
        slot.in_flight |= in_flight::SEND;
        let entry = entry.user_data(Tag::of_token(Kind::Send, token).to_bits());
        // SAFETY: `Sends` keeps the memory of a started send until `finish`, which `sent` alone calls.
        unsafe { self.queue.push(entry) };
    }

    pub(super) fn sent(&mut self, token: Token, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        let slot = self.slots.get(token.slot);
        slot.in_flight &= !in_flight::SEND;
        let gather = self.sends.finish(std::mem::replace(&mut slot.send, NO_SEND));
        // Interrupted before the first byte: none went out, and nothing is wrong with the socket.
        let result = if result == -libc::EINTR { 0 } else { result };
        let sent = u64::try_from(result).unwrap_or(0);
        self.counters.sent_bytes += sent;
        self.counters.sends_short += u64::from(sent < gather.bytes_left());
        if slot.has(mark::SHUTDOWN) {
            self.shutdowns.push(token);
        }
        handle(Completion::Sent { token, result, gather });
        self.close_if_drained(token);
    }

    /// Remembers to shut down; a send in flight does it when it is done.
    pub(super) fn shut_down(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        slot.marks |= mark::SHUTDOWN;
        if !slot.flies(in_flight::SEND) {
            self.shutdowns.push(token);
        }
    }

    /// Shuts down what is due. Done at the start of a turn, when a shard has had the chance to go on with a send that
    /// ended short.
    pub(super) fn start_shutdowns(&mut self) {
        while let Some(token) = self.shutdowns.pop() {
            self.start_shutdown(token);
        }
    }

    fn start_shutdown(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        // Asked for twice, or behind another send: that one's end comes back to it.
        if !slot.has(mark::SHUTDOWN) || slot.flies(in_flight::SEND | in_flight::SHUTDOWN) {
            return;
        }
        slot.marks &= !mark::SHUTDOWN;
        slot.in_flight |= in_flight::SHUTDOWN;
        let entry = opcode::Shutdown::new(types::Fixed(token.slot), libc::SHUT_WR)
            .build()
            .user_data(Tag::of_token(Kind::Shutdown, token).to_bits());
        // SAFETY: a shutdown names no memory.
        unsafe { self.queue.push(entry) };
    }

    /// Whatever its result: a socket that can't be shut down is down already.
    pub(super) fn was_shut_down(&mut self, token: Token) {
        self.slots.get(token.slot).in_flight &= !in_flight::SHUTDOWN;
        self.close_if_drained(token);
    }
}
