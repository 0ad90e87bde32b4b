//! The echo loop: epoll(7), one receive and one send a message, on a thread for each listener.

use std::sync::atomic::AtomicU64;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, recv, send};

use super::listening::{accept_share, listener, of_call};
use super::{Arguments, Done, on_threads, say, wait_for_parent};
use crate::server::ServerError;

/// Events of one wait.
const EVENTS_MAX: usize = 256;
/// Most bytes of one receive.
const BUFFER_BYTES: usize = 16_384;

pub(super) fn by_calls(arguments: &Arguments) -> Result<(), ServerError> {
    let listeners: Result<Vec<_>, _> = (0..arguments.threads).map(|_| listener(arguments.listen)).collect();
    let (listeners, count) = (listeners?, AtomicU64::new(0));
    say("ready");
    // Whoever measures ends this process by ending its stdin: the loops know no end.
    std::thread::spawn(|| {
        wait_for_parent();
        std::process::exit(0);
    });
    on_threads(arguments, |number| {
        let wanted = u64::from(arguments.sockets);
        let sockets = accept_share(&listeners[number], &count, wanted, SocketFlags::NONBLOCK)?;
        let all = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(of_call)?;
        for (socket, index) in sockets.iter().zip(0_u64..) {
            epoll::add(&all, socket, epoll::EventData::new_u64(index), epoll::EventFlags::IN)
                .map_err(of_call)?;
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            epoll::wait(&all, spare_capacity(&mut events), None).map_err(of_call)?;
            for event in events.drain(..) {
                let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                let Some(socket) = sockets.get(index) else { continue };
                match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
                    // The end of a socket: the parent is done, and ends this process next.
                    Ok((_, 0)) => epoll::delete(&all, socket).map_err(of_call)?,
                    Ok((_, bytes)) => {
                        // One that does not read its echoes has no room, and loses them.
                        let _ = send(socket, &buffer[..bytes], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
                    }
                    Err(Errno::AGAIN) => {}
                    Err(Errno::CONNRESET) => epoll::delete(&all, socket).map_err(of_call)?,
                    Err(error) => return Err(of_call(error)),
                }
            }
        }
    })
    .map(|_: Done| ())
}
