//! Accepts: a few single-shot accepts a listener, each into a slot set aside for it. Single-shot, because a multishot
//! accept tells no peer address. Decides when to accept, not what becomes of the connection.

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue, types};

use crate::listener::{self, Listener};

/// How long accepts rest after the host ran out of files or memory: trying at once again would only spin.
const REST: Duration = Duration::from_millis(100);

/// What the kernel writes when a client connects.
struct Peer {
    address: libc::sockaddr_storage,
    length: libc::socklen_t,
}

/// One accept.
#[derive(Clone, Copy)]
struct Accept {
    listener: u8,
    /// The slot it accepts into, while in flight.
    slot: Option<u32>,
}

/// What came of an accept.
pub(super) enum Outcome {
    /// A client, in the slot.
    Connected { slot: u32, listener: u8, peer: SocketAddr },
    /// Nobody: the slot is free again.
    Nobody { slot: u32 },
}

/// The accepts of one ring.
pub(super) struct Accepts {
    listeners: Vec<Listener>,
    accepts: Vec<Accept>,
    /// One for each accept, where the kernel writes: never moved.
    peers: Box<[UnsafeCell<Peer>]>,
    /// Accepts that wait for a slot, for the end of a rest, or for nothing (stopped).
    idle: VecDeque<u32>,
    rest_until: Option<Instant>,
    stopped: bool,
    /// Accepts that failed for want of files or memory.
    pub(super) exhausted: u64,
}

impl Accepts {
    /// # Panics
    /// More than 256 listeners.
    pub(super) fn new(listeners: Vec<Listener>, accepts_each: u16) -> Self {
        assert!(listeners.len() <= 256, "a listener's place is one byte");
        let listeners_count = listeners.len() as u32;
        let count = listeners_count * u32::from(accepts_each);
        // Interleaved, so that the listeners share what slots there are.
        let accepts = (0..count)
            .map(|accept| Accept { listener: (accept % listeners_count) as u8, slot: None })
            .collect();
        let peer = |_| UnsafeCell::new(Peer { address: listener::empty(), length: 0 });
        Self {
            listeners,
            accepts,
            peers: (0..count).map(peer).collect(),
            idle: (0..count).collect(),
            rest_until: None,
            stopped: false,
            exhausted: 0,
        }
    }

    /// When the rest ends, if accepts rest now.
    pub(super) fn rest_until(&self) -> Option<Instant> {
        self.rest_until
    }

    /// Whether an accept could start if it had a slot.
    pub(super) fn wants_slot(&self) -> bool {
        !self.stopped && self.rest_until.is_none() && !self.idle.is_empty()
    }

    /// Ends the rest when its time has come.
    pub(super) fn end_rest(&mut self) {
        if self.rest_until.is_some_and(|until| Instant::now() >= until) {
            self.rest_until = None;
        }
    }

    /// Starts an idle accept into `slot`, at `place` of its bank's table: its index and the entry. The memory the entry names
    /// lives as long as the ring, and is touched again only when the accept has completed.
    ///
    /// # Panics
    /// [`Accepts::wants_slot`] is false.
    pub(super) fn start(&mut self, slot: u32, place: u32) -> (u32, squeue::Entry) {
        assert!(self.wants_slot(), "an accept starts when it may");
        let index = self.idle.pop_front().expect("one is idle");
        let accept = &mut self.accepts[index as usize];
        accept.slot = Some(slot);
        let peer = self.peers[index as usize].get();
        // SAFETY: the accept was idle, so the kernel is not at its peer; the cell lives in a box of `self`.
        let (address, length) = unsafe {
            (*peer).length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            (&raw mut (*peer).address, &raw mut (*peer).length)
        };
        let target = types::DestinationSlot::try_from_slot_target(place).expect("places are below 2^20");
        let listener = types::Fd(self.listeners[usize::from(accept.listener)].as_raw_fd());
        let entry = opcode::Accept::new(listener, address.cast(), length).file_index(Some(target)).build();
        (index, entry)
    }

    /// Takes the result of an accept, which is idle again.
    pub(super) fn finish(&mut self, index: u32, result: i32) -> Outcome {
        let accept = &mut self.accepts[index as usize];
        let slot = accept.slot.take().expect("an accept completes once");
        let listener = accept.listener;
        self.idle.push_back(index);
        if result < 0 {
            self.failed(-result);
            return Outcome::Nobody { slot };
        }
        // SAFETY: the accept has completed, so the kernel is done with its peer.
        let address = unsafe { &(*self.peers[index as usize].get()).address };
        let peer = listener::from_kernel(address).expect("inet listeners have inet peers");
        Outcome::Connected { slot, listener, peer }
    }

    /// A fault of the connection took it out of the backlog, so that trying again at once makes headway. Any other is
    /// the host's, and would only come again.
    fn failed(&mut self, error: i32) {
        if !is_of_connection(error) {
            self.exhausted += 1;
            self.rest_until = Some(Instant::now() + REST);
        }
    }

    /// Starts no more accepts. Those in flight, by index and slot, are to be cancelled.
    pub(super) fn stop(&mut self) -> Vec<(u32, u32)> {
        self.stopped = true;
        self.in_flight()
    }

    /// Closes the listeners once they are stopped and nothing is in flight: clients are refused from then on.
    pub(super) fn close_listeners(&mut self) {
        if self.stopped && self.is_quiet() {
            self.listeners.clear();
        }
    }

    /// The accepts in flight, by index and slot.
    fn in_flight(&self) -> Vec<(u32, u32)> {
        (0..).zip(&self.accepts).filter_map(|(index, accept)| Some((index, accept.slot?))).collect()
    }

    /// Accepts in flight: each holds a slot, and the kernel may write to its peer.
    pub(super) fn in_flight_count(&self) -> usize {
        self.accepts.len() - self.idle.len()
    }

    /// Whether none is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight_count() == 0
    }

    pub(super) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Leaves the peers' memory to the kernel, for a ring that ends with accepts in flight.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.peers));
    }
}

/// The errors that accept(2) passes on from a connection that was there and is no more, and our own cancellation.
fn is_of_connection(error: i32) -> bool {
    matches!(
        error,
        libc::ECONNABORTED
            | libc::EINTR
            | libc::ECANCELED
            | libc::EPERM
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENONET
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Accepts, Outcome, REST};
    use crate::listener::{Listener, ListenerSettings};

    fn accepts() -> Accepts {
        let address = "127.0.0.1:0".parse().unwrap();
        Accepts::new(Listener::bind(address, 1, ListenerSettings::default()).unwrap(), 2)
    }

    #[test]
    fn a_connection_that_is_gone_is_tried_again_at_once() {
        let mut accepts = accepts();
        for error in [libc::ECONNABORTED, libc::EPROTO, libc::EINTR] {
            let (index, _) = accepts.start(3, 3);
            assert!(matches!(accepts.finish(index, -error), Outcome::Nobody { slot: 3 }));
            assert!(accepts.wants_slot());
        }
        assert_eq!(accepts.exhausted, 0);
    }

    #[test]
    fn a_host_without_files_is_left_to_rest() {
        let mut accepts = accepts();
        for error in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EINVAL] {
            let (index, _) = accepts.start(0, 0);
            let before = Instant::now();
            assert!(matches!(accepts.finish(index, -error), Outcome::Nobody { slot: 0 }));
            assert!(!accepts.wants_slot(), "not at once");
            accepts.end_rest();
            assert!(!accepts.wants_slot(), "not before its time");
            assert!(accepts.rest_until().unwrap() >= before + REST);
            accepts.rest_until = Some(before);
            accepts.end_rest();
            assert!(accepts.wants_slot(), "but then");
        }
        assert_eq!(accepts.exhausted, 5);
    }

    #[test]
    fn accepts_that_stopped_start_no_more_and_close_their_listener_when_quiet() {
        let mut accepts = accepts();
        let (index, _) = accepts.start(0, 0);
        assert_eq!(accepts.stop(), [(index, 0)]);
        assert!(!accepts.wants_slot());
        accepts.close_listeners();
        assert_eq!(accepts.listeners().len(), 1, "one is in flight");
        assert!(matches!(accepts.finish(index, -libc::ECANCELED), Outcome::Nobody { .. }));
        accepts.close_listeners();
        assert!(accepts.is_quiet() && accepts.listeners().is_empty());
    }
}
