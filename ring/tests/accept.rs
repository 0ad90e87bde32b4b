//! Promise: clients are accepted while there are slots, wait when there are none, and are known by their address.

mod shard;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::time::Duration;

use ring::listener::{Listener, ListenerSettings};
use ring::operation::Completion;
use ring::setup::SetupError;
use ring::token::Token;
use ring::waker::Waker;
use ring::{Ring, Settings};
use shard::{Event, Recorder, connect, serve_with};

fn accepted(recorder: &Recorder) -> Vec<(Token, u8, SocketAddr)> {
    let accepted = |event: &Event| match event {
        Event::Accepted { token, listener, peer } => Some((*token, *listener, *peer)),
        _ => None,
    };
    recorder.events.iter().filter_map(accepted).collect()
}

#[test]
fn a_client_past_the_last_slot_waits_for_a_close() {
    let settings = Settings { slots: 3, accepts: 2, ..Settings::default() };
    let mut server = serve_with(Recorder::default(), settings, ListenerSettings::default());
    let clients: Vec<TcpStream> = (0..7).map(|_| connect(server.address)).collect();
    for round in 0..4 {
        server.run(|recorder| accepted(recorder).len() >= 3 + round);
        for _ in 0..10 {
            server.turn(Duration::ZERO);
        }
        let tokens = accepted(&server.shard);
        assert_eq!(tokens.len(), 3 + round, "no more than there are slots");
        server.close(tokens[round].0);
    }
    server.run(|recorder| accepted(recorder).len() == 7);
    let peers: Vec<SocketAddr> = accepted(&server.shard).iter().map(|(_, _, peer)| *peer).collect();
    for client in &clients {
        assert!(peers.contains(&client.local_addr().unwrap()), "each is known by its address");
    }
}

#[test]
fn each_listener_is_known_by_its_place() {
    let bind = |address: &str| Listener::bind(address.parse().unwrap(), 1, ListenerSettings::default());
    let mut listeners = bind("127.0.0.1:0").unwrap();
    listeners.extend(bind("127.0.0.2:0").unwrap());
    // Not every host has IPv6.
    listeners.extend(bind("[::1]:0").unwrap_or_default());
    let addresses: Vec<SocketAddr> = listeners.iter().map(Listener::address).collect();
    let settings = Settings { slots: 16, accepts: 2, ..Settings::default() };
    let mut server = serve_with(Recorder::default(), settings, ListenerSettings::default());
    server.ring = Ring::new(settings, listeners, Waker::new().unwrap()).unwrap();
    for (place, address) in addresses.into_iter().enumerate() {
        let client = connect(address);
        server.run(|recorder| accepted(recorder).len() == place + 1);
        let (_, listener, peer) = *accepted(&server.shard).last().unwrap();
        assert_eq!((usize::from(listener), peer), (place, client.local_addr().unwrap()));
    }
}

#[test]
fn a_group_shares_one_port_and_every_client_is_accepted_once() {
    let group = Listener::bind("127.0.0.1:0".parse().unwrap(), 3, ListenerSettings::default()).unwrap();
    let address = group[0].address();
    assert!(address.port() != 0 && group.iter().all(|listener| listener.address() == address));
    let settings = Settings { slots: 64, accepts: 4, ..Settings::default() };
    let mut rings: Vec<Ring> = group
        .into_iter()
        .map(|listener| Ring::new(settings, vec![listener], Waker::new().unwrap()).unwrap())
        .collect();
    let clients: Vec<TcpStream> = (0..60).map(|_| connect(address)).collect();
    let mut counts = vec![0; rings.len()];
    while counts.iter().sum::<usize>() < clients.len() {
        for (ring, count) in rings.iter_mut().zip(&mut counts) {
            ring.turn(Duration::ZERO, || false, |_| *count += 1).unwrap();
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "by hash over all: {counts:?}");
}

#[test]
fn a_steered_group_gives_a_connection_to_the_core_on_its_cpu() {
    let cpus = ring::cpu::allowed().unwrap();
    // In another order than the kernel's, and one listener more than there are CPUs.
    let cpus: Vec<usize> = cpus.into_iter().rev().take(8).collect();
    let address = "127.0.0.1:0".parse().unwrap();
    let group = Listener::bind(address, cpus.len() + 1, ListenerSettings::default()).unwrap();
    Listener::steer(&group, &cpus).unwrap();
    let address = group[0].address();
    let settings = Settings { slots: 64, accepts: 4, ..Settings::default() };
    let ring = |listener| Ring::new(settings, vec![listener], Waker::new().unwrap()).unwrap();
    let mut rings: Vec<Ring> = group.into_iter().map(ring).collect();
    for (place, cpu) in cpus.iter().copied().enumerate() {
        // Over loopback a packet arrives on the CPU that sends it.
        let connecting = std::thread::spawn(move || {
            ring::cpu::pin(cpu).unwrap();
            (0..10).map(|_| connect(address)).collect::<Vec<_>>()
        });
        let clients = connecting.join().unwrap();
        let mut counts = vec![0; rings.len()];
        while counts.iter().sum::<usize>() < clients.len() {
            for (ring, count) in rings.iter_mut().zip(&mut counts) {
                ring.turn(
                    Duration::ZERO,
                    || false,
                    |completion| {
                        *count += usize::from(matches!(completion, Completion::Accepted { .. }));
                    },
                )
                .unwrap();
            }
        }
        assert_eq!(counts[place], clients.len(), "CPU {cpu}: {counts:?}");
    }
}

#[test]
fn an_address_in_use_is_an_error_even_when_its_user_shares_it() {
    let taken = Listener::bind("127.0.0.1:0".parse().unwrap(), 2, ListenerSettings::default()).unwrap();
    let again = Listener::bind(taken[0].address(), 1, ListenerSettings::default());
    assert!(matches!(again, Err(SetupError::AddressInUse { .. })), "{again:?}");
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let again = Listener::bind(stranger.local_addr().unwrap(), 1, ListenerSettings::default());
    assert!(matches!(again, Err(SetupError::AddressInUse { .. })), "{again:?}");
}

#[test]
fn an_address_of_another_host_is_an_error() {
    let result = Listener::bind("192.0.2.1:0".parse().unwrap(), 1, ListenerSettings::default());
    assert!(matches!(result, Err(SetupError::AddressNotAvailable { .. })), "{result:?}");
}

#[test]
fn a_port_can_be_bound_again_at_once_after_its_ring_is_gone() {
    let settings = Settings { slots: 4, accepts: 1, ..Settings::default() };
    let mut server = serve_with(Recorder::default(), settings, ListenerSettings::default());
    let address = server.address;
    let _client = connect(address);
    let token = server.accept();
    // The server closes first, so the connection lingers in TIME_WAIT on its side.
    server.close(token);
    server.ring.stop_accepting();
    server.run(|_| connect_fails(address));
    drop(server);
    assert!(Listener::bind(address, 2, ListenerSettings::default()).is_ok());
}

#[test]
fn a_ring_that_stopped_accepting_refuses_clients_and_keeps_those_it_has() {
    let settings = Settings { slots: 8, accepts: 2, ..Settings::default() };
    let mut server = serve_with(Recorder::default(), settings, ListenerSettings::default());
    let _client = connect(server.address);
    let token = server.accept();
    server.ring.stop_accepting();
    let address = server.address;
    server.run(|_| connect_fails(address));
    assert_eq!(server.ring.addresses().count(), 0);
    server.close(token);
}

#[test]
fn accepted_sockets_send_small_packets_at_once() {
    let listener =
        Listener::bind("127.0.0.1:0".parse().unwrap(), 1, ListenerSettings::default()).unwrap().remove(0);
    let _client = connect(listener.address());
    // SAFETY: accept(2) without an address touches no memory; its result is checked, and owned by the stream alone.
    let accepted = unsafe {
        let descriptor = libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut());
        assert!(descriptor >= 0);
        TcpStream::from_raw_fd(descriptor)
    };
    assert!(accepted.nodelay().unwrap(), "inherited from the listener");
}

/// An option of a TCP socket that is one number.
fn tcp_option(descriptor: RawFd, name: i32) -> i32 {
    let (mut value, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
    let place = (&raw mut value).cast();
    // SAFETY: the kernel writes at most `length` bytes, the size of `value`, during the call only.
    let result = unsafe { libc::getsockopt(descriptor, libc::IPPROTO_TCP, name, place, &raw mut length) };
    assert_eq!(result, 0);
    value
}

#[test]
fn what_the_kernel_holds_unsent_is_bounded_on_accepted_sockets_too() {
    let settings = ListenerSettings { unsent_bytes: Some(12_345), ..ListenerSettings::default() };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 1, settings).unwrap().remove(0);
    let _client = connect(listener.address());
    // SAFETY: accept(2) without an address touches no memory; its result is checked, and owned by the stream alone.
    let accepted = unsafe {
        let descriptor = libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut());
        assert!(descriptor >= 0);
        TcpStream::from_raw_fd(descriptor)
    };
    assert_eq!(tcp_option(accepted.as_raw_fd(), libc::TCP_NOTSENT_LOWAT), 12_345);
}

#[test]
fn as_many_clients_wait_as_the_backlog_says() {
    let settings = ListenerSettings { backlog: 3, ..ListenerSettings::default() };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 1, settings).unwrap().remove(0);
    let patience = Duration::from_millis(200);
    let waits = |_| TcpStream::connect_timeout(&listener.address(), patience).ok();
    let waiting: Vec<TcpStream> = (0..8).map_while(waits).collect();
    // listen(2) lets in one more than its backlog.
    assert_eq!(waiting.len(), 4);
}

fn connect_fails(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}
