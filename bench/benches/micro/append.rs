//! Appends: through the router shard alone, with a store that always says yes; through the transaction alone, over the
//! engine in memory; and through both.

use std::hint::black_box;

use protocol::envelope::{
    Actor, AttachItem, Authority, Caller, Conversation, ConversationKind, GatewayId, Member, RouterId,
    ToRouter,
};
use protocol::event::Role;
use protocol::id::ConversationKey;
use protocol::time::Now;
use router::{Completion, Operation, RouterShard, Settings};
use storage::engine::{Engine, MemoryEngine};
use storage::request::{
    AppendBatch, AppendItem, AppendRule, Appended, ConversationAppend, Epoch, Outcome, Request,
};

use crate::path::Path;
use crate::sample;

pub(crate) fn paths() -> Vec<Path> {
    vec![
        Path::new("append/router", || Router::new(Store::Certain { seq: 0 }).appending(1)),
        Path::new("append/router-burst-32", || Router::new(Store::Certain { seq: 0 }).appending(32)).of(32),
        Path::new("append/store", || storing(1, 1)),
        Path::new("append/store-hot-32", || storing(1, 32)).of(32),
        Path::new("append/store-cold-32", || storing(32, 1)).of(32),
        Path::new("append/router-and-store", || Router::new(memory().0).appending(1)),
    ]
}

/// What is on the far side of the router shard.
enum Store {
    /// Seals every draft and stores nothing.
    Certain { seq: u64 },
    /// The real transactions.
    Memory(Box<Engine>),
}

fn memory() -> (Store, Epoch) {
    let mut engine = Engine::Memory(MemoryEngine::new());
    let epoch = storage::claim(&mut engine).expect("an empty store");
    (Store::Memory(Box::new(engine)), epoch)
}

fn member() -> Member {
    Member { user: sample::user(sample::SENDER).user, role: Role::Member }
}

fn conversation(key: ConversationKey) -> Conversation {
    Conversation {
        key,
        kind: ConversationKind::Group,
        title: None,
        created: sample::UNIX_MS,
        head: 0,
        lamport: 0,
        members: 1,
    }
}

impl Store {
    fn run(&mut self, request: Request) -> Outcome {
        match (self, request) {
            (Self::Memory(engine), request) => {
                let outcome = storage::run(engine, request);
                engine.sync().expect("memory");
                outcome
            }
            (Self::Certain { seq }, Request::Append(batch)) => {
                let of_conversation = |append: ConversationAppend| {
                    append.items.into_iter().map(|item| sealed(item, seq)).collect()
                };
                Outcome::Appended(batch.conversations.into_iter().map(of_conversation).collect())
            }
            (Self::Certain { .. }, Request::Load { conversation: key, users }) => Outcome::Loaded {
                conversation: Some(conversation(key)),
                members: users
                    .iter()
                    .map(|&user| storage::request::LoadedMember { user, role: Some(Role::Member), read: 0 })
                    .collect(),
            },
            (Self::Certain { .. }, request) => panic!("not asked on this path: {request:?}"),
        }
    }
}

fn sealed(item: AppendItem, seq: &mut u64) -> Appended {
    *seq += 1;
    Appended::Stored(item.draft.seal(*seq, sample::UNIX_MS, item.lamport))
}

struct Router {
    shard: RouterShard,
    store: Store,
    now: Now,
    caller: Caller,
    actor: Actor,
}

impl Router {
    /// A router shard with one conversation that its sender is attached to.
    fn new(mut store: Store) -> Self {
        if let Store::Memory(_) = store {
            store.run(Request::Create {
                epoch: Epoch(1),
                conversation: conversation(sample::key()),
                members: [member()].into(),
            });
        }
        let mut router = Self {
            shard: RouterShard::new(
                RouterId(0),
                std::sync::Arc::new(protocol::placement::Table::alone(1, Epoch(1))),
                Settings::default(),
                7,
            ),
            store,
            now: sample::now(),
            caller: Caller { gateway: GatewayId(0), connection: 7, reference: 0 },
            actor: Actor { key: sample::user(sample::SENDER), authority: Authority::User },
        };
        let (caller, actor) = (router.caller, router.actor);
        let items =
            [AttachItem { conversation: sample::conversation(sample::CONVERSATION), listed: None }].into();
        router.shard.handle(router.now, Completion::Envelope(ToRouter::Attach { caller, actor, items }));
        router.settle();
        router
    }

    /// Appends of so many events at a time, to the published event and the ack.
    fn appending(mut self, events: u64) -> impl FnMut() {
        let mut id = 0_u64;
        move || {
            for _ in 0..events {
                id += 1;
                let draft = sample::draft(sample::CONVERSATION, &format!("m-{id:09}"));
                let (caller, actor, conversation) = (self.caller, self.actor, sample::key());
                let append = ToRouter::Append { caller, actor, conversation, draft, lamport: 0 };
                self.shard.handle(self.now, Completion::Envelope(append));
            }
            self.settle();
            assert_eq!(self.shard.counters().refused, 0);
        }
    }

    fn settle(&mut self) {
        while let Some(operation) = self.shard.poll_operation() {
            match operation {
                Operation::Store(id, request) => {
                    let outcome = self.store.run(request);
                    self.shard.handle(self.now, Completion::Store(id, outcome));
                }
                Operation::ToGateway(_, envelope) => drop(black_box(envelope)),
                Operation::ToRouter(_, envelope) => drop(black_box(envelope)),
                Operation::Cut(_) => unreachable!("it takes all"),
            }
        }
    }
}

/// Transactions of so many events in each of so many conversations.
fn storing(conversations: usize, events: usize) -> impl FnMut() {
    let (mut store, epoch) = memory();
    let keys: Vec<_> = (0..conversations).map(|number| sample::key_of(&format!("c-{number:04}"))).collect();
    for &key in &keys {
        let created =
            store.run(Request::Create { epoch, conversation: conversation(key), members: [member()].into() });
        assert!(matches!(created, Outcome::Created { created: true, .. }));
    }
    let mut id = 0_u64;
    move || {
        let mut append = |&conversation: &ConversationKey| ConversationAppend {
            conversation,
            items: (0..events).map(|_| item(&conversation, &mut id)).collect(),
        };
        let conversations = keys.iter().map(&mut append).collect();
        let batch = AppendBatch { epoch, time: sample::UNIX_MS, conversations };
        let Outcome::Appended(appended) = store.run(Request::Append(batch)) else { panic!("refused") };
        assert!(matches!(appended[0][0], Appended::Stored(_)));
        black_box(appended);
    }
}

fn item(key: &ConversationKey, id: &mut u64) -> AppendItem {
    *id += 1;
    let draft = sample::draft(key.conversation.as_str(), &format!("m-{id:09}"));
    AppendItem { draft, lamport: *id, rule: AppendRule::Free }
}
