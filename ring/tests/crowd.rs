//! Promise: small queues, few buffers and many sockets slow a ring down, and lose nothing.

mod shard;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ring::Settings;
use ring::listener::ListenerSettings;
use shard::{Echo, Server, connect, serve_with};

fn serve(settings: Settings) -> Server<Echo> {
    serve_with(Echo::default(), settings, ListenerSettings::default())
}

/// Every client sends `bytes` bytes of its own and gets them back.
fn echo_all(server: &mut Server<Echo>, clients: &mut [TcpStream], bytes: usize) {
    let (received, sent) = (server.shard.received, server.shard.sent);
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&vec![number as u8; bytes]).unwrap();
    }
    let total = (clients.len() * bytes) as u64;
    server.run(|echo| echo.received == received + total && echo.sent == sent + total);
    let mut answer = vec![0; bytes];
    for (number, client) in clients.iter_mut().enumerate() {
        client.read_exact(&mut answer).unwrap();
        assert!(answer.iter().all(|byte| *byte == number as u8), "client {number} got another's bytes");
    }
}

#[test]
fn queues_of_four_and_eight_entries_serve_hundreds() {
    let settings = Settings { slots: 400, submissions: 4, completions: 8, accepts: 8, ..Settings::default() };
    let mut server = serve(settings);
    let mut clients: Vec<TcpStream> = (0..300).map(|_| connect(server.address)).collect();
    for bytes in [1, 100, 5_000] {
        echo_all(&mut server, &mut clients, bytes);
    }
    drop(clients);
    server.run(|echo| echo.closed == 300);
}

#[test]
fn one_tiny_buffer_serves_many() {
    let settings = Settings { slots: 100, buffers: 1, buffer_bytes: 7, ..Settings::default() };
    let mut server = serve(settings);
    let mut clients: Vec<TcpStream> = (0..60).map(|_| connect(server.address)).collect();
    echo_all(&mut server, &mut clients, 500);
    assert!(server.ring.counters().buffer_waits > 0);
    drop(clients);
    server.run(|echo| echo.closed == 60);
}

/// A client floods; another's few bytes come within a few turns all the same.
#[test]
fn a_flood_starves_nobody() {
    let settings = Settings { slots: 32, buffers: 1, buffer_bytes: 512, ..Settings::default() };
    let mut server = serve(settings);
    let mut flood = connect(server.address);
    let mut quiet = connect(server.address);
    server.run(|echo| echo.accepted == 2);
    let bytes = 100_000;
    flood.write_all(&vec![9; bytes]).unwrap();
    server.run(|echo| echo.received >= 5_120);
    quiet.write_all(b"quiet").unwrap();
    quiet.set_nonblocking(true).unwrap();
    let mut answer = [0; 5];
    let before = server.shard.received;
    while quiet.read(&mut answer).is_err() {
        server.turn(Duration::ZERO);
    }
    assert_eq!(&answer, b"quiet");
    assert!(
        server.shard.received - before < 20 * 512,
        "it waited for {} bytes",
        server.shard.received - before
    );
}

#[test]
fn five_thousand_connections_come_talk_and_go() {
    const TOTAL: u64 = 5_000;
    const AT_ONCE: u64 = 250;
    let mut server = serve(Settings { slots: 300, ..Settings::default() });
    let address = server.address;
    let clients = std::thread::spawn(move || {
        for _ in 0..TOTAL / AT_ONCE {
            let mut clients: Vec<TcpStream> = (0..AT_ONCE).map(|_| connect(address)).collect();
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(&[number as u8; 9]).unwrap();
            }
            for (number, mut client) in clients.into_iter().enumerate() {
                // Some go before their answer, some after it.
                if number % 3 != 0 {
                    let mut answer = [0; 9];
                    client.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, [number as u8; 9]);
                }
            }
        }
    });
    server.run(|echo| echo.closed == TOTAL);
    clients.join().unwrap();
    assert_eq!((server.shard.accepted, server.ring.counters().accepted), (TOTAL, TOTAL));
}

/// More than the 16 that one thread may register, each with a table as large as the limit allows here.
#[test]
fn forty_rings_of_twenty_thousand_slots_fit_one_thread() {
    let slots = ring::limit::Limit::descriptors().soft.min(20_000) as u32;
    let settings = Settings { slots, accepts: 2, ..Settings::default() };
    let mut servers: Vec<Server<Echo>> = (0..40).map(|_| serve(settings)).collect();
    for server in &mut servers {
        let mut clients = vec![connect(server.address)];
        echo_all(server, &mut clients, 10);
    }
}

#[test]
fn a_ring_on_each_of_many_threads_serves_its_clients() {
    let threads: Vec<_> = (0..16_u64)
        .map(|_| {
            std::thread::spawn(|| {
                let mut server = serve(Settings { slots: 20, ..Settings::default() });
                let mut clients: Vec<TcpStream> = (0..10).map(|_| connect(server.address)).collect();
                echo_all(&mut server, &mut clients, 1_000);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
