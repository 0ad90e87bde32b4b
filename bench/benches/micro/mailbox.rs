//! Mailboxes between cores: envelopes in batches through one thread, and between two.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use criterion::{Criterion, Throughput};
use protocol::envelope::{Caller, GatewayId, ToGateway};
use protocol::id::{ClientId, ConversationKey};
use ring::mailbox::Mailbox;

use crate::path::Path;
use crate::sample;

const ITEMS_MAX: usize = 4_096;
const BATCH: u64 = 64;

pub(crate) fn paths() -> Vec<Path> {
    let batch = || {
        let (mailbox, names) = (Mailbox::new(ITEMS_MAX), names());
        move || {
            for _ in 0..BATCH {
                mailbox.push(ack(black_box(&names)), ITEMS_MAX).expect("an empty mailbox");
            }
            while let Some(envelope) = mailbox.pop() {
                black_box(envelope);
            }
        }
    };
    vec![Path::new("mailbox/push-and-pop", batch).of(BATCH)]
}

fn names() -> (ConversationKey, ClientId) {
    (sample::key(), sample::client_id("m-000000123"))
}

fn ack(&(conversation, id): &(ConversationKey, ClientId)) -> ToGateway {
    ToGateway::Appended {
        caller: Caller { gateway: GatewayId(0), connection: 7, reference: 0 },
        conversation,
        id,
        seq: 4_711,
        time: sample::UNIX_MS,
        duplicate: false,
    }
}

/// One thread pushes, this one pops: what an envelope costs from core to core when both are awake. Needs two CPUs.
pub(crate) fn between_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    group.throughput(Throughput::Elements(1));
    group.bench_function("between-two-threads", |bencher| {
        bencher.iter_custom(|envelopes| {
            let (mailbox, go) = (Mailbox::new(ITEMS_MAX), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| push_all(&mailbox, &go, envelopes));
                let start = Instant::now();
                go.store(true, Ordering::Release);
                for _ in 0..envelopes {
                    black_box(pop_next(&mailbox));
                }
                start.elapsed()
            })
        });
    });
    group.finish();
}

fn push_all(mailbox: &Mailbox<ToGateway>, go: &AtomicBool, envelopes: u64) {
    while !go.load(Ordering::Acquire) {
        spin_loop();
    }
    let names = names();
    for _ in 0..envelopes {
        let mut envelope = ack(&names);
        while let Err(back) = mailbox.push(envelope, ITEMS_MAX) {
            envelope = back;
            std::thread::yield_now();
        }
    }
}

fn pop_next(mailbox: &Mailbox<ToGateway>) -> ToGateway {
    loop {
        match mailbox.pop() {
            Some(envelope) => return envelope,
            None => std::thread::yield_now(),
        }
    }
}
