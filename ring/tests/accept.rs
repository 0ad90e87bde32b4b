//! Promise: clients are accepted while there are slots, wait when there are none, and are known by their address.

mod shard;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ring::listener::{Listener, ListenerSettings};
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
    use std::os::fd::{AsRawFd, FromRawFd};
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

fn connect_fails(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}
