//! Promise: a close gives back what is in flight, then names its token a last time; the slot's next tenant has
//! another generation and hears nothing of the one before.

mod shard;

use std::io::{Read, Write};
use std::time::Duration;

use ring::Settings;
use ring::listener::ListenerSettings;
use ring::operation::Operation;
use ring::token::Token;
use shard::{Event, Recorder, Server, connect, gather, serve_with};

fn one_slot() -> Server<Recorder> {
    let settings = Settings { slots: 1, accepts: 1, ..Settings::default() };
    let small = ListenerSettings { send_buffer_bytes: Some(4_096), ..ListenerSettings::default() };
    serve_with(Recorder::default(), settings, small)
}

/// Sends to a client that never reads, until a send has waited for many turns.
fn stick(server: &mut Server<Recorder>, token: Token) {
    let bytes = vec![1; 4 << 20];
    for sends in 1..100 {
        server.ring.submit(Operation::Send(token, gather(&[&bytes, &bytes])));
        for _ in 0..100 {
            server.turn(Duration::ZERO);
        }
        if server.shard.results_of(token).len() < sends {
            return;
        }
    }
    panic!("a client that never reads stops a sender");
}

#[test]
fn a_send_in_flight_comes_back_cancelled_before_the_socket_is_closed() {
    let mut server = one_slot();
    let _client = connect(server.address);
    let token = server.accept();
    server.ring.submit(Operation::Receive(token));
    stick(&mut server, token);
    server.close(token);
    let last_two = &server.shard.events[server.shard.events.len() - 2..];
    let [Event::Sent { result, gather, .. }, Event::Closed { .. }] = last_two else { panic!("{last_two:?}") };
    assert_eq!(*result, -libc::ECANCELED);
    assert_eq!(gather.packets.len(), 2);
}

#[test]
fn the_next_tenant_of_a_slot_hears_nothing_of_the_one_before() {
    let mut server = one_slot();
    for round in 0..50_u32 {
        let mut client = connect(server.address);
        let token = server.accept();
        assert_eq!(token, Token { slot: 0, generation: round });
        server.ring.submit(Operation::Receive(token));
        client.write_all(&[round as u8; 100]).unwrap();
        // Sometimes closed while the bytes are on their way, sometimes after.
        if round % 2 == 0 {
            server.run(|recorder| !recorder.bytes_of(token).is_empty());
        }
        server.ring.submit(Operation::Send(token, gather(&[b"answer"])));
        server.close(token);
        assert!(server.shard.bytes_of(token).iter().all(|byte| *byte == round as u8));
        let after =
            server.shard.events.iter().position(|event| matches!(event, Event::Closed { .. })).unwrap();
        assert_eq!(after, server.shard.events.len() - 1, "nothing names a token after its close");
        server.shard.events.clear();
    }
}

#[test]
fn operations_on_a_closed_token_touch_nobody() {
    let mut server = one_slot();
    let first = {
        let _client = connect(server.address);
        server.accept()
    };
    server.close(first);
    let mut client = connect(server.address);
    let second = server.accept();
    assert_eq!(first.slot, second.slot);
    server.ring.submit(Operation::Send(first, gather(&[b"for the first"])));
    server.ring.submit(Operation::Receive(first));
    server.ring.submit(Operation::Shutdown(first));
    server.ring.submit(Operation::Close(first));
    server.ring.submit(Operation::Send(second, gather(&[b"for the second"])));
    server.run(|recorder| !recorder.results_of(second).is_empty());
    let mut answer = [0; 14];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"for the second");
    assert!(server.shard.results_of(first).is_empty());
}

#[test]
fn a_shutdown_asked_for_by_one_tenant_does_not_reach_the_next() {
    let mut server = one_slot();
    let client = connect(server.address);
    let first = server.accept();
    server.ring.submit(Operation::Shutdown(first));
    server.close(first);
    drop(client);
    let mut client = connect(server.address);
    let second = server.accept();
    server.ring.submit(Operation::Send(second, gather(&[b"open"])));
    server.run(|recorder| recorder.results_of(second) == [4]);
    server.ring.submit(Operation::Shutdown(second));
    server.turn(Duration::ZERO);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"open");
}

#[test]
fn a_dropped_ring_closes_its_sockets_with_sends_in_flight() {
    let mut server = one_slot();
    let mut client = connect(server.address);
    let token = server.accept();
    server.ring.submit(Operation::Receive(token));
    stick(&mut server, token);
    drop(server);
    let mut bytes = Vec::new();
    // An end or a reset, as the kernel likes: but no wait for ever.
    let _ = client.read_to_end(&mut bytes);
    assert!(bytes.iter().all(|byte| *byte == 1));
}
