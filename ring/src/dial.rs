//! What a dial is: whom a ring connects to, from where, and how long it tries. How it is done stands in `ring::dialling`.

use std::net::SocketAddr;
use std::time::Duration;

/// An outgoing TCP connection to be made, with TCP_NODELAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Whom to connect to.
    pub target: SocketAddr,
    /// The address to connect from, of the target's family. Port 0 takes one that is free towards this target
    /// (IP_BIND_ADDRESS_NO_PORT, ip(7)), so that about 28,000 connections fit each (source, target) pair by default.
    /// `None` leaves address and port to the kernel.
    pub source: Option<SocketAddr>,
    /// How long it may take; the error is ETIMEDOUT then.
    pub timeout: Duration,
    /// SO_RCVBUF in bytes (the kernel doubles it), for a reader that is to look slow; `None` leaves it to the kernel's
    /// own tuning.
    pub receive_buffer_bytes: Option<i32>,
}
