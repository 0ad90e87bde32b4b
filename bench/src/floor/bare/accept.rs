//! The accept loop: accepts and holds, nothing else. By calls it blocks in accept4(2); by a ring it is the ring's direct
//! accepts, which is how millions are held.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use ring::listener::{Listener, ListenerSettings};
use ring::operation::Completion;
use ring::waker::Waker;
use ring::{Ring, Settings};
use rustix::net::{SocketFlags, accept_with};

use super::listening::{listener, of_call};
use super::{Arguments, say, wait_for_parent};
use crate::floor::client::of_ring;
use crate::server::ServerError;

/// Longest sleep of a ring's thread.
const TURN: Duration = Duration::from_secs(1);

/// What the threads share: how many were accepted, and who waits for the last.
#[derive(Clone)]
struct Counter {
    count: Arc<AtomicU64>,
    wanted: u64,
    complete: SyncSender<Result<(), ServerError>>,
}

impl Counter {
    fn add_one(&self) {
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 == self.wanted {
            self.say(Ok(()));
        }
    }

    /// Who waits hears the first word of all.
    fn say(&self, word: Result<(), ServerError>) {
        let _ = self.complete.try_send(word);
    }
}

pub(super) fn by_calls(arguments: &Arguments) -> Result<(), ServerError> {
    let listeners: Result<Vec<_>, _> = (0..arguments.threads).map(|_| listener(arguments.listen)).collect();
    on_threads(arguments, listeners?, |listener, counter, ready| {
        let _ = ready.send(Ok(()));
        let mut sockets = Vec::new();
        loop {
            sockets.push(accept_with(&listener, SocketFlags::CLOEXEC).map_err(of_call)?);
            counter.add_one();
        }
    })
}

pub(super) fn by_ring(arguments: &Arguments) -> Result<(), ServerError> {
    let slots = slots(arguments);
    on_threads(arguments, listeners(arguments.listen, arguments.threads)?, move |listener, counter, ready| {
        let mut ring = accepting_ring(listener, slots)?;
        let _ = ready.send(Ok(()));
        loop {
            let turn = ring.turn(
                TURN,
                || false,
                |completion| {
                    if matches!(completion, Completion::Accepted { .. }) {
                        counter.add_one();
                    }
                },
            );
            turn.map_err(ServerError::of_file("io_uring"))?;
        }
    })
}

/// Listeners as the server's.
pub(super) fn listeners(address: SocketAddr, threads: u16) -> Result<Vec<Listener>, ServerError> {
    Listener::bind(address, usize::from(threads), ListenerSettings::default()).map_err(of_ring)
}

/// A ring as the server's.
pub(super) fn accepting_ring(listener: Listener, slots: u32) -> Result<Ring, ServerError> {
    let settings = Settings { slots, completions: 16_384, ..Settings::default() };
    let waker = Waker::new().map_err(of_ring)?;
    Ring::new(settings, vec![listener], waker).map_err(of_ring)
}

/// Slots of each thread's ring: its share of the sockets and some more, because a hash spreads them.
pub(super) fn slots(arguments: &Arguments) -> u32 {
    let share = arguments.sockets.div_ceil(u32::from(arguments.threads).max(1));
    let limit = u32::try_from(ring::limit::Limit::descriptors().soft).unwrap_or(u32::MAX);
    (share + share / 8 + 256).min(limit)
}

/// Runs `accept` on a thread for each listener until all sockets are accepted, and holds them until the parent ends.
fn on_threads<L: Send + 'static>(
    arguments: &Arguments,
    listeners: Vec<L>,
    accept: impl Fn(L, &Counter, &SyncSender<Result<(), ServerError>>) -> Result<(), ServerError>
    + Clone
    + Send
    + 'static,
) -> Result<(), ServerError> {
    let (complete, completed) = mpsc::sync_channel(1);
    let (ready, made) = mpsc::sync_channel(listeners.len());
    let counter = Counter { count: Arc::default(), wanted: u64::from(arguments.sockets), complete };
    let threads = listeners.len();
    for listener in listeners {
        let (accept, counter, ready) = (accept.clone(), counter.clone(), ready.clone());
        thread::spawn(move || {
            if let Err(error) = accept(listener, &counter, &ready) {
                // The parent reads stderr when the line on stdout does not come.
                eprintln!("{error}");
                std::process::exit(1);
            }
        });
    }
    for _ in 0..threads {
        made.recv().expect("a thread that fails ends the process")?;
    }
    say("ready");
    completed.recv().expect("a thread that fails ends the process")?;
    say("{}");
    wait_for_parent();
    Ok(())
}
