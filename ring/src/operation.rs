//! What a shard asks of its ring and what the ring tells it: the two plain enums between them. The simulator is
//! another kernel behind the same two.

use core::net::SocketAddr;

use crate::packet::Gather;
use crate::token::Token;

/// What a shard wants done with a socket.
#[derive(Debug)]
pub enum Operation {
    /// Arm the socket: tell me whatever it receives, until [`Operation::Pause`]. An accepted socket is not armed.
    Receive(Token),
    /// Tell me nothing for now: the peer's window fills. What was under way may still come once. The end of a paused
    /// socket is told when it receives again.
    Pause(Token),
    /// Send, one at a time a socket: the completion brings the gather back, after the socket had room for some of it.
    Send(Token, Box<Gather>),
    /// No more bytes will be sent (TCP FIN), behind a send under way, and behind the next if that one ended short. It
    /// costs 20 µs and one of the kernel's workers: where nothing unread can come any more, [`Operation::Close`] alone
    /// says the same.
    Shutdown(Token),
    /// Cancel what is in flight, drain it, close. [`Completion::Closed`] is the last that names the token.
    Close(Token),
    /// As [`Operation::Close`], but without an orderly end: the peer is told by a reset (RST), and nothing lingers in
    /// TIME_WAIT. A kernel older than Linux 6.7 closes orderly all the same.
    Abort(Token),
}

/// What happened to a socket.
#[derive(Debug)]
pub enum Completion<'a> {
    /// A client connected. The shard answers with operations on the token, [`Operation::Close`] at last.
    Accepted {
        /// Its name from now on.
        token: Token,
        /// Which listener, by its place in the ring's configuration.
        listener: u8,
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// A dial connected: from now on the socket is like an accepted one.
    Connected {
        /// What the dial was named.
        token: Token,
    },
    /// A dial failed. The ring closes what there is of it: [`Completion::Closed`] follows, nothing may be asked.
    Refused {
        /// What the dial was named.
        token: Token,
        /// The error number (`errno`): ECONNREFUSED, ETIMEDOUT, EADDRNOTAVAIL (no port is left from that source), …
        error: i32,
    },
    /// Bytes came. They lie in the kernel's buffer and are the shard's to change for the length of the call.
    Received {
        /// Where from.
        token: Token,
        /// Never empty.
        bytes: &'a mut [u8],
    },
    /// The peer will send no more: its end of the stream, or a fault of the socket.
    Ended {
        /// Which.
        token: Token,
        /// The socket's error number (`errno`), 0 for a plain end of the stream.
        error: i32,
    },
    /// A send came to its end: all, a part, or none of the gather's bytes went out.
    Sent {
        /// Where to.
        token: Token,
        /// Bytes taken by the kernel, or the negative `errno`: ECANCELED if the socket was closed meanwhile.
        result: i32,
        /// What had been given.
        gather: Box<Gather>,
    },
    /// The socket is closed and its slot free.
    Closed {
        /// Which.
        token: Token,
    },
}
