//! Promise: a gather goes out in order, as far as it fits; the result says how far, and the gather comes back.

mod shard;

use std::io::Read;
use std::net::Shutdown;
use std::time::Duration;

use ring::listener::ListenerSettings;
use ring::operation::Operation;
use ring::packet::{GATHER_PACKETS_MAX, Gather};
use ring::token::Token;
use ring::{Ring, Settings};
use shard::{Event, Recorder, Server, connect, gather, serve, serve_with};

/// Sends a gather whole, however often it ends short, and says how many sends that took.
fn send_whole(server: &mut Server<Recorder>, token: Token, gather: Box<Gather>) -> usize {
    let mut sends = 0;
    let mut rest = Some(gather);
    while let Some(gather) = rest.take() {
        sends += 1;
        server.ring.submit(Operation::Send(token, gather));
        server.run(|recorder| recorder.events.iter().any(|event| matches!(event, Event::Sent { .. })));
        let place = server.shard.events.iter().position(|event| matches!(event, Event::Sent { .. })).unwrap();
        let Event::Sent { result, gather, .. } = server.shard.events.remove(place) else { unreachable!() };
        rest = unsent(gather, usize::try_from(result).unwrap());
    }
    sends
}

fn unsent(mut gather: Box<Gather>, mut sent: usize) -> Option<Box<Gather>> {
    while let Some(packet) = gather.packets.first() {
        let length = packet.as_bytes().len() - gather.skip;
        if sent < length {
            gather.skip += sent;
            return Some(gather);
        }
        sent -= length;
        gather.skip = 0;
        gather.packets.remove(0);
    }
    None
}

#[test]
fn a_gather_of_every_size_arrives_in_order() {
    let mut server = serve(Recorder::default());
    let mut client = connect(server.address);
    let token = server.accept();
    for count in [1, 2, GATHER_PACKETS_MAX - 1, GATHER_PACKETS_MAX] {
        let packets: Vec<Vec<u8>> = (0..count).map(|packet| vec![packet as u8; packet + 1]).collect();
        let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        send_whole(&mut server, token, gather(&packets));
        let expected = packets.concat();
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
}

#[test]
fn what_is_skipped_of_the_first_packet_is_not_sent_again() {
    let mut server = serve(Recorder::default());
    let mut client = connect(server.address);
    let token = server.accept();
    for packets in [vec![b"abc".as_slice()], vec![b"abc", b"de"]] {
        let expected = packets.concat()[2..].to_vec();
        let mut gather = gather(&packets);
        gather.skip = 2;
        send_whole(&mut server, token, gather);
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
}

/// 2 MiB through socket buffers of a few KiB to a client that reads only when the server is stuck.
#[test]
fn a_slow_reader_gets_every_byte_in_many_short_sends() {
    let small = ListenerSettings { send_buffer_bytes: Some(16_384), ..ListenerSettings::default() };
    let mut server = serve_with(Recorder::default(), Settings { slots: 4, ..Settings::default() }, small);
    let mut client = connect(server.address);
    let token = server.accept();
    let packets: Vec<Vec<u8>> =
        (0..8_u8).map(|packet| (0..262_144).map(|byte| packet ^ byte as u8).collect()).collect();
    let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let expected = packets.concat();
    let length = expected.len();
    let reader = std::thread::spawn(move || {
        let mut answer = vec![0; length];
        client.read_exact(&mut answer).unwrap();
        answer
    });
    let sends = send_whole(&mut server, token, gather(&packets));
    assert!(sends > 1, "the socket's buffer is smaller than the gather");
    assert!(reader.join().unwrap() == expected);
}

#[test]
fn a_shutdown_goes_behind_a_send_that_ends_short_and_is_gone_on_with() {
    let small = ListenerSettings { send_buffer_bytes: Some(4_096), ..ListenerSettings::default() };
    let mut server = serve_with(Recorder::default(), Settings { slots: 4, ..Settings::default() }, small);
    let mut client = connect(server.address);
    let token = server.accept();
    let bytes = vec![5; 1 << 20];
    server.ring.submit(Operation::Send(token, gather(&[&bytes])));
    server.ring.submit(Operation::Shutdown(token));
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        answer
    });
    server.run(|recorder| !recorder.events.is_empty() && !recorder.results_of(token).is_empty());
    let place = server.shard.events.iter().position(|event| matches!(event, Event::Sent { .. })).unwrap();
    let Event::Sent { result, gather, .. } = server.shard.events.remove(place) else { unreachable!() };
    assert!(result > 0 && (result as usize) < bytes.len(), "the first send ends short: {result}");
    send_whole(&mut server, token, unsent(gather, result as usize).unwrap());
    server.turn(Duration::ZERO);
    assert!(reader.join().unwrap() == bytes);
}

/// The kernel would give a blocked send to such a client a thread of its own.
#[test]
fn a_client_that_half_closes_and_does_not_read_costs_no_thread_and_no_spin() {
    let mut server = serve(Recorder::default());
    let mut client = connect(server.address);
    let token = server.accept();
    client.shutdown(Shutdown::Write).unwrap();
    server.ring.submit(Operation::Receive(token));
    server.run(|recorder| recorder.end_of(token) == Some(0));
    let bytes = vec![4; 64 << 20];
    server.ring.submit(Operation::Send(token, gather(&[&bytes])));
    server.run(|recorder| !recorder.results_of(token).is_empty());
    let sent = server.shard.results_of(token)[0] as usize;
    assert!(sent < bytes.len(), "the first send ends short");
    server.ring.submit(Operation::Send(token, gather(&[b"the rest"])));
    let blocked = server.ring.counters().sends_blocked;
    let mut quiet_turns = 0;
    while quiet_turns < 3 {
        let turn = server.ring.turn(Duration::from_millis(10), || false, |_| ()).unwrap();
        quiet_turns += u32::from(turn.completions == 0);
    }
    assert!((1..10).contains(&(server.ring.counters().sends_blocked - blocked)), "it waits");
    // SAFETY: gettid(2) takes nothing and touches nothing.
    let worker = format!("iou-wrk-{}", unsafe { libc::gettid() });
    let names = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    assert_eq!(names.filter(|name| name.trim() == worker).count(), 0);
    let reader = std::thread::spawn(move || {
        let mut answer = vec![0; sent + 8];
        client.read_exact(&mut answer).unwrap();
        answer
    });
    server.run(|recorder| recorder.results_of(token).len() == 2);
    assert!(reader.join().unwrap().ends_with(b"\x04the rest"));
}

#[test]
#[should_panic(expected = "one send at a time a socket")]
fn two_sends_at_once_are_our_fault() {
    let mut server = serve(Recorder::default());
    let _client = connect(server.address);
    let token = server.accept();
    server.ring.submit(Operation::Send(token, gather(&[b"a"])));
    server.ring.submit(Operation::Send(token, gather(&[b"b"])));
}

#[test]
#[should_panic(expected = "a gather of 0 packets")]
fn an_empty_gather_is_our_fault() {
    let mut server = serve(Recorder::default());
    let _client = connect(server.address);
    let token = server.accept();
    server.ring.submit(Operation::Send(token, Box::default()));
}

#[test]
fn a_ring_stays_on_its_thread_and_is_small() {
    assert!(size_of::<Ring>() < 2_048);
}
