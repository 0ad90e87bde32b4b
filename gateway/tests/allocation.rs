//! No allocation on the hot path once it is warm: delivery, parsing, answers, heartbeats. And a record's size is a fact.

#[path = "shard/fleet.rs"]
#[allow(dead_code, reason = "the shard's tests use the rest")]
mod fleet;
#[path = "shard/owner.rs"]
#[allow(dead_code, reason = "the shard's tests use the rest")]
mod owner;
#[path = "shard/wire.rs"]
#[allow(dead_code, reason = "the shard's tests use the rest")]
mod wire;
#[path = "shard/world.rs"]
#[allow(dead_code, reason = "the shard's tests use the rest")]
mod world;

use gateway::shard::operation::{Completion as SocketCompletion, Operation as SocketOperation};
use gateway::shard::{Completion, Operation, Settings};
use protocol::envelope::ToGateway;
use ring::allocation::Counting;
use ring::token::Token;

use crate::owner::{draft, key, message};
use crate::wire::masked;
use crate::world::{World, settings};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Executes what the shard wants without allocating itself.
fn settle(world: &mut World) {
    while let Some(operation) = world.shard.poll_operation() {
        if let Operation::Socket(SocketOperation::Send(token, gather)) = operation {
            let bytes: usize = gather.packets.iter().map(|packet| packet.as_bytes().len()).sum();
            let result = (bytes - gather.skip) as i32;
            world
                .shard
                .handle(world.now, Completion::Socket(SocketCompletion::Sent { token, result, gather }));
        }
    }
}

fn receive(world: &mut World, token: Token, bytes: &mut [u8]) {
    world.shard.handle(world.now, Completion::Socket(SocketCompletion::Received { token, bytes }));
    settle(world);
}

/// Allocations of `rounds` rounds after as many to warm up.
fn counted(world: &mut World, rounds: u64, mut round: impl FnMut(&mut World, u64)) -> u64 {
    for at in 0..rounds {
        round(world, at);
    }
    let before = Counting::count();
    for at in rounds..2 * rounds {
        round(world, at);
    }
    Counting::count() - before
}

fn fast() -> Settings {
    Settings { frames_per_second: 1_000_000, frames_burst: 1_000_000, ..settings() }
}

#[test]
fn delivering_a_publish_allocates_nothing() {
    let mut world = World::with(fast());
    let members: Vec<String> = (0..50).map(|at| format!("u{at}")).collect();
    world.owner.conversation("c", &members.iter().map(String::as_str).collect::<Vec<_>>());
    for member in &members {
        world.session(member, "d");
    }
    // The envelopes themselves come from elsewhere.
    let mut publishes: Vec<ToGateway> = (1..=400u64)
        .map(|seq| {
            let event =
                draft("c", "u0", "id", message("a message of usual length, more or less")).seal(seq, 1, seq);
            ToGateway::Publish { conversation: key("c"), events: [event].into() }
        })
        .collect();
    publishes.reverse();
    let allocations = counted(&mut world, 200, |world, _| {
        let publish = publishes.pop().unwrap();
        world.shard.handle(world.now, Completion::Envelope(publish));
        settle(world);
    });
    assert_eq!(allocations, 0);
    assert_eq!(world.shard.counters().deliveries, 400 * 50);
}

#[test]
fn reading_and_answering_frames_allocates_nothing() {
    let mut world = World::with(fast());
    let session = world.session("alice", "d");
    let ping = masked(0x81, br#"{"op":"ping","ref":123456,"unknown":["\u00e9",{}]}"#);
    let control = masked(0x89, b"payload");
    let mut buffer = vec![0; 4_096];
    let allocations = counted(&mut world, 300, |world, _| {
        for frame in [&ping, &control] {
            buffer[..frame.len()].copy_from_slice(frame);
            receive(world, session, &mut buffer[..frame.len()]);
        }
    });
    assert_eq!(allocations, 0);
}

#[test]
fn a_frame_in_pieces_allocates_nothing_once_buffers_are_warm() {
    let mut world = World::with(fast());
    let session = world.session("alice", "d");
    let ping = masked(0x81, br#"{"op":"ping","ref":123456}"#);
    let mut buffer = ping.clone();
    let allocations = counted(&mut world, 300, |world, at| {
        buffer.copy_from_slice(&ping);
        let (head, tail) = buffer.split_at_mut(1 + at as usize % (ping.len() - 1));
        receive(world, session, head);
        receive(world, session, tail);
    });
    assert_eq!(allocations, 0);
}

#[test]
fn a_send_allocates_its_draft_and_nothing_else() {
    let mut world = World::with(Settings {
        limits: protocol::frame::ClientLimits {
            sends_per_second: 1_000_000,
            sends_burst: 1_000_000,
            ..settings().limits
        },
        requests_in_flight_max: u16::MAX,
        ..fast()
    });
    world.owner.conversation("c", &["alice"]);
    let session = world.session("alice", "d");
    let send = masked(0x81, br#"{"op":"send","id":"m1","conversation":"c","body":"hello there"}"#);
    let mut buffer = send.clone();
    let allocations = counted(&mut world, 300, |world, _| {
        buffer.copy_from_slice(&send);
        receive(world, session, &mut buffer);
    });
    // Once to encode it, once for the bytes that are shared from then on.
    assert_eq!(allocations, 2 * 300);
}

#[test]
fn heartbeats_of_idle_connections_allocate_nothing() {
    let mut world = World::with(fast());
    let sessions: Vec<Token> = (0..200).map(|at| world.session(&format!("u{at}"), "d")).collect();
    let pong = masked(0x8a, b"");
    let mut buffer = pong.clone();
    let allocations = counted(&mut world, 20, |world, _| {
        for _ in 0..310 {
            world.now.monotonic_ms += 100;
            world.now.monotonic_us += 100_000;
            world.shard.handle(world.now, Completion::Tick);
            settle(world);
        }
        for session in &sessions {
            buffer.copy_from_slice(&pong);
            receive(world, *session, &mut buffer);
        }
    });
    assert!(world.shard.counters().pings >= 200 * 39, "{}", world.shard.counters().pings);
    assert_eq!(allocations, 0);
}

#[test]
fn an_idle_connection_holds_its_record_and_nothing_else() {
    let mut world = World::with(fast());
    // One chunk of records, and what is made with the first of them.
    for at in 0..1_024 {
        world.session(&format!("u{at}"), "d");
    }
    let counters = world.shard.counters();
    assert_eq!((counters.input_bytes, counters.outbox_bytes, counters.rooms), (0, 0, 0));
}
