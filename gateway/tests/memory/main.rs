//! What a session costs in memory of the shards, and that it comes back when the session goes.

mod node;
#[path = "../shard/wire.rs"]
#[allow(dead_code, reason = "the shard's tests use the rest")]
mod wire;

use ring::allocation::Counting;

use crate::node::{Bytes, Node};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A session in one conversation, its entry in the room and its slot of the ring included.
const SESSION_BYTES_MAX: f64 = 400.0;
/// Bytes of a ring's tables a slot (`ring/src/ring/slots.rs`).
const SLOT_BYTES: f64 = 20.0;
/// Connections made a turn.
const AT_ONCE: u32 = 256;

/// Everybody lives through some heartbeats, and what a storm has left is given back.
fn live_on(node: &mut Node, sessions: u32) {
    for _ in 0..4 {
        node.pass_ms(30_600);
        node.answer_pings(0..sessions);
    }
    node.pass_ms(25_000);
}

/// What a node weighs with so many sessions that are idle.
fn idle(shards: u16, sessions: u32, members: u32) -> Bytes {
    let mut node = Node::new(shards, members);
    node.connect(0..sessions, AT_ONCE);
    live_on(&mut node, sessions);
    assert_eq!((node.sessions(), node.pings()), (u64::from(sessions), 4 * u64::from(sessions)));
    println!("{shards} shards, {sessions} sessions in conversations of {members}: {} rooms", node.rooms());
    node.weigh()
}

fn a_session(more: Bytes, less: Bytes, sessions: u32) -> f64 {
    let each = |more: i64, less: i64| (more - less) as f64 / f64::from(sessions);
    let (gateway, router) = (each(more.gateways, less.gateways), each(more.routers, less.routers));
    println!("  a session: {gateway:.1} bytes of gateway shards, {router:.1} of router shards");
    gateway + router + SLOT_BYTES
}

#[test]
fn a_session_costs_at_most_400_bytes() {
    // In a dozen members of a room on each shard, and in a hundred.
    for (shards, sessions, members) in [(8, 16_000, 100), (8, 15_000, 1_000)] {
        let empty = Node::new(shards, members).weigh();
        let once = idle(shards, sessions, members);
        let twice = idle(shards, 2 * sessions, members);
        let all = a_session(twice, empty, 2 * sessions);
        let margin = a_session(twice, once, sessions);
        assert!(
            all <= SESSION_BYTES_MAX && margin <= SESSION_BYTES_MAX,
            "{all:.1}, at the margin {margin:.1}"
        );
    }
}

#[test]
fn memory_is_back_after_sessions_came_and_went_three_times() {
    const SESSIONS: u32 = 12_000;
    let mut node = Node::new(4, 100);
    let mut loads = Vec::new();
    for _ in 0..3 {
        node.connect(0..SESSIONS, AT_ONCE);
        live_on(&mut node, SESSIONS);
        assert_eq!(node.sessions(), u64::from(SESSIONS));
        let full = Counting::live();
        node.break_off(0..SESSIONS);
        node.pass_ms(120_000);
        assert_eq!(node.sessions(), 0);
        loads.push((full, Counting::live()));
    }
    let within = |first: i64, last: i64| last - first <= first / 20;
    let ((full, empty), (last_full, last_empty)) = (loads[0], loads[2]);
    assert!(within(full, last_full) && within(empty, last_empty), "{loads:?}");
}
