//! Listening sockets and what is accepted from them, by plain system calls.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, bind, listen, socket_with};

use crate::server::ServerError;

/// As the server's.
const BACKLOG: i32 = 4_096;
/// How often a thread looks whether the others have accepted the last.
const PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// A listener that shares its address with those of the other threads.
pub(super) fn listener(address: SocketAddr) -> Result<OwnedFd, ServerError> {
    let make = || {
        let listener = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_reuseaddr(&listener, true)?;
        set_socket_reuseport(&listener, true)?;
        set_tcp_nodelay(&listener, true)?;
        bind(&listener, &address)?;
        listen(&listener, BACKLOG)?;
        Ok(listener)
    };
    make().map_err(of_call)
}

/// Accepts until all threads together have `wanted`.
pub(super) fn accept_share(
    listener: &OwnedFd,
    count: &AtomicU64,
    wanted: u64,
    flags: SocketFlags,
) -> Result<Vec<OwnedFd>, ServerError> {
    let mut sockets = Vec::new();
    while count.load(Ordering::Relaxed) < wanted {
        let mut polled = [PollFd::new(listener, PollFlags::IN)];
        if poll(&mut polled, Some(&PERIOD)).map_err(of_call)? == 0 {
            continue;
        }
        sockets.push(accept_with(listener, flags | SocketFlags::CLOEXEC).map_err(of_call)?);
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(sockets)
}

pub(super) fn of_call(error: rustix::io::Errno) -> ServerError {
    ServerError::File { path: "socket".into(), source: error.into() }
}
