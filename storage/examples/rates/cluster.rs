//! Appends on FoundationDB: transactions through the store's thread, beside a bare loop that reads and writes the same keys
//! through the same client library with nothing around it.

use std::pin::pin;
use std::time::{Duration, Instant};

use foundationdb::options::TransactionOption;
use foundationdb::{Database, FdbError};
use futures::executor::block_on;
use futures::stream::{FuturesUnordered, StreamExt as _};
use protocol::id::ConversationKey;
use protocol::placement::Slot;
use storage::engine::Engine;
use storage::engine::foundationdb::{FoundationdbEngine, Settings};
use storage::key::StoreKey;
use storage::kv::Key;
use storage::setback::NAMES;

use crate::Choices;
use crate::appends::{Load, Tally, create_all};
use crate::meter::Meter;
use crate::work::{self, Store, Writer};

/// Bytes of a head and of a client id's record, as stored.
const HEAD_BYTES: usize = 40;
const CLIENT_BYTES: usize = 34;

/// The store under test: a prefix of its own, so that runs do not see each other.
fn connect(choices: &Choices) -> FoundationdbEngine {
    let settings = Settings {
        cluster_file: choices.text("cluster").map(str::to_owned),
        prefix: format!("rates-{}/", std::process::id()).into_bytes(),
        ..Settings::default()
    };
    let engine = FoundationdbEngine::connect(&settings).unwrap_or_else(|error| panic!("{error}"));
    engine.check_format().unwrap_or_else(|error| panic!("{error}"));
    engine
}

/// The bare loop: so many transactions under way at once.
struct Bare {
    database: Database,
    prefix: Vec<u8>,
    conversations: u64,
    batch: u64,
    next: u64,
}

/// The keys of one transaction.
struct Keys {
    reads: Vec<(Vec<u8>, bool)>,
    events: Vec<Vec<u8>>,
    clients: Vec<Vec<u8>>,
    heads: Vec<Vec<u8>>,
}

impl Bare {
    fn outside(&self, key: &Key) -> Vec<u8> {
        [&self.prefix, key.as_slice()].concat()
    }

    /// One transaction's keys: those of as many appends, in as many conversations or in the only one.
    fn keys(&mut self, writer: &mut Writer) -> Keys {
        let mut keys = Keys { reads: Vec::new(), events: Vec::new(), clients: Vec::new(), heads: Vec::new() };
        let of = |number: u64| match self.conversations {
            1 => work::conversation(0),
            many => work::conversation(1 + number % many),
        };
        let numbers = self.next..self.next + self.batch;
        self.next += self.batch;
        for number in numbers {
            let of: ConversationKey = of(number);
            let item = writer.message(of);
            let archived = item.draft.view();
            let (sender, id) = (archived.sender.as_ref(), archived.id.as_ref());
            let client = StoreKey::Client(of, sender.try_into().unwrap(), id.try_into().unwrap());
            let client = self.outside(&client.encode());
            if self.conversations > 1 || keys.heads.is_empty() {
                let fence = self.outside(&StoreKey::Fence(Slot::of_conversation(&of)).encode());
                let head = self.outside(&StoreKey::Head(of).encode());
                keys.reads.extend([(fence, true), (head.clone(), true)]);
                keys.heads.push(head);
            }
            keys.reads.push((client.clone(), false));
            // Behind all that the store's own transactions wrote.
            keys.events.push(self.outside(&StoreKey::Event(of, (1 << 40) + number).encode()));
            keys.clients.push(client);
        }
        keys
    }

    fn run(&mut self, tally: &mut Tally, writer: &mut Writer, length: Duration, flight: u64) {
        let (meter, began) = (Meter::read(), Instant::now());
        let event = vec![b'e'; writer.message(work::conversation(1)).draft.as_bytes().len() + 9];
        let (mut count, mut commits) = (0, 0);
        block_on(async {
            let mut flights = FuturesUnordered::new();
            loop {
                while began.elapsed() < length && (flights.len() as u64) < flight {
                    let keys = self.keys(writer);
                    let transaction = self.database.create_trx().expect("a database gives transactions");
                    let (event, begun) = (event.as_slice(), Instant::now());
                    flights.push(async move { one(transaction, keys, event).await.map(|()| begun) });
                }
                let Some(ended) = pin!(&mut flights).next().await else { break };
                match ended {
                    Ok(begun) => {
                        tally.times.record(begun.elapsed());
                        count += self.batch;
                        commits += 1;
                    }
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            }
        });
        tally.add(count, commits, meter.spent());
    }
}

async fn one(transaction: foundationdb::Transaction, keys: Keys, event: &[u8]) -> Result<(), FdbError> {
    transaction.set_option(TransactionOption::ReadYourWritesDisable)?;
    let asked: Vec<_> = keys.reads.iter().map(|(key, conflict)| transaction.get(key, !conflict)).collect();
    // As the engine does: with the last, the others are there.
    for value in asked.into_iter().rev() {
        value.await?;
    }
    for key in &keys.events {
        transaction.set(key, event);
    }
    for key in &keys.clients {
        transaction.set(key, &[b'c'; CLIENT_BYTES]);
    }
    for key in &keys.heads {
        transaction.set(key, &[b'h'; HEAD_BYTES]);
    }
    transaction.commit().await.map(|_| ()).map_err(|failed| *failed)
}

pub(crate) fn compare(choices: &Choices) {
    let length = Duration::from_millis(choices.number("ms", 3_000));
    let (body, batch) = (choices.number("body", 64), choices.number("batch", 64));
    let (flight, conversations) = (choices.number("flight", 16), choices.number("conversations", 10_000));
    let engine = connect(choices);
    let mut store = Store::of(Engine::Foundationdb(engine.clone()));
    create_all(&mut store, conversations);
    let database = Database::new(choices.text("cluster")).expect("the cluster file is there");
    let prefix = format!("rates-bare-{}/", std::process::id()).into_bytes();
    let mut bare = Bare { database, prefix, conversations, batch, next: 0 };
    let mut load = Load { writer: Writer::new(body), conversations, next: 0, batch };
    let names = ["bare 1", "hot", "bare n", "many"];
    let mut tallies = names.map(Tally::new);
    for _ in 0..choices.number("rounds", 3) {
        for (place, count, flight) in [(0, 1, 1), (2, conversations, flight)] {
            bare.conversations = count;
            bare.run(&mut tallies[place], &mut load.writer, length, flight);
            load.conversations = count;
            let commits = engine.commits();
            load.run(&mut store, &mut tallies[place + 1], length, flight);
            tallies[place + 1].syncs += engine.commits() - commits;
        }
    }
    for tally in &mut tallies {
        tally.show_cluster();
    }
    for (bare, ours) in [(0, 1), (2, 3)] {
        println!("{} / {}: {:.2}", names[ours], names[bare], tallies[ours].rate() / tallies[bare].rate());
    }
    let setbacks = NAMES.iter().zip(store.metrics().setbacks.counts());
    println!("set back: {:?}", setbacks.filter(|(_, count)| *count > 0).collect::<Vec<_>>());
    store.stop();
}
