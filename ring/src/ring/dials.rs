//! Dials in flight: the memory that their entries name, and the chain of entries that makes each. Decides nothing.

use std::mem;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{DestinationSlot, Fixed, Timespec};
use io_uring::{opcode, squeue};

use crate::dial::Dial;
use crate::listener;

/// Most entries of one dial's chain: socket, three options, bind, connect, timeout.
pub(super) const CHAIN_ENTRIES_MAX: usize = 7;

/// IP_BIND_ADDRESS_NO_PORT (ip(7)), which the crate does not name.
const IP_BIND_ADDRESS_NO_PORT: i32 = 24;

/// An option that is switched on. Static: the kernel reads it when the entry's turn in its chain comes.
static ON: i32 = 1;

/// An address in the kernel's form, and how many bytes of it count.
struct Address {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl Address {
    fn new(address: std::net::SocketAddr) -> Self {
        let (storage, length) = listener::to_kernel(address);
        Self { storage, length }
    }

    fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }
}

/// What the entries of one dial name.
struct InFlight {
    target: Address,
    source: Option<Address>,
    receive_buffer_bytes: Option<i32>,
    timeout: Timespec,
}

/// The dials of one ring, from being asked for to their completion: at most one a slot.
#[derive(Default)]
pub(super) struct Dials {
    in_flight: Vec<Option<Box<InFlight>>>,
    free: Vec<u32>,
}

impl Dials {
    /// Takes a dial in and gives it a number. Its memory stays as it is until [`Dials::finish`].
    pub(super) fn start(&mut self, dial: &Dial) -> u32 {
        let dial = Box::new(InFlight {
            target: Address::new(dial.target),
            source: dial.source.map(Address::new),
            receive_buffer_bytes: dial.receive_buffer_bytes,
            timeout: Timespec::from(dial.timeout),
        });
        if let Some(index) = self.free.pop() {
            self.in_flight[index as usize] = Some(dial);
            return index;
        }
        self.in_flight.push(Some(dial));
        (self.in_flight.len() - 1) as u32
    }

    /// The chain that makes a socket at `place` of its bank's table, sets it up and connects it. One completion comes of it: that of the first
    /// entry, tagged `socket_tag`, if no socket could be made; else one tagged `dial_tag`, of the entry that failed or
    /// of the connect. (An entry that posts nothing on success keeps those behind it quiet when it fails.)
    pub(super) fn chain(&self, index: u32, place: u32, socket_tag: u64, dial_tag: u64) -> Vec<Entry> {
        let dial = self.in_flight[index as usize].as_ref().expect("a dial that started");
        let target = Fixed(place);
        let option = |level: i32, name: i32, value: &i32| {
            let length = size_of::<i32>() as u32;
            opcode::SetSockOpt::new(target, level as u32, name as u32, (&raw const *value).cast(), length)
                .build()
        };
        let mut entries = Vec::with_capacity(CHAIN_ENTRIES_MAX);
        entries.push(socket(i32::from(dial.target.storage.ss_family), place).user_data(socket_tag));
        entries.push(option(libc::IPPROTO_TCP, libc::TCP_NODELAY, &ON));
        if let Some(bytes) = &dial.receive_buffer_bytes {
            entries.push(option(libc::SOL_SOCKET, libc::SO_RCVBUF, bytes));
        }
        if let Some(source) = &dial.source {
            entries.push(option(libc::SOL_IP, IP_BIND_ADDRESS_NO_PORT, &ON));
            entries.push(opcode::Bind::new(target, source.pointer(), source.length).build());
        }
        for entry in &mut entries[1..] {
            *entry = entry.clone().user_data(dial_tag);
        }
        for entry in &mut entries {
            *entry = entry.clone().flags(Flags::IO_LINK | Flags::SKIP_SUCCESS);
        }
        let connect = opcode::Connect::new(target, dial.target.pointer(), dial.target.length).build();
        entries.push(connect.user_data(dial_tag).flags(Flags::IO_LINK));
        entries.push(opcode::LinkTimeout::new(&raw const dial.timeout).build().flags(Flags::SKIP_SUCCESS));
        entries
    }

    /// Forgets a dial: the kernel is done with it, or never had it.
    pub(super) fn finish(&mut self, index: u32) {
        let dial = self.in_flight[index as usize].take();
        assert!(dial.is_some(), "a dial completes once");
        self.free.push(index);
    }

    /// Dials that were started and not finished.
    pub(super) fn len(&self) -> usize {
        self.in_flight.len() - self.free.len()
    }
}

impl Drop for Dials {
    fn drop(&mut self) {
        // What the kernel may still read is left to it: nothing is lost but memory, at the end of a ring.
        for dial in self.in_flight.drain(..).flatten() {
            mem::forget(dial);
        }
    }
}

fn socket(family: i32, place: u32) -> squeue::Entry {
    let place = DestinationSlot::try_from_slot_target(place).expect("places are below 2^20");
    opcode::Socket::new(family, libc::SOCK_STREAM, 0).file_index(Some(place)).build()
}
