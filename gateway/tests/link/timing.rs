//! The promise: who is there says so, who is silent is gone, and who lost a peer comes back soon but not with everybody else.

use gateway::link::{Backoff, Event, HANDSHAKE_MS, PING_MS, Reason, SILENCE_MS};

use crate::samples::append;
use crate::wire::{Pair, acceptor_greeting, at, dialler_greeting};

#[test]
fn an_idle_link_lives_of_pings() {
    let mut pair = Pair::ready();
    for ms in (0..60_000).step_by(100) {
        pair.dialler.tick(at(ms));
        pair.acceptor.tick(at(ms));
        pair.run(at(ms));
    }
    for end in [&pair.dialler, &pair.acceptor] {
        assert!(end.link.is_ready() && end.events.is_empty());
        let counters = end.common.counters();
        assert_eq!((counters.outgoing.pings, counters.incoming.pings), (59, 59));
    }
}

#[test]
fn whoever_speaks_needs_no_pings() {
    let mut pair = Pair::ready();
    for ms in (0..10_000).step_by(500) {
        pair.dialler.link.send_to_router(&mut pair.dialler.common, &append(ms, 10), 0).unwrap();
        pair.dialler.tick(at(ms));
        pair.acceptor.tick(at(ms));
        pair.run(at(ms));
    }
    assert_eq!(pair.dialler.common.counters().outgoing.pings, 0);
}

#[test]
fn a_deadline_is_when_something_is_due_and_not_before() {
    let mut pair = Pair::ready();
    let end = &mut pair.dialler;
    assert_eq!(end.link.deadline(), Some(PING_MS));
    end.tick(at(PING_MS - 1));
    assert_eq!(end.send(at(PING_MS - 1), usize::MAX).len(), 0);
    end.tick(at(PING_MS));
    end.tick(at(PING_MS));
    assert_eq!(end.link.deadline(), Some(SILENCE_MS), "an unsent ping is not followed by others");
    assert_eq!(end.send(at(PING_MS), usize::MAX).len(), 18, "one ping");
    assert_eq!(end.link.deadline(), Some(2 * PING_MS));
    end.tick(at(SILENCE_MS - 1));
    assert!(end.events.is_empty());
    end.tick(at(SILENCE_MS));
    assert!(matches!(end.events[..], [Event::Ended(Reason::Silent)]));
    assert_eq!(end.link.deadline(), None);
}

#[test]
fn a_link_that_its_owner_paused_is_not_taken_for_silent() {
    let mut pair = Pair::ready();
    let end = &mut pair.acceptor;
    end.link.pause(&mut end.common);
    end.tick(at(60_000));
    assert!(end.events.is_empty());
    end.resume(at(60_000));
    end.tick(at(60_000 + SILENCE_MS - 1));
    assert!(end.events.is_empty());
    end.tick(at(60_000 + SILENCE_MS));
    assert!(matches!(end.events[..], [Event::Ended(Reason::Silent)]));
}

#[test]
fn a_handshake_takes_no_longer_than_five_seconds() {
    for frames in 0..3 {
        let mut pair = Pair::of(dialler_greeting(), acceptor_greeting());
        for frame in 0..frames {
            let (from, to) = if frame % 2 == 0 {
                (&mut pair.dialler, &mut pair.acceptor)
            } else {
                (&mut pair.acceptor, &mut pair.dialler)
            };
            to.receive(at(1_000), &from.send(at(1_000), usize::MAX));
        }
        for end in [&mut pair.dialler, &mut pair.acceptor] {
            if end.link.is_ready() {
                continue;
            }
            assert_eq!(end.link.deadline(), Some(HANDSHAKE_MS));
            end.tick(at(HANDSHAKE_MS - 1));
            assert!(end.events.is_empty());
            end.tick(at(HANDSHAKE_MS));
            assert!(matches!(end.events[..], [Event::Ended(Reason::Late)]), "frame {frames}");
        }
    }
}

#[test]
fn dials_are_ever_rarer_up_to_two_seconds_and_soon_again_after_a_good_link() {
    for seed in 0..100 {
        let mut backoff = Backoff::new(seed);
        let mut delay_of = |now_ms, ready_ms: Option<u64>| {
            if let Some(ready_ms) = ready_ms {
                backoff.ready(ready_ms);
            }
            backoff.ended(now_ms) - now_ms
        };
        for expected in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
            let delay = delay_of(1_000, None);
            assert!((expected / 2..=expected).contains(&delay), "seed {seed}: {delay} of {expected}");
        }
        assert!(delay_of(9_999, Some(5_000)) >= 1_000, "not a good one");
        assert!(delay_of(10_000, Some(5_000)) <= 100, "a good one");
        assert!(delay_of(60_000, None) >= 100, "a dial that failed is no link");
    }
    let mut delays: Vec<u64> = (0..100).map(|seed| Backoff::new(seed).ended(0)).collect();
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 25, "they are spread: {delays:?}");
}
