//! The banks of a ring: each a kernel's io_uring with a table of its own, since RLIMIT_NOFILE bounds the table and not the
//! ring. Knows which bank a slot is in, which banks a turn has to call, and how to sleep for all of them at once.
//!
//! # How several banks sleep
//!
//! The first bank is the one that waits in the kernel. The others share a *bell*: an eventfd that the kernel raises when a
//! bank that had nothing to finish gets something (IORING_REGISTER_EVENTFD), and that the first bank polls. Before a sleep
//! a bell that has rung is made silent, polled again, and *then* every bank is looked at: what came before is seen
//! there, what comes after rings. While awake nobody listens: one look at the flags of a bank says whether to call it.
//!
//! A poll of an eventfd that an io_uring raises fires once (EPOLL_URING_WAKE), hence no multishot one.

use std::io;
use std::time::Duration;

use io_uring::{cqueue, opcode, squeue, types};

use super::Settings;
use super::queue::Queue;
use super::tag::{Kind, Tag};
use crate::event::Event;
use crate::limit::Limit;
use crate::setup::SetupError;

/// Most direct descriptors that an io_uring registers (`IORING_MAX_FIXED_FILES`, io_uring_register(2)).
const TABLE_MAX: u64 = 1 << 20;

/// What tells the first bank, which sleeps, of the others.
struct Bell {
    event: Event,
    /// Its poll is with the kernel, or queued to be.
    polled: bool,
}

/// All banks of a ring; the first has slot 0.
pub(super) struct Banks {
    queues: Vec<Queue>,
    /// Slots of each bank but the last, which may have fewer.
    slots_each: u32,
    /// Of more than one bank.
    bell: Option<Bell>,
    /// Entries since the last turn's calls.
    unsubmitted: usize,
}

impl Banks {
    /// As few banks as hold the slots.
    ///
    /// # Errors
    /// The host can't: see [`SetupError`].
    pub(super) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let slots_max = Limit::descriptors().soft.clamp(1, TABLE_MAX) as u32;
        let count = settings.slots.div_ceil(slots_max.min(settings.bank_slots));
        let slots_each = settings.slots.div_ceil(count);
        let bell = if count > 1 { Some(Bell { event: Event::new()?, polled: false }) } else { None };
        let mut queues = Vec::with_capacity(count as usize);
        for first in (0..settings.slots).step_by(slots_each as usize) {
            let queue = Queue::new(settings.submissions, settings.completions, bell.is_some())?;
            let slots = slots_each.min(settings.slots - first);
            queue
                .submitter()
                .register_files_sparse(slots)
                .map_err(|error| SetupError::from_system("the table of direct descriptors", error))?;
            queues.push(queue);
        }
        if let Some(bell) = &bell {
            for queue in &queues[1..] {
                queue
                    .submitter()
                    .register_eventfd(bell.event.descriptor())
                    .map_err(|error| SetupError::from_system("an io_uring's eventfd", error))?;
            }
        }
        Ok(Self { queues, slots_each, bell, unsubmitted: 0 })
    }

    pub(super) fn slots_each(&self) -> u32 {
        self.slots_each
    }

    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    /// System calls made for turns.
    pub(super) fn enters(&self) -> u64 {
        self.queues.iter().map(Queue::enters).sum()
    }

    pub(super) fn can_dial(&self) -> bool {
        self.queues[0].can_dial()
    }

    /// The place of a slot in the table of its bank.
    #[inline]
    pub(super) fn place(&self, slot: u32) -> u32 {
        if self.queues.len() == 1 { slot } else { slot % self.slots_each }
    }

    #[inline]
    fn queue(&mut self, slot: u32) -> &mut Queue {
        let bank = if self.queues.len() == 1 { 0 } else { slot / self.slots_each };
        &mut self.queues[bank as usize]
    }

    /// As [`Queue::push`], to the bank of a slot.
    ///
    /// # Safety
    /// As [`Queue::push`].
    #[inline]
    pub(super) unsafe fn push(&mut self, slot: u32, entry: squeue::Entry) {
        self.unsubmitted += 1;
        // SAFETY: the caller's promise is this call's.
        unsafe { self.queue(slot).push(entry) };
    }

    /// As [`Queue::push_chain`], to the bank of a slot.
    ///
    /// # Safety
    /// As [`Queue::push_chain`].
    pub(super) unsafe fn push_chain(&mut self, slot: u32, entries: &[squeue::Entry]) -> bool {
        // SAFETY: the caller's promise is this call's.
        let pushed = unsafe { self.queue(slot).push_chain(entries) };
        self.unsubmitted += if pushed { entries.len() } else { 0 };
        pushed
    }

    /// Entries given since the last turn's calls, or left by those.
    pub(super) fn unsubmitted(&self) -> usize {
        self.unsubmitted
    }

    /// Whether there are completions to take.
    pub(super) fn is_ready(&mut self) -> bool {
        self.queues.iter_mut().any(|queue| queue.ready() > 0)
    }

    /// Completions of a bank to take.
    pub(super) fn ready(&mut self, bank: usize) -> usize {
        self.queues[bank].ready()
    }

    /// Takes a bank's oldest completion.
    #[inline]
    pub(super) fn pop(&mut self, bank: usize) -> Option<cqueue::Entry> {
        self.queues[bank].pop()
    }

    /// Submits all that is queued, lets the kernel finish what it can, and sleeps until there is a completion in any bank
    /// or `timeout` has passed; zero never sleeps.
    ///
    /// # Errors
    /// As [`Queue::enter`].
    pub(super) fn enter(&mut self, timeout: Duration) -> io::Result<()> {
        match self.queues.as_mut_slice() {
            [alone] => alone.enter(timeout)?,
            _ => self.enter_several(timeout)?,
        }
        self.unsubmitted = self.queues.iter_mut().map(Queue::unsubmitted).sum();
        Ok(())
    }

    fn enter_several(&mut self, timeout: Duration) -> io::Result<()> {
        self.enter_others()?;
        if !timeout.is_zero() && self.may_sleep() {
            self.queues[0].enter(timeout)?;
            return self.enter_others();
        }
        if self.queues[0].is_due() { self.queues[0].enter(Duration::ZERO) } else { Ok(()) }
    }

    /// Calls those behind the first that have something to submit or to finish.
    fn enter_others(&mut self) -> io::Result<()> {
        for queue in &mut self.queues[1..] {
            if queue.is_due() {
                queue.enter(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// Whether nothing waits in the banks behind the first; from then on the bell tells when something does.
    fn may_sleep(&mut self) -> bool {
        let (first, others) = self.queues.split_at_mut(1);
        // What the kernel left for another call does not ring.
        let mut waits = || others.iter_mut().any(|queue| queue.ready() > 0 || queue.is_due());
        if waits() {
            return false;
        }
        let Some(bell) = &mut self.bell else { return true };
        if bell.polled {
            // Not rung since it was made silent, or its poll ends this sleep at once.
            return true;
        }
        bell.polled = true;
        bell.event.drain();
        let poll = opcode::PollAdd::new(types::Fd(bell.event.descriptor()), libc::POLLIN as u32)
            .build()
            .user_data(Tag::of_index(Kind::Bell, 0).to_bits());
        // SAFETY: a poll names no memory.
        unsafe { first[0].push(poll) };
        !waits()
    }

    /// The poll of the bell has completed.
    pub(super) fn rang(&mut self) {
        if let Some(bell) = &mut self.bell {
            bell.polled = false;
        }
    }
}
