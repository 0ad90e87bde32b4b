//! The send loop: one message to each socket, round by round, and nothing else. By calls it is send(2) on sockets that do
//! not block; by a ring, as many sends a system call as its queue takes.

use std::os::fd::OwnedFd;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ring::Ring;
use ring::operation::{Completion, Operation};
use ring::packet::{Gather, Packet, PacketPool};
use ring::token::Token;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, send};

use super::accept::{accepting_ring, listeners, slots};
use super::listening::{accept_share, listener, of_call};
use super::{Arguments, Done, on_threads, say, wait_for_parent};
use crate::server::ServerError;

/// Longest sleep of a ring's thread before all are connected.
const TURN: Duration = Duration::from_millis(10);
/// Pause before sockets without room are tried again.
const PAUSE: Duration = Duration::from_micros(500);

pub(super) fn by_calls(arguments: &Arguments) -> Result<(), ServerError> {
    let listeners: Result<Vec<_>, _> = (0..arguments.threads).map(|_| listener(arguments.listen)).collect();
    let (listeners, count, start) = (listeners?, AtomicU64::new(0), Start::new(arguments));
    let wanted = u64::from(arguments.sockets);
    say("ready");
    let done = on_threads(arguments, |number| {
        let sockets = accept_share(&listeners[number], &count, wanted, SocketFlags::NONBLOCK)?;
        let message = vec![7; arguments.bytes];
        start.wait();
        rounds(arguments, |done| {
            let mut waiting: Vec<&OwnedFd> = sockets.iter().collect();
            while !waiting.is_empty() {
                waiting = send_each(&waiting, &message, done)?;
                if !waiting.is_empty() {
                    thread::sleep(PAUSE);
                }
            }
            Ok(())
        })
    })?;
    end(done)
}

/// Sends to each; those without room are left.
fn send_each<'a>(
    sockets: &[&'a OwnedFd],
    message: &[u8],
    done: &mut Done,
) -> Result<Vec<&'a OwnedFd>, ServerError> {
    let mut left = Vec::new();
    for socket in sockets {
        match send(socket, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => done.sends += 1,
            Err(Errno::AGAIN) => {
                done.blocked += 1;
                left.push(*socket);
            }
            Err(error) => return Err(of_call(error)),
        }
    }
    Ok(left)
}

pub(super) fn by_ring(arguments: &Arguments) -> Result<(), ServerError> {
    let listeners: Vec<_> = listeners(arguments.listen, arguments.threads)?
        .into_iter()
        .map(|one| std::sync::Mutex::new(Some(one)))
        .collect();
    let (count, start) = (AtomicU64::new(0), Start::new(arguments));
    say("ready");
    let done = on_threads(arguments, |number| {
        let listener = listeners[number].lock().expect("nobody panics with it").take();
        let listener = listener.expect("each thread has a number of its own");
        let mut sender = Sender::new(accepting_ring(listener, slots(arguments))?, arguments.bytes);
        sender.accept_share(&count, u64::from(arguments.sockets))?;
        start.wait();
        let mut done = rounds(arguments, |done| sender.round(done))?;
        done.blocked = sender.ring.counters().sends_blocked;
        Ok(done)
    })?;
    end(done)
}

/// A ring and its sockets.
struct Sender {
    ring: Ring,
    tokens: Vec<Token>,
    packet: Packet,
    /// Gathers that wait for the next round: allocated once.
    #[expect(clippy::vec_box, reason = "the boxes go into the ring and come back")]
    gathers: Vec<Box<Gather>>,
}

impl Sender {
    fn new(ring: Ring, bytes: usize) -> Self {
        let packet = PacketPool::new(1, bytes, bytes).packet(|buffer| buffer.resize(bytes, 7));
        Self { ring, tokens: Vec::new(), packet, gathers: Vec::new() }
    }

    fn accept_share(&mut self, count: &AtomicU64, wanted: u64) -> Result<(), ServerError> {
        while count.load(Ordering::Relaxed) < wanted {
            let tokens = &mut self.tokens;
            let turn = self.ring.turn(
                TURN,
                || false,
                |completion| {
                    if let Completion::Accepted { token, .. } = completion {
                        tokens.push(token);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                },
            );
            turn.map_err(ServerError::of_file("io_uring"))?;
        }
        let gather = || Box::new(Gather { packets: vec![self.packet.clone()], skip: 0 });
        self.gathers = self.tokens.iter().map(|_| gather()).collect();
        Ok(())
    }

    /// One message to each.
    fn round(&mut self, done: &mut Done) -> Result<(), ServerError> {
        for token in &self.tokens {
            let gather = self.gathers.pop().expect("as many as sockets");
            self.ring.submit(Operation::Send(*token, gather));
        }
        while self.gathers.len() < self.tokens.len() {
            let (gathers, mut short) = (&mut self.gathers, Vec::new());
            let whole = self.packet.as_bytes().len();
            let turn = self.ring.turn(
                TURN,
                || false,
                |completion| {
                    let Completion::Sent { token, result, mut gather } = completion else { return };
                    gather.skip += usize::try_from(result).unwrap_or(whole);
                    if gather.skip < whole {
                        short.push((token, gather));
                        return;
                    }
                    done.sends += u64::from(result > 0);
                    gather.skip = 0;
                    gathers.push(gather);
                },
            );
            turn.map_err(ServerError::of_file("io_uring"))?;
            for (token, gather) in short {
                self.ring.submit(Operation::Send(token, gather));
            }
        }
        Ok(())
    }
}

/// Rounds at the rate, or one behind the other, for the time.
fn rounds(
    arguments: &Arguments,
    mut round: impl FnMut(&mut Done) -> Result<(), ServerError>,
) -> Result<Done, ServerError> {
    let interval =
        Duration::try_from_secs_f64(f64::from(arguments.sockets) / arguments.rate).unwrap_or_default();
    let (mut done, begin) = (Done::default(), Instant::now());
    let mut due = begin;
    while begin.elapsed().as_secs_f64() < arguments.seconds {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        round(&mut done)?;
        due += interval;
    }
    done.seconds = begin.elapsed().as_secs_f64();
    Ok(done)
}

/// Where all threads wait until the parent says that it begins.
struct Start {
    barrier: Barrier,
}

impl Start {
    fn new(arguments: &Arguments) -> Self {
        Self { barrier: Barrier::new(usize::from(arguments.threads)) }
    }

    fn wait(&self) {
        if self.barrier.wait().is_leader() {
            say("connected");
            wait_for_parent();
        }
        self.barrier.wait();
    }
}

fn end(done: Done) -> Result<(), ServerError> {
    say(&serde_json::to_string(&done).expect("numbers"));
    wait_for_parent();
    Ok(())
}
