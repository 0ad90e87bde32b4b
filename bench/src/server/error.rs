//! Why a server can't be measured: each with what to do about it. Faults that a scenario finds are the ledger's.

use core::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A server that could not be started, asked, watched or stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no such program.
    NoProgram {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The program did not start, or ended before it was ready.
    NotStarted {
        /// The program.
        path: PathBuf,
        /// The last lines it wrote on stderr, or why there are none.
        words: String,
    },
    /// The program did not say that it is ready.
    NotReady {
        /// How long it was waited for.
        waited: Duration,
    },
    /// It ended by itself while it was measured.
    Ended {
        /// The last lines it wrote on stderr.
        words: String,
    },
    /// It did not stop in order, and was killed.
    NotStopped {
        /// How long it was waited for.
        waited: Duration,
        /// The last lines it wrote on stderr.
        words: String,
    },
    /// No port is free outside of the range that the kernel takes clients' ports from.
    NoPort,
    /// `--connect` without `--secret` or `--secret-file`: nobody could log in.
    NoSecret,
    /// One of several nodes has a fault of these.
    Node {
        /// Its name.
        name: String,
        /// Its fault.
        fault: Box<Self>,
    },
    /// `--connect` without `--api`.
    NoApi,
    /// None of the HTTP APIs is a router node's of a cluster.
    NoRouter,
    /// The HTTP API could not be reached.
    Unreachable {
        /// The call.
        call: String,
        /// The client library's words.
        words: String,
    },
    /// The HTTP API refused a call.
    Refused {
        /// The call.
        call: String,
        /// The status of the answer.
        status: u16,
        /// Its body.
        words: String,
    },
    /// A file of the host or of the bench's own could not be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of `/proc` does not have what it should.
    Unexpected {
        /// Which.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram { path } => write!(
                out,
                "there is no {}: build it with `cargo build --release -p gateway`, or name it with --server",
                path.display()
            ),
            Self::NotStarted { path, words } => write!(out, "{} did not start: {words}", path.display()),
            Self::NotReady { waited } => {
                write!(out, "the server is not ready after {} s", waited.as_secs())
            }
            Self::Ended { words } => write!(out, "the server ended while it was measured: {words}"),
            Self::NotStopped { waited, words } => {
                write!(out, "the server did not stop within {} s and was killed: {words}", waited.as_secs())
            }
            Self::NoPort => write!(
                out,
                "no port is free outside of net.ipv4.ip_local_port_range: narrow the range with \
                 `sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"`"
            ),
            Self::NoSecret => write!(
                out,
                "--connect needs --secret or --secret-file: the secret that the server's HS256 tokens are signed with"
            ),
            Self::NoApi => write!(out, "--connect needs --api: where the server's HTTP API listens"),
            Self::NoRouter => write!(
                out,
                "no node is a router of a cluster: start one with --gateways, or name its API with --api"
            ),
            Self::Node { name, fault } => write!(out, "{name}: {fault}"),
            Self::Unreachable { call, words } => write!(out, "{call} got no answer: {words}"),
            Self::Refused { call, status, words } => write!(out, "{call} was refused with {status}: {words}"),
            Self::File { path, source } => write!(out, "{}: {source}", path.display()),
            Self::Unexpected { path, what } => write!(out, "{}: has no {what}", path.display()),
        }
    }
}

impl core::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Node { fault, .. } => fault.source(),
            _ => None,
        }
    }
}

impl ServerError {
    /// The same, with the name of the node that has it; a server of one process has no name.
    pub(crate) fn of_node(self, name: &str) -> Self {
        if name.is_empty() { self } else { Self::Node { name: name.to_owned(), fault: Box::new(self) } }
    }

    /// For `map_err` on what was done with the file at `path`.
    pub(crate) fn of_file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
