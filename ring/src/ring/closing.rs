//! How a ring closes: call back what waits, drain what is in flight, close the descriptor, free the slot. In this
//! order, so that no late completion finds another tenant.

use io_uring::squeue::Flags;
use io_uring::{opcode, types};

use super::Ring;
use super::slots::{Phase, in_flight};
use super::tag::{Kind, Tag};
use crate::operation::Completion;
use crate::token::Token;

impl Ring {
    pub(super) fn close(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        slot.phase = Phase::Draining;
        if slot.flies(in_flight::BLOCKED) {
            self.called_back.push(token);
        }
        // Neither receives nor sends wait in the kernel, nor does a shutdown: only the poll must be called back.
        if slot.flies(in_flight::POLL) {
            self.cancel(Tag::of_token(Kind::Poll, token));
        }
        self.close_if_drained(token);
    }

    /// Cancels one entry by its tag. (By descriptor would search all that is in flight; by tag it is a look-up.)
    pub(super) fn cancel(&mut self, tag: Tag) {
        let entry = opcode::AsyncCancel::new(tag.to_bits())
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(Tag::of_index(Kind::Cancel, 0).to_bits());
        // SAFETY: a cancellation names no memory.
        unsafe { self.queue.push(entry) };
    }

    pub(super) fn close_if_drained(&mut self, token: Token) {
        let slot = self.slots.get(token.slot);
        if slot.phase != Phase::Draining || slot.in_flight != 0 {
            return;
        }
        slot.phase = Phase::Closing;
        let entry = opcode::Close::new(types::Fixed(token.slot))
            .build()
            .user_data(Tag::of_token(Kind::Close, token).to_bits());
        // SAFETY: a close names no memory.
        unsafe { self.queue.push(entry) };
    }

    pub(super) fn closed(&mut self, token: Token, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        assert!(result == 0, "an open slot can be closed: error {}", -result);
        self.slots.free(token.slot);
        handle(Completion::Closed { token });
        self.start_accepts();
    }
}
