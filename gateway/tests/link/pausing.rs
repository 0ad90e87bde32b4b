//! The promise: an owner may pause behind any event and any byte; when it goes on, nothing is lost, nothing comes twice, and
//! nothing came meanwhile.

use gateway::link::{Event, KEPT_BYTES_MAX, Reason};

use crate::samples::append;
use crate::wire::{End, Pair, at};

/// Frames of a dialler, and what they are to an acceptor.
fn stream() -> (Vec<u8>, Vec<String>) {
    let mut pair = Pair::ready();
    for number in 0..6 {
        pair.told(number / 2);
        let end = &mut pair.dialler;
        let body_bytes = [0, 5, 300][number as usize % 3];
        end.link.send_to_router(&mut end.common, &append(number, body_bytes), 0).unwrap();
    }
    let bytes = pair.dialler.send(at(0), usize::MAX);
    pair.acceptor.receive(at(0), &bytes);
    (bytes, pair.acceptor.words())
}

/// An acceptor that is ready for the stream: every pair has the same nonces here.
fn acceptor() -> End {
    Pair::ready().acceptor
}

#[test]
fn a_pause_behind_any_event_and_in_any_split_loses_and_doubles_nothing() {
    let (bytes, expected) = stream();
    assert_eq!(expected.len(), 8);
    for pause_after in 1..=expected.len() {
        for split in (0..=bytes.len()).step_by(3) {
            let mut end = acceptor();
            end.pause_after = pause_after;
            let (front, back) = bytes.split_at(split);
            end.receive(at(0), front);
            let paused_in_front = end.link.is_paused();
            let seen = end.events.len();
            end.receive(at(0), back);
            if paused_in_front {
                assert_eq!((seen, end.events.len()), (pause_after, pause_after), "nothing comes meanwhile");
            }
            assert!(end.link.is_paused());
            end.resume(at(0));
            assert_eq!(end.words(), expected, "paused after {pause_after}, split at {split}");
        }
    }
}

#[test]
fn pausing_behind_every_event_loses_and_doubles_nothing() {
    let (bytes, expected) = stream();
    for piece in [1, 2, 3, 7, 50, 200, 1_000, bytes.len()] {
        let mut end = acceptor();
        for bytes in bytes.chunks(piece) {
            end.pause_after = 1;
            end.receive(at(0), bytes);
        }
        for _ in 0..expected.len() {
            if end.link.is_paused() {
                end.pause_after = 1;
                end.resume(at(0));
            }
        }
        assert_eq!(end.words(), expected, "pieces of {piece}");
    }
}

#[test]
fn what_comes_while_the_kept_rest_is_half_read_comes_behind_it() {
    let (bytes, expected) = stream();
    for split in (0..=bytes.len()).step_by(7) {
        let mut end = acceptor();
        end.pause_after = 1;
        let (front, back) = bytes.split_at(split);
        end.receive(at(0), front);
        while end.link.is_paused() && end.events.len() < 3 {
            end.pause_after = 1;
            end.resume(at(0));
        }
        end.receive(at(0), back);
        end.resume(at(0));
        end.pause_after = usize::MAX;
        end.resume(at(0));
        assert_eq!(end.words(), expected, "split at {split}");
    }
}

#[test]
fn a_pause_that_is_asked_for_between_bytes_holds_at_once() {
    let (bytes, expected) = stream();
    let mut end = acceptor();
    end.receive(at(0), &bytes[..30]);
    end.link.pause(&mut end.common);
    end.link.pause(&mut end.common);
    assert_eq!(end.common.counters().pauses, 1);
    end.receive(at(0), &bytes[30..]);
    assert!(end.events.is_empty());
    end.resume(at(0));
    assert_eq!(end.words(), expected);
}

#[test]
fn an_owner_that_pauses_the_link_but_not_the_socket_loses_it() {
    let mut end = acceptor();
    end.link.pause(&mut end.common);
    let piece = vec![0; KEPT_BYTES_MAX / 64];
    for _ in 0..64 {
        end.receive(at(0), &piece);
    }
    assert!(end.events.is_empty());
    end.receive(at(0), &[0]);
    assert!(matches!(end.events[..], [Event::Ended(Reason::Overrun)]));
}

#[test]
fn the_end_is_told_to_a_paused_owner_too() {
    let (bytes, _) = stream();
    let mut end = acceptor();
    end.link.pause(&mut end.common);
    end.receive(at(0), &bytes);
    end.link.socket_ended(&mut end.common, 0);
    end.receive(at(0), &[]);
    assert!(matches!(end.events[..], [Event::Ended(Reason::Socket(0))]));
    end.resume(at(0));
    assert_eq!(end.events.len(), 1);
}
