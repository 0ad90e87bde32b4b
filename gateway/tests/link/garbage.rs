//! The promise: whatever a peer sends, at whatever stage, the link goes on or ends with a reason, and nothing else happens.

use gateway::link::{Event, Reason};
use protocol::link::{
    Control, FRAME_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX, Malformed, Route, write_control, write_to_gateway,
    write_to_router,
};
use protocol::placement::{Epoch, Table};

use crate::samples::{CALLER, Chance, append, detach, head};
use crate::wire::{ACCEPTOR_CORE, DIALLER_CORE, End, Pair, acceptor_greeting, at, dialler_greeting};

/// A pair behind so many of the handshake's frames.
fn stage(frames: usize) -> Pair {
    let mut pair = Pair::of(dialler_greeting(), acceptor_greeting());
    for frame in 0..frames {
        if frame % 2 == 0 {
            let bytes = pair.dialler.send(at(0), usize::MAX);
            pair.acceptor.receive(at(0), &bytes);
        } else {
            let bytes = pair.acceptor.send(at(0), usize::MAX);
            pair.dialler.receive(at(0), &bytes);
        }
    }
    pair
}

fn control(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_control(kind, 0, bytes, &mut out).unwrap();
    out
}

fn reason(end: &End) -> Option<Reason> {
    match end.events.last() {
        Some(Event::Ended(reason)) => Some(*reason),
        _ => None,
    }
}

fn both(pair: &mut Pair) -> [&mut End; 2] {
    [&mut pair.dialler, &mut pair.acceptor]
}

#[test]
fn random_bytes_end_a_link_at_any_stage_or_are_waited_for() {
    for frames in 0..=4 {
        for seed in 0..300 {
            let mut chance = Chance(seed);
            let mut pair = stage(frames);
            for end in both(&mut pair) {
                let before = end.sent.len();
                let length = 1 + chance.below(3_000);
                let bytes: Vec<u8> = (0..length).map(|_| chance.number() as u8).collect();
                for piece in bytes.chunks(1 + chance.below(700)) {
                    end.receive(at(0), piece);
                }
                let envelopes =
                    end.events.iter().filter(|event| !matches!(event, Event::Ready { .. } | Event::Ended(_)));
                assert_eq!(envelopes.count(), 0, "seed {seed}");
                if end.link.is_over() {
                    end.send(at(0), usize::MAX);
                    assert_eq!(end.sent.len(), before, "nothing is said behind the end");
                }
                end.tick(at(5_000));
                assert!(end.link.is_over(), "silence ends what garbage did not");
                let events = end.events.len();
                end.receive(at(6_000), b"more");
                end.tick(at(20_000));
                assert_eq!(end.events.len(), events, "the end is told once");
                assert_eq!(end.link.deadline(), None);
            }
        }
    }
}

#[test]
fn whole_frames_of_any_kind_out_of_place_end_a_handshake() {
    for frames in 0..4 {
        for kind in 0x80..=0xFFu8 {
            for length in [0, 7, 8, 31, 32, 100] {
                let mut pair = stage(frames);
                let frame = control(kind, &vec![kind; length]);
                for (number, end) in both(&mut pair).into_iter().enumerate() {
                    if end.link.is_ready() {
                        continue;
                    }
                    end.receive(at(0), &frame);
                    let expected = match (number, frames, kind, length) {
                        // What each may hear next is what any stranger may say.
                        (1, 0, 0x80, 32..) | (0, 0 | 1, 0x81, 32..) => continue,
                        _ => reason(end),
                    };
                    assert!(
                        matches!(
                            expected,
                            Some(
                                Reason::Unexpected | Reason::Unproved | Reason::Malformed(Malformed::Control)
                            )
                        ),
                        "frame {frames}, kind {kind:x}, {length} bytes: {expected:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_stranger_has_no_memory_to_fill() {
    for (length, fits) in [(HANDSHAKE_FRAME_BYTES_MAX, true), (HANDSHAKE_FRAME_BYTES_MAX + 1, false)] {
        for frames in [0, 1, 2] {
            let mut pair = stage(frames);
            let bytes = (length as u32 - 4).to_le_bytes();
            pair.acceptor.receive(at(0), &bytes);
            let expected = (!fits).then_some(Reason::Malformed(Malformed::TooLarge));
            assert_eq!(reason(&pair.acceptor), expected);
        }
    }
    let mut pair = stage(4);
    let bytes = (FRAME_BYTES_MAX as u32 - 3).to_le_bytes();
    pair.acceptor.receive(at(0), &bytes);
    assert_eq!(reason(&pair.acceptor), Some(Reason::Malformed(Malformed::TooLarge)));
}

#[test]
fn an_envelope_before_a_proof_ends_the_link() {
    let mut out = Vec::new();
    write_to_router(&append(1, 10), Route { from: DIALLER_CORE, to: 0 }, &mut out).unwrap();
    for frames in [0, 1, 2] {
        let mut pair = stage(frames);
        pair.acceptor.receive(at(0), &out);
        assert_eq!(reason(&pair.acceptor), Some(Reason::Unexpected));
    }
}

#[test]
fn what_a_later_version_says_is_passed_over() {
    let mut pair = Pair::ready();
    for end in both(&mut pair) {
        for kind in 0x87..=0xFF {
            end.receive(at(0), &control(kind, b"of a later version"));
        }
        end.receive(at(0), &control(0x83, b"a ping with a word more"));
        assert!(end.link.is_ready() && end.events.is_empty());
    }
    pair.dialler.link.send_to_router(&mut pair.dialler.common, &detach(), 1).unwrap();
    pair.run(at(0));
    assert_eq!(pair.acceptor.events.len(), 1);
}

#[test]
fn frames_in_the_wrong_direction_or_from_elsewhere_end_the_link() {
    let to_router = |from, to| {
        let mut out = Vec::new();
        let caller = protocol::envelope::GatewayId(u32::from(from));
        let envelope = protocol::envelope::ToRouter::Detach {
            gateway: caller,
            conversation: crate::samples::conversation(),
        };
        write_to_router(&envelope, Route { from, to }, &mut out).unwrap();
        out
    };
    let to_gateway = |from, to| {
        let mut out = Vec::new();
        write_to_gateway(&head(1), Route { from, to }, &mut out).unwrap();
        out
    };
    let routing = control(0x85, &[0; 8]);
    let mut table = Vec::new();
    Control::Table { epoch: Epoch(3), bytes: b"none" }.write(&mut table).unwrap();
    let hello = control(0x80, &[0; 32]);
    let (dialler, acceptor) = (0, 1);
    let cases = [
        (dialler, to_router(DIALLER_CORE, 0), Reason::Unexpected),
        (acceptor, to_gateway(ACCEPTOR_CORE, DIALLER_CORE), Reason::Unexpected),
        (acceptor, to_router(DIALLER_CORE + 1, 0), Reason::Misaddressed),
        (acceptor, to_router(DIALLER_CORE, 2), Reason::Misaddressed),
        (dialler, to_gateway(0, DIALLER_CORE + 1), Reason::Misaddressed),
        (dialler, routing, Reason::Unexpected),
        (acceptor, table.clone(), Reason::Unexpected),
        (dialler, table, Reason::Unexpected),
        (acceptor, hello.clone(), Reason::Unexpected),
        (dialler, hello, Reason::Unexpected),
    ];
    for (number, (end, bytes, expected)) in cases.into_iter().enumerate() {
        let mut pair = Pair::ready();
        let end = &mut both(&mut pair)[end];
        end.receive(at(0), &bytes);
        assert_eq!(reason(end), Some(expected), "case {number}");
        let counted: u64 = end.common.counters().ended().map(|(_, count)| count).sum();
        assert_eq!(counted, 1);
    }
    assert_eq!(u32::from(DIALLER_CORE), CALLER.gateway.0);
}

#[test]
fn a_table_that_is_not_the_one_it_says_ends_the_link() {
    let mut pair = Pair::ready();
    let table = Table { epoch: Epoch(4), ..Table::empty() };
    let mut out = Vec::new();
    Control::Table { epoch: Epoch(5), bytes: &table.to_bytes() }.write(&mut out).unwrap();
    pair.dialler.receive(at(0), &out);
    assert_eq!(reason(&pair.dialler), Some(Reason::Unexpected));
}
