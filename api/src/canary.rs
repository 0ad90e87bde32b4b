//! The canary: a message of the server's own that takes the whole way of a message, through the owner and the store and
//! back as a delivery to a member. `/readyz` believes nothing else.
//!
//! There is one conversation a router shard, in [`Tenant::SYSTEM`], which nobody from outside can name. Its log is
//! bounded: past [`EVENTS_MAX`] the conversation is removed and made anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::envelope::{
    AttachItem, AttachedState, ConversationKind, GatewayId, RouterId, ToGateway, ToRouter,
};
use protocol::error::ErrorCode;
use protocol::event::{ContentV1, Draft, EventV1};
use protocol::id::{ConversationId, ConversationKey, Tenant};
use protocol::placement::Slot;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::calls::Calls;
use crate::context::Context;
use crate::failure::Failure;
use crate::identity::{SYSTEM_USER, server_actor, system_user};
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
    delivered: Vec<(ConversationKey, watch::Sender<u64>)>,
}

impl Canary {
    pub(crate) fn new(routers: u16) -> Self {
        let delivered = (0..routers).map(|router| (perch(RouterId(router), routers), watch::Sender::new(0)));
        Self {
            wanted: Notify::new(),
            flying: AtomicBool::new(false),
            last: watch::Sender::new(None),
            delivered: delivered.collect(),
        }
    }

    /// A publish came to the API.
    pub(crate) fn delivered(&self, conversation: &ConversationKey, seq: u64) {
        if let Some((_, highest)) = self.delivered.iter().find(|(key, _)| key == conversation) {
            highest.send_if_modified(|highest| {
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
        let perches: Vec<_> =
            canary.delivered.iter().map(|(key, highest)| Perch::new(*key, highest)).collect();
        let perches = Arc::new(perches);
        context.opened().await;
        loop {
            canary.flying.store(true, Ordering::Relaxed);
            let fault = fly_once(context, &perches).await.err();
            canary.flying.store(false, Ordering::Relaxed);
            canary.last.send_replace(Some(Flight { ended: Instant::now(), fault }));
            let _ = timeout(interval, canary.wanted.notified()).await; // Either is a reason to fly.
        }
    }
}

/// All router shards at once, so that their commits share one sync.
async fn fly_once(context: &Arc<Context>, perches: &Arc<Vec<Perch>>) -> Result<(), String> {
    let mut flights = JoinSet::new();
    for router in 0..perches.len() {
        let (context, perches) = (Arc::clone(context), Arc::clone(perches));
        flights.spawn(async move {
            let patience = context.settings.canary_timeout;
            let ended = timeout(patience, perches[router].fly(&context.calls)).await;
            ended
                .unwrap_or_else(|_| Err(format!("not delivered within {} ms", patience.as_millis())))
                .map_err(|fault| format!("router shard {router}: {fault}"))
        });
    }
    let ends = flights.join_all().await;
    ends.into_iter().collect()
}

/// The canary's conversation on a router shard: the first of its kind whose slot that shard owns.
fn perch(router: RouterId, routers: u16) -> ConversationKey {
    (0u32..)
        .map(|number| ConversationKey {
            tenant: Tenant::SYSTEM,
            conversation: ConversationId::parse(format!("canary-{number}")).expect("a valid id"),
        })
        .find(|key| Slot::of_conversation(key).owner(routers) == router)
        .expect("slots are spread over all router shards")
}

/// One canary's place, and how far it is.
struct Perch {
    key: ConversationKey,
    /// Highest seq delivered to the API.
    delivered: watch::Sender<u64>,
    /// Last seq of the log; `None`: not attached, or something went wrong since.
    head: Mutex<Option<u64>>,
}

impl Perch {
    fn new(key: ConversationKey, highest: &watch::Sender<u64>) -> Self {
        Self { key, delivered: highest.clone(), head: Mutex::new(None) }
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
            .ask_conversation(&self.key, |caller| ToRouter::Create {
                caller,
                actor,
                conversation,
                kind: ConversationKind::Group,
                title: None,
                members: Box::new([]),
            })
            .await?;
        let items = Box::new([AttachItem { conversation: self.key.conversation, listed: None }]);
        let answer =
            calls.ask_conversation(&self.key, |caller| ToRouter::Attach { caller, actor, items }).await?;
        attached_head(&answer)
    }

    async fn remove(&self, calls: &Calls) -> Result<(), Failure> {
        let router = Slot::of_conversation(&self.key).owner(calls.routers());
        let detach = ToRouter::Detach { gateway: GatewayId::API, conversation: self.key };
        calls.tell(router, detach).await;
        let actor = server_actor(self.key.tenant, system_user());
        let conversation = self.key;
        let removed = calls
            .ask_conversation(&self.key, |caller| ToRouter::Remove { caller, actor, conversation })
            .await;
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
        let answer = calls
            .ask_conversation(&self.key, |caller| ToRouter::Append {
                caller,
                actor,
                conversation,
                draft,
                lamport: 0,
            })
            .await?;
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
            for router in 0..routers {
                let key = perch(RouterId(router), routers);
                assert_eq!(Slot::of_conversation(&key).owner(routers), RouterId(router));
            }
        }
    }
}
