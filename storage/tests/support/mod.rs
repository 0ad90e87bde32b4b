//! What the promises share: engines of each kind, short ways to make requests, and a small seeded generator.

#![allow(dead_code, unreachable_pub, reason = "each promise uses its part")]

#[cfg(feature = "foundationdb")]
pub mod cluster;
pub mod model;

use std::path::{Path, PathBuf};

use protocol::envelope::{Change, Conversation, ConversationKind, Member};
use protocol::event::{ContentV1, Draft, Event, EventV1, Role};
use protocol::frame::Range;
use protocol::id::{ConversationId, ConversationKey, Tenant, UserId, UserKey};
#[cfg(feature = "foundationdb")]
use storage::engine::FoundationdbEngine;
use storage::engine::embedded::Settings;
use storage::engine::{EmbeddedEngine, Engine, MemoryEngine};
use storage::request::{
    AppendBatch, AppendItem, AppendRule, Appended, ConversationAppend, Epoch, Outcome, Request,
};
use storage::{run, verify};

/// The tenure of the tests that do not speak of tenures.
pub const EPOCH: Epoch = Epoch(1);

/// Small segments, so that a test has many files.
pub const SETTINGS: Settings =
    Settings { cache_bytes: 1 << 20, segment_bytes: 16 << 10, check_bytes_max: 1 << 30 };

/// An engine and where it lives.
pub struct Store {
    pub engine: Engine,
    directory: Option<tempfile::TempDir>,
}

impl Store {
    pub fn memory() -> Self {
        Self { engine: Engine::Memory(MemoryEngine::new()), directory: None }
    }

    pub fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { engine: open(directory.path()), directory: Some(directory) }
    }

    /// Over an engine that its test has set up.
    pub fn of_engine(engine: Engine) -> Self {
        Self { engine, directory: None }
    }

    /// An empty place in this process's cluster, where there can be one.
    #[cfg(feature = "foundationdb")]
    pub fn foundationdb() -> Option<Self> {
        let settings = foundationdb_settings(cluster::shared()?);
        let engine = FoundationdbEngine::connect(&settings).unwrap_or_else(|error| panic!("{error}"));
        engine.check_format().unwrap_or_else(|error| panic!("{error}"));
        Some(Self { engine: Engine::Foundationdb(engine), directory: None })
    }

    #[cfg(not(feature = "foundationdb"))]
    pub fn foundationdb() -> Option<Self> {
        None
    }

    /// One store of each kind: a promise holds on all of them.
    pub fn each() -> Vec<Self> {
        Self::of_this_process().into_iter().chain(Self::foundationdb()).collect()
    }

    /// One store of each kind whose engine is in this process, and so does one thing after another.
    pub fn of_this_process() -> Vec<Self> {
        vec![Self::memory(), Self::embedded()]
    }

    pub fn path(&self) -> PathBuf {
        self.directory.as_ref().unwrap().path().to_owned()
    }

    /// Runs a request to its end, and syncs.
    pub fn run(&mut self, request: Request) -> Outcome {
        let outcome = run(&mut self.engine, request);
        self.engine.sync().unwrap();
        outcome
    }

    /// As after a crash or an orderly stop: what was synced is there.
    pub fn reopen(&mut self) {
        match (&mut self.engine, &self.directory) {
            (Engine::Memory(engine), _) => engine.crash(0),
            #[cfg(feature = "foundationdb")]
            (Engine::Foundationdb(_), _) => {}
            (_, Some(directory)) => {
                self.engine = Engine::Memory(MemoryEngine::new());
                self.engine = open(directory.path());
            }
            _ => unreachable!(),
        }
    }

    pub fn verify(&mut self) -> verify::Report {
        verify::verify(&mut self.engine).unwrap_or_else(|fault| panic!("verify: {fault}"))
    }

    pub fn create(&mut self, of: ConversationKey, kind: ConversationKind, members: &[(&str, Role)]) {
        let members =
            members.iter().map(|(user, role)| Member { user: user_id(user), role: *role }).collect();
        let request = create_request(of, kind, members);
        assert!(matches!(self.run(request), Outcome::Created { created: true, .. }));
    }

    pub fn append(&mut self, of: ConversationKey, items: Vec<AppendItem>) -> Vec<Appended> {
        match self.run(append_request(of, items, 0)) {
            Outcome::Appended(mut appended) => appended.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The whole log.
    pub fn log(&mut self, of: ConversationKey) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let after = events.len() as u64;
            match self.run(page_request(of, Range::After(after), 200)) {
                Outcome::Page { events: page, more, .. } => {
                    events.extend(page);
                    if !more {
                        return events;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

pub fn open(directory: &Path) -> Engine {
    let engine = EmbeddedEngine::open(directory, SETTINGS).unwrap_or_else(|error| panic!("{error}"));
    Engine::Embedded(engine)
}

/// Settings of an empty place that no other test has.
#[cfg(feature = "foundationdb")]
pub fn foundationdb_settings(cluster_file: &Path) -> storage::engine::foundationdb::Settings {
    static PLACES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let place = PLACES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    storage::engine::foundationdb::Settings {
        cluster_file: Some(cluster_file.to_str().unwrap().to_owned()),
        prefix: format!("test-{place}/").into_bytes(),
        ..Default::default()
    }
}

pub fn user_id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

pub fn user_key(user: &str) -> UserKey {
    UserKey { tenant: Tenant::default_tenant(), user: user_id(user) }
}

pub fn conversation(id: &str) -> ConversationKey {
    ConversationKey { tenant: Tenant::default_tenant(), conversation: ConversationId::parse(id).unwrap() }
}

pub fn create_request(of: ConversationKey, kind: ConversationKind, members: Box<[Member]>) -> Request {
    let conversation =
        Conversation { key: of, kind, title: None, created: 1_000, head: 0, lamport: 0, members: 0 };
    Request::Create { epoch: EPOCH, conversation, members }
}

pub fn append_request(of: ConversationKey, items: Vec<AppendItem>, time: u64) -> Request {
    let conversations = vec![ConversationAppend { conversation: of, items }];
    Request::Append(AppendBatch { epoch: EPOCH, time, conversations })
}

pub fn page_request(of: ConversationKey, range: Range, limit: u16) -> Request {
    Request::Page { conversation: of, range, limit, bytes_max: 1 << 20 }
}

pub fn draft(of: ConversationKey, sender: &str, device: &str, id: &str, content: ContentV1<'_>) -> Draft {
    let conversation = of.conversation.as_str();
    let event = EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device, id, content };
    Draft::encode(&event).unwrap()
}

pub fn text(body: &str) -> ContentV1<'_> {
    ContentV1::Message { kind: "text", body, meta: None, reply_to: None }
}

/// A message.
pub fn message(of: ConversationKey, sender: &str, id: &str, body: &str) -> AppendItem {
    AppendItem { draft: draft(of, sender, "phone", id, text(body)), lamport: 0, rule: AppendRule::Free }
}

/// An event about a message.
pub fn about(of: ConversationKey, sender: &str, id: &str, content: ContentV1<'_>, own: bool) -> AppendItem {
    let target = match content {
        ContentV1::Edit { target, .. }
        | ContentV1::Delete { target }
        | ContentV1::Reaction { target, .. } => target,
        other => panic!("{other:?} is about no message"),
    };
    let rule = AppendRule::Target { target, own };
    AppendItem { draft: draft(of, sender, "phone", id, content), lamport: 0, rule }
}

/// A change with the event that says so.
pub fn change(of: ConversationKey, sender: &str, id: &str, change: Change) -> AppendItem {
    let content = match &change {
        Change::Join { user, role } => ContentV1::Joined { user: user.as_str(), role: *role },
        Change::Leave { user } => ContentV1::Left { user: user.as_str() },
        Change::Role { user, role } => {
            ContentV1::Changed { title: None, user: Some(user.as_str()), role: Some(*role) }
        }
        Change::Title { title } => ContentV1::Changed { title: title.as_deref(), user: None, role: None },
    };
    let draft = draft(of, sender, "phone", id, content);
    AppendItem { draft, lamport: 0, rule: AppendRule::Change(change) }
}

/// Seqs of what was stored.
pub fn stored(appended: &[Appended]) -> Vec<u64> {
    let seq = |one: &Appended| match one {
        Appended::Stored(event) => Some(event.seq()),
        _ => None,
    };
    appended.iter().filter_map(seq).collect()
}

/// A generator of numbers from a seed (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `every`.
    pub fn once_in(&mut self, every: u64) -> bool {
        self.below(every) == 0
    }
}

/// Runs a promise with fresh seeds, and with the one of `STORAGE_SEED` alone when that is set; a failure names its seed.
pub fn with_seeds(count: u64, promise: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let fixed = std::env::var("STORAGE_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let fresh = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seeds = match fixed {
        Some(seed) => seed..seed + 1,
        None => fresh % 1_000_000_000..fresh % 1_000_000_000 + count,
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| promise(seed)) {
            eprintln!("failed with STORAGE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
