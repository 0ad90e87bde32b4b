//! The mailboxes of a node and everyone's way to them: between cores, from the API, from the store's driver. Decides by
//! lanes what fits; what an envelope says is the shards' affair.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use ring::mailbox::{Mailbox, Sender};
use ring::setup::SetupError;
use ring::waker::Waker;
use storage::request::{Outcome, RequestId};
use tokio::sync::mpsc;

/// How long the store's driver waits before it tries again to answer a core whose mailbox is full.
const ANSWER_PAUSE: Duration = Duration::from_micros(100);

/// One core's three mailboxes, its waker, and whether it is gone.
#[derive(Clone, Debug)]
struct CoreMail {
    gateway: Mailbox<ToGateway>,
    router: Mailbox<ToRouter>,
    outcomes: Mailbox<(RequestId, Outcome)>,
    waker: Waker,
    gone: Arc<AtomicBool>,
}

/// All mailboxes of the node. Its clones are the same.
#[derive(Clone, Debug)]
pub struct Exchange {
    cores: Vec<CoreMail>,
    api: mpsc::Sender<ToGateway>,
}

impl Exchange {
    /// Mailboxes of `places` each for `cores` cores; `api` is the API's inbox.
    ///
    /// # Errors
    /// No descriptor is left for a waker.
    pub fn new(cores: u16, places: usize, api: mpsc::Sender<ToGateway>) -> Result<Self, SetupError> {
        let mail = || {
            Ok(CoreMail {
                gateway: Mailbox::new(places),
                router: Mailbox::new(places),
                outcomes: Mailbox::new(places),
                waker: Waker::new()?,
                gone: Arc::new(AtomicBool::new(false)),
            })
        };
        Ok(Self { cores: (0..cores).map(|_| mail()).collect::<Result<_, SetupError>>()?, api })
    }

    /// How many cores, and so gateway shards and router shards.
    ///
    /// # Panics
    /// Never: they were counted by a `u16` when they were made.
    #[must_use]
    pub fn cores(&self) -> u16 {
        u16::try_from(self.cores.len()).expect("made from a u16")
    }

    /// The waker of a core's ring.
    #[must_use]
    pub fn waker(&self, core: u16) -> Waker {
        self.cores[usize::from(core)].waker.clone()
    }

    /// Wakes every core that sleeps.
    pub fn wake_all(&self) {
        for core in &self.cores {
            core.waker.wake();
        }
    }

    /// Wakes every core that sleeps and has an answer of the store.
    pub fn wake_answered(&self) {
        for core in self.cores.iter().filter(|core| !core.outcomes.is_empty()) {
            core.waker.wake();
        }
    }

    /// What a core takes its mail from. One a core.
    #[must_use]
    pub fn inbox(&self, core: u16) -> Inbox {
        let mail = &self.cores[usize::from(core)];
        Inbox {
            gateway: mail.gateway.clone(),
            router: mail.router.clone(),
            outcomes: mail.outcomes.clone(),
            gone: Arc::clone(&mail.gone),
        }
    }

    /// What a core sends with. One a core.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        Outgoing {
            gateways: self.cores.iter().map(|mail| mail.gateway.sender(mail.waker.clone())).collect(),
            routers: self.cores.iter().map(|mail| mail.router.sender(mail.waker.clone())).collect(),
            api: self.api.clone(),
        }
    }

    /// Puts an envelope of the API into a router shard's mailbox.
    ///
    /// # Errors
    /// Gives it back when it does not fit.
    pub fn push_from_api(&self, router: RouterId, envelope: ToRouter) -> Result<(), Box<ToRouter>> {
        let mail = &self.cores[usize::from(router.core())];
        let fill = envelope.lane().fill_max(mail.router.capacity());
        mail.router.push(envelope, fill)?;
        mail.waker.wake();
        Ok(())
    }

    /// Puts the store's answer into a core's mailbox and waits while that is full: a core always takes these, so it
    /// can't last. An answer for a core that is gone is dropped.
    pub fn answer(&self, router: RouterId, request: RequestId, outcome: Outcome) {
        let mail = &self.cores[usize::from(router.core())];
        let mut answer = (request, outcome);
        while let Err(back) = mail.outcomes.push(answer, mail.outcomes.capacity()) {
            if mail.gone.load(Ordering::Acquire) {
                return;
            }
            mail.waker.wake();
            thread::sleep(ANSWER_PAUSE);
            answer = back;
        }
    }
}

/// A core's own mailboxes. Dropping it says that the core is gone.
#[derive(Debug)]
pub struct Inbox {
    pub(super) gateway: Mailbox<ToGateway>,
    pub(super) router: Mailbox<ToRouter>,
    pub(super) outcomes: Mailbox<(RequestId, Outcome)>,
    gone: Arc<AtomicBool>,
}

impl Inbox {
    /// Whether there is something that the core would take: its router's mail counts only when `router_takes`.
    pub(super) fn has_mail(&self, router_takes: bool) -> bool {
        !self.outcomes.is_empty() || !self.gateway.is_empty() || (router_takes && !self.router.is_empty())
    }

    /// Items waiting now: for the gateway shard, for the router shard, outcomes.
    pub(super) fn depths(&self) -> [usize; 3] {
        [self.gateway.len(), self.router.len(), self.outcomes.len()]
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
    }
}

/// A core's way to all others. What is put in is seen at the latest after a flush, which wakes whoever sleeps.
#[derive(Debug)]
pub struct Outgoing {
    gateways: Vec<Sender<ToGateway>>,
    routers: Vec<Sender<ToRouter>>,
    api: mpsc::Sender<ToGateway>,
}

impl Outgoing {
    /// Puts an envelope into a gateway shard's mailbox, or the API's; gives it back when it does not fit.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn deliver_to_gateway(
        &mut self,
        gateway: GatewayId,
        envelope: ToGateway,
    ) -> Result<(), ToGateway> {
        if gateway == GatewayId::API {
            return self.deliver_to_api(envelope);
        }
        let sender = &mut self.gateways[gateway.0 as usize];
        let fill = envelope.lane().fill_max(sender.mailbox().capacity());
        sender.push(envelope, fill)
    }

    /// Puts an envelope into a router shard's mailbox; gives it back when it does not fit.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn deliver_to_router(&mut self, router: RouterId, envelope: ToRouter) -> Result<(), ToRouter> {
        let sender = &mut self.routers[usize::from(router.core())];
        let fill = envelope.lane().fill_max(sender.mailbox().capacity());
        sender.push(envelope, fill)
    }

    /// Wakes each core that got something and sleeps, once.
    pub(super) fn flush(&mut self) {
        self.gateways.iter_mut().for_each(Sender::flush);
        self.routers.iter_mut().for_each(Sender::flush);
    }

    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    fn deliver_to_api(&mut self, envelope: ToGateway) -> Result<(), ToGateway> {
        let filled = self.api.max_capacity() - self.api.capacity();
        if filled >= envelope.lane().fill_max(self.api.max_capacity()) {
            return Err(envelope);
        }
        match self.api.try_send(envelope) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(envelope)) => Err(envelope),
            // The API ends last of all who ask: there is nobody left who waits for this.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::{ConversationId, ConversationKey, Tenant, UserId};

    use super::*;

    fn key() -> ConversationKey {
        ConversationKey {
            tenant: Tenant::default_tenant(),
            conversation: ConversationId::parse("c").unwrap(),
        }
    }

    fn typing() -> ToGateway {
        ToGateway::Typing { conversation: key(), user: UserId::parse("u").unwrap(), on: true }
    }

    fn head() -> ToGateway {
        ToGateway::Head { conversation: key(), head: 1 }
    }

    fn required() -> ToGateway {
        ToGateway::Left { connection: 1, conversation: key(), seq: 0 }
    }

    fn accepted(gateway: GatewayId, exchange: &Exchange, envelope: fn() -> ToGateway) -> usize {
        let mut outgoing = exchange.outgoing();
        (0..64).take_while(|_| outgoing.deliver_to_gateway(gateway, envelope()).is_ok()).count()
    }

    #[test]
    fn each_lane_fills_a_mailbox_to_its_share_and_no_further() {
        let (api, _inbox) = mpsc::channel(16);
        let exchange = Exchange::new(1, 16, api).unwrap();
        for gateway in [GatewayId(0), GatewayId::API] {
            assert_eq!(accepted(gateway, &exchange, typing), 8);
            assert_eq!(accepted(gateway, &exchange, head), 4);
            assert_eq!(accepted(gateway, &exchange, required), 4);
            assert_eq!(accepted(gateway, &exchange, typing), 0);
        }
    }

    #[test]
    fn an_answer_for_a_core_that_is_gone_is_dropped() {
        let (api, _inbox) = mpsc::channel(1);
        let exchange = Exchange::new(1, 1, api).unwrap();
        drop(exchange.inbox(0));
        for request in 0..3 {
            exchange.answer(RouterId(0), RequestId(request), Outcome::Marked);
        }
        assert_eq!(exchange.inbox(0).depths(), [0, 0, 1]);
    }
}
