//! The store under test, and the requests that it gets.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use protocol::envelope::{Conversation, ConversationKind, Member, RouterId};
use protocol::event::{ContentV1, Draft, EventV1, Role};
use protocol::id::{ConversationId, ConversationKey, Tenant, UserId, UserKey};
use storage::driver::{self, Driver, Handle};
use storage::engine::embedded::Settings;
use storage::engine::{EmbeddedEngine, Engine};
use storage::request::{
    AppendBatch, AppendItem, AppendRule, ConversationAppend, Epoch, Outcome, Request, RequestId,
};

/// A store with its thread, asked from this one.
pub(crate) struct Store {
    driver: Driver,
    handle: Handle,
    answers: Receiver<(RequestId, Outcome)>,
    pub(crate) epoch: Epoch,
    last: u64,
}

pub(crate) fn open(path: &Path) -> Engine {
    let engine = EmbeddedEngine::open(path, Settings::default()).unwrap_or_else(|error| panic!("{error}"));
    Engine::Embedded(engine)
}

impl Store {
    pub(crate) fn open(path: &Path) -> Self {
        Self::of(open(path))
    }

    pub(crate) fn of(mut engine: Engine) -> Self {
        let epoch = storage::claim(&mut engine).expect("a fresh store can be claimed");
        let (answering, answers) = channel();
        let answer = Box::new(move |_, id, outcome| answering.send((id, outcome)).expect("who asks, waits"));
        let driver = Driver::start(engine, epoch, driver::Settings::default(), answer, Box::new(|| {}));
        let driver = driver.expect("the system gives a thread");
        let handle = driver.handle();
        Self { driver, handle, answers, epoch, last: 0 }
    }

    /// Hands a request in, without waiting.
    pub(crate) fn submit(&mut self, request: Request) -> RequestId {
        self.last += 1;
        let id = RequestId(self.last);
        assert!(
            self.handle.try_submit(RouterId(0), id, request).is_ok(),
            "the queue has room for all of these"
        );
        id
    }

    /// The next outcome.
    pub(crate) fn wait(&mut self) -> (RequestId, Outcome) {
        let answer = self.answers.recv().expect("the store thread answers everything");
        assert!(!matches!(answer.1, Outcome::Failed(_)), "{:?}", answer.1);
        answer
    }

    /// The next outcome, when one is there.
    pub(crate) fn poll(&mut self) -> Option<(RequestId, Outcome)> {
        self.answers.try_recv().ok()
    }

    /// Asks and waits.
    pub(crate) fn ask(&mut self, request: Request) -> Outcome {
        self.submit(request);
        self.wait().1
    }

    /// Keeps `flight` requests under way until there are no more.
    pub(crate) fn ask_all(&mut self, requests: impl Iterator<Item = Request>, flight: usize) {
        let mut under_way = 0;
        for request in requests {
            if under_way == flight {
                self.wait();
                under_way -= 1;
            }
            self.submit(request);
            under_way += 1;
        }
        for _ in 0..under_way {
            self.wait();
        }
    }

    pub(crate) fn metrics(&self) -> &driver::Metrics {
        self.handle.metrics()
    }

    pub(crate) fn stop(self) {
        self.driver.stop().expect("the store ends in order");
    }
}

pub(crate) fn conversation(number: u64) -> ConversationKey {
    // Neighbours in time are no neighbours in the tree.
    let id = format!("c{:08x}", (number as u32).wrapping_mul(0x9e37_79b1));
    let conversation = ConversationId::parse(id).expect("nine letters and digits");
    ConversationKey { tenant: Tenant::default_tenant(), conversation }
}

pub(crate) fn user(number: u64) -> UserKey {
    let user = UserId::parse(format!("user{number:08}")).expect("twelve letters and digits");
    UserKey { tenant: Tenant::default_tenant(), user }
}

pub(crate) fn create(epoch: Epoch, key: ConversationKey, members: impl Iterator<Item = u64>) -> Request {
    let member = |number| Member { user: user(number).user, role: Role::Member };
    let conversation = Conversation {
        key,
        kind: ConversationKind::Group,
        title: None,
        created: 1_700_000_000_000,
        head: 0,
        lamport: 0,
        members: 0,
    };
    Request::Create { epoch, conversation, members: members.map(member).collect() }
}

/// Makes messages with client ids that were never used.
pub(crate) struct Writer {
    body: String,
    next: u64,
}

impl Writer {
    pub(crate) fn new(body_bytes: u64) -> Self {
        Self { body: "x".repeat(body_bytes as usize), next: 0 }
    }

    pub(crate) fn message(&mut self, of: ConversationKey) -> AppendItem {
        self.next += 1;
        let mixed = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let id = format!("{mixed:016x}{:08x}", self.next as u32);
        let sender = format!("user{:08}", mixed % 100_000);
        let content = ContentV1::Message { kind: "text", body: &self.body, meta: None, reply_to: None };
        let event = EventV1 {
            seq: 0,
            time: 0,
            lamport: 0,
            conversation: of.conversation.as_str(),
            sender: &sender,
            device: "phone",
            id: &id,
            content,
        };
        let draft = Draft::encode(&event).expect("a small message");
        AppendItem { draft, lamport: 0, rule: AppendRule::Free }
    }
}

/// One transaction.
pub(crate) fn append(epoch: Epoch, time: u64, conversations: Vec<ConversationAppend>) -> Request {
    Request::Append(AppendBatch { epoch, time, conversations })
}
