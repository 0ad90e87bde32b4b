//! The ledger can fail: streams in which exactly one promise is broken.

#![cfg(test)]

use super::{Broken, Ledger, settle};

/// Two conversations, three members each; all were told of head 10.
fn begun() -> Ledger {
    let mut ledger = Ledger::new(2, [0, 0, 0, 1, 1, 1].into_iter());
    (0..6).for_each(|place| ledger.welcome(place, 10));
    ledger
}

/// Everybody of conversation 0 hears 11, 12 and 13, which are acknowledged.
fn told() -> Ledger {
    let mut ledger = begun();
    for seq in 11..=13 {
        (0..3).for_each(|place| ledger.hear(place, seq, content(seq)));
        ledger.acknowledged(0, seq);
    }
    ledger
}

fn content(seq: u64) -> u32 {
    0x9E37_79B9_u32.wrapping_mul(seq as u32)
}

#[track_caller]
fn assert_broken(ledgers: &[Ledger], expected: &[(Broken, u64)]) {
    let faults = settle(ledgers).faults;
    let total = expected.iter().map(|(_, count)| count).sum::<u64>();
    assert!(
        expected.iter().all(|(kind, count)| faults.count(*kind) == *count) && faults.total() == total,
        "{faults}"
    );
}

#[test]
fn a_log_as_it_should_be_has_no_fault() {
    let verdict = settle(&[told(), told()]);
    assert_eq!((verdict.faults.total(), verdict.heard, verdict.compared), (0, 18, 12), "{}", verdict.faults);
    assert!(told().is_complete());
}

#[test]
fn an_event_left_out_is_found_once() {
    let mut ledger = told();
    ledger.hear(0, 15, content(15));
    ledger.hear(0, 16, content(16));
    for place in [1, 2] {
        (14..=16).for_each(|seq| ledger.hear(place, seq, content(seq)));
    }
    assert_broken(&[ledger], &[(Broken::Gap, 1)]);
}

#[test]
fn an_event_that_comes_again_is_found() {
    let mut ledger = told();
    ledger.hear(2, 13, content(13));
    ledger.hear(2, 11, content(11));
    assert_broken(&[ledger], &[(Broken::Repeat, 2)]);
}

#[test]
fn two_events_in_the_wrong_order_are_found() {
    let mut ledger = told();
    for (place, seqs) in [(0, [15, 14]), (1, [14, 15]), (2, [14, 15])] {
        seqs.iter().for_each(|seq| ledger.hear(place, *seq, content(*seq)));
    }
    assert_broken(&[ledger], &[(Broken::Gap, 1), (Broken::Repeat, 1)]);
}

#[test]
fn other_content_at_the_same_place_is_found_in_one_thread_and_over_two() {
    let mut ledger = told();
    (0..3).for_each(|place| ledger.hear(place, 14, content(if place == 1 { 99 } else { 14 })));
    assert_broken(&[ledger], &[(Broken::Content, 1)]);
    let (mut one, mut other) = (told(), told());
    (0..3).for_each(|place| one.hear(place, 14, content(14)));
    (0..3).for_each(|place| other.hear(place, 14, content(99)));
    assert_broken(&[one, other], &[(Broken::Content, 3)]);
}

#[test]
fn a_member_who_did_not_hear_what_was_acknowledged_is_found() {
    let mut ledger = told();
    ledger.acknowledged(0, 14);
    assert!(!ledger.is_complete());
    assert_broken(&[ledger], &[(Broken::Incomplete, 3)]);
    let mut other = told();
    (0..3).for_each(|place| other.hear(place, 14, content(14)));
    assert_broken(&[told(), other], &[(Broken::Incomplete, 3)]);
}

#[test]
fn an_event_before_any_welcome_is_found() {
    let mut ledger = Ledger::new(1, [0].into_iter());
    ledger.hear(0, 1, content(1));
    assert_broken(&[ledger], &[(Broken::Gap, 1)]);
}

#[test]
fn a_log_that_shrinks_is_found() {
    let mut ledger = told();
    ledger.welcome(0, 13);
    ledger.welcome(0, 12);
    assert_broken(&[ledger], &[(Broken::HeadWentBack, 1)]);
}

#[test]
fn who_comes_back_has_to_ask_for_what_it_missed() {
    let back = || {
        let mut ledger = told();
        for place in [1, 2] {
            (14..=15).for_each(|seq| ledger.hear(place, seq, content(seq)));
        }
        ledger.welcome(0, 15);
        ledger
    };
    assert_eq!(back().gap(0), Some(14..=15));
    assert_broken(&[back()], &[(Broken::Incomplete, 1)]);
    let mut ledger = back();
    (14..=15).for_each(|seq| ledger.hear(0, seq, content(seq)));
    assert_broken(&[ledger], &[]);
}

#[test]
fn a_gap_that_was_told_must_be_filled_in_order() {
    let mut ledger = told();
    for place in [1, 2] {
        (14..=20).for_each(|seq| ledger.hear(place, seq, content(seq)));
    }
    ledger.lagging(0, 13, 18);
    assert_eq!(ledger.gap(0), Some(14..=18));
    ledger.hear(0, 19, content(19));
    (14..=17).for_each(|seq| ledger.hear(0, seq, content(seq)));
    ledger.hear(0, 20, content(20));
    assert!(!ledger.is_complete());
    assert_eq!(ledger.gap(0), Some(18..=18));
    ledger.hear(0, 18, content(18));
    assert_eq!(ledger.gap(0), None);
    assert_broken(&[ledger], &[]);
}

#[test]
fn a_gap_that_stays_is_found() {
    let mut ledger = told();
    ledger.lagging(0, 13, 15);
    for place in [1, 2] {
        (14..=15).for_each(|seq| ledger.hear(place, seq, content(seq)));
    }
    ledger.hear(0, 14, content(14));
    assert_broken(&[ledger], &[(Broken::Incomplete, 1)]);
}

#[test]
fn a_lag_from_where_the_client_never_was_is_found() {
    let mut ledger = told();
    ledger.lagging(0, 12, 13);
    assert_broken(&[ledger], &[(Broken::Gap, 1)]);
}

#[test]
fn seqs_beyond_all_logs_are_found() {
    let mut ledger = told();
    ledger.hear(0, 1 << 32, 0);
    assert_broken(&[ledger], &[(Broken::Gap, 1)]);
}
