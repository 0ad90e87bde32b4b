//! How a ring sends, one gather at a time a socket, as far as there is room; and shuts down behind the last. The memory
//! of what is under way is kept in `sends`.

use io_uring::{opcode, types};

use super::Ring;
use super::slots::{NO_SEND, Phase, in_flight, mark};
use super::tag::{Kind, Tag};
use crate::operation::Completion;
use crate::packet::Gather;
use crate::token::Token;

impl Ring {
    pub(super) fn send(&mut self, token: Token, gather: Box<Gather>) {
        let Some(slot) = self.slots.tenant(token) else { return };
        assert!(slot.send == NO_SEND, "one send at a time a socket");
        slot.send = self.sends.start(gather);
        self.start_send(token);
    }

    fn start_send(&mut self, token: Token) {
        let slot = self.slots.get(token.slot);
        slot.in_flight |= in_flight::SEND;
        let entry = self.sends.entry(slot.send, self.banks.place(token.slot));
        let entry = entry.user_data(Tag::of_token(Kind::Send, token).to_bits());
        // SAFETY: `Sends` keeps the memory of a started send until `finish`, which `give_back` alone calls, and never
        // while the kernel has the entry.
        unsafe { self.banks.push(token.slot, entry) };
    }

    pub(super) fn sent(&mut self, token: Token, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        let slot = self.slots.get(token.slot);
        slot.in_flight &= !in_flight::SEND;
        match -result {
            libc::EAGAIN if slot.phase == Phase::Open => return self.block(token),
            libc::EAGAIN => self.give_back(token, -libc::ECANCELED, handle),
            // Interrupted before the first byte: none went out, and nothing is wrong with the socket.
            libc::EINTR => self.give_back(token, 0, handle),
            _ => self.give_back(token, result, handle),
        }
        self.close_if_drained(token);
    }

    /// A send found no room: the poll tells when there is.
    fn block(&mut self, token: Token) {
        self.counters.sends_blocked += 1;
        self.slots.get(token.slot).in_flight |= in_flight::BLOCKED;
        self.arm(token);
    }

    /// There may be room for a send that waits.
    pub(super) fn unblock(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        if slot.flies(in_flight::BLOCKED) {
            slot.in_flight &= !in_flight::BLOCKED;
            self.start_send(token);
        }
    }

    /// Gives the gathers back of what was closed while its send waited; says how many.
    pub(super) fn call_back(&mut self, handle: &mut impl FnMut(Completion<'_>)) -> u32 {
        let mut count = 0;
        while let Some(token) = self.called_back.pop() {
            self.slots.get(token.slot).in_flight &= !in_flight::BLOCKED;
            self.give_back(token, -libc::ECANCELED, handle);
            self.close_if_drained(token);
            count += 1;
        }
        count
    }

    fn give_back(&mut self, token: Token, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        let slot = self.slots.get(token.slot);
        debug_assert!(!slot.flies(in_flight::SEND | in_flight::BLOCKED), "nobody has it but us");
        let gather = self.sends.finish(std::mem::replace(&mut slot.send, NO_SEND));
        self.counters.sent_bytes += u64::try_from(result).unwrap_or(0);
        if slot.has(mark::SHUTDOWN) {
            self.shutdowns.push(token);
        }
        handle(Completion::Sent { token, result, gather });
    }

    /// Remembers to shut down; a send in flight does it when it is done.
    pub(super) fn shut_down(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        slot.marks |= mark::SHUTDOWN;
        if slot.send == NO_SEND {
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
        if !slot.has(mark::SHUTDOWN) || slot.send != NO_SEND || slot.flies(in_flight::SHUTDOWN) {
            return;
        }
        slot.marks &= !mark::SHUTDOWN;
        slot.in_flight |= in_flight::SHUTDOWN;
        let entry = opcode::Shutdown::new(types::Fixed(self.banks.place(token.slot)), libc::SHUT_WR)
            .build()
            .user_data(Tag::of_token(Kind::Shutdown, token).to_bits());
        // SAFETY: a shutdown names no memory.
        unsafe { self.banks.push(token.slot, entry) };
    }

    /// Whatever its result: a socket that can't be shut down is down already.
    pub(super) fn was_shut_down(&mut self, token: Token) {
        self.slots.get(token.slot).in_flight &= !in_flight::SHUTDOWN;
        self.close_if_drained(token);
    }
}
