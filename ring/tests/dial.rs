//! Promise: a dial is named at once, says once whether it connected or why not, comes from the address it was told, and
//! leaves its slot as every socket does.

mod shard;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ring::dial::Dial;
use ring::listener::{Listener, ListenerSettings};
use ring::operation::{Completion, Operation};
use ring::token::Token;
use ring::waker::Waker;
use ring::{Ring, Settings};
use shard::{Event, Recorder, Server, Shard, gather, serve_with};

fn dial_to(target: SocketAddr) -> Dial {
    Dial { target, source: None, timeout: Duration::from_secs(10), receive_buffer_bytes: None }
}

/// A ring with no listener.
fn dialler(slots: u32, dials: u32) -> Server<Recorder> {
    let settings = Settings { slots, dials, ..Settings::default() };
    let mut server = serve_with(Recorder::default(), settings, ListenerSettings::default());
    server.ring = Ring::new(settings, Vec::new(), Waker::new().unwrap()).unwrap();
    server
}

fn is_connected(recorder: &Recorder, dialled: Token) -> bool {
    recorder.events.iter().any(|event| matches!(event, Event::Connected { token } if *token == dialled))
}

fn refusal(recorder: &Recorder, dialled: Token) -> Option<i32> {
    recorder.events.iter().find_map(|event| match event {
        Event::Refused { token, error } if *token == dialled => Some(*error),
        _ => None,
    })
}

/// The two ends of a new connection.
fn pair(server: &mut Server<Recorder>, listener: &TcpListener, dial: &Dial) -> (Token, TcpStream) {
    let token = server.ring.dial(dial).unwrap();
    server.run(|recorder| is_connected(recorder, token));
    (token, listener.accept().unwrap().0)
}

/// An address that answers nothing: its backlog is full, so that the kernel drops what comes.
fn deaf() -> (Listener, Vec<TcpStream>, SocketAddr) {
    let listening = ListenerSettings { backlog: 0, ..ListenerSettings::default() };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 1, listening).unwrap().remove(0);
    let address = listener.address();
    let mut crowd = Vec::new();
    while let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        crowd.push(client);
    }
    (listener, crowd, address)
}

#[test]
fn a_dialled_socket_comes_from_its_source_and_behaves_like_an_accepted_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = dialler(4, 4);
    let source = Some("127.3.2.1:0".parse().unwrap());
    let dial = Dial { source, receive_buffer_bytes: Some(4_096), ..dial_to(listener.local_addr().unwrap()) };
    let (token, mut peer) = pair(&mut server, &listener, &dial);
    assert_eq!(peer.peer_addr().unwrap().ip(), dial.source.unwrap().ip());
    server.ring.submit(Operation::Receive(token));
    server.ring.submit(Operation::Send(token, gather(&[b"one ", b"gather"])));
    peer.write_all(b"answer").unwrap();
    server.run(|recorder| recorder.bytes_of(token) == b"answer" && recorder.results_of(token) == [10]);
    server.ring.submit(Operation::Shutdown(token));
    server.turn(Duration::from_millis(10));
    let mut sent = Vec::new();
    peer.read_to_end(&mut sent).unwrap();
    assert_eq!(sent, b"one gather");
    drop(peer);
    server.run(|recorder| recorder.end_of(token) == Some(0));
    server.close(token);
}

#[test]
fn a_refused_dial_says_so_and_frees_its_slot() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = dialler(1, 1);
    for round in 0..20 {
        let token = server.ring.dial(&dial_to(gone)).unwrap();
        assert_eq!(token, Token { slot: 0, generation: round });
        server.run(|recorder| recorder.is_closed(token));
        assert_eq!(refusal(&server.shard, token), Some(libc::ECONNREFUSED));
    }
    assert_eq!(server.shard.events.len(), 40, "one refusal and one close each");
}

#[test]
fn a_source_that_is_not_this_hosts_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = dialler(1, 1);
    let source = Some("192.0.2.1:0".parse().unwrap());
    let token = server.ring.dial(&Dial { source, ..dial_to(listener.local_addr().unwrap()) }).unwrap();
    server.run(|recorder| recorder.is_closed(token));
    assert_eq!(refusal(&server.shard, token), Some(libc::EADDRNOTAVAIL));
    assert_eq!(server.shard.events.len(), 2);
}

#[test]
fn a_dial_that_nobody_answers_ends_at_its_timeout() {
    let (_listener, _crowd, address) = deaf();
    let mut server = dialler(1, 1);
    let begin = Instant::now();
    let dial = Dial { timeout: Duration::from_millis(300), ..dial_to(address) };
    let token = server.ring.dial(&dial).unwrap();
    server.run(|recorder| recorder.is_closed(token));
    assert_eq!(refusal(&server.shard, token), Some(libc::ETIMEDOUT));
    assert!(begin.elapsed() >= dial.timeout);
}

#[test]
fn a_dial_that_is_closed_says_nothing_more_than_that() {
    let (_listener, _crowd, address) = deaf();
    let mut server = dialler(1, 1);
    // Before the kernel has it, in the midst of its chain, and while it waits for an answer.
    for turns in [0, 1, 2, 3, 20] {
        let token = server.ring.dial(&dial_to(address)).unwrap();
        for _ in 0..turns {
            server.turn(Duration::ZERO);
        }
        let begin = Instant::now();
        server.ring.submit(Operation::Receive(token));
        server.close(token);
        assert!(begin.elapsed() < Duration::from_secs(5), "not at its timeout");
        assert_eq!(server.shard.events.len(), 1, "{:?}", server.shard.events);
        server.shard.events.clear();
    }
    server.ring.dial(&dial_to(address)).unwrap();
    server.turn(Duration::ZERO);
    let begin = Instant::now();
    drop(server);
    assert!(begin.elapsed() < Duration::from_secs(1), "a dropped ring calls its dials back");
}

#[test]
fn dials_are_bounded_by_their_setting_and_by_the_slots() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dial = dial_to(listener.local_addr().unwrap());
    let mut server = dialler(3, 2);
    let tokens: Vec<Token> = (0..2).map(|_| server.ring.dial(&dial).unwrap()).collect();
    assert_eq!(server.ring.dial(&dial), None, "two are under way");
    server.run(|recorder| tokens.iter().all(|token| is_connected(recorder, *token)));
    let last = server.ring.dial(&dial).unwrap();
    assert_eq!(server.ring.dial(&dial), None, "no slot is left");
    server.run(|recorder| is_connected(recorder, last));
    server.close(tokens[0]);
    assert!(server.ring.dial(&dial).is_some());
    assert_eq!(dialler(3, 0).ring.dial(&dial), None, "a ring that dials nobody");
}

#[test]
fn an_abort_resets_and_a_close_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = dialler(2, 2);
    let dial = dial_to(listener.local_addr().unwrap());
    let (closed, mut peer) = pair(&mut server, &listener, &dial);
    server.close(closed);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    let (aborted, mut peer) = pair(&mut server, &listener, &dial);
    server.ring.submit(Operation::Abort(aborted));
    server.run(|recorder| recorder.is_closed(aborted));
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Dials as many as it may, and closes what is accepted when the other end has gone.
#[derive(Default)]
struct Crowd {
    connected: Vec<Token>,
    accepted: usize,
    closed: usize,
}

impl Shard for Crowd {
    fn handle(&mut self, completion: Completion<'_>, operations: &mut VecDeque<Operation>) {
        match completion {
            Completion::Accepted { token, .. } => {
                self.accepted += 1;
                operations.push_back(Operation::Receive(token));
            }
            Completion::Connected { token } => self.connected.push(token),
            Completion::Ended { token, .. } => operations.push_back(Operation::Close(token)),
            Completion::Closed { .. } => self.closed += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn thousands_connect_at_once_from_many_sources_and_all_drop_at_once() {
    const COUNT: usize = 3_000;
    let settings =
        Settings { slots: 2 * COUNT as u32 + 16, submissions: 64, dials: 700, ..Settings::default() };
    let mut server = serve_with(Crowd::default(), settings, ListenerSettings::default());
    let mut dialled = 0;
    while server.shard.connected.len() < COUNT || server.shard.accepted < COUNT {
        while dialled < COUNT {
            let source: SocketAddr = format!("127.4.{}.{}:0", dialled % 3, 1 + dialled % 5).parse().unwrap();
            let dial = Dial { source: Some(source), ..dial_to(server.address) };
            if server.ring.dial(&dial).is_none() {
                break;
            }
            dialled += 1;
        }
        let before = (server.shard.connected.len(), server.shard.accepted);
        server.run(|crowd| (crowd.connected.len(), crowd.accepted) != before);
    }
    for token in std::mem::take(&mut server.shard.connected) {
        server.ring.submit(Operation::Abort(token));
    }
    server.run(|crowd| crowd.closed == 2 * COUNT);
}
