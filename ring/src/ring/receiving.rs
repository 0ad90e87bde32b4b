//! How a ring receives: a poll waits, the readable stand in a queue, and each gets a buffer when its turn comes.

use io_uring::{opcode, types};

use super::Ring;
use super::slots::{Phase, in_flight, mark};
use super::tag::{Kind, Tag};
use crate::operation::Completion;
use crate::token::Token;

impl Ring {
    /// Starts to tell what the socket receives.
    pub(super) fn want(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        slot.marks |= mark::WANTED;
        self.arm(token);
        self.queue_if_readable(token);
    }

    /// Polls the socket if its tenant wants to receive or has a send that waits, and no poll is in flight.
    pub(super) fn arm(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        let receives = slot.has(mark::WANTED) && !slot.has(mark::ENDED);
        if slot.flies(in_flight::POLL) || !(receives || slot.flies(in_flight::BLOCKED)) {
            return;
        }
        slot.in_flight |= in_flight::POLL;
        let target = types::Fixed(self.banks.place(token.slot));
        let entry = opcode::PollAdd::new(target, (libc::POLLIN | libc::POLLOUT) as u32)
            .multi(true)
            .build()
            .user_data(Tag::of_token(Kind::Poll, token).to_bits());
        // SAFETY: a poll names no memory.
        unsafe { self.banks.push(token.slot, entry) };
    }

    /// The poll says what may be tried; the receive or send will tell what it is: bytes, the end, or an error. A poll
    /// that failed has said nothing, so both are tried.
    pub(super) fn polled(&mut self, token: Token, result: i32, more: bool) {
        let slot = self.slots.get(token.slot);
        let events = if result < 0 { i32::MAX } else { result };
        if events & !i32::from(libc::POLLOUT) != 0 {
            slot.marks |= mark::READABLE;
        }
        if !more {
            slot.in_flight &= !in_flight::POLL;
        }
        if events & i32::from(libc::POLLOUT | libc::POLLERR | libc::POLLHUP) != 0 {
            self.unblock(token);
        }
        self.arm(token);
        self.queue_if_readable(token);
        self.close_if_drained(token);
    }

    fn queue_if_readable(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        let ready = slot.has(mark::WANTED | mark::READABLE) && !slot.has(mark::ENDED);
        if ready && !slot.has(mark::QUEUED) && !slot.flies(in_flight::RECEIVE) {
            slot.marks |= mark::QUEUED;
            self.readable.push_back(token.slot);
        }
    }

    /// Starts a receive for each readable socket, as far as the buffers go; says whether it started any.
    pub(super) fn start_receives(&mut self) -> bool {
        let mut started = false;
        while !self.buffers.is_exhausted() {
            let Some(slot) = self.readable.pop_front() else { return started };
            self.slots.get(slot).marks &= !mark::QUEUED;
            started |= self.start_receive(self.slots.token(slot));
        }
        self.counters.buffer_waits += u64::from(!self.readable.is_empty());
        started
    }

    fn start_receive(&mut self, token: Token) -> bool {
        // The slot may have another tenant by now, or one that paused.
        let Some(slot) = self.slots.tenant(token) else { return false };
        if !slot.has(mark::WANTED | mark::READABLE) || slot.flies(in_flight::RECEIVE) {
            return false;
        }
        let Some(buffer) = self.buffers.take() else { return false };
        slot.marks &= !mark::READABLE;
        slot.in_flight |= in_flight::RECEIVE;
        slot.buffer = buffer;
        let length = self.buffers.bytes_each() as u32;
        let target = types::Fixed(self.banks.place(token.slot));
        let entry = opcode::Recv::new(target, self.buffers.pointer(buffer), length)
            .flags(libc::MSG_DONTWAIT)
            .build()
            .user_data(Tag::of_token(Kind::Receive, token).to_bits());
        // SAFETY: the buffer is `length` bytes, was taken from the pool above, and goes back in `received` only.
        unsafe { self.banks.push(token.slot, entry) };
        true
    }

    pub(super) fn received(
        &mut self,
        token: Token,
        result: i32,
        nonempty: bool,
        handle: &mut impl FnMut(Completion<'_>),
    ) {
        let slot = self.slots.get(token.slot);
        slot.in_flight &= !in_flight::RECEIVE;
        let buffer = slot.buffer;
        let open = slot.phase == Phase::Open;
        match result {
            1.. => {
                let length = result as usize;
                self.counters.received_bytes += length as u64;
                if nonempty || length == self.buffers.bytes_each() {
                    slot.marks |= mark::READABLE;
                }
                if open {
                    // SAFETY: the receive's completion is here, so the kernel is done; `give` comes below.
                    let bytes = unsafe { self.buffers.filled(buffer, length) };
                    handle(Completion::Received { token, bytes });
                }
            }
            // Nothing there after all: the poll tells when there is.
            _ if result == -libc::EAGAIN => {}
            // Not now: try again next turn.
            _ if [-libc::EINTR, -libc::ENOMEM, -libc::ENOBUFS].contains(&result) => {
                slot.marks |= mark::READABLE;
            }
            _ => {
                slot.marks |= mark::ENDED;
                if open {
                    handle(Completion::Ended { token, error: -result });
                }
            }
        }
        self.buffers.give(buffer);
        self.queue_if_readable(token);
        self.close_if_drained(token);
    }
}
