//! The canary: a message of the server's own that takes the whole way of a message, through the owner and the store and
//! back as a delivery to a member. `/readyz` believes nothing else.
//!
//! A node with router shards flies through each of its own; one without flies through one of every router node, and is
//! ready while any of them answers. There is one
//! conversation for each, in [`Tenant::SYSTEM`], which nobody from outside can name. Its log is bounded: past
//! [`EVENTS_MAX`] the conversation is removed and made anew.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::envelope::{
    AttachItem, AttachedState, ConversationKind, GatewayId, RouterId, ToGateway, ToRouter,
};
use protocol::error::ErrorCode;
use protocol::event::{ContentV1, Draft, EventV1};
use protocol::id::{ConversationId, ConversationKey, Tenant};
use protocol::placement::{Epoch, NodeId, Slot, Table};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::calls::Calls;
use crate::context::Context;
use crate::failure::Failure;
use crate::identity::{SYSTEM_USER, server_actor, system_user};
use crate::port::CurrentTable;
use crate::random;

/// Events in a canary's log before it is removed.
const EVENTS_MAX: u64 = 1_000;
/// A flight younger than this answers `/readyz`.
const FRESH: Duration = Duration::from_millis(250);

/// How the last flight ended.
#[derive(Clone, Debug)]
struct Flight {
    ended: Instant,
    fault: Option<String>,
}

/// Where flights are asked for and their ends are told.
pub(crate) struct Canary {
    wanted: Notify,
    flying: AtomicBool,
    last: watch::Sender<Option<Flight>>,
    table: CurrentTable,
    name: String,
    /// By conversation: one for each router shard that was ever flown through.
    perches: Mutex<BTreeMap<ConversationKey, Arc<Perch>>>,
}

impl Canary {
    pub(crate) fn new(table: CurrentTable, name: String) -> Self {
        Self {
            wanted: Notify::new(),
            flying: AtomicBool::new(false),
            last: watch::Sender::new(None),
            table,
            name,
            perches: Mutex::default(),
        }
    }

    /// The router node that this process is, and who owns what.
    pub(crate) fn table(&self) -> (NodeId, Arc<Table>) {
        (self.table)()
    }

    fn perches(&self) -> MutexGuard<'_, BTreeMap<ConversationKey, Arc<Perch>>> {
        self.perches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to fly now: the perch of each router shard that counts; and whether those are other nodes'.
    fn route(&self) -> (Vec<(RouterId, Arc<Perch>)>, bool) {
        let (node, table) = (self.table)();
        let mut perches = self.perches();
        let through = |router| {
            let key = perch(&self.name, router, &table);
            // Who moves forgets who listens.
            let since = table.tenure(Slot::of_conversation(&key)).since;
            let perch = Arc::clone(perches.entry(key).or_insert_with(|| Arc::new(Perch::new(key))));
            perch.follow(since);
            (router, perch)
        };
        let owners = owners(&table, node);
        let is_through_others = owners.iter().all(|owner| owner.node() != node);
        (owners.into_iter().map(through).collect(), is_through_others)
    }

    /// A publish came to the API.
    pub(crate) fn delivered(&self, conversation: &ConversationKey, seq: u64) {
        if let Some(perch) = self.perches().get(conversation) {
            perch.delivered.send_if_modified(|highest| {
                seq > *highest && {
                    *highest = seq;
                    true
                }
            });
        }
    }

    /// Whether messages are stored and delivered at this time: `Err` says why not. Waits for a flight of its own when the
    /// last is not fresh, at most for `patience`.
    pub(crate) async fn ready(&self, patience: Duration) -> Result<(), String> {
        let fresh =
            |flight: &Option<Flight>| flight.as_ref().is_some_and(|flight| flight.ended.elapsed() < FRESH);
        let mut last = self.last.subscribe();
        if !fresh(&last.borrow()) && !self.flying.load(Ordering::Relaxed) {
            self.wanted.notify_one();
        }
        let waited = timeout(patience, last.wait_for(fresh)).await;
        match waited {
            Ok(Ok(flight)) => flight.as_ref().and_then(|flight| flight.fault.clone()).map_or(Ok(()), Err),
            Ok(Err(_)) | Err(_) => Err("the canary is overdue: no flight ended in time".into()),
        }
    }

    /// Flies for ever: every interval, and when somebody wants to know.
    pub(crate) async fn fly(context: &Arc<Context>) {
        let canary = &context.canary;
        let interval = context.settings.canary_interval;
        context.opened().await;
        loop {
            canary.flying.store(true, Ordering::Relaxed);
            let fault = fly_once(context).await.err();
            canary.flying.store(false, Ordering::Relaxed);
            canary.last.send_replace(Some(Flight { ended: Instant::now(), fault }));
            let _ = timeout(interval, canary.wanted.notified()).await; // Either is a reason to fly.
        }
    }
}

/// Through all router shards at once, so that their commits share one sync.
async fn fly_once(context: &Arc<Context>) -> Result<(), String> {
    let (route, is_through_others) = context.canary.route();
    if route.is_empty() {
        return Err("no router shard owns anything yet".into());
    }
    let mut flights = JoinSet::new();
    for (router, perch) in route {
        let context = Arc::clone(context);
        flights.spawn(async move {
            let patience = context.settings.canary_timeout;
            let ended = timeout(patience, perch.fly(&context.calls)).await;
            ended
                .unwrap_or_else(|_| Err(format!("not delivered within {} ms", patience.as_millis())))
                .map_err(|fault| format!("router shard {}: {fault}", name(router)))
        });
    }
    let ends = flights.join_all().await;
    if is_through_others && ends.iter().any(Result::is_ok) {
        // A router node that is away is no reason to send clients from one gateway node to the next.
        return Ok(());
    }
    ends.into_iter().collect()
}

/// A router shard for people.
fn name(router: RouterId) -> String {
    match router.node() {
        NodeId::ALONE => router.core().to_string(),
        node => format!("{} of node {}", router.core(), node.0),
    }
}

/// The router shards to fly through: all that own something on this node, or the first of each other one.
fn owners(table: &Table, node: NodeId) -> Vec<RouterId> {
    let mut owners: Vec<RouterId> =
        table.tenures.iter().map(|tenure| tenure.owner).filter(|&owner| owner != RouterId::NOBODY).collect();
    owners.sort_unstable();
    owners.dedup();
    if owners.iter().any(|owner| owner.node() == node) {
        owners.retain(|owner| owner.node() == node);
    } else {
        owners.dedup_by_key(|owner| owner.node());
    }
    owners
}

/// A node's canary conversation on a router shard: the first of its kind whose slot that shard owns.
fn perch(name: &str, router: RouterId, table: &Table) -> ConversationKey {
    let prefix = if name.is_empty() { "canary".to_owned() } else { format!("canary-{name}") };
    (0u32..)
        .map(|number| ConversationKey {
            tenant: Tenant::SYSTEM,
            conversation: ConversationId::parse(format!("{prefix}-{number}")).expect("a valid id"),
        })
        .find(|key| table.owner(Slot::of_conversation(key)) == router)
        .expect("a router shard that owns a slot owns one of these")
}

/// One canary's place, and how far it is.
struct Perch {
    key: ConversationKey,
    /// Highest seq delivered to the API.
    delivered: watch::Sender<u64>,
    /// Last seq of the log; `None`: not attached, or something went wrong since.
    head: Mutex<Option<u64>>,
    /// The tenure of its slot that was attached to.
    tenure: AtomicU64,
}

impl Perch {
    fn new(key: ConversationKey) -> Self {
        Self { key, delivered: watch::Sender::new(0), head: Mutex::new(None), tenure: AtomicU64::new(0) }
    }

    /// Attaches anew where its slot has another tenure than at the last flight.
    fn follow(&self, since: Epoch) {
        if self.tenure.swap(since.0, Ordering::Relaxed) != since.0 {
            *self.head() = None;
        }
    }

    fn head(&self) -> MutexGuard<'_, Option<u64>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fly(&self, calls: &Calls) -> Result<(), String> {
        let head = self.head().take();
        let result = self.fly_from(calls, head).await;
        let seq = result.map_err(|failure| failure.message().to_owned())?;
        *self.head() = Some(seq);
        Ok(())
    }

    async fn fly_from(&self, calls: &Calls, head: Option<u64>) -> Result<u64, Failure> {
        if head.is_none_or(|head| head >= EVENTS_MAX) && self.settle(calls).await? >= EVENTS_MAX {
            self.remove(calls).await?;
            self.settle(calls).await?;
        }
        let seq = self.append(calls).await?;
        let delivered = self.delivered.subscribe().wait_for(|highest| *highest >= seq).await.is_ok();
        if delivered { Ok(seq) } else { Err(Failure::unexpected()) }
    }

    /// Makes the conversation where there is none, and attaches to it; both harmless when they are done already.
    async fn settle(&self, calls: &Calls) -> Result<u64, Failure> {
        let actor = server_actor(self.key.tenant, system_user());
        let conversation = self.key;
        calls
            .ask(|caller| ToRouter::Create {
                caller,
                actor,
                conversation,
                kind: ConversationKind::Group,
                title: None,
                members: Box::new([]),
            })
            .await?;
        let items = Box::new([AttachItem { conversation: self.key.conversation, listed: None }]);
        let answer = calls.ask(|caller| ToRouter::Attach { caller, actor, items }).await?;
        attached_head(&answer)
    }

    async fn remove(&self, calls: &Calls) -> Result<(), Failure> {
        let detach = ToRouter::Detach { gateway: GatewayId::API, conversation: self.key };
        calls.tell(detach).await;
        let actor = server_actor(self.key.tenant, system_user());
        let conversation = self.key;
        let removed = calls.ask(|caller| ToRouter::Remove { caller, actor, conversation }).await;
        match removed {
            Err(failure) if failure.code() != ErrorCode::NotFound => Err(failure),
            Ok(_) | Err(_) => {
                self.delivered.send_replace(0); // Seqs begin anew.
                Ok(())
            }
        }
    }

    async fn append(&self, calls: &Calls) -> Result<u64, Failure> {
        let actor = server_actor(self.key.tenant, system_user());
        let conversation = self.key;
        let id = random::client_id()?;
        let draft = Draft::encode(&EventV1 {
            seq: 0,
            time: 0,
            lamport: 0,
            conversation: self.key.conversation.as_str(),
            sender: SYSTEM_USER,
            device: "api",
            id: id.as_str(),
            content: ContentV1::Message { kind: "canary", body: "", meta: None, reply_to: None },
        })
        .map_err(|_| Failure::unexpected())?;
        let answer =
            calls.ask(|caller| ToRouter::Append { caller, actor, conversation, draft, lamport: 0 }).await?;
        match answer {
            ToGateway::Appended { seq, .. } => Ok(seq),
            _ => Err(Failure::unexpected()),
        }
    }
}

fn attached_head(answer: &ToGateway) -> Result<u64, Failure> {
    match answer {
        ToGateway::Attached { refused: Some(refusal), .. } => Err((*refusal).into()),
        ToGateway::Attached { items, .. } => match &**items {
            [item] => item.state.map(|AttachedState { head, .. }| head).ok_or_else(Failure::unexpected),
            _ => Err(Failure::unexpected()),
        },
        _ => Err(Failure::unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_router_shard_has_a_canary_of_its_own() {
        for routers in [1, 2, 7, 128] {
            let table = Table::alone(routers, Epoch(1));
            let owners = owners(&table, NodeId::ALONE);
            assert_eq!(owners.len(), usize::from(routers));
            for router in owners {
                let key = perch("", router, &table);
                assert_eq!(table.owner(Slot::of_conversation(&key)), router);
            }
        }
    }

    #[test]
    fn a_node_without_router_shards_flies_through_one_of_each_node() {
        let mut table = Table::alone(2, Epoch(1));
        for (slot, tenure) in table.tenures.iter_mut().enumerate() {
            tenure.owner = RouterId::new(NodeId(1 + (slot % 3) as u16), (slot % 5) as u16);
        }
        let of = |node| owners(&table, node).iter().map(|owner| owner.node().0).collect::<Vec<_>>();
        assert_eq!(of(NodeId::NONE), [1, 2, 3]);
        assert_eq!(of(NodeId(2)), [2; 5]);
    }
}
