//! Pages at the head and deep in logs of every length, and the start of a store that holds them.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use protocol::frame::Range;
use protocol::id::ConversationKey;
use storage::request::{ConversationAppend, Outcome, Request};

use crate::Choices;
use crate::meter::Meter;
use crate::work::{self, Store, Writer};

/// Events of one transaction while a log is written.
const BATCH: u64 = 500;
/// Events of a page.
const LIMIT: u16 = 50;

fn write_log(store: &mut Store, writer: &mut Writer, of: ConversationKey, events: u64) {
    let epoch = store.epoch;
    store.ask(work::create(epoch, of, 0..2));
    let batches = (0..events.div_ceil(BATCH)).map(|batch| BATCH.min(events - batch * BATCH));
    let requests = batches.map(|count| {
        let items = (0..count).map(|_| writer.message(of)).collect();
        work::append(epoch, 1, vec![ConversationAppend { conversation: of, items }])
    });
    // The store takes them in order, and a generator has no owner's rule to keep.
    store.ask_all(requests, 16);
}

fn page(store: &mut Store, conversation: ConversationKey, range: Range) -> usize {
    match store.ask(Request::Page { conversation, range, limit: LIMIT, bytes_max: 512 * 1024 }) {
        Outcome::Page { events, .. } => events.len(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn pages(path: &Path, choices: &Choices) {
    let (max, count) = (choices.number("max", 6), choices.number("pages", 2_000));
    let mut store = Store::open(path);
    let mut writer = Writer::new(choices.number("body", 64));
    let logs: Vec<(ConversationKey, u64)> =
        (2..=max).map(|power| (work::conversation(power), 10_u64.pow(power as u32))).collect();
    let (meter, mut written) = (Meter::read(), 0);
    for (of, events) in &logs {
        write_log(&mut store, &mut writer, *of, *events);
        written += events;
    }
    let spent = meter.spent();
    println!(
        "{written} events written in {:.1} s, {:.0} B each",
        spent.time.as_secs_f64(),
        spent.bytes(written)
    );
    for round in 0..2 {
        for (of, events) in &logs {
            show_pages(&mut store, *of, *events, count, round);
        }
    }
    store.stop();
}

fn show_pages(store: &mut Store, of: ConversationKey, events: u64, count: u64, round: u64) {
    let mut mixed = 7_u64;
    let mut anywhere = || {
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(1);
        50 + mixed % (events - 49)
    };
    type Where<'a> = (&'a str, &'a mut dyn FnMut() -> Range);
    let ways: [Where<'_>; 4] = [
        ("newest", &mut || Range::Newest),
        ("oldest", &mut || Range::After(0)),
        ("middle", &mut || Range::Before(events / 2 + 50)),
        ("random", &mut || Range::Before(anywhere())),
    ];
    for (name, range) in ways {
        let (meter, mut found) = (Meter::read(), 0);
        for _ in 0..count {
            found += page(store, of, range());
        }
        let spent = meter.spent();
        println!(
            "round {round}  {events:>9} events  {name}  cpu {:>7.2} us a page of {:.0}  {:>7.1} us in all",
            spent.cpu_us("store", count),
            found as f64 / count as f64,
            spent.time.as_secs_f64() * 1e6 / count as f64,
        );
    }
}

pub(crate) fn open(choices: &Choices) -> ExitCode {
    let Some(path) = choices.text("keep") else { return ExitCode::from(2) };
    let began = Instant::now();
    let engine = work::open(Path::new(path));
    println!("opened in {:.2} s", began.elapsed().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    println!("{resident}");
    drop(engine);
    ExitCode::SUCCESS
}
