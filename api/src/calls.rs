//! Requests to router shards that wait for their answers. Knows envelopes, and nothing of HTTP.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::envelope::{Caller, GatewayId, ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::id::ConversationKey;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::Failure;
use crate::port::Push;

type Answer = oneshot::Sender<ToGateway>;

/// A mailbox that stays full for longer than this (in all) is an overload, and the call is refused.
const PUSH_PATIENCE: Duration = Duration::from_millis(250);
/// Pause between two tries at a full mailbox.
const PUSH_PAUSE: Duration = Duration::from_millis(2);
/// What a client is told to wait for after an overload.
const RETRY_AFTER_MS: u32 = 1_000;

const TOO_MANY: Refusal = Refusal::retry(
    ErrorCode::Unavailable,
    "too many requests are under way; nothing was done",
    RETRY_AFTER_MS,
);
const FULL: Refusal =
    Refusal::retry(ErrorCode::Unavailable, "the owner is overloaded; nothing was done", RETRY_AFTER_MS);
const LATE: Refusal = Refusal::retry(
    ErrorCode::Unavailable,
    "no answer in time; the same request again tells whether it was done",
    RETRY_AFTER_MS,
);

/// The calls under way: at most `calls_max`, each at most `timeout` old.
pub(crate) struct Calls {
    push: Push,
    waiting: Mutex<HashMap<u64, Answer>>,
    next: AtomicU64,
    calls_max: usize,
    timeout: Duration,
}

/// A place in the table of calls; gives it back when the call ends, also when its client went away.
struct Place<'a> {
    calls: &'a Calls,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.calls.table().remove(&self.number);
    }
}

impl Calls {
    /// No calls yet.
    pub(crate) fn new(push: Push, calls_max: usize, timeout: Duration) -> Self {
        let next = AtomicU64::new(1);
        Self { push, waiting: Mutex::default(), next, calls_max, timeout }
    }

    /// Sends an envelope that has no answer; false when the mailbox stayed full.
    pub(crate) async fn tell(&self, envelope: ToRouter) -> bool {
        self.push(envelope, Instant::now() + PUSH_PATIENCE).await
    }

    /// Asks the owner of what the envelope is about.
    pub(crate) async fn ask(&self, envelope: impl FnOnce(Caller) -> ToRouter) -> Result<ToGateway, Failure> {
        let (place, answer) = self.enter()?;
        let deadline = Instant::now() + self.timeout;
        let caller = Caller { gateway: GatewayId::API, connection: place.number, reference: 0 };
        if !self.push(envelope(caller), deadline.min(Instant::now() + PUSH_PATIENCE)).await {
            return Err(FULL.into());
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(ToGateway::Refused { refusal, .. })) => Err(refusal.into()),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(LATE.into()),
        }
    }

    fn enter(&self) -> Result<(Place<'_>, oneshot::Receiver<ToGateway>), Failure> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.table();
        if waiting.len() >= self.calls_max {
            return Err(TOO_MANY.into());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        waiting.insert(number, answer);
        Ok((Place { calls: self, number }, answered))
    }

    async fn push(&self, mut envelope: ToRouter, until: Instant) -> bool {
        loop {
            match (self.push)(envelope) {
                Ok(()) => return true,
                Err(_) if Instant::now() >= until => return false,
                Err(refused) => envelope = *refused,
            }
            sleep(PUSH_PAUSE).await;
        }
    }

    /// Hands an answer to the call that waits for it. An answer that nobody waits for any more is dropped: its call
    /// was told `unavailable`.
    fn answer(&self, caller: Caller, envelope: ToGateway) {
        if let Some(call) = self.table().remove(&caller.connection) {
            let _ = call.send(envelope); // The caller may have gone in this very moment.
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Answer>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes envelopes until the router shards are gone: answers go to their calls, published events to `published`.
    pub(crate) async fn dispatch(
        &self,
        mut inbox: mpsc::Receiver<ToGateway>,
        published: impl Fn(&ConversationKey, u64),
    ) {
        while let Some(envelope) = inbox.recv().await {
            if let Some(caller) = envelope.caller() {
                self.answer(caller, envelope);
            } else if let ToGateway::Publish { conversation, events } = &envelope
                && let Some(last) = events.last()
            {
                published(conversation, last.seq());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::id::{Tenant, UserId, UserKey};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    fn key() -> UserKey {
        UserKey { tenant: Tenant::default_tenant(), user: UserId::parse("alice").unwrap() }
    }

    async fn presence(calls: &Calls) -> Result<ToGateway, Failure> {
        calls.ask(|caller| ToRouter::PresenceOf { caller, user: key() }).await
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    }

    #[test]
    fn an_answer_reaches_its_own_call_and_leaves_no_trace() {
        let (replies, inbox) = mpsc::channel(8);
        let push: Push = Arc::new(move |envelope| {
            let ToRouter::PresenceOf { caller, user } = envelope else { panic!("asked") };
            replies
                .try_send(ToGateway::PresenceOf {
                    caller,
                    user,
                    online: true,
                    last_seen: Some(caller.connection),
                })
                .unwrap();
            Ok(())
        });
        let calls = Calls::new(push, 8, SHORT);
        runtime().block_on(async {
            tokio::select! {
                () = calls.dispatch(inbox, |_, _| ()) => panic!("the shards are not gone"),
                (first, second) = async { tokio::join!(presence(&calls), presence(&calls)) } => {
                    assert!(matches!(first, Ok(ToGateway::PresenceOf { last_seen: Some(1), .. })));
                    assert!(matches!(second, Ok(ToGateway::PresenceOf { last_seen: Some(2), .. })));
                }
            }
        });
        assert!(calls.table().is_empty());
    }

    #[test]
    fn a_call_without_an_answer_is_unavailable_in_time_and_gives_its_place_back() {
        let calls = Calls::new(Arc::new(|_| Ok(())), 1, SHORT);
        runtime().block_on(async {
            let (first, second) = tokio::join!(presence(&calls), presence(&calls));
            assert_eq!(first.unwrap_err(), LATE.into());
            assert_eq!(second.unwrap_err(), TOO_MANY.into());
            assert_eq!(presence(&calls).await.unwrap_err(), LATE.into());
        });
        assert!(calls.table().is_empty());
    }

    #[test]
    fn a_full_mailbox_is_tried_again_and_then_refused() {
        let tries = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&tries);
        let push: Push = Arc::new(move |envelope| {
            counted.fetch_add(1, Ordering::Relaxed);
            Err(Box::new(envelope))
        });
        let calls = Calls::new(push, 1, Duration::from_secs(10));
        let refused = runtime().block_on(presence(&calls));
        assert_eq!(refused.unwrap_err(), FULL.into());
        assert!(tries.load(Ordering::Relaxed) > 1);
        assert!(calls.table().is_empty());
    }
}
