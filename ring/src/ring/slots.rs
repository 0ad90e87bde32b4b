//! The slots of a ring: who has them, what is in flight for them, what their tenants want. Plain bookkeeping: touches
//! no kernel.

use crate::token::Token;

/// No send in flight.
pub(super) const NO_SEND: u32 = u32::MAX;

/// Where a slot's tenant is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nobody's, or set aside for an accept under way.
    Free,
    /// A socket that is to be made and connected.
    Dialling,
    /// A connected socket.
    Open,
    /// To be closed as soon as nothing is in flight.
    Draining,
    /// Its descriptor is being closed.
    Closing,
}

/// Bits of [`Slot::in_flight`]: entries with the kernel.
pub(super) mod in_flight {
    pub(in super::super) const POLL: u8 = 1;
    pub(in super::super) const RECEIVE: u8 = 1 << 1;
    pub(in super::super) const SEND: u8 = 1 << 2;
    pub(in super::super) const SHUTDOWN: u8 = 1 << 3;
    /// Not with the kernel, but with us: a send that waits for room.
    pub(in super::super) const BLOCKED: u8 = 1 << 4;
    /// The chain of a dial, or one that waits to be started.
    pub(in super::super) const DIAL: u8 = 1 << 5;
}

/// Bits of [`Slot::marks`].
pub(super) mod mark {
    /// The shard wants what is received.
    pub(in super::super) const WANTED: u8 = 1;
    /// There is something to receive.
    pub(in super::super) const READABLE: u8 = 1 << 1;
    /// The slot stands in the queue of those to receive. Of the slot, not of its tenant.
    pub(in super::super) const QUEUED: u8 = 1 << 2;
    /// The end was told: nothing more to receive.
    pub(in super::super) const ENDED: u8 = 1 << 3;
    /// The shard wants the socket shut down for sending.
    pub(in super::super) const SHUTDOWN: u8 = 1 << 4;
    /// The shard wants the socket reset when it is closed.
    pub(in super::super) const RESET: u8 = 1 << 5;
}

/// One slot: 16 bytes, for a ring has thousands.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    /// The send in flight or blocked, or the dial, or [`NO_SEND`].
    pub(super) send: u32,
    /// The buffer of the receive in flight.
    pub(super) buffer: u16,
    pub(super) phase: Phase,
    pub(super) in_flight: u8,
    pub(super) marks: u8,
}

const _: () = assert!(size_of::<Slot>() <= 16);

impl Slot {
    pub(super) fn has(&self, marks: u8) -> bool {
        self.marks & marks == marks
    }

    pub(super) fn flies(&self, bits: u8) -> bool {
        self.in_flight & bits != 0
    }
}

/// All slots.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// The free slots of each bank.
    free: Vec<Vec<u32>>,
    free_count: usize,
    slots_each: u32,
    /// The bank that slots are taken from.
    filling: usize,
}

impl Slots {
    /// So many, in banks of `slots_each`.
    pub(super) fn new(count: u32, slots_each: u32) -> Self {
        let slot =
            |_| Slot { generation: 0, send: NO_SEND, buffer: 0, phase: Phase::Free, in_flight: 0, marks: 0 };
        let of_bank = |first| (first..count.min(first + slots_each)).rev().collect();
        Self {
            slots: (0..count).map(slot).collect(),
            free: (0..count).step_by(slots_each as usize).map(of_bank).collect(),
            free_count: count as usize,
            slots_each,
            filling: 0,
        }
    }

    /// Sets a slot aside. The last that got free comes first, for its memory is warm; and one bank is filled before the
    /// next, the emptiest, so that a storm calls one bank a turn and not all.
    pub(super) fn reserve(&mut self) -> Option<u32> {
        self.free_count = self.free_count.checked_sub(1)?;
        if self.free[self.filling].is_empty() {
            self.filling = self.emptiest();
        }
        self.free[self.filling].pop()
    }

    /// The bank with the most free slots; the first of several.
    fn emptiest(&self) -> usize {
        let banks = self.free.iter().enumerate();
        banks.rev().max_by_key(|(_, free)| free.len()).map_or(0, |(bank, _)| bank)
    }

    fn put_back(&mut self, slot: u32) {
        let bank = if self.free.len() == 1 { 0 } else { slot / self.slots_each };
        self.free[bank as usize].push(slot);
        self.free_count += 1;
    }

    /// Puts back a slot that no socket came into.
    pub(super) fn give_back(&mut self, slot: u32) {
        debug_assert_eq!(self.slots[slot as usize].phase, Phase::Free);
        self.put_back(slot);
    }

    /// A socket came into the slot.
    pub(super) fn open(&mut self, slot: u32) -> Token {
        self.occupy(slot, Phase::Open)
    }

    /// The slot has a tenant from now on.
    pub(super) fn occupy(&mut self, slot: u32, phase: Phase) -> Token {
        let tenant = &mut self.slots[slot as usize];
        assert!(tenant.phase == Phase::Free && tenant.in_flight == 0, "a slot has one tenant");
        tenant.phase = phase;
        // What stands in a queue or a list outlives the tenant; the rest began with it.
        tenant.marks &= mark::QUEUED;
        self.token(slot)
    }

    /// The socket is gone: the next tenant has another generation.
    pub(super) fn free(&mut self, slot: u32) {
        let tenant = &mut self.slots[slot as usize];
        assert!(tenant.phase == Phase::Closing && tenant.in_flight == 0, "what is freed is drained");
        tenant.phase = Phase::Free;
        tenant.generation = tenant.generation.wrapping_add(1);
        self.put_back(slot);
    }

    pub(super) fn token(&self, slot: u32) -> Token {
        Token { slot, generation: self.slots[slot as usize].generation }
    }

    pub(super) fn get(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// The token's slot while its tenant is open; `None` for one that is closing or gone.
    pub(super) fn tenant(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token.slot as usize)?;
        (slot.generation == token.generation && slot.phase == Phase::Open).then_some(slot)
    }

    /// The token's slot while its tenant is open or dials.
    pub(super) fn tenant_to_close(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token.slot as usize)?;
        let living = matches!(slot.phase, Phase::Open | Phase::Dialling);
        (slot.generation == token.generation && living).then_some(slot)
    }

    pub(super) fn count(&self, which: impl Fn(&Slot) -> bool) -> usize {
        self.slots.iter().filter(|slot| which(slot)).count()
    }

    /// Asserts what must hold of each slot alone.
    pub(super) fn invariants(&self) {
        assert_eq!(self.free.iter().map(Vec::len).sum::<usize>(), self.free_count);
        for slot in &self.slots {
            let idle = slot.in_flight == 0 && slot.send == NO_SEND;
            assert!(
                idle || matches!(slot.phase, Phase::Open | Phase::Dialling | Phase::Draining),
                "{slot:?}"
            );
            assert_eq!(
                slot.phase == Phase::Dialling,
                slot.phase != Phase::Draining && slot.flies(in_flight::DIAL)
            );
            let sends = slot.in_flight & (in_flight::SEND | in_flight::BLOCKED | in_flight::DIAL);
            assert_eq!(sends.count_ones(), u32::from(slot.send != NO_SEND), "{slot:?}");
            assert!(
                !slot.flies(in_flight::BLOCKED) || slot.phase != Phase::Open || slot.flies(in_flight::POLL)
            );
            assert!(slot.phase != Phase::Draining || slot.in_flight != 0, "{slot:?}");
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn free_count(&self) -> usize {
        self.free_count
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Slots, mark};

    #[test]
    fn a_slot_has_a_new_generation_for_each_tenant() {
        let mut slots = Slots::new(1, 1);
        let slot = slots.reserve().unwrap();
        assert_eq!(slots.reserve(), None);
        let first = slots.open(slot);
        slots.get(slot).phase = Phase::Closing;
        slots.free(slot);
        let slot = slots.reserve().unwrap();
        let second = slots.open(slot);
        assert_eq!((second.slot, second.generation), (first.slot, first.generation + 1));
        assert!(slots.tenant(first).is_none() && slots.tenant(second).is_some());
    }

    #[test]
    fn one_bank_is_filled_before_the_next_and_then_the_emptiest() {
        let mut slots = Slots::new(5, 2);
        let taken: Vec<u32> = (0..5).map(|_| slots.reserve().unwrap()).collect();
        assert_eq!((taken, slots.reserve()), (vec![0, 1, 2, 3, 4], None));
        for slot in [4, 1, 2, 3] {
            slots.give_back(slot);
        }
        let taken: Vec<u32> = (0..4).map(|_| slots.reserve().unwrap()).collect();
        assert_eq!((taken, slots.reserve(), slots.free_count()), (vec![4, 3, 2, 1], None, 0));
        slots.give_back(3);
        assert_eq!((slots.free_count(), slots.reserve()), (1, Some(3)));
    }

    #[test]
    fn generations_wrap() {
        let mut slots = Slots::new(1, 1);
        slots.get(0).generation = u32::MAX;
        let slot = slots.reserve().unwrap();
        slots.open(slot);
        slots.get(slot).phase = Phase::Closing;
        slots.free(slot);
        assert_eq!(slots.token(slot).generation, 0);
    }

    #[test]
    fn marks_do_not_pass_to_the_next_tenant_but_for_the_place_in_the_queue() {
        let mut slots = Slots::new(1, 1);
        slots.get(0).marks = u8::MAX;
        let slot = slots.reserve().unwrap();
        slots.open(slot);
        assert_eq!(slots.get(slot).marks, mark::QUEUED);
    }
}
