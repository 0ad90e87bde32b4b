//! Promise: a warm ring allocates nothing, whatever goes through it.

mod shard;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ring::Settings;
use ring::allocation::Counting;
use ring::listener::ListenerSettings;
use shard::{Echo, Server, connect, serve_with};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One message from every client and back, and a client that comes and goes.
fn round(server: &mut Server<Echo>, clients: &mut [TcpStream], bytes: &mut [u8]) {
    let (sent, closed) = (server.shard.sent, server.shard.closed);
    for client in clients.iter_mut() {
        client.write_all(bytes).unwrap();
    }
    drop(connect(server.address));
    let total = sent + (clients.len() * bytes.len()) as u64;
    // Not by `run`, whose clock is none of the ring's business.
    while server.shard.sent < total || server.shard.closed == closed {
        server.turn(Duration::from_secs(1));
    }
    for client in clients {
        client.read_exact(bytes).unwrap();
    }
}

#[test]
fn ten_thousand_messages_allocate_nothing() {
    let mut server = serve_with(
        Echo::default(),
        Settings { slots: 64, ..Settings::default() },
        ListenerSettings::default(),
    );
    let mut clients: Vec<TcpStream> = (0..20).map(|_| connect(server.address)).collect();
    // More than a buffer of the ring, so that several packets travel in one gather.
    let mut bytes = vec![3; 40_000];
    for _ in 0..50 {
        round(&mut server, &mut clients, &mut bytes);
    }
    let before = Counting::count();
    for size in [40_000, 1, 100, 20_000, 30_000] {
        for _ in 0..100 {
            round(&mut server, &mut clients, &mut bytes[..size]);
        }
    }
    assert_eq!(Counting::count() - before, 0);
}

#[test]
fn the_counter_counts() {
    let (count, bytes, live) = (Counting::count(), Counting::bytes(), Counting::live());
    let boxed = std::hint::black_box(vec![0_u8; 100]);
    assert_eq!((Counting::count() - count, Counting::bytes() - bytes), (1, 100));
    assert_eq!(Counting::live() - live, 100);
    let mut grown = boxed;
    grown.reserve_exact(200);
    assert_eq!((Counting::count() - count, Counting::live() - live), (2, 300));
    drop(grown);
    assert_eq!(Counting::live(), live);
}
