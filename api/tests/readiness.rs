//! Promise: `/readyz` says yes only while messages are stored and delivered, and why not otherwise.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::metrics::{Metric, Source};
use protocol::envelope::{AttachedItem, AttachedState, Conversation, ConversationKind, ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::event::Role;
use protocol::id::{ClientId, ConversationKey, Tenant};
use support::{KEY, World, caller_of, settings};

/// Router shards that keep nothing but each log's head.
#[derive(Default)]
struct Heads {
    heads: Mutex<HashMap<ConversationKey, u64>>,
    removed: AtomicU64,
    refuses: AtomicBool,
    publishes_nothing: AtomicBool,
}

impl Heads {
    fn answer(&self, envelope: ToRouter) -> Vec<ToGateway> {
        let mut heads = self.heads.lock().unwrap();
        if self.refuses.load(Ordering::Relaxed) {
            let refusal = Refusal::retry(ErrorCode::Unavailable, "the store is away", 1_000);
            let refused = |caller| ToGateway::Refused { caller, id: None, refusal };
            return caller_of(&envelope).map(refused).into_iter().collect();
        }
        match envelope {
            ToRouter::Create { caller, conversation: key, kind, .. } => {
                assert_eq!(key.tenant, Tenant::SYSTEM);
                assert_eq!(kind, ConversationKind::Group);
                let head = *heads.entry(key).or_insert(0);
                let conversation =
                    Conversation { key, kind, title: None, created: 0, head, lamport: 0, members: 0 };
                vec![ToGateway::Created { caller, conversation, created: head == 0 }]
            }
            ToRouter::Attach { caller, actor, items } => {
                let conversation = items[0].conversation;
                let key = ConversationKey { tenant: actor.key.tenant, conversation };
                let state =
                    heads.get(&key).map(|head| AttachedState { head: *head, read: 0, role: Role::Owner });
                let items = Box::new([AttachedItem { conversation, state }]);
                vec![ToGateway::Attached { caller, tenant: actor.key.tenant, items, refused: None }]
            }
            ToRouter::Append { caller, conversation, draft, .. } => {
                let id = ClientId::parse(&*draft.view().id).unwrap();
                let seq = heads[&conversation] + 1;
                heads.insert(conversation, seq);
                let event = draft.seal(seq, 1, 1);
                let mut answers =
                    vec![ToGateway::Appended { caller, conversation, id, seq, time: 1, duplicate: false }];
                if !self.publishes_nothing.load(Ordering::Relaxed) {
                    answers.push(ToGateway::Publish { conversation, events: Box::new([event]) });
                }
                answers
            }
            ToRouter::Remove { caller, conversation, .. } => {
                heads.remove(&conversation);
                self.removed.fetch_add(1, Ordering::Relaxed);
                vec![ToGateway::Removed { caller }]
            }
            ToRouter::Detach { .. } => Vec::new(),
            other => panic!("{other:?}"),
        }
    }
}

fn world(heads: &Arc<Heads>) -> World {
    let heads = Arc::clone(heads);
    World::start(settings(), Arc::new(move |envelope| heads.answer(envelope)))
}

#[test]
fn ready_while_the_canary_of_every_router_shard_comes_back() {
    let heads = Arc::new(Heads::default());
    let world = world(&heads);
    let answer = world.call("GET", "/readyz", "", "");
    assert_eq!((answer.status, answer.json()["ready"].as_bool()), (200, Some(true)));
    assert_eq!(heads.heads.lock().unwrap().len(), 2);
}

#[test]
fn not_ready_when_the_store_refuses_or_nothing_is_delivered_and_ready_again_after() {
    type Fault = fn(&Heads) -> &AtomicBool;
    let faults: [Fault; 2] = [|heads| &heads.refuses, |heads| &heads.publishes_nothing];
    for fault in faults {
        let heads = Arc::new(Heads::default());
        fault(&heads).store(true, Ordering::Relaxed);
        let world = world(&heads);
        let answer = world.call("GET", "/readyz", "", "");
        assert_eq!((answer.status, answer.json()["ready"].as_bool()), (503, Some(false)));
        assert!(answer.json()["reason"].as_str().unwrap().contains("router shard"), "{}", answer.text);
        fault(&heads).store(false, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(300)); // The last flight answers for 250 ms.
        assert_eq!(world.call("GET", "/readyz", "", "").status, 200);
        assert_eq!(world.call("GET", "/healthz", "", "").status, 200);
    }
}

#[test]
fn not_ready_while_draining() {
    let world = world(&Arc::default());
    assert_eq!(world.call("GET", "/readyz", "", "").status, 200);
    world.handle.drain();
    let answer = world.call("GET", "/readyz", "", "");
    assert_eq!(answer.status, 503);
    assert!(answer.json()["reason"].as_str().unwrap().contains("drain"));
    assert_eq!(world.call("GET", "/healthz", "", "").status, 200);
}

#[test]
fn the_canarys_log_is_bounded() {
    let heads = Arc::new(Heads::default());
    let keys: Vec<ConversationKey> = {
        let probe = world(&heads);
        assert_eq!(probe.call("GET", "/readyz", "", "").status, 200);
        heads.heads.lock().unwrap().keys().copied().collect()
    };
    for key in keys {
        heads.heads.lock().unwrap().insert(key, 1_000);
    }
    let world = world(&heads);
    assert_eq!(world.call("GET", "/readyz", "", "").status, 200);
    assert_eq!(heads.removed.load(Ordering::Relaxed), 2);
    assert!(heads.heads.lock().unwrap().values().all(|head| *head == 1));
}

#[test]
fn metrics_and_the_document_need_no_token() {
    let world = world(&Arc::default());
    world.metrics.publish(Source::Shard(0), vec![Metric::counter("murmuring_sends_total", "Sends.", 3)]);
    let answer = world.call("GET", "/metrics", "", "");
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text.contains("murmuring_sends_total{shard=\"0\"} 3\n"));
    let document = world.call("GET", "/v1/openapi.json", "", "");
    assert_eq!(document.json()["openapi"], "3.1.0");
}

#[test]
fn shutting_down_ends_idle_connections_and_returns() {
    let world = world(&Arc::default());
    assert_eq!(world.call("GET", "/healthz", "", "").status, 200); // Its connection stays open, idle.
    let address = world.address();
    world.handle.shutdown();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_server_that_begins_closed_says_so_and_takes_calls_once_it_is_open() {
    let heads = Arc::new(Heads::default());
    let settings = api::Settings { begins_closed: true, ..settings() };
    let world = World::start(settings, Arc::new(move |envelope| heads.answer(envelope)));
    let ready = world.call("GET", "/readyz", "", "");
    assert_eq!((ready.status, ready.json()["reason"].as_str()), (503, Some("the store is not open yet")));
    assert_eq!(world.call("GET", "/healthz", "", "").status, 200);
    assert_eq!(world.call("GET", "/v1/openapi.json", "", "").status, 200);
    let refused = world.call("GET", "/v1/conversations/c", KEY, "");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("unavailable")));
    world.handle.open();
    assert_eq!(world.call("GET", "/readyz", "", "").status, 200);
}
