//! The ring of one core: operations in, completions out, one system call a turn (two when something can be read) for each
//! bank with something to do. Knows sockets and bytes, nothing of what they say.
//!
//! # How a socket is armed
//!
//! A socket that waits holds one multishot *poll*. When it fires, a receive into a buffer of the pool is submitted at
//! once, in the same turn, and completes at once, because it never waits. So a socket that waits holds no buffer, the
//! kernel needs no provided-buffer ring, and nothing ends with ENOBUFS: what is readable stands in a queue and gets a
//! buffer a pass, at most two passes a turn.
//!
//! The same poll tells when a send that found no room may go on: sends never wait either. Were they to wait in the
//! kernel, one to a peer that has half-closed and does not read would find its own internal poll ready for ever (it
//! can't leave out EPOLLRDHUP), spin 128 times, and then block a worker thread: a thread a malicious client.
//!
//! Measured (`cargo run --release -p ring --example arming`; Linux 6.18, 2 virtual CPUs, loopback; medians of 7):
//!
//! | armed by | kernel memory a socket | CPU a message: 1 a turn | 32 a turn | 512 a turn | 32 of 16 KiB a turn |
//! |---|---|---|---|---|---|
//! | multishot receive, provided buffers | 800 B | 2.7 µs | 3.0 µs | 4.3 µs | 9.1 µs |
//! | receive, provided buffers | 799 B | 3.7 µs | 3.7 µs | 4.8 µs | 10.6 µs |
//! | **multishot poll, then receive** | **243 B** | **3.2 µs** | **2.9 µs** | **4.2 µs** | **9.4 µs** |
//! | poll, then receive | 216 B | 3.4 µs | 3.2 µs | 4.2 µs | 9.7 µs |
//!
//! A third of the memory for the same time; only a lone message pays for its second system call.
//!
//! Neither what is armed nor what is in flight makes anything else slower: a send costs 6 µs with 16,000 sockets armed
//! and all of them sending, a close 10 µs with 1,600 armed as with 16,000, an accept 4 µs.

mod accepting;
mod accepts;
mod banks;
mod buffers;
mod closing;
mod dialling;
mod dials;
mod queue;
mod receiving;
mod sending;
mod sends;
mod slots;
mod tag;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, types};

use self::accepts::Accepts;
use self::banks::Banks;
use self::buffers::Buffers;
use self::dials::{CHAIN_ENTRIES_MAX, Dials};
pub(crate) use self::queue::{build, builds_without_array};
use self::sends::Sends;
use self::slots::{Phase, Slots, in_flight, mark};
use self::tag::{Kind, Tag};
use crate::listener::Listener;
use crate::operation::{Completion, Operation};
use crate::setup::SetupError;
use crate::token::Token;
use crate::waker::Waker;

/// How long a ring that is dropped waits for what is in flight: so many times so long.
const DRAIN_TURNS_MAX: u32 = 200;
const DRAIN_TURN: Duration = Duration::from_millis(10);

/// How large a ring is. Costs about 64 bytes an entry of each bank's first queue, 16 of its second, 32 a slot, and of the
/// buffers as many as were in use together lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sockets at once, those being accepted included.
    pub slots: u32,
    /// Most slots of a bank, which RLIMIT_NOFILE and 2^20 bound too. A ring has as few banks as hold its slots; each takes
    /// a descriptor of the process.
    pub bank_slots: u32,
    /// Entries of each bank's submission queue; rounded up to a power of two. More than fit are submitted early.
    pub submissions: u32,
    /// Entries of each bank's completion queue; rounded up to a power of two. More than fit wait in the kernel.
    pub completions: u32,
    /// Receives at once.
    pub buffers: u16,
    /// Most bytes of one [`Completion::Received`]; a socket gets at most two a turn.
    pub buffer_bytes: u32,
    /// Accepts in flight for each listener. Each holds a slot.
    pub accepts: u16,
    /// Dials in flight, each in a slot; 0 for a ring that dials nobody. Dialling needs Linux 6.11.
    pub dials: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slots: 4_096,
            bank_slots: u32::MAX,
            submissions: 1_024,
            completions: 4_096,
            buffers: 64,
            buffer_bytes: 16_384,
            accepts: 16,
            dials: 0,
        }
    }
}

impl Settings {
    fn invariants(&self) {
        let Self { slots, bank_slots, submissions, completions, buffers, buffer_bytes, accepts, dials } =
            *self;
        assert!(slots > 0 && bank_slots > 0 && submissions > 0 && accepts > 0, "{self:?}");
        assert!(buffers > 0 && buffer_bytes > 0, "{self:?}");
        assert!(completions >= submissions, "io_uring_setup(2) wants it so: {self:?}");
        let chain_fits = submissions as usize >= CHAIN_ENTRIES_MAX;
        assert!(dials == 0 || chain_fits, "a dial is submitted as a whole: {self:?}");
    }
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Completions handed over.
    pub completions: u32,
    /// Whether the ring was allowed to sleep.
    pub slept: bool,
}

/// What a ring has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// System calls.
    pub enters: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Accepts that failed for want of files or memory of the host, after which accepting rests for 100 ms.
    pub accepts_exhausted: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes the kernel took to send.
    pub sent_bytes: u64,
    /// Times a send found no room and had to wait.
    pub sends_blocked: u64,
    /// Times a readable socket had to wait for a buffer.
    pub buffer_waits: u64,
    /// Wakes by other threads.
    pub wakes: u64,
}

/// The ring of one core: one bank, or several where one may not hold all sockets. Made, used and dropped on one thread.
pub struct Ring {
    banks: Banks,
    slots: Slots,
    buffers: Buffers,
    sends: Sends,
    accepts: Accepts,
    dials: Dials,
    dials_max: u32,
    /// Dials that the kernel has not got yet.
    dials_due: VecDeque<Token>,
    /// Dials that were closed, to be called back next turn.
    hang_ups: Vec<Token>,
    /// Slots with something to receive, each at most once ([`mark::QUEUED`]).
    readable: VecDeque<u32>,
    /// Tokens that were closed while their send waited for room: the gathers go back next turn.
    called_back: Vec<Token>,
    /// Tokens to shut down at the start of the next turn, if none of their sends is in flight then.
    shutdowns: Vec<Token>,
    waker: Waker,
    counters: Counters,
}

impl Ring {
    /// A ring for the calling thread that accepts from `listeners`, of which there may be none, and is woken by `waker`.
    ///
    /// # Errors
    /// The host can't: see [`SetupError`].
    ///
    /// # Panics
    /// A size in `settings` is 0, the completion queue is smaller than the submission queue, or that one too small for a
    /// dial (8 entries).
    pub fn new(settings: Settings, listeners: Vec<Listener>, waker: Waker) -> Result<Self, SetupError> {
        settings.invariants();
        let banks = Banks::new(&settings)?;
        if settings.dials > 0 && !banks.can_dial() {
            return Err(SetupError::DialUnknown { release: crate::probe::kernel_release() });
        }
        let mut ring = Self {
            slots: Slots::new(settings.slots, banks.slots_each()),
            banks,
            buffers: Buffers::new(settings.buffers, settings.buffer_bytes)?,
            sends: Sends::new(),
            accepts: Accepts::new(listeners, settings.accepts),
            dials: Dials::default(),
            dials_max: settings.dials,
            dials_due: VecDeque::new(),
            hang_ups: Vec::new(),
            readable: VecDeque::new(),
            called_back: Vec::new(),
            shutdowns: Vec::new(),
            waker,
            counters: Counters::default(),
        };
        ring.arm_waker();
        Ok(ring)
    }

    /// The addresses it accepts at, in the order of the listeners. Empty once it has stopped accepting.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.accepts.listeners().iter().map(Listener::address)
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { enters: self.banks.enters(), accepts_exhausted: self.accepts.exhausted, ..self.counters }
    }

    /// The kernel's rings that it is made of.
    #[must_use]
    pub fn banks(&self) -> usize {
        self.banks.len()
    }

    /// Entries for the next turn's system calls, those counted that went before because a submission queue was full.
    #[must_use]
    pub fn unsubmitted(&self) -> usize {
        self.banks.unsubmitted()
    }

    /// Accepts no more connections. Those in the kernel's backlog are reset when its listeners close, within a turn.
    pub fn stop_accepting(&mut self) {
        for (index, slot) in self.accepts.stop() {
            self.cancel(slot, Tag::of_index(Kind::Accept, index));
        }
        self.accepts.close_listeners();
    }

    /// Takes an operation. What names a socket that is closing or closed is forgotten.
    ///
    /// # Panics
    /// A send while another of the socket is in flight, or of an empty gather.
    pub fn submit(&mut self, operation: Operation) {
        match operation {
            Operation::Receive(token) => self.want(token),
            Operation::Pause(token) => {
                if let Some(slot) = self.slots.tenant(token) {
                    slot.marks &= !mark::WANTED;
                }
            }
            Operation::Send(token, gather) => self.send(token, gather),
            Operation::Shutdown(token) => self.shut_down(token),
            Operation::Close(token) => self.close(token),
            Operation::Abort(token) => self.abort(token),
        }
    }

    /// One turn: submits what was asked for, sleeps at most `timeout` if nothing is to be done, and hands over what
    /// happened. `has_mail` is asked just before a sleep, when every sender already knows that this ring must be
    /// woken: with `true` it does not sleep.
    ///
    /// # Errors
    /// The ring is broken (io_uring_enter(2)): it can't go on.
    pub fn turn(
        &mut self,
        timeout: Duration,
        has_mail: impl FnOnce() -> bool,
        mut handle: impl FnMut(Completion<'_>),
    ) -> io::Result<Turn> {
        let mut completions = self.call_back(&mut handle) + self.start_dials(&mut handle);
        self.start_hang_ups();
        self.start_shutdowns();
        self.start_accepts();
        let receives = self.start_receives();
        let at_once = receives || self.banks.is_ready() || !self.dials_due.is_empty();
        let timeout = if at_once { Duration::ZERO } else { self.timeout(timeout) };
        let sleep = if timeout.is_zero() { timeout } else { self.sleep(timeout, has_mail) };
        let entered = self.banks.enter(sleep);
        self.waker.awake();
        entered?;
        completions += self.complete(&mut handle);
        self.start_receives();
        if self.banks.unsubmitted() > 0 {
            self.banks.enter(Duration::ZERO)?;
            completions += self.complete(&mut handle);
        }
        Ok(Turn { completions, slept: !sleep.is_zero() })
    }

    /// Asserts what must hold between turns. Looks at every slot: for tests.
    ///
    /// # Panics
    /// Something does not hold.
    pub fn invariants(&self) {
        self.slots.invariants();
        assert_eq!(self.slots.count(|slot| slot.flies(in_flight::RECEIVE)), self.buffers.taken());
        assert_eq!(
            self.slots.count(|slot| slot.flies(in_flight::SEND | in_flight::BLOCKED)),
            self.sends.len()
        );
        assert_eq!(self.slots.count(|slot| slot.has(mark::QUEUED)), self.readable.len());
        assert_eq!(self.slots.count(|slot| slot.flies(in_flight::DIAL)), self.dials.len());
        assert!(self.dials_due.len() <= self.dials.len() && self.dials.len() <= self.dials_max as usize);
        let taken = self.slots.count(|slot| slot.phase != Phase::Free);
        assert_eq!(self.slots.free_count() + taken + self.accepts.in_flight_count(), self.slots.len());
    }

    /// Gives back half of the memory that nothing has needed since the last call. To be called every few seconds: what a
    /// storm took is gone a minute after it.
    pub fn trim(&mut self) {
        self.sends.trim();
        self.buffers.trim();
        if self.readable.is_empty() {
            self.readable.shrink_to(self.readable.capacity() / 2);
        }
        self.called_back.shrink_to(self.called_back.capacity() / 2);
        self.shutdowns.shrink_to(self.shutdowns.capacity() / 2);
    }

    /// Whether every slot is free: the kernel holds none of the ring's memory but the queues.
    fn is_quiet(&self) -> bool {
        self.slots.free_count() == self.slots.len()
    }

    /// `timeout`, or less when accepts rest less long.
    fn timeout(&self, timeout: Duration) -> Duration {
        match self.accepts.rest_until() {
            Some(until) => timeout.min(until.saturating_duration_since(Instant::now())),
            None => timeout,
        }
    }

    fn sleep(&self, timeout: Duration, has_mail: impl FnOnce() -> bool) -> Duration {
        self.waker.prepare_to_sleep();
        if has_mail() {
            self.waker.awake();
            return Duration::ZERO;
        }
        timeout
    }

    /// Hands over the completions there are now, and no later ones: a turn ends.
    fn complete(&mut self, handle: &mut impl FnMut(Completion<'_>)) -> u32 {
        let mut total = 0;
        for bank in 0..self.banks.len() {
            let count = self.banks.ready(bank);
            for _ in 0..count {
                let Some(entry) = self.banks.pop(bank) else { break };
                self.complete_one(&entry, handle);
            }
            total += count as u32;
        }
        total
    }

    fn complete_one(&mut self, entry: &cqueue::Entry, handle: &mut impl FnMut(Completion<'_>)) {
        let tag = Tag::from_bits(entry.user_data());
        let result = entry.result();
        let more = cqueue::more(entry.flags());
        match tag.kind {
            Kind::Accept => self.accepted(tag.index, result, handle),
            Kind::Wake => self.woken(more),
            Kind::Bell => self.banks.rang(),
            Kind::Cancel | Kind::Linger => {}
            Kind::Poll => self.polled(self.tenant_of(tag), result, more),
            Kind::Receive => {
                let nonempty = cqueue::sock_nonempty(entry.flags());
                self.received(self.tenant_of(tag), result, nonempty, handle);
            }
            Kind::Send => self.sent(self.tenant_of(tag), result, handle),
            Kind::Shutdown => self.was_shut_down(self.tenant_of(tag)),
            Kind::Close => self.closed(self.tenant_of(tag), result, handle),
            Kind::Socket => self.socket_refused(self.tenant_of(tag), result, handle),
            Kind::Dial => self.dialled(self.tenant_of(tag), result, handle),
            Kind::HangUp => self.hang_up_missed(tag),
        }
    }

    /// The token of a completion's slot, which is still the one of its entry.
    fn tenant_of(&self, tag: Tag) -> Token {
        let token = self.slots.token(tag.index);
        assert!(tag.belongs_to(token), "a slot is drained before its next tenant");
        token
    }

    fn arm_waker(&mut self) {
        let entry = opcode::PollAdd::new(types::Fd(self.waker.descriptor()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Tag::of_index(Kind::Wake, 0).to_bits());
        // SAFETY: a poll names no memory. The bank of slot 0 is the one that sleeps.
        unsafe { self.banks.push(0, entry) };
    }

    fn woken(&mut self, more: bool) {
        self.counters.wakes += 1;
        if !more {
            self.arm_waker();
        }
    }
}

/// Everything is closed and drained before the memory goes. What the kernel does not give back in time, it keeps.
impl Drop for Ring {
    fn drop(&mut self) {
        self.stop_accepting();
        for slot in 0..self.slots.len() as u32 {
            self.close(self.slots.token(slot));
        }
        self.call_back(&mut |_| ());
        for _ in 0..DRAIN_TURNS_MAX {
            self.start_dials(&mut |_| ());
            self.start_hang_ups();
            if self.is_quiet() || self.banks.enter(DRAIN_TURN).is_err() {
                break;
            }
            self.complete(&mut |_| ());
        }
        if !self.accepts.is_quiet() {
            self.accepts.leak();
        }
    }
}
