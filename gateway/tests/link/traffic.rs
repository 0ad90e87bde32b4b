//! The promise: any traffic, in any pieces, with pauses and short sends, arrives once and in order, in both directions.

use std::collections::VecDeque;

use gateway::link::{Event, Unsent};
use protocol::envelope::{Caller, ToGateway, ToRouter};
use protocol::placement::Epoch;

use crate::samples::{Chance, append, detach, head, publish, refused};
use crate::wire::{End, KNOWN_AS, Pair, at};

/// What one end sends, by what the other is to hear.
#[derive(Default)]
struct Direction {
    expected: Vec<String>,
    wire: VecDeque<u8>,
}

/// As the acceptor knows its caller.
fn renamed(envelope: ToRouter) -> ToRouter {
    match envelope {
        ToRouter::Append { caller, actor, conversation, draft, lamport } => {
            let caller = Caller { gateway: KNOWN_AS, ..caller };
            ToRouter::Append { caller, actor, conversation, draft, lamport }
        }
        ToRouter::Detach { conversation, .. } => ToRouter::Detach { gateway: KNOWN_AS, conversation },
        other => other,
    }
}

fn body_bytes(chance: &mut Chance) -> usize {
    match chance.below(20) {
        0 => chance.below(60_000),
        _ => chance.below(300),
    }
}

fn send_to_router(end: &mut End, chance: &mut Chance, number: u64, expected: &mut Vec<String>) {
    if chance.below(10) == 0 {
        // One that is larger than all before, since there are as many words.
        let epoch = Epoch(expected.len() as u64 + 1);
        end.link.send_routing(&mut end.common, epoch);
        expected.push(format!("{:?}", Event::Routing(epoch)));
    }
    let envelope = if chance.below(3) == 0 { detach() } else { append(number, body_bytes(chance)) };
    let to_core = chance.below(2) as u16;
    match end.link.send_to_router(&mut end.common, &envelope, to_core) {
        Ok(()) => expected.push(format!("{:?}", Event::ToRouter { to_core, envelope: renamed(envelope) })),
        Err(Unsent::Full) => {}
        Err(Unsent::TooLarge) => panic!("it fits"),
    }
}

fn send_to_gateway(end: &mut End, chance: &mut Chance, number: u64, expected: &mut Vec<String>) {
    let envelope: ToGateway = match chance.below(3) {
        0 => publish(number + 1, body_bytes(chance)),
        1 => head(number),
        _ => refused(number),
    };
    match end.link.send_to_gateway(&mut end.common, &envelope, 0) {
        Ok(()) => expected.push(format!("{:?}", Event::ToGateway(envelope))),
        Err(Unsent::Full) => {}
        Err(Unsent::TooLarge) => panic!("it fits"),
    }
}

fn carry(end: &mut End, chance: &mut Chance, wire: &mut VecDeque<u8>) {
    if chance.below(3) == 0 && end.link.is_paused() {
        end.link.resume(at(0));
        end.pause_after = 1 + chance.below(9);
        end.receive(at(0), &[]);
    }
    let count = wire.len().min(1 + chance.below(16 * 1024));
    // What is paused gets what was under way all the same.
    if count > 0 && (!end.link.is_paused() || chance.below(8) == 0) {
        let bytes: Vec<u8> = wire.drain(..count).collect();
        if !end.link.is_paused() && end.pause_after == usize::MAX && chance.below(4) == 0 {
            end.pause_after = 1 + chance.below(9);
        }
        end.receive(at(0), &bytes);
    }
}

fn step(seed: u64, number: u64, chance: &mut Chance, pair: &mut Pair, ways: &mut [Direction; 2]) {
    let [there, back] = ways;
    for _ in 0..chance.below(4) {
        send_to_router(&mut pair.dialler, chance, number, &mut there.expected);
    }
    for _ in 0..chance.below(4) {
        send_to_gateway(&mut pair.acceptor, chance, number, &mut back.expected);
    }
    there.wire.extend(pair.dialler.send(at(0), 1 + chance.below(20_000)));
    back.wire.extend(pair.acceptor.send(at(0), 1 + chance.below(20_000)));
    carry(&mut pair.acceptor, chance, &mut there.wire);
    carry(&mut pair.dialler, chance, &mut back.wire);
    assert!(!pair.dialler.link.is_over() && !pair.acceptor.link.is_over(), "seed {seed}");
}

#[test]
fn any_traffic_arrives_once_and_in_order() {
    for seed in 0..30 {
        let mut chance = Chance(seed);
        let mut pair = Pair::ready();
        let mut ways = [Direction::default(), Direction::default()];
        for number in 0..150 {
            step(seed, number, &mut chance, &mut pair, &mut ways);
        }
        while ways.iter().any(|way| !way.wire.is_empty())
            || pair.dialler.link.is_paused()
            || pair.acceptor.link.is_paused()
        {
            carry(&mut pair.acceptor, &mut chance, &mut ways[0].wire);
            carry(&mut pair.dialler, &mut chance, &mut ways[1].wire);
        }
        same(&pair.acceptor, &ways[0].expected, seed);
        same(&pair.dialler, &ways[1].expected, seed);
        counters_agree(&pair, seed);
    }
}

/// Without telling megabytes of words when they differ.
fn same(end: &End, expected: &[String], seed: u64) {
    let words = end.words();
    let differs = words.iter().zip(expected).position(|(word, expected)| word != expected);
    assert_eq!((words.len(), differs), (expected.len(), None), "seed {seed}");
}

/// What one counts as sent the other counts as received.
fn counters_agree(pair: &Pair, seed: u64) {
    for (from, to) in [(&pair.dialler, &pair.acceptor), (&pair.acceptor, &pair.dialler)] {
        assert_eq!(from.common.counters().outgoing, to.common.counters().incoming, "seed {seed}");
    }
}
