//! The embedded engine's floor: its transactions in a row, in this process, with nothing around them. A batch appends one
//! event to each of so many conversations and is synced before the next. The only part of the load generator that runs the
//! server's code, since that is what it measures.

use std::path::Path;
use std::time::{Duration, Instant};

use protocol::envelope::{Conversation, ConversationKind, Member};
use protocol::event::{ContentV1, Draft, EventV1, Role};
use protocol::id::{ConversationId, ConversationKey, Tenant, UserId};
use storage::engine::embedded::Settings;
use storage::engine::{EmbeddedEngine, Engine};
use storage::request::{
    AppendBatch, AppendItem, AppendRule, Appended, ConversationAppend, Epoch, Outcome, Request,
};

use crate::chance::Chance;
use crate::report::Latency;
use crate::server::{Sample, ServerError};

const SENDER: &str = "alice";
/// Milliseconds since the Unix epoch.
const TIME_MS: u64 = 1_900_000_000_000;

/// What the engine does alone.
#[derive(Debug)]
pub struct StoreFloor {
    /// One batch and its sync.
    pub latency: Latency,
    /// Appends a second.
    pub per_second: f64,
    /// CPU time an append, of all threads of the engine, in microseconds.
    pub cpu_us: f64,
}

/// What it is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct StoreLoad {
    /// Conversations, of one member each.
    pub conversations: u32,
    /// Events of a batch, in as many of them.
    pub batch: usize,
    /// Bytes of an event's body.
    pub bytes: usize,
    /// How long.
    pub time: Duration,
    /// Seed of the order of conversations.
    pub seed: u64,
}

/// Appends to a new store in `directory` for so long.
///
/// # Errors
/// The disk refuses.
pub fn store(directory: &Path, load: &StoreLoad) -> Result<StoreFloor, ServerError> {
    let failed = |error: String| ServerError::of_file(directory)(std::io::Error::other(error));
    let engine = EmbeddedEngine::open(directory, Settings::default());
    let mut engine = Engine::Embedded(engine.map_err(|error| failed(error.to_string()))?);
    let epoch = storage::claim(&mut engine).map_err(|failure| failed(format!("{failure:?}")))?;
    let keys: Vec<ConversationKey> = (0..load.conversations).map(key_of).collect();
    for keys in keys.chunks(load.batch) {
        keys.iter().for_each(|key| create(&mut engine, epoch, *key));
        engine.sync().map_err(|error| failed(format!("{error:?}")))?;
    }
    let (before, begin, mut appended) = (Sample::without_server()?, Instant::now(), 0_u64);
    let (mut latency, mut chance, body) = (Latency::new(), Chance::new(load.seed), "x".repeat(load.bytes));
    while begin.elapsed() < load.time {
        let one = Instant::now();
        let batch = batch_of(&keys, epoch, appended, load.batch, &body, &mut chance);
        let Outcome::Appended(done) = storage::run(&mut engine, Request::Append(batch)) else {
            return Err(failed("the engine refused a batch".to_owned()));
        };
        assert!(done.iter().flatten().all(|appended| matches!(appended, Appended::Stored(_))));
        engine.sync().map_err(|error| failed(format!("{error:?}")))?;
        latency.record(one.elapsed());
        appended += done.len() as u64;
    }
    let growth = Sample::without_server()?.since(&before);
    engine.close().map_err(|error| failed(format!("{error:?}")))?;
    let cpu_us = growth.generator_cpu.as_secs_f64() * 1e6 / appended as f64;
    Ok(StoreFloor { latency, per_second: growth.per_second(appended as f64), cpu_us })
}

fn key_of(number: u32) -> ConversationKey {
    let conversation = ConversationId::parse(format!("floor-{number}")).expect("an id");
    ConversationKey { tenant: Tenant::default_tenant(), conversation }
}

fn create(engine: &mut Engine, epoch: Epoch, key: ConversationKey) {
    let member = Member { user: UserId::parse(SENDER).expect("an id"), role: Role::Member };
    let conversation = Conversation {
        key,
        kind: ConversationKind::Group,
        title: None,
        created: TIME_MS,
        head: 0,
        lamport: 0,
        members: 1,
    };
    storage::run(engine, Request::Create { epoch, conversation, members: [member].into() });
}

/// One event for each of some conversations that follow one another, from a random one on.
fn batch_of(
    keys: &[ConversationKey],
    epoch: Epoch,
    appended: u64,
    events: usize,
    body: &str,
    chance: &mut Chance,
) -> AppendBatch {
    let first = chance.below(keys.len() as u64) as usize;
    let append = |(number, key): (u64, &ConversationKey)| {
        let content = ContentV1::Message { kind: "text", body, meta: None, reply_to: None };
        let (id, conversation) = (format!("m-{number}"), key.conversation.as_str());
        let (seq, time, lamport) = (0, 0, 0);
        let event =
            EventV1 { seq, time, lamport, conversation, sender: SENDER, device: "phone", id: &id, content };
        let draft = Draft::encode(&event).expect("a small event");
        let item = AppendItem { draft, lamport: number, rule: AppendRule::Free };
        ConversationAppend { conversation: *key, items: vec![item] }
    };
    let some = keys.iter().cycle().skip(first).take(events.min(keys.len()));
    AppendBatch { epoch, time: TIME_MS, conversations: (appended + 1..).zip(some).map(append).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_alone_appends() {
        let directory = tempfile::tempdir().unwrap();
        let time = Duration::from_millis(50);
        let load = StoreLoad { conversations: 30, batch: 7, bytes: 100, time, seed: 1 };
        let floor = store(directory.path(), &load).unwrap();
        assert!(floor.latency.count() > 0 && floor.per_second > 0.0 && floor.cpu_us > 0.0);
    }
}
