//! Pages hold the events that were asked for, dense, up to their bounds, and at least one; a hole is damage, and what
//! retention took is said.

mod support;

use protocol::envelope::ConversationKind;
use protocol::event::{Event, Role};
use protocol::frame::Range;
use storage::key::StoreKey;
use storage::kv::{Read, Write};
use storage::request::{Failure, Outcome, Request};
use storage::value::{Head, TIME_INDEX_STEP};

use support::*;

#[derive(Debug, PartialEq)]
struct Page {
    seqs: Vec<u64>,
    head: u64,
    more: bool,
    trimmed: Option<u64>,
}

fn page(store: &mut Store, range: Range, limit: u16, bytes_max: u32) -> Page {
    let request = Request::Page { conversation: conversation("c"), range, limit, bytes_max };
    match store.run(request) {
        Outcome::Page { events, head, more, trimmed } => {
            Page { seqs: events.iter().map(Event::seq).collect(), head, more, trimmed }
        }
        other => panic!("{other:?}"),
    }
}

/// A log of so many events, each ten milliseconds after the last but every third, which has the same time.
fn populate(store: &mut Store, count: u64) {
    let of = conversation("c");
    store.create(of, ConversationKind::Group, &[("alice", Role::Owner)]);
    for number in 1..=count {
        let item = message(of, "alice", &format!("m{number}"), "hello");
        store.run(append_request(of, vec![item], time_of(number)));
    }
}

fn time_of(number: u64) -> u64 {
    2_000 + 10 * (number - u64::from(number.is_multiple_of(3)))
}

#[test]
fn since_a_time_begins_with_the_first_event_of_it_or_later() {
    for mut store in Store::each() {
        let count = 3 * TIME_INDEX_STEP + 5;
        populate(&mut store, count);
        for time in
            [0, 2_009].into_iter().chain(2_010..2_040).chain((2_000..2_000 + 10 * count + 20).step_by(7))
        {
            let first = (1..=count).find(|number| time_of(*number) >= time);
            let expected: Vec<u64> = first.map_or(Vec::new(), |first| (first..=count).take(3).collect());
            let found = page(&mut store, Range::Since(time), 3, u32::MAX);
            let more = expected.last().is_some_and(|last| *last < count);
            assert_eq!(found, Page { seqs: expected, head: count, more, trimmed: None }, "since {time}");
        }
    }
}

#[test]
fn a_page_ends_at_its_bound_of_bytes_and_has_at_least_one_event() {
    for mut store in Store::each() {
        populate(&mut store, 20);
        let one = store.log(conversation("c"))[0].as_bytes().len() as u32;
        for (range, bytes_max, expected, more) in [
            (Range::After(3), 0, 4..=4, true),
            (Range::After(3), 3 * one - 1, 4..=5, true),
            (Range::After(3), 3 * one, 4..=6, true),
            (Range::After(17), 3 * one, 18..=20, false),
            (Range::Before(10), 1, 9..=9, true),
            (Range::Before(10), 2 * one, 8..=9, true),
            (Range::Before(3), 2 * one, 1..=2, false),
            (Range::Newest, 2 * one, 19..=20, true),
            (Range::Around(10), 1, 9..=10, true),
        ] {
            let found = page(&mut store, range, 200, bytes_max);
            // Ids of two digits make the later events a little larger.
            let seqs: Vec<u64> = expected.collect();
            assert!(
                found.seqs == seqs || found.seqs.len() + 1 == seqs.len() && bytes_max > one,
                "{range:?} {bytes_max}: {found:?}"
            );
            assert_eq!(found.more || found.seqs.len() < seqs.len(), more || found.seqs.len() < seqs.len());
        }
    }
}

#[test]
fn an_unknown_conversation_and_an_empty_one_have_empty_pages() {
    for mut store in Store::each() {
        for created in [false, true] {
            if created {
                store.create(conversation("c"), ConversationKind::Group, &[]);
            }
            for range in [Range::Newest, Range::Before(5), Range::After(0), Range::Around(1), Range::Since(0)]
            {
                let found = page(&mut store, range, 10, 1_000);
                assert_eq!(found, Page { seqs: vec![], head: 0, more: false, trimmed: None }, "{range:?}");
            }
        }
    }
}

#[test]
fn below_what_retention_holds_a_page_says_so() {
    let mut store = Store::memory();
    populate(&mut store, 30);
    let of = conversation("c");
    let key = StoreKey::Head(of).encode();
    let found = store.engine.read(&[Read::Get { key: key.clone(), conflict: false }]).unwrap();
    let [storage::kv::Found::Value(Some(value))] = &found[..] else { panic!() };
    let head = Head { first: 11, ..Head::open(&key, value).unwrap() };
    let (begin, end) = storage::key::events(&of, 1, 10);
    store
        .engine
        .commit(vec![Write::Set(key.clone(), head.seal(&key)), Write::ClearRange(begin, end)])
        .unwrap();
    for (range, seqs, more, trimmed) in [
        (Range::After(3), 11..=15, true, Some(11)),
        (Range::After(10), 11..=15, true, None),
        (Range::Before(14), 11..=13, false, Some(11)),
        (Range::Before(16), 11..=15, false, None),
        (Range::Around(5), 11..=15, true, Some(11)),
        (Range::Newest, 26..=30, true, None),
        (Range::Since(0), 11..=15, true, Some(11)),
        (Range::Since(time_of(13)), 13..=17, true, None),
    ] {
        let found = page(&mut store, range, 5, u32::MAX);
        assert_eq!(found, Page { seqs: seqs.collect(), head: 30, more, trimmed }, "{range:?}");
    }
    assert!(page(&mut store, Range::Before(11), 5, u32::MAX).seqs.is_empty());
}

#[test]
fn a_hole_in_the_log_is_damage_and_never_a_page() {
    for (hole, range) in [
        (5, Range::After(3)),
        (4, Range::After(3)),
        (8, Range::After(3)),
        (5, Range::Before(8)),
        (20, Range::Newest),
        (5, Range::Around(5)),
        (5, Range::Since(0)),
    ] {
        let mut store = Store::memory();
        populate(&mut store, 20);
        let key = StoreKey::Event(conversation("c"), hole).encode();
        store.engine.commit(vec![Write::Clear(key)]).unwrap();
        match store.run(page_request(conversation("c"), range, 5)) {
            Outcome::Failed(Failure::Damaged(why)) => {
                assert_eq!(why, format!("event {hole} of conversation c: there is none"), "{range:?}");
            }
            other => panic!("{range:?} with a hole at {hole}: {other:?}"),
        }
        let fault = storage::verify::verify(&mut store.engine).unwrap_err().to_string();
        assert!(fault.starts_with(&format!("event {hole} of conversation c")), "{fault}");
    }
}

#[test]
fn a_flipped_bit_in_a_record_is_damage_for_a_page_and_for_verify() {
    let mut store = Store::memory();
    populate(&mut store, 20);
    let key = StoreKey::Event(conversation("c"), 7).encode();
    let found = store.engine.read(&[Read::Get { key: key.clone(), conflict: false }]).unwrap();
    let [storage::kv::Found::Value(Some(value))] = &found[..] else { panic!() };
    let mut flipped = value.clone();
    flipped[40] ^= 4;
    store.engine.commit(vec![Write::Set(key, flipped)]).unwrap();
    let outcome = store.run(page_request(conversation("c"), Range::Newest, 20));
    let expected = "event 7 of conversation c: the checksum does not agree";
    assert!(matches!(outcome, Outcome::Failed(Failure::Damaged(why)) if why == expected));
    assert_eq!(storage::verify::verify(&mut store.engine).unwrap_err().to_string(), expected);
}
