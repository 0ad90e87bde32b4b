//! The bare kernel's side of a floor, in a process of its own so that its CPU time is its own: `murmuring-bench bare …`,
//! started by `floor`. Says `ready`, then what it did in one line, and lives until its stdin ends.

mod accept;
mod echo;
mod listening;
mod send;

use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::thread;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::command::Failure;
use crate::server::ServerError;

/// What to do on the bare kernel.
#[derive(Args, Clone, Copy, Debug)]
pub struct Arguments {
    /// The loop
    #[arg(value_enum)]
    pub(super) loop_of: Loop,
    /// How
    #[arg(value_enum)]
    pub(super) by: By,
    /// Where to listen
    pub(super) listen: SocketAddr,
    /// Connections to take
    pub(super) sockets: u32,
    /// Threads, each with a listener of its own
    pub(super) threads: u16,
    /// Length of a message
    pub(super) bytes: usize,
    /// Messages a second; 0 for as many as can be
    pub(super) rate: f64,
    /// How long
    pub(super) seconds: f64,
}

/// A loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Loop {
    /// Accept, and hold what was accepted.
    Accept,
    /// One message to every socket, again and again.
    Send,
    /// Send back what comes.
    Echo,
}

/// How a loop asks the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// A system call for each thing: accept4, send; epoll where it has to wait.
    Calls,
    /// A ring: many operations a system call.
    Ring,
}

impl By {
    /// The word for it in names of figures.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Ring => "ring",
        }
    }
}

/// What a loop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    /// Messages that were sent whole.
    pub(super) sends: u64,
    /// Sends that found no room and were tried again.
    pub(super) blocked: u64,
    /// Seconds it took.
    pub(super) seconds: f64,
}

impl Done {
    /// Of several threads.
    fn with(self, other: Self) -> Self {
        Self {
            sends: self.sends + other.sends,
            blocked: self.blocked + other.blocked,
            seconds: self.seconds.max(other.seconds),
        }
    }
}

/// The process.
///
/// # Errors
/// The kernel refuses something.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let result = match (arguments.loop_of, arguments.by) {
        (Loop::Accept, By::Calls) => accept::by_calls(arguments),
        (Loop::Accept, By::Ring) => accept::by_ring(arguments),
        (Loop::Send, By::Calls) => send::by_calls(arguments),
        (Loop::Send, By::Ring) => send::by_ring(arguments),
        (Loop::Echo, By::Calls | By::Ring) => echo::by_calls(arguments),
    };
    result.map_err(Failure::failed)
}

/// Writes a line to the parent; when it is no more, this process ends soon, too.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Waits until the parent says a line or is no more.
fn wait_for_parent() {
    let _ = io::stdin().lock().read_line(&mut String::new());
}

/// Runs `thread` on each of the threads, which share the sockets, and adds up what they did.
fn on_threads(
    arguments: &Arguments,
    thread: impl Fn(usize) -> Result<Done, ServerError> + Sync,
) -> Result<Done, ServerError> {
    let thread = &thread;
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..usize::from(arguments.threads)).map(|number| scope.spawn(move || thread(number))).collect();
        let mut all = Done::default();
        for thread in threads {
            all = all.with(thread.join().expect("the loops do not panic")?);
        }
        Ok(all)
    })
}
