//! Promise: a ring of several banks is one ring: sockets of all banks are served alike, whatever happens in any of them ends
//! its sleep, and no client waits while any bank has room.

mod shard;

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ring::dial::Dial;
use ring::listener::{Listener, ListenerSettings};
use ring::mailbox::Mailbox;
use ring::operation::{Completion, Operation};
use ring::token::Token;
use ring::waker::Waker;
use ring::{Ring, Settings};
use shard::{Echo, Event, Recorder, Server, Shard, connect, serve_with};

const BANKS: u32 = 3;
const BANK_SLOTS: u32 = 4;
const SLOTS: u32 = BANKS * BANK_SLOTS;
const LONG: Duration = Duration::from_secs(3_600);

const SETTINGS_BYTES: u32 = 1_024;

fn settings() -> Settings {
    Settings {
        slots: SLOTS,
        bank_slots: BANK_SLOTS,
        submissions: 16,
        completions: 32,
        buffers: 4,
        buffer_bytes: SETTINGS_BYTES,
        accepts: 3,
        dials: SLOTS,
    }
}

fn serve<S: Shard>(shard: S) -> Server<S> {
    let server = serve_with(shard, settings(), ListenerSettings::default());
    assert_eq!(server.ring.banks(), BANKS as usize);
    server
}

fn accepted(recorder: &Recorder) -> Vec<Token> {
    let accepted = |event: &Event| match event {
        Event::Accepted { token, .. } => Some(*token),
        _ => None,
    };
    recorder.events.iter().filter_map(accepted).collect()
}

fn banks(tokens: &[Token]) -> HashSet<u32> {
    tokens.iter().map(|token| token.slot / BANK_SLOTS).collect()
}

/// Waits for the one byte of an echo.
fn echo(client: &mut TcpStream, byte: u8) {
    client.write_all(&[byte]).unwrap();
    let mut answer = [0];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [byte]);
}

#[test]
fn every_slot_of_every_bank_takes_a_client_and_one_more_waits_for_any_to_be_free() {
    let mut server = serve(Recorder::default());
    let _clients: Vec<TcpStream> = (0..2 * SLOTS).map(|_| connect(server.address)).collect();
    server.run(|recorder| accepted(recorder).len() == SLOTS as usize);
    let first = accepted(&server.shard);
    assert_eq!(banks(&first).len(), BANKS as usize);
    for (round, token) in first.into_iter().enumerate() {
        assert_eq!(accepted(&server.shard).len(), SLOTS as usize + round, "no more than there are slots");
        server.close(token);
        server.run(|recorder| accepted(recorder).len() == SLOTS as usize + round + 1);
        let next = *accepted(&server.shard).last().unwrap();
        assert_eq!((next.slot, next.generation), (token.slot, token.generation + 1));
    }
}

#[test]
fn streams_of_all_banks_are_whole() {
    let mut server = serve(Echo::default());
    let mut clients: Vec<TcpStream> = (0..SLOTS).map(|_| connect(server.address)).collect();
    let bytes = 3 * SETTINGS_BYTES as usize + 5;
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&vec![number as u8; bytes]).unwrap();
    }
    server.run(|echo| echo.sent == (clients.len() * bytes) as u64);
    for (number, client) in clients.iter_mut().enumerate() {
        let mut answer = vec![0; bytes];
        client.read_exact(&mut answer).unwrap();
        assert!(answer.iter().all(|byte| *byte == number as u8), "client {number} got another's bytes");
    }
    drop(clients);
    server.run(|echo| echo.closed == u64::from(SLOTS));
}

#[test]
fn dials_go_out_from_every_bank() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = serve(Recorder::default());
    server.ring.stop_accepting();
    server.turn(Duration::ZERO);
    let target = listener.local_addr().unwrap();
    let dial = Dial { target, source: None, timeout: Duration::from_secs(10), receive_buffer_bytes: None };
    let tokens: Vec<Token> = (0..SLOTS).map(|_| server.ring.dial(&dial).unwrap()).collect();
    assert!(server.ring.dial(&dial).is_none() && banks(&tokens).len() == BANKS as usize);
    let connected = |recorder: &Recorder| {
        recorder.events.iter().filter(|event| matches!(event, Event::Connected { .. })).count()
    };
    server.run(|recorder| connected(recorder) == tokens.len());
    let mut peers: Vec<TcpStream> = tokens.iter().map(|_| listener.accept().unwrap().0).collect();
    for token in &tokens {
        server.ring.submit(Operation::Receive(*token));
    }
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }
    server.run(|recorder| tokens.iter().all(|token| recorder.bytes_of(*token) == b"x"));
    for token in tokens {
        server.close(token);
    }
}

/// One byte at a time to a socket of any bank, each answered before the next: the ring sleeps as often as it can, for an
/// hour unless woken. One missed wake, and the client's read fails.
#[test]
fn a_byte_for_any_bank_ends_the_sleep_every_time() {
    const ROUNDS: u32 = 6_000;
    let mut server = serve(Echo::default());
    let mut clients: Vec<TcpStream> = (0..SLOTS).map(|_| connect(server.address)).collect();
    server.run(|echo| echo.accepted == u64::from(SLOTS));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for round in 0..ROUNDS {
                let place = round.wrapping_mul(2_654_435_761) >> 16;
                echo(&mut clients[(place % SLOTS) as usize], round as u8);
                // Pauses of every length up to some 20 µs: bytes come at every moment of falling asleep.
                (0..place % 400).for_each(|_| std::hint::spin_loop());
            }
        });
        while server.shard.closed < u64::from(SLOTS) {
            server.turn(LONG);
        }
    });
    assert_eq!(server.shard.received, u64::from(ROUNDS));
}

/// Mail from another thread and bytes from all banks at the same time.
#[test]
fn mail_and_bytes_wake_alike_and_none_is_lost() {
    const ROUNDS: u64 = 3_000;
    let waker = Waker::new().unwrap();
    let listeners = Listener::bind("127.0.0.1:0".parse().unwrap(), 1, ListenerSettings::default()).unwrap();
    let address = listeners[0].address();
    let mut ring = Ring::new(settings(), listeners, waker.clone()).unwrap();
    let mailbox: Mailbox<u64> = Mailbox::new(4);
    let mut sender = mailbox.sender(waker.clone());
    let (read, taken) = (AtomicU64::new(0), AtomicU64::new(0));
    let stopped = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(30);
    let wait = |count: &AtomicU64, least: u64| {
        while count.load(Ordering::Acquire) < least {
            assert!(Instant::now() < end, "a wake was missed");
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let (read, taken, stopped, waker) = (&read, &taken, &stopped, &waker);
        let mailing = scope.spawn(move || {
            for item in 0..ROUNDS {
                sender.push(item, 4).unwrap();
                sender.flush();
                wait(taken, item + 1);
            }
        });
        let writing = scope.spawn(move || {
            let mut clients: Vec<TcpStream> = (0..SLOTS).map(|_| connect(address)).collect();
            for round in 0..ROUNDS {
                clients[(round * 7 % u64::from(SLOTS)) as usize].write_all(&[1]).unwrap();
                wait(read, round + 1);
            }
        });
        scope.spawn(move || {
            let panicked = [mailing.join().is_err(), writing.join().is_err()];
            stopped.store(true, Ordering::Release);
            waker.wake();
            assert_eq!(panicked, [false, false]);
        });
        while !stopped.load(Ordering::Acquire) {
            let mut operations = Vec::new();
            let has_mail = || !mailbox.is_empty() || stopped.load(Ordering::Acquire);
            ring.turn(LONG, has_mail, |completion| match completion {
                Completion::Accepted { token, .. } => operations.push(Operation::Receive(token)),
                Completion::Received { bytes, .. } => {
                    read.fetch_add(bytes.len() as u64, Ordering::Release);
                }
                _ => {}
            })
            .unwrap();
            operations.into_iter().for_each(|operation| ring.submit(operation));
            while mailbox.pop().is_some() {
                taken.fetch_add(1, Ordering::Release);
            }
        }
    });
    assert_eq!((read.into_inner(), taken.into_inner()), (ROUNDS, ROUNDS));
}

/// An idle turn, and one of a socket, call those banks alone that have something to do.
#[test]
fn a_bank_with_nothing_to_do_is_not_called() {
    let mut server = serve_with(
        Echo::default(),
        Settings { slots: 60, bank_slots: 3, accepts: 1, ..settings() },
        ListenerSettings::default(),
    );
    assert_eq!(server.ring.banks(), 20);
    let mut clients: Vec<TcpStream> = (0..50).map(|_| connect(server.address)).collect();
    server.run(|echo| echo.accepted == 50);
    for _ in 0..5 {
        server.turn(Duration::ZERO);
    }
    let before = server.ring.counters().enters;
    server.turn(Duration::from_millis(1));
    assert!(server.ring.counters().enters <= before + 1, "one sleep");
    let before = server.ring.counters().enters;
    for client in &mut clients[..10] {
        client.write_all(&[7]).unwrap();
        let sent = server.shard.sent;
        server.run(|echo| echo.sent == sent + 1);
    }
    let calls = server.ring.counters().enters - before;
    assert!(calls <= 10 * 7, "{calls} calls for 10 echoes");
}

#[test]
fn a_dropped_ring_closes_the_sockets_of_all_banks() {
    let mut server = serve(Echo::default());
    let mut clients: Vec<TcpStream> = (0..SLOTS).map(|_| connect(server.address)).collect();
    server.run(|echo| echo.accepted == u64::from(SLOTS));
    let address = server.address;
    drop(server);
    for client in &mut clients {
        match client.read(&mut [0]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    assert!(TcpStream::connect(address).is_err(), "nobody listens");
}
