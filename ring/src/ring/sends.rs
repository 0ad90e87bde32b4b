//! Sends in flight: they own their bytes until the kernel is done with them, also after a close.

use io_uring::{opcode, squeue, types};

use crate::packet::{GATHER_PACKETS_MAX, Gather};
use crate::spare::Spare;

/// Headers kept for the next sends at most: about 1 KiB each.
const HEADERS_KEPT_MAX: usize = 256;

/// The kernel's description of a gather of several packets (sendmsg(2)).
struct Header {
    message: libc::msghdr,
    vectors: [libc::iovec; GATHER_PACKETS_MAX],
}

impl Header {
    fn new() -> Box<Self> {
        // SAFETY: integers and raw pointers only, for which all zeroes (null, 0) is a value.
        Box::new(unsafe { std::mem::zeroed() })
    }

    /// Describes what is left of `gather`.
    fn describe(&mut self, gather: &Gather) {
        for (vector, bytes) in self.vectors.iter_mut().zip(pieces(gather)) {
            *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        }
        self.message.msg_iov = self.vectors.as_mut_ptr();
        self.message.msg_iovlen = gather.packets.len();
    }
}

/// One send's memory.
struct InFlight {
    gather: Box<Gather>,
    header: Option<Box<Header>>,
}

/// The sends of one ring, with the kernel or waiting for room: at most one a slot.
pub(super) struct Sends {
    in_flight: Vec<Option<InFlight>>,
    free: Vec<u32>,
    /// Boxed, so that a header stays where it is while it moves between here and its send.
    headers: Spare<Box<Header>>,
}

impl Sends {
    pub(super) const fn new() -> Self {
        Self { in_flight: Vec::new(), free: Vec::new(), headers: Spare::new(HEADERS_KEPT_MAX) }
    }

    /// Gives back half of the headers that no send has needed since the last call, and the table when it is empty.
    pub(super) fn trim(&mut self) {
        self.headers.trim();
        if self.len() == 0 {
            (self.in_flight, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// Takes a gather in and gives it a number. Its memory stays as it is until [`Sends::finish`].
    ///
    /// # Panics
    /// The gather is empty, too long, or all sent.
    pub(super) fn start(&mut self, gather: Box<Gather>) -> u32 {
        let packets = gather.packets.len();
        assert!((1..=GATHER_PACKETS_MAX).contains(&packets), "a gather of {packets} packets");
        assert!(gather.skip < gather.packets[0].as_bytes().len(), "what is skipped is less than a packet");
        let header = (packets > 1).then(|| {
            let mut header = self.headers.take().unwrap_or_else(Header::new);
            header.describe(&gather);
            header
        });
        self.keep(InFlight { gather, header })
    }

    /// The entry that sends a gather, as far as there is room now; `place` is its direct descriptor.
    pub(super) fn entry(&self, index: u32, place: u32) -> squeue::Entry {
        const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        let target = types::Fixed(place);
        let sent = self.in_flight[index as usize].as_ref().expect("a send that started");
        if let Some(header) = &sent.header {
            return opcode::SendMsg::new(target, &raw const header.message).flags(FLAGS as u32).build();
        }
        let bytes = &sent.gather.packets[0].as_bytes()[sent.gather.skip..];
        // The kernel takes what it can of a length beyond 32 bits: the rest is a short send like any other.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        opcode::Send::new(target, bytes.as_ptr(), length).flags(FLAGS).build()
    }

    /// Gives a gather back: the kernel is done with it.
    pub(super) fn finish(&mut self, index: u32) -> Box<Gather> {
        let sent = self.in_flight[index as usize].take().expect("a send completes once");
        self.free.push(index);
        if let Some(header) = sent.header {
            self.headers.put(header);
        }
        sent.gather
    }

    /// Sends that were started and not finished.
    pub(super) fn len(&self) -> usize {
        self.in_flight.len() - self.free.len()
    }

    fn keep(&mut self, sent: InFlight) -> u32 {
        if let Some(index) = self.free.pop() {
            self.in_flight[index as usize] = Some(sent);
            return index;
        }
        self.in_flight.push(Some(sent));
        (self.in_flight.len() - 1) as u32
    }
}

impl Drop for Sends {
    fn drop(&mut self) {
        // What the kernel may still read is left to it: nothing is lost but memory, at the end of a ring.
        for sent in self.in_flight.drain(..).flatten() {
            std::mem::forget(sent);
        }
    }
}

/// The bytes to send, packet by packet.
fn pieces(gather: &Gather) -> impl Iterator<Item = &[u8]> {
    let skips = std::iter::once(gather.skip).chain(std::iter::repeat(0));
    gather.packets.iter().zip(skips).map(|(packet, skip)| &packet.as_bytes()[skip..])
}
