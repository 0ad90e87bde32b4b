//! Appends: the engine alone, transactions in many conversations, transactions in one.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use storage::engine::Engine;
use storage::kv::Write;
use storage::request::{ConversationAppend, Request};

use crate::Choices;
use crate::meter::{Meter, Spent, Times};
use crate::work::{self, Store, Writer};

/// Puts of one commit of the engine alone.
const PUTS: u64 = 256;

/// One kind of work: how often it was done, and what it cost.
pub(crate) struct Tally {
    name: &'static str,
    pub(crate) count: u64,
    /// Syncs, or commits of a cluster.
    pub(crate) syncs: u64,
    spent: Option<Spent>,
    pub(crate) times: Times,
}

impl Tally {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, count: 0, syncs: 0, spent: None, times: Times::default() }
    }

    pub(crate) fn add(&mut self, count: u64, syncs: u64, spent: Spent) {
        self.count += count;
        self.syncs += syncs;
        match &mut self.spent {
            Some(all) => all.add(&spent),
            None => self.spent = Some(spent),
        }
    }

    /// Pieces a second.
    #[cfg(feature = "foundationdb")]
    pub(crate) fn rate(&self) -> f64 {
        self.spent.as_ref().map_or(0.0, |spent| spent.rate(self.count))
    }

    /// What a cluster's client cost: the library's thread has the process's own name.
    #[cfg(feature = "foundationdb")]
    pub(crate) fn show_cluster(&mut self) {
        let spent = self.spent.as_ref().expect("there was a round");
        println!(
            "{:<8} {:>9.0} a s in {:>7.0} commits  cpu us each: {:.2} store, {:.2} library and asker  a transaction: {}",
            self.name,
            spent.rate(self.count),
            spent.rate(self.syncs),
            spent.cpu_us("store", self.count),
            spent.cpu_us("rates", self.count),
            self.times.show(),
        );
    }

    fn show(&mut self, thread: &str) {
        let spent = self.spent.as_ref().expect("there was a round");
        println!(
            "{:<8} {:>9.0} a s  cpu us each: {:.2} {thread}, {:.2} tables, {:.2} compact  {:>5.0} B written each  {:>6.1} a sync  {}",
            self.name,
            spent.rate(self.count),
            spent.cpu_us(thread, self.count),
            spent.cpu_us("store-tables", self.count),
            spent.cpu_us("store-compact", self.count),
            spent.bytes(self.count),
            self.count as f64 / self.syncs.max(1) as f64,
            self.times.show(),
        );
    }
}

/// The engine alone: what an event's record costs as such.
struct Alone {
    engine: Engine,
    next: u64,
    value: Vec<u8>,
}

impl Alone {
    fn new(path: &Path, body: u64) -> Self {
        let event = Writer::new(body).message(work::conversation(1));
        Self { engine: work::open(path), next: 0, value: vec![b'v'; event.draft.as_bytes().len() + 9] }
    }

    fn run(&mut self, tally: &mut Tally, length: Duration) {
        let meter = Meter::read();
        let (began, first) = (Instant::now(), self.next);
        let mut syncs = 0;
        while began.elapsed() < length {
            let puts = (self.next..self.next + PUTS).map(|number| {
                let of = work::conversation(number % 100_000);
                let key = storage::key::StoreKey::Event(of, number / 100_000 + 1).encode();
                Write::Set(key, self.value.clone())
            });
            self.engine.commit(puts.collect()).expect("the engine takes it");
            let before = Instant::now();
            self.engine.sync().expect("the disk takes it");
            tally.times.record(before.elapsed());
            self.next += PUTS;
            syncs += 1;
        }
        tally.add(self.next - first, syncs, meter.spent());
    }
}

/// Who appends, and to how many conversations.
pub(crate) struct Load {
    pub(crate) writer: Writer,
    pub(crate) conversations: u64,
    pub(crate) next: u64,
    pub(crate) batch: u64,
}

impl Load {
    /// A transaction of `batch` events: one each to so many conversations, or all to the only one.
    fn request(&mut self, store: &Store) -> Request {
        if self.conversations == 1 {
            let of = work::conversation(0);
            let items = (0..self.batch).map(|_| self.writer.message(of)).collect();
            return work::append(store.epoch, 1, vec![ConversationAppend { conversation: of, items }]);
        }
        let numbers = self.next..self.next + self.batch;
        self.next += self.batch;
        let one = |number| {
            let of = work::conversation(1 + number % self.conversations);
            ConversationAppend { conversation: of, items: vec![self.writer.message(of)] }
        };
        let conversations = numbers.map(one).collect();
        work::append(store.epoch, 1, conversations)
    }

    /// Keeps `flight` transactions under way for so long.
    pub(crate) fn run(&mut self, store: &mut Store, tally: &mut Tally, length: Duration, flight: u64) {
        let (meter, began) = (Meter::read(), Instant::now());
        let (mut count, syncs) = (0, store.metrics().syncs());
        let mut sent = HashMap::new();
        while began.elapsed() < length || !sent.is_empty() {
            while began.elapsed() < length && (sent.len() as u64) < flight {
                let request = self.request(store);
                sent.insert(store.submit(request), Instant::now());
            }
            let (id, _) = store.wait();
            tally.times.record(sent.remove(&id).expect("answered once").elapsed());
            count += self.batch;
        }
        tally.add(count, store.metrics().syncs() - syncs, meter.spent());
    }
}

/// Creates conversations 0 to `count`.
pub(crate) fn create_all(store: &mut Store, count: u64) {
    let epoch = store.epoch;
    let requests =
        (0..=count).map(|number| work::create(epoch, work::conversation(number), number..number + 2));
    store.ask_all(requests, 1_000);
}

pub(crate) fn compare(path: &Path, choices: &Choices) {
    let length = Duration::from_millis(choices.number("ms", 3_000));
    let (body, batch) = (choices.number("body", 64), choices.number("batch", 256));
    let (flight, conversations) = (choices.number("flight", 16), choices.number("conversations", 100_000));
    let mut alone = Alone::new(&path.join("alone"), body);
    let mut store = Store::open(&path.join("store"));
    create_all(&mut store, conversations);
    let mut many = Load { writer: Writer::new(body), conversations, next: 0, batch };
    let mut tallies = ["engine", "many", "hot"].map(Tally::new);
    for _ in 0..choices.number("rounds", 3) {
        alone.run(&mut tallies[0], length);
        many.run(&mut store, &mut tallies[1], length, flight);
        let writer = std::mem::replace(&mut many.writer, Writer::new(body));
        // One batch of a conversation is in flight.
        let mut hot = Load { writer, conversations: 1, next: 0, batch };
        hot.run(&mut store, &mut tallies[2], length, 1);
        many.writer = hot.writer;
    }
    let [engine, many, hot] = &mut tallies;
    engine.show("rates");
    many.show("store");
    hot.show("store");
    store.stop();
}

/// Appends bytes to a file and syncs it, again and again: the disk's own time.
fn bare_syncs(path: &Path, bytes: usize, length: Duration) -> Times {
    let mut file = File::create(path.join("bare")).expect("the directory is there");
    let (block, began) = (vec![b'x'; bytes], Instant::now());
    let mut times = Times::default();
    while began.elapsed() < length {
        let before = Instant::now();
        file.write_all(&block).and_then(|()| file.sync_data()).expect("the disk takes it");
        times.record(before.elapsed());
    }
    times
}

pub(crate) fn paced(path: &Path, choices: &Choices) {
    let length = Duration::from_millis(choices.number("ms", 5_000));
    let (rate, body) = (choices.number("rate", 20_000), choices.number("body", 64));
    let conversations = choices.number("conversations", 100_000);
    let mut store = Store::open(&path.join("store"));
    create_all(&mut store, conversations);
    println!("a bare sync of 4 KiB: {}", bare_syncs(path, 4_096, length / 4).show());
    println!("a bare sync of 64 KiB: {}", bare_syncs(path, 65_536, length / 4).show());
    // A turn of a core gathers what has come: a millisecond's worth.
    let batch = (rate / 1_000).max(1);
    let mut load = Load { writer: Writer::new(body), conversations, next: 0, batch };
    let mut tally = Tally::new("paced");
    let (meter, syncs, began) = (Meter::read(), store.metrics().syncs(), Instant::now());
    let (mut sent, mut count) = (HashMap::new(), 0);
    let mut due = began;
    while due < began + length || !sent.is_empty() {
        while let Some((id, _)) = store.poll() {
            let due: Instant = sent.remove(&id).expect("answered once");
            tally.times.record(due.elapsed());
            count += batch;
        }
        if due < began + length && due <= Instant::now() {
            let request = load.request(&store);
            sent.insert(store.submit(request), due);
            due += Duration::from_micros(batch * 1_000_000 / rate);
        } else {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    tally.add(count, store.metrics().syncs() - syncs, meter.spent());
    tally.show("store");
    println!("a bare sync of 64 KiB: {}", bare_syncs(path, 65_536, length / 4).show());
    store.stop();
}
