//! How a ring closes: call back what waits, drain what is in flight, close the descriptor, free the slot. In this
//! order, so that no late completion finds another tenant.

use io_uring::squeue::Flags;
use io_uring::{opcode, types};

use super::Ring;
use super::slots::{Phase, in_flight, mark};
use super::tag::{Kind, Tag};
use crate::operation::Completion;
use crate::token::Token;

impl Ring {
    pub(super) fn close(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant_to_close(token) else { return };
        slot.phase = Phase::Draining;
        if slot.flies(in_flight::DIAL) {
            self.hang_ups.push(token);
        }
        if slot.flies(in_flight::BLOCKED) {
            self.called_back.push(token);
        }
        // Neither receives nor sends wait in the kernel, nor does a shutdown: only the poll must be called back.
        if slot.flies(in_flight::POLL) {
            self.cancel(token.slot, Tag::of_token(Kind::Poll, token));
        }
        self.close_if_drained(token);
    }

    /// As [`Ring::close`], and the peer gets a reset.
    pub(super) fn abort(&mut self, token: Token) {
        if let Some(slot) = self.slots.tenant(token) {
            slot.marks |= mark::RESET;
        }
        self.close(token);
    }

    /// Cancels one entry of a slot by its tag. (By descriptor would search all that is in flight; by tag it is a look-up.)
    pub(super) fn cancel(&mut self, slot: u32, tag: Tag) {
        self.cancel_telling(slot, tag, Tag::of_index(Kind::Cancel, 0));
    }

    /// As [`Ring::cancel`]; `missed` is the tag of its completion, which comes only if it finds nothing.
    pub(super) fn cancel_telling(&mut self, slot: u32, tag: Tag, missed: Tag) {
        let entry = opcode::AsyncCancel::new(tag.to_bits())
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(missed.to_bits());
        // SAFETY: a cancellation names no memory.
        unsafe { self.banks.push(slot, entry) };
    }

    pub(super) fn close_if_drained(&mut self, token: Token) {
        let slot = self.slots.get(token.slot);
        if slot.phase != Phase::Draining || slot.in_flight != 0 {
            return;
        }
        slot.phase = Phase::Closing;
        if slot.has(mark::RESET) {
            self.reset_on_close(token.slot);
        }
        let entry = opcode::Close::new(types::Fixed(self.banks.place(token.slot)))
            .build()
            .user_data(Tag::of_token(Kind::Close, token).to_bits());
        // SAFETY: a close names no memory.
        unsafe { self.banks.push(token.slot, entry) };
    }

    /// A close that does not linger is a reset (socket(7), SO_LINGER). Submitted before the close, it is done before: an
    /// option never waits.
    fn reset_on_close(&mut self, slot: u32) {
        static AT_ONCE: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let length = size_of::<libc::linger>() as u32;
        let (level, name) = (libc::SOL_SOCKET as u32, libc::SO_LINGER as u32);
        let value = (&raw const AT_ONCE).cast();
        let entry = opcode::SetSockOpt::new(types::Fixed(self.banks.place(slot)), level, name, value, length)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(Tag::of_index(Kind::Linger, 0).to_bits());
        // SAFETY: the entry names a static.
        unsafe { self.banks.push(slot, entry) };
    }

    pub(super) fn closed(&mut self, token: Token, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        assert!(result == 0, "an open slot can be closed: error {}", -result);
        self.slots.free(token.slot);
        handle(Completion::Closed { token });
        self.start_accepts();
    }
}
