//! Promise: a ring sleeps while there is nothing to do, and no longer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ring::mailbox::Mailbox;
use ring::waker::Waker;
use ring::{Ring, Settings};

const LONG: Duration = Duration::from_secs(3_600);

fn ring(waker: &Waker) -> Ring {
    Ring::new(Settings { slots: 4, ..Settings::default() }, Vec::new(), waker.clone()).unwrap()
}

#[test]
fn a_turn_with_nothing_to_do_ends_after_its_timeout() {
    let mut ring = ring(&Waker::new().unwrap());
    let begin = Instant::now();
    let turn = ring.turn(Duration::from_millis(20), || false, |_| ()).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(20));
    assert_eq!((turn.completions, turn.slept), (0, true));
}

#[test]
fn a_turn_with_a_zero_timeout_or_mail_does_not_sleep() {
    let mut ring = ring(&Waker::new().unwrap());
    assert!(!ring.turn(Duration::ZERO, || panic!("not asked"), |_| ()).unwrap().slept);
    assert!(!ring.turn(LONG, || true, |_| ()).unwrap().slept);
}

#[test]
fn only_a_sleeper_is_woken() {
    let waker = Waker::new().unwrap();
    let mut ring = ring(&waker);
    assert!(!waker.wake(), "never slept");
    // Asked just before the sleep, when the ring already counts as asleep.
    let turn = ring.turn(LONG, || !waker.wake() || waker.wake(), |_| ()).unwrap();
    assert!(turn.slept && turn.completions == 1, "woken once, by the first of two: {turn:?}");
    assert!(!waker.wake(), "awake again");
    assert_eq!(ring.counters().wakes, 1);
}

/// Many senders, one receiver that sleeps for an hour unless woken: one missed wake, and the test hangs or fails.
#[test]
fn nothing_is_lost_and_no_wake_is_missed() {
    const SENDERS: u64 = 3;
    const ITEMS: u64 = 30_000;
    let waker = Waker::new().unwrap();
    let mailbox: Mailbox<(u64, u64)> = Mailbox::new(64);
    let refused = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..SENDERS {
            let mut sender = mailbox.sender(waker.clone());
            let refused = &refused;
            scope.spawn(move || {
                for item in 0..ITEMS {
                    while sender.push((number, item), 48).is_err() {
                        refused.fetch_add(1, Ordering::Relaxed);
                        sender.flush();
                        std::thread::yield_now();
                    }
                    // Batches of every length.
                    if item % (1 + item % 17) == 0 {
                        sender.flush();
                    }
                }
            });
        }
        let mut ring = ring(&waker);
        let mut next = [0; SENDERS as usize];
        while next.iter().sum::<u64>() < SENDERS * ITEMS {
            ring.turn(LONG, || !mailbox.is_empty(), |_| ()).unwrap();
            while let Some((number, item)) = mailbox.pop() {
                assert_eq!(item, next[number as usize], "in the order of its sender");
                next[number as usize] += 1;
            }
        }
        assert!(mailbox.is_empty());
    });
}

/// One item at a time, each answered before the next: the receiver sleeps as often as it can.
#[test]
fn a_lone_item_wakes_its_receiver_every_time() {
    let (here, there) = (Waker::new().unwrap(), Waker::new().unwrap());
    let (questions, answers) = (Mailbox::new(1), Mailbox::new(1));
    let mut ask = questions.sender(there.clone());
    let mut answer = answers.sender(here.clone());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut ring = ring(&there);
            for expected in 0..5_000_u32 {
                assert_eq!(next(&mut ring, &questions), expected);
                answer.push(expected, 1).unwrap();
                answer.flush();
            }
        });
        let mut ring = ring(&here);
        for question in 0..5_000 {
            ask.push(question, 1).unwrap();
            ask.flush();
            assert_eq!(next(&mut ring, &answers), question);
        }
    });
}

fn next(ring: &mut Ring, mailbox: &Mailbox<u32>) -> u32 {
    loop {
        if let Some(item) = mailbox.pop() {
            return item;
        }
        ring.turn(LONG, || !mailbox.is_empty(), |_| ()).unwrap();
    }
}

#[test]
fn a_mailbox_is_filled_only_as_far_as_the_item_may() {
    let mailbox = Mailbox::new(4);
    assert_eq!(mailbox.push('a', 1), Ok(()));
    assert_eq!(mailbox.push('b', 1), Err('b'));
    assert_eq!(mailbox.push('b', 4), Ok(()));
    assert_eq!(mailbox.push('c', 3), Ok(()));
    assert_eq!(mailbox.push('d', 3), Err('d'));
    assert_eq!(mailbox.push('d', usize::MAX), Ok(()));
    assert_eq!(mailbox.push('e', usize::MAX), Err('e'), "its own bound is the last");
    assert_eq!((mailbox.len(), mailbox.capacity()), (4, 4));
    assert_eq!(std::iter::from_fn(|| mailbox.pop()).collect::<String>(), "abcd");
}
