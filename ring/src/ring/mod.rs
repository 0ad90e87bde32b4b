//! The ring of one core: operations in, completions out, one system call a turn (two when something can be read).
//! Knows sockets and bytes, nothing of what they say.
//!
//! # How a socket is armed
//!
//! A socket that waits holds one multishot *poll*. When it fires, a receive into a buffer of the pool is submitted at
//! once, in the same turn, and completes at once, because it never waits. So a socket that waits holds no buffer, the
//! kernel needs no provided-buffer ring, and nothing ends with ENOBUFS: what is readable stands in a queue and gets a
//! buffer a pass, at most two passes a turn.
//!
//! Measured (`cargo run --release -p ring --example arming`; Linux 6.18, 2 virtual CPUs, loopback; medians of 7):
//!
//! | armed by | kernel memory a socket | CPU a message: 1 a turn | 32 a turn | 512 a turn | 32 of 16 KiB a turn |
//! |---|---|---|---|---|---|
//! | multishot receive, provided buffers | 708 B | 2.6 µs | 2.9 µs | 4.0 µs | 11.2 µs |
//! | receive, provided buffers | 710 B | 3.4 µs | 3.3 µs | 4.5 µs | 12.2 µs |
//! | **multishot poll, then receive** | **243 B** | **2.8 µs** | **2.7 µs** | **3.8 µs** | **11.4 µs** |
//! | poll, then receive | 243 B | 3.2 µs | 2.9 µs | 3.9 µs | 11.7 µs |
//!
//! A third of the memory for the same time; only a lone message pays for its second system call.
mod accepts;
mod buffers;
mod queue;
mod sends;
mod slots;
mod tag;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use io_uring::squeue::Flags;
use io_uring::{cqueue, opcode, types};

use self::accepts::{Accepts, Outcome};
use self::buffers::Buffers;
use self::queue::Queue;
pub(crate) use self::queue::{build, builds_without_array};
use self::sends::Sends;
use self::slots::{NO_SEND, Phase, Slots, in_flight, mark};
use self::tag::{Kind, Tag};
use crate::limit::Limit;
use crate::listener::Listener;
use crate::operation::{Completion, Operation};
use crate::packet::Gather;
use crate::setup::SetupError;
use crate::token::Token;
use crate::waker::Waker;

/// How long a ring that is dropped waits for what is in flight: so many times so long.
const DRAIN_TURNS_MAX: u32 = 100;
const DRAIN_TURN: Duration = Duration::from_millis(10);

/// How large a ring is. Costs a ring about 64 bytes an entry of the first queue, 16 of the second, 32 a slot, and of the
/// buffers as many as were ever in use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sockets at once, those being accepted included: at most RLIMIT_NOFILE.
    pub slots: u32,
    /// Entries of the submission queue; rounded up to a power of two. More than fit are submitted early.
    pub submissions: u32,
    /// Entries of the completion queue; rounded up to a power of two. More than fit wait in the kernel.
    pub completions: u32,
    /// Receives at once.
    pub buffers: u16,
    /// Most bytes of one [`Completion::Received`], and what one socket gets a turn.
    pub buffer_bytes: u32,
    /// Accepts in flight for each listener. Each holds a slot.
    pub accepts: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slots: 4_096,
            submissions: 1_024,
            completions: 4_096,
            buffers: 64,
            buffer_bytes: 16_384,
            accepts: 16,
        }
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
    /// Accepts that failed because the host had no file or memory left.
    pub accepts_exhausted: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes the kernel took to send.
    pub sent_bytes: u64,
    /// Sends that ended short or failed.
    pub sends_short: u64,
    /// Times a readable socket had to wait for a buffer.
    pub buffer_waits: u64,
    /// Wakes by other threads.
    pub wakes: u64,
}

/// The ring of one core. Made, used and dropped on one thread.
pub struct Ring {
    queue: Queue,
    slots: Slots,
    buffers: Buffers,
    sends: Sends,
    accepts: Accepts,
    /// Slots with something to receive, each at most once ([`mark::QUEUED`]).
    readable: VecDeque<u32>,
    /// Tokens to shut down when their send is done.
    shutdowns: Vec<Token>,
    waker: Waker,
    counters: Counters,
}

impl Ring {
    /// A ring for the calling thread that accepts from `listeners` and is woken by `waker`.
    ///
    /// # Errors
    /// The host can't: see [`SetupError`].
    ///
    /// # Panics
    /// A size in `settings` is 0.
    pub fn new(settings: Settings, listeners: Vec<Listener>, waker: Waker) -> Result<Self, SetupError> {
        let limit = Limit::descriptors().soft;
        if u64::from(settings.slots) > limit {
            return Err(SetupError::DescriptorLimit { slots: settings.slots, limit });
        }
        let queue = Queue::new(settings.submissions, settings.completions)?;
        queue
            .submitter()
            .register_files_sparse(settings.slots)
            .map_err(|error| SetupError::from_system("the table of direct descriptors", error))?;
        let mut ring = Self {
            queue,
            slots: Slots::new(settings.slots),
            buffers: Buffers::new(settings.buffers, settings.buffer_bytes),
            sends: Sends::default(),
            accepts: Accepts::new(listeners, settings.accepts),
            readable: VecDeque::new(),
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
        Counters { enters: self.queue.enters(), accepts_exhausted: self.accepts.exhausted, ..self.counters }
    }

    /// Accepts no more connections. Those in the kernel's backlog are reset when its listeners close, within a turn.
    pub fn stop_accepting(&mut self) {
        for index in self.accepts.stop() {
            self.cancel(Tag::of_index(Kind::Accept, index));
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
            Operation::Shutdown(token) => {
                if let Some(slot) = self.slots.tenant(token)
                    && !slot.has(mark::SHUTDOWN)
                {
                    slot.marks |= mark::SHUTDOWN;
                    self.shutdowns.push(token);
                }
            }
            Operation::Close(token) => self.close(token),
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
        self.start_shutdowns();
        self.start_accepts();
        let receives = self.start_receives();
        let timeout = if receives || self.queue.ready() > 0 { Duration::ZERO } else { self.timeout(timeout) };
        let sleep = if timeout.is_zero() { timeout } else { self.sleep(timeout, has_mail) };
        let entered = self.queue.enter(sleep);
        self.waker.awake();
        entered?;
        let mut completions = self.complete(&mut handle);
        self.start_receives();
        if self.queue.has_unsubmitted() {
            self.queue.enter(Duration::ZERO)?;
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
        assert_eq!(self.slots.count(|slot| slot.flies(in_flight::SEND)), self.sends.len());
        assert_eq!(self.slots.count(|slot| slot.has(mark::QUEUED)), self.readable.len());
        let taken = self.slots.count(|slot| slot.phase != Phase::Free);
        assert_eq!(self.slots.free_count() + taken + self.accepts.in_flight_count(), self.slots.len());
    }

    /// Whether the kernel holds none of the ring's memory but the queues.
    fn is_quiet(&self) -> bool {
        self.sends.len() == 0 && self.accepts.is_quiet() && self.buffers.is_whole()
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
        if has_mail() { Duration::ZERO } else { timeout }
    }

    /// Hands over the completions there are now, and no later ones: a turn ends.
    fn complete(&mut self, handle: &mut impl FnMut(Completion<'_>)) -> u32 {
        let count = self.queue.ready();
        for _ in 0..count {
            let Some(entry) = self.queue.pop() else { break };
            let tag = Tag::from_bits(entry.user_data());
            self.complete_one(tag, entry.result(), cqueue::more(entry.flags()), entry.flags(), handle);
        }
        count as u32
    }

    fn complete_one(
        &mut self,
        tag: Tag,
        result: i32,
        more: bool,
        flags: u32,
        handle: &mut impl FnMut(Completion<'_>),
    ) {
        match tag.kind {
            Kind::Accept => self.accepted(tag.index, result, handle),
            Kind::Wake => self.woken(more),
            Kind::Cancel => {}
            Kind::Poll | Kind::Receive | Kind::Send | Kind::Shutdown | Kind::Close => {
                let token = self.slots.token(tag.index);
                assert!(tag.belongs_to(token), "a slot is drained before its next tenant");
                match tag.kind {
                    Kind::Poll => self.polled(token, more),
                    Kind::Receive => self.received(token, result, cqueue::sock_nonempty(flags), handle),
                    Kind::Send => self.sent(token, result, handle),
                    Kind::Shutdown => self.slots.get(token.slot).in_flight &= !in_flight::SHUTDOWN,
                    _ => return self.closed(token, result, handle),
                }
                self.close_if_drained(token);
            }
        }
    }

    // Waking.

    fn arm_waker(&mut self) {
        let entry = opcode::PollAdd::new(types::Fd(self.waker.descriptor()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Tag::of_index(Kind::Wake, 0).to_bits());
        // SAFETY: a poll names no memory.
        unsafe { self.queue.push(entry) };
    }

    fn woken(&mut self, more: bool) {
        self.counters.wakes += 1;
        if !more {
            self.arm_waker();
        }
    }

    // Accepting.

    fn start_accepts(&mut self) {
        self.accepts.end_rest();
        while self.accepts.wants_slot() {
            let Some(slot) = self.slots.reserve() else { break };
            let (index, entry) = self.accepts.start(slot);
            let entry = entry.user_data(Tag::of_index(Kind::Accept, index).to_bits());
            // SAFETY: `Accepts` keeps the memory of a started accept until `finish`.
            unsafe { self.queue.push(entry) };
        }
    }

    fn accepted(&mut self, index: u32, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        match self.accepts.finish(index, result) {
            Outcome::Connected { slot, listener, peer } => {
                self.counters.accepted += 1;
                let token = self.slots.open(slot);
                handle(Completion::Accepted { token, listener, peer });
            }
            Outcome::Nobody { slot } => self.slots.give_back(slot),
        }
        self.accepts.close_listeners();
        self.start_accepts();
    }

    // Receiving.

    fn want(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        slot.marks |= mark::WANTED;
        self.arm(token);
        self.queue_if_readable(token);
    }

    /// Polls the socket if its tenant wants to receive and no poll is in flight.
    fn arm(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        if !slot.has(mark::WANTED) || slot.has(mark::ENDED) || slot.flies(in_flight::POLL) {
            return;
        }
        slot.in_flight |= in_flight::POLL;
        let entry = opcode::PollAdd::new(types::Fixed(token.slot), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Tag::of_token(Kind::Poll, token).to_bits());
        // SAFETY: a poll names no memory.
        unsafe { self.queue.push(entry) };
    }

    /// Whatever the poll says, a receive will tell what it is: bytes, the end, or an error.
    fn polled(&mut self, token: Token, more: bool) {
        let slot = self.slots.get(token.slot);
        slot.marks |= mark::READABLE;
        if !more {
            slot.in_flight &= !in_flight::POLL;
            self.arm(token);
        }
        self.queue_if_readable(token);
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
    fn start_receives(&mut self) -> bool {
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
        let entry = opcode::Recv::new(types::Fixed(token.slot), self.buffers.pointer(buffer), length)
            .flags(libc::MSG_DONTWAIT)
            .build()
            .user_data(Tag::of_token(Kind::Receive, token).to_bits());
        // SAFETY: the buffer is `length` bytes, was taken from the pool above, and goes back in `received` only.
        unsafe { self.queue.push(entry) };
        true
    }

    fn received(
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
                slot.marks |= mark::READABLE
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
    }

    // Sending.

    fn send(&mut self, token: Token, gather: Box<Gather>) {
        let Some(slot) = self.slots.tenant(token) else { return };
        assert!(slot.send == NO_SEND, "one send at a time a socket");
        let (index, entry) = self.sends.start(token.slot, gather);
        slot.send = index;
        slot.in_flight |= in_flight::SEND;
        let entry = entry.user_data(Tag::of_token(Kind::Send, token).to_bits());
        // SAFETY: `Sends` keeps the memory of a started send until `finish`, which `sent` alone calls.
        unsafe { self.queue.push(entry) };
    }

    fn sent(&mut self, token: Token, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        let slot = self.slots.get(token.slot);
        slot.in_flight &= !in_flight::SEND;
        let gather = self.sends.finish(std::mem::replace(&mut slot.send, NO_SEND));
        // Interrupted before the first byte: none went out, and nothing is wrong with the socket.
        let result = if result == -libc::EINTR { 0 } else { result };
        self.counters.sent_bytes += u64::try_from(result).unwrap_or(0);
        handle(Completion::Sent { token, result, gather });
    }

    /// Shuts down what wants it and has no send in flight. Done at the start of a turn, when a shard has had the
    /// chance to go on with a send that ended short.
    fn start_shutdowns(&mut self) {
        let mut shutdowns = std::mem::take(&mut self.shutdowns);
        shutdowns.retain(|token| !self.start_shutdown(*token));
        self.shutdowns = shutdowns;
    }

    /// Whether nothing is left to be done.
    fn start_shutdown(&mut self, token: Token) -> bool {
        let Some(slot) = self.slots.tenant(token) else { return true };
        if slot.flies(in_flight::SEND) {
            return false;
        }
        slot.in_flight |= in_flight::SHUTDOWN;
        let entry = opcode::Shutdown::new(types::Fixed(token.slot), libc::SHUT_WR)
            .build()
            .user_data(Tag::of_token(Kind::Shutdown, token).to_bits());
        // SAFETY: a shutdown names no memory.
        unsafe { self.queue.push(entry) };
        true
    }

    // Closing.

    fn close(&mut self, token: Token) {
        let Some(slot) = self.slots.tenant(token) else { return };
        slot.phase = Phase::Draining;
        let flying = slot.in_flight;
        // A receive never waits, and a shutdown neither: only these two must be called back.
        for (bit, kind) in [(in_flight::POLL, Kind::Poll), (in_flight::SEND, Kind::Send)] {
            if flying & bit != 0 {
                self.cancel(Tag::of_token(kind, token));
            }
        }
        self.close_if_drained(token);
    }

    /// Cancels one entry by its tag. (By descriptor would search all that is in flight; by tag it is a look-up.)
    fn cancel(&mut self, tag: Tag) {
        let entry = opcode::AsyncCancel::new(tag.to_bits())
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(Tag::of_index(Kind::Cancel, 0).to_bits());
        // SAFETY: a cancellation names no memory.
        unsafe { self.queue.push(entry) };
    }

    fn close_if_drained(&mut self, token: Token) {
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

    fn closed(&mut self, token: Token, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        assert!(result == 0, "an open slot can be closed: error {}", -result);
        self.slots.free(token.slot);
        handle(Completion::Closed { token });
        self.start_accepts();
    }
}

/// Entries are taken back before the memory they name goes. What the kernel does not give back in time, it keeps.
impl Drop for Ring {
    fn drop(&mut self) {
        self.accepts.stop();
        let entry = opcode::AsyncCancel2::new(types::CancelBuilder::any())
            .build()
            .user_data(Tag::of_index(Kind::Cancel, 0).to_bits());
        // SAFETY: a cancellation names no memory.
        unsafe { self.queue.push(entry) };
        for _ in 0..DRAIN_TURNS_MAX {
            if self.is_quiet() || self.queue.enter(DRAIN_TURN).is_err() {
                break;
            }
            self.complete(&mut |_| ());
        }
        if !self.accepts.is_quiet() {
            self.accepts.leak();
        }
    }
}
