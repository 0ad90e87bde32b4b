//! How a ring dials: a slot and a token at once; then one chain of entries that makes the socket, binds and connects it,
//! or a refusal. The memory of what is under way is kept in `dials`.

use super::Ring;
use super::slots::{NO_SEND, Phase, in_flight};
use super::tag::{Kind, Tag};
use crate::dial::Dial;
use crate::operation::Completion;
use crate::token::Token;

impl Ring {
    /// Begins to connect, and names the socket at once. [`Completion::Connected`] follows, or
    /// [`Completion::Refused`] and [`Completion::Closed`]; after an [`Operation::Close`](crate::operation::Operation),
    /// which is all that may name the token before, only the last. `None` when `Settings::dials` are under way or
    /// every slot is taken.
    ///
    /// # Panics
    /// The source is of another family than the target.
    pub fn dial(&mut self, dial: &Dial) -> Option<Token> {
        let same_family = dial.source.is_none_or(|source| source.is_ipv4() == dial.target.is_ipv4());
        assert!(same_family, "a dial's ends are of one family: {dial:?}");
        if self.dials.len() >= self.dials_max as usize {
            return None;
        }
        let slot = self.slots.reserve()?;
        let token = self.slots.occupy(slot, Phase::Dialling);
        let tenant = self.slots.get(slot);
        tenant.in_flight |= in_flight::DIAL;
        tenant.send = self.dials.start(dial);
        self.dials_due.push_back(token);
        Some(token)
    }

    /// Hands the dials that wait to the kernel, as far as the queue has room for their whole chains; says how many were
    /// closed before.
    pub(super) fn start_dials(&mut self, handle: &mut impl FnMut(Completion<'_>)) -> u32 {
        let mut closed = 0;
        while let Some(token) = self.dials_due.pop_front() {
            let slot = self.slots.get(token.slot);
            if slot.phase == Phase::Draining {
                self.end_dial(token);
                self.free_unmade(token, handle);
                closed += 1;
                continue;
            }
            let tags = [Kind::Socket, Kind::Dial].map(|kind| Tag::of_token(kind, token).to_bits());
            let place = self.banks.place(token.slot);
            let chain = self.dials.chain(slot.send, place, tags[0], tags[1]);
            // SAFETY: `Dials` keeps the memory of a started dial until `finish`, which `end_dial` alone calls: here, for a
            // dial that the kernel never had, or when the one completion of the chain has come. What entries behind a
            // failed one name, the kernel does not look at any more.
            if !unsafe { self.banks.push_chain(token.slot, &chain) } {
                self.dials_due.push_front(token);
                break;
            }
        }
        closed
    }

    /// Calls back the dials that were closed meanwhile.
    pub(super) fn start_hang_ups(&mut self) {
        while let Some(token) = self.hang_ups.pop() {
            let still_dials =
                self.slots.token(token.slot) == token && self.slots.get(token.slot).flies(in_flight::DIAL);
            if still_dials {
                let (dial, missed) = (Kind::Dial, Kind::HangUp);
                self.cancel_telling(token.slot, Tag::of_token(dial, token), Tag::of_token(missed, token));
            }
        }
    }

    /// A cancellation found nothing to cancel: the chain was between two of its entries, or is over.
    pub(super) fn hang_up_missed(&mut self, tag: Tag) {
        let token = self.slots.token(tag.index);
        if tag.belongs_to(token) {
            self.hang_ups.push(token);
        }
    }

    /// The chain came to its end, with a socket in the slot.
    pub(super) fn dialled(&mut self, token: Token, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        self.end_dial(token);
        let slot = self.slots.get(token.slot);
        if slot.phase == Phase::Draining {
            return self.close_if_drained(token);
        }
        if result == 0 {
            slot.phase = Phase::Open;
            return handle(Completion::Connected { token });
        }
        slot.phase = Phase::Draining;
        // Nobody but the chain's own timeout cancels a dial that was not closed.
        let error = if result == -libc::ECANCELED { libc::ETIMEDOUT } else { -result };
        handle(Completion::Refused { token, error });
        self.close_if_drained(token);
    }

    /// The chain failed at its first entry: the slot holds no socket.
    pub(super) fn socket_refused(
        &mut self,
        token: Token,
        result: i32,
        handle: &mut impl FnMut(Completion<'_>),
    ) {
        self.end_dial(token);
        if self.slots.get(token.slot).phase == Phase::Dialling {
            handle(Completion::Refused { token, error: -result });
        }
        self.free_unmade(token, handle);
    }

    fn end_dial(&mut self, token: Token) {
        let slot = self.slots.get(token.slot);
        slot.in_flight &= !in_flight::DIAL;
        self.dials.finish(std::mem::replace(&mut slot.send, NO_SEND));
    }

    fn free_unmade(&mut self, token: Token, handle: &mut impl FnMut(Completion<'_>)) {
        self.slots.get(token.slot).phase = Phase::Closing;
        self.closed(token, 0, handle);
    }
}
