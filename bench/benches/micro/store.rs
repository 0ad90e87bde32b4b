//! Values of the store: sealed with their checksum, and opened again.

use std::hint::black_box;

use storage::key::StoreKey;
use storage::value::{Head, open_event, seal_event};

use crate::path::Path;
use crate::sample;

pub(crate) fn paths() -> Vec<Path> {
    vec![
        Path::new("store/key-of-event", || {
            let key = StoreKey::Event(sample::key(), 4_711);
            move || drop(black_box(black_box(&key).encode()))
        }),
        Path::new("store/seal-event", || {
            let (key, event) = (StoreKey::Event(sample::key(), 7).encode(), sample::event(7));
            move || drop(black_box(seal_event(black_box(&key), &event)))
        }),
        Path::new("store/open-event", || {
            let key = StoreKey::Event(sample::key(), 7).encode();
            let value = seal_event(&key, &sample::event(7));
            move || drop(black_box(open_event(black_box(&key), &value).expect("sealed just now")))
        }),
        Path::new("store/seal-head", || {
            let key = StoreKey::Head(sample::key()).encode();
            let head =
                Head { seq: 4_711, lamport: 4_711, time: sample::UNIX_MS, members: 100, owners: 1, first: 1 };
            move || drop(black_box(black_box(&head).seal(&key)))
        }),
    ]
}
