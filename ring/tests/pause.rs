//! Promise: a paused socket says nothing, and loses nothing.

mod shard;

use std::io::Write;
use std::time::Duration;

use ring::operation::Operation;
use ring::token::Token;
use shard::{Event, Recorder, Server, connect, gather, serve};

/// Turns until a second socket has been answered: by then, the first would have been too.
fn pass(server: &mut Server<Recorder>) {
    let mut other = connect(server.address);
    let token = server.accept();
    server.ring.submit(Operation::Receive(token));
    other.write_all(b"other").unwrap();
    server.run(|recorder| recorder.bytes_of(token) == b"other");
    server.turn(Duration::ZERO);
    server.close(token);
}

fn heard(server: &Server<Recorder>, socket: Token) -> bool {
    server.shard.events.iter().any(|event| match event {
        Event::Received { token, .. } | Event::Ended { token, .. } => *token == socket,
        _ => false,
    })
}

#[test]
fn an_accepted_socket_is_not_armed() {
    let mut server = serve(Recorder::default());
    let mut client = connect(server.address);
    let token = server.accept();
    client.write_all(b"early").unwrap();
    pass(&mut server);
    assert!(!heard(&server, token));
    server.ring.submit(Operation::Receive(token));
    server.run(|recorder| recorder.bytes_of(token) == b"early");
}

#[test]
fn what_comes_while_paused_comes_after() {
    let mut server = serve(Recorder::default());
    let mut client = connect(server.address);
    let token = server.accept();
    server.ring.submit(Operation::Receive(token));
    let mut expected = Vec::new();
    for round in 0..20_u8 {
        client.write_all(&[round; 10]).unwrap();
        expected.extend_from_slice(&[round; 10]);
        server.run(|recorder| recorder.bytes_of(token) == expected);
        server.ring.submit(Operation::Pause(token));
        client.write_all(&[round; 20_000]).unwrap();
        pass(&mut server);
        assert_eq!(server.shard.bytes_of(token), expected, "paused");
        server.ring.submit(Operation::Receive(token));
        expected.extend_from_slice(&[round; 20_000]);
        server.run(|recorder| recorder.bytes_of(token) == expected);
    }
}

#[test]
fn the_end_of_a_paused_socket_is_told_when_it_receives_again() {
    let mut server = serve(Recorder::default());
    let mut client = connect(server.address);
    let token = server.accept();
    server.ring.submit(Operation::Receive(token));
    server.ring.submit(Operation::Pause(token));
    client.write_all(b"last").unwrap();
    drop(client);
    pass(&mut server);
    assert!(!heard(&server, token));
    server.ring.submit(Operation::Receive(token));
    server.run(|recorder| recorder.end_of(token) == Some(0));
    assert_eq!(server.shard.bytes_of(token), b"last");
}

#[test]
fn the_end_is_told_once() {
    let mut server = serve(Recorder::default());
    let client = connect(server.address);
    let token = server.accept();
    server.ring.submit(Operation::Receive(token));
    drop(client);
    server.run(|recorder| recorder.end_of(token).is_some());
    server.ring.submit(Operation::Pause(token));
    server.ring.submit(Operation::Receive(token));
    pass(&mut server);
    let ends = server.shard.events.iter().filter(|event| matches!(event, Event::Ended { .. })).count();
    assert_eq!(ends, 1);
}

#[test]
fn a_reset_ends_with_its_error() {
    let mut server = serve(Recorder::default());
    let client = connect(server.address);
    let token = server.accept();
    server.ring.submit(Operation::Receive(token));
    server.ring.submit(Operation::Send(token, gather(&[b"unread"])));
    server.run(|recorder| recorder.results_of(token) == [6]);
    // Closing with something unread resets the connection (RFC 2525, section 2.17).
    client.set_nonblocking(true).unwrap();
    while client.peek(&mut [0]).is_err() {
        std::thread::yield_now();
    }
    drop(client);
    server.run(|recorder| recorder.end_of(token).is_some());
    assert_eq!(server.shard.end_of(token), Some(libc::ECONNRESET));
    server.ring.submit(Operation::Send(token, gather(&[b"to nobody"])));
    server.run(|recorder| recorder.results_of(token).len() == 2);
    assert_eq!(server.shard.results_of(token)[1], -libc::EPIPE);
    server.close(token);
}
