//! How to arm a socket that waits: four ways on bare rings, by kernel memory a waiting socket and CPU a message.
//!
//! `cargo run --release -p ring --example arming` takes about half a minute and 12,000 descriptors. Client and server
//! are one thread that takes turns, and only the server's turns are measured: loopback's own work falls to the client.
//! Take the ratios; times differ by 30 % from machine to machine and run to run.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};

const SOCKETS: usize = 5_000;
const BUFFERS: u16 = 512;
const BUFFER_BYTES: usize = 4_096;
const ROUNDS: usize = 7;

/// The ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Multishot receive from a provided-buffer ring: armed once, nothing to do a message but give the buffer back.
    MultishotReceive,
    /// Single-shot receive from a provided-buffer ring, armed again after each message.
    Receive,
    /// Multishot poll, for room to send as well, then a receive that never waits, into a buffer of ours: the product's.
    MultishotPoll,
    /// Single-shot poll, then a receive that never waits, and the poll again.
    Poll,
}

const WAYS: [Way; 4] = [Way::MultishotReceive, Way::Receive, Way::MultishotPoll, Way::Poll];

impl Way {
    fn polls(self) -> bool {
        matches!(self, Self::MultishotPoll | Self::Poll)
    }
}

/// Bit of the user data that tells receives from polls.
const RECEIVE: u64 = 1 << 32;

/// A ring with the server's sockets as direct descriptors.
struct Server {
    ring: IoUring,
    way: Way,
    buffers: Box<[[u8; BUFFER_BYTES]; BUFFERS as usize]>,
    /// The provided-buffer ring, page-aligned, and its tail.
    provided: &'static mut [BufRingEntry],
    provided_tail: u16,
    /// Receives of polled sockets that wait for a buffer, and buffers that wait for a receive.
    readable: Vec<u32>,
    free: Vec<u16>,
    /// The buffer of each socket's receive.
    buffer_of: Vec<u16>,
}

impl Server {
    fn new(way: Way, sockets: &[TcpStream]) -> Self {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(16_384)
            .build(1_024)
            .expect("a ring");
        let descriptors: Vec<i32> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        ring.submitter().register_files(&descriptors).expect("direct descriptors");
        let mut server = Self {
            ring,
            way,
            buffers: vec![[0; BUFFER_BYTES]; BUFFERS as usize]
                .into_boxed_slice()
                .try_into()
                .expect("the count"),
            provided: provided_ring(),
            provided_tail: 0,
            readable: Vec::new(),
            free: (0..BUFFERS).collect(),
            buffer_of: vec![0; sockets.len()],
        };
        if !way.polls() {
            let address = server.provided.as_ptr().expose_provenance() as u64;
            // SAFETY: the entries are leaked, so they outlive the ring.
            unsafe { server.ring.submitter().register_buf_ring_with_flags(address, BUFFERS, 0, 0) }
                .expect("6.1");
            (0..BUFFERS).for_each(|buffer| server.provide(buffer));
        }
        server
    }

    fn provide(&mut self, buffer: u16) {
        let entry = &mut self.provided[usize::from(self.provided_tail % BUFFERS)];
        entry.set_addr(self.buffers[usize::from(buffer)].as_mut_ptr().expose_provenance() as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.provided_tail = self.provided_tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry's reserved field, which nobody else of ours touches.
        let tail = unsafe { &*BufRingEntry::tail(self.provided.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.provided_tail, Ordering::Release);
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: entries name the leaked provided ring, or buffers that live as long as the ring.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit().expect("a submission");
        }
    }

    fn arm(&mut self, socket: u32) {
        let target = Fixed(socket);
        let entry = match self.way {
            Way::MultishotReceive => opcode::RecvMulti::new(target, 0).build(),
            Way::Receive => opcode::Recv::new(target, std::ptr::null_mut(), BUFFER_BYTES as u32)
                .buf_group(0)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            Way::MultishotPoll => {
                opcode::PollAdd::new(target, (libc::POLLIN | libc::POLLOUT) as u32).multi(true).build()
            }
            Way::Poll => opcode::PollAdd::new(target, libc::POLLIN as u32).build(),
        };
        self.push(&entry.user_data(u64::from(socket)));
    }

    /// Takes what the sockets got, until it is `expected` bytes.
    fn serve(&mut self, expected: usize) {
        let mut got = 0;
        while got < expected {
            self.ring.submit_and_wait(1).expect("a turn");
            while let Some(entry) = self.pop() {
                got += self.complete(&entry);
            }
            self.start_receives();
        }
    }

    fn pop(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    fn start_receives(&mut self) {
        while let Some(buffer) = self.free.pop() {
            let Some(socket) = self.readable.pop() else { return self.free.push(buffer) };
            self.buffer_of[socket as usize] = buffer;
            let address = self.buffers[usize::from(buffer)].as_mut_ptr();
            let entry =
                opcode::Recv::new(Fixed(socket), address, BUFFER_BYTES as u32).flags(libc::MSG_DONTWAIT);
            self.push(&entry.build().user_data(u64::from(socket) | RECEIVE));
        }
    }

    fn complete(&mut self, entry: &cqueue::Entry) -> usize {
        let socket = entry.user_data() as u32;
        let more = cqueue::more(entry.flags());
        if self.way.polls() && entry.user_data() & RECEIVE == 0 {
            if entry.result() & i32::from(libc::POLLIN) != 0 {
                self.readable.push(socket);
            }
            if self.way == Way::MultishotPoll && !more {
                self.arm(socket);
            }
            return 0;
        }
        if self.way.polls() {
            self.free.push(self.buffer_of[socket as usize]);
            if cqueue::sock_nonempty(entry.flags()) {
                self.readable.push(socket);
            } else if self.way == Way::Poll {
                self.arm(socket);
            }
        } else {
            if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
                self.provide(buffer);
            }
            if !more {
                self.arm(socket);
            }
        }
        usize::try_from(entry.result()).unwrap_or(0)
    }
}

/// Entries of a provided-buffer ring, page-aligned and never freed: the example ends first.
fn provided_ring() -> &'static mut [BufRingEntry] {
    let bytes = usize::from(BUFFERS) * size_of::<BufRingEntry>();
    let layout = std::alloc::Layout::from_size_align(bytes, 4_096).expect("a small layout");
    // SAFETY: the layout is not empty; zeroes are a value of entries, which are integers; nobody else has them.
    unsafe {
        let base = std::alloc::alloc_zeroed(layout).cast::<BufRingEntry>();
        assert!(!base.is_null(), "8 KiB of memory");
        std::slice::from_raw_parts_mut(base, usize::from(BUFFERS))
    }
}

fn connect() -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let pair = |_| {
        let client = TcpStream::connect(address).expect("a connection");
        client.set_nodelay(true).expect("no delay");
        (client, listener.accept().expect("its other end").0)
    };
    (0..SOCKETS).map(pair).unzip()
}

/// The kernel's slab memory in bytes.
fn slab_bytes() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
    let line = text.lines().find(|line| line.starts_with("SUnreclaim:")).expect("its line");
    let kibibytes: i64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kibibytes * 1_024
}

fn thread_cpu_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a whole timespec, written during the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// CPU a message in nanoseconds: `messages` times, `batch` sockets get `bytes` each.
fn cost(server: &mut Server, clients: &mut [TcpStream], batch: usize, bytes: usize, messages: usize) -> i64 {
    let payload = vec![7; bytes];
    let mut spent = 0;
    let mut next = 0;
    for _ in 0..messages / batch {
        for _ in 0..batch {
            // A prime step: neighbours in time are not neighbours in memory.
            next = (next + 1_327) % SOCKETS;
            clients[next].write_all(&payload).expect("a write");
        }
        let begin = thread_cpu_ns();
        server.serve(batch * bytes);
        spent += thread_cpu_ns() - begin;
    }
    spent / (messages / batch * batch) as i64
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

fn main() {
    // Batch, bytes, messages.
    const LOADS: [(usize, usize, usize); 4] =
        [(1, 64, 4_000), (32, 64, 32_000), (512, 64, 51_200), (32, 16_384, 6_400)];
    let mut memory: [Vec<i64>; 4] = Default::default();
    let mut cpu: [[Vec<i64>; LOADS.len()]; 4] = Default::default();
    let (mut clients, sockets) = connect();
    for _ in 0..ROUNDS {
        for (index, way) in WAYS.into_iter().enumerate() {
            let mut server = Server::new(way, &sockets);
            // The ring before goes in the background, and what it held after the grace periods of RCU.
            std::thread::sleep(std::time::Duration::from_millis(400));
            let before = slab_bytes();
            (0..SOCKETS as u32).for_each(|socket| server.arm(socket));
            server.ring.submit().expect("a submission");
            memory[index].push((slab_bytes() - before) / SOCKETS as i64);
            for (load, (batch, bytes, messages)) in LOADS.into_iter().enumerate() {
                cpu[index][load].push(cost(&mut server, &mut clients, batch, bytes, messages));
            }
        }
    }
    println!("{:<18}{:>14}{:>44}", "", "kernel memory", "CPU a message, by messages a turn and size");
    println!(
        "{:<18}{:>14}{:>14}{:>14}{:>14}{:>16}",
        "", "a socket", "1 x 64 B", "32 x 64 B", "512 x 64 B", "32 x 16 KiB"
    );
    for (index, way) in WAYS.into_iter().enumerate() {
        let figures = cpu[index].clone().map(median);
        print!("{:<18}{:>12} B", format!("{way:?}"), median(memory[index].clone()));
        println!("{:>11} ns{:>11} ns{:>11} ns{:>13} ns", figures[0], figures[1], figures[2], figures[3]);
    }
}
