//! The mailboxes of a node and everyone's way to them: between cores, from the API, from the store's driver. Decides by
//! lanes what fits; what an envelope says is the shards' affair.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use protocol::placement::{Epoch, Table};
use ring::mailbox::{Mailbox, Sender};
use ring::setup::SetupError;
use ring::waker::Waker;
use storage::request::{Outcome, RequestId};
use tokio::sync::mpsc;

use router::keeper::Command;

use super::shared::{Brim, Placement, Remote, Remotes};

/// Commands to the keeper that wait at most.
const COMMANDS_MAX: usize = 64;
/// How long the store's driver waits before it tries again to answer a core whose mailbox is full.
const ANSWER_PAUSE: Duration = Duration::from_micros(100);

/// An envelope to a router shard, and by which table it was sent there.
pub(super) type Routed = (Epoch, ToRouter);

/// One core's mailboxes, its waker, and whether it is gone.
#[derive(Clone, Debug)]
struct CoreMail {
    gateway: Mailbox<ToGateway>,
    router: Mailbox<Routed>,
    outcomes: Mailbox<(RequestId, Outcome)>,
    links: Mailbox<(GatewayId, ToGateway)>,
    waker: Waker,
    gone: Arc<AtomicBool>,
}

/// How large the mailboxes are, and whose.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many cores.
    pub cores: u16,
    /// Places of each mailbox.
    pub places: usize,
    /// What may wait for one gateway shard of another node.
    pub brim: Brim,
}

/// All mailboxes of the node. Its clones are the same.
#[derive(Clone, Debug)]
pub struct Exchange {
    cores: Vec<CoreMail>,
    settings: Settings,
    api: mpsc::Sender<ToGateway>,
    from_api: Mailbox<ToRouter>,
    commands: Mailbox<(u64, Command)>,
    placement: Arc<Placement>,
    remotes: Arc<Remotes>,
}

impl Exchange {
    /// Empty mailboxes; `api` is the API's inbox, `table` who owns what to begin with.
    ///
    /// # Errors
    /// No descriptor is left for a waker.
    pub fn new(
        settings: Settings,
        api: mpsc::Sender<ToGateway>,
        table: Arc<Table>,
    ) -> Result<Self, SetupError> {
        let Settings { cores, places, brim, .. } = settings;
        let mail = || {
            Ok(CoreMail {
                gateway: Mailbox::new(places),
                router: Mailbox::new(places),
                outcomes: Mailbox::new(places),
                // Each link has a bound of its own.
                links: Mailbox::new(usize::MAX),
                waker: Waker::new()?,
                gone: Arc::new(AtomicBool::new(false)),
            })
        };
        assert!(brim.envelopes > 0 && brim.bytes > 0);
        Ok(Self {
            cores: (0..cores).map(|_| mail()).collect::<Result<_, SetupError>>()?,
            settings,
            api,
            from_api: Mailbox::new(places),
            commands: Mailbox::new(COMMANDS_MAX),
            placement: Arc::new(Placement::new(table)),
            remotes: Arc::default(),
        })
    }

    /// The gateway shards of other nodes.
    #[must_use]
    pub const fn remotes(&self) -> &Arc<Remotes> {
        &self.remotes
    }

    /// Who owns what, as the node knows it.
    #[must_use]
    pub fn placement(&self) -> &Arc<Placement> {
        &self.placement
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
            links: mail.links.clone(),
            of_node: (core == 0)
                .then(|| OfNode { from_api: self.from_api.clone(), commands: self.commands.clone() }),
            gone: Arc::clone(&mail.gone),
        }
    }

    /// What a core sends with. One a core.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        Outgoing {
            gateways: self.cores.iter().map(|mail| mail.gateway.sender(mail.waker.clone())).collect(),
            routers: self.cores.iter().map(|mail| mail.router.sender(mail.waker.clone())).collect(),
            links: self.cores.iter().map(|mail| mail.links.sender(mail.waker.clone())).collect(),
            api: self.api.clone(),
            settings: self.settings,
            remotes: Arc::clone(&self.remotes),
            known: HashMap::new(),
            gone: 0,
        }
    }

    /// Puts an envelope of the API on its way: into the mailbox of its owner on this node, or, in a cluster (`clustered`),
    /// to the gateway shard that keeps the API's requests until they are answered.
    ///
    /// # Errors
    /// Gives it back when it does not fit.
    pub fn push_from_api(&self, envelope: ToRouter, clustered: bool) -> Result<(), Box<ToRouter>> {
        let lane = envelope.lane();
        if clustered {
            self.from_api.push(envelope, lane.fill_max(self.from_api.capacity()))?;
            self.cores[0].waker.wake();
            return Ok(());
        }
        let table = self.placement.table();
        let owner = envelope.slot().map_or(RouterId::NOBODY, |slot| table.owner(slot));
        let Some(mail) = self.cores.get(usize::from(owner.core())) else { return Err(Box::new(envelope)) };
        let fill = lane.fill_max(mail.router.capacity());
        mail.router.push((table.epoch, envelope), fill).map_err(|(_, envelope)| envelope)?;
        mail.waker.wake();
        Ok(())
    }

    /// Hands a command to the keeper, whose answer names its number.
    ///
    /// # Errors
    /// Gives it back when as many wait as may.
    pub fn command(&self, number: u64, command: Command) -> Result<(), (u64, Command)> {
        self.commands.push((number, command), COMMANDS_MAX)?;
        self.cores[0].waker.wake();
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

/// The mailboxes of the node's that its first core has.
#[derive(Clone, Debug)]
pub(super) struct OfNode {
    /// The API's requests, in a cluster.
    pub(super) from_api: Mailbox<ToRouter>,
    /// Orders to the keeper.
    pub(super) commands: Mailbox<(u64, Command)>,
}

/// A core's own mailboxes. Dropping it says that the core is gone.
#[derive(Debug)]
pub struct Inbox {
    pub(super) gateway: Mailbox<ToGateway>,
    pub(super) router: Mailbox<Routed>,
    pub(super) outcomes: Mailbox<(RequestId, Outcome)>,
    /// For gateway shards whose links this core has.
    pub(super) links: Mailbox<(GatewayId, ToGateway)>,
    /// The API's requests in a cluster, and commands to the keeper: the first core's.
    pub(super) of_node: Option<OfNode>,
    gone: Arc<AtomicBool>,
}

impl Inbox {
    /// Whether there is something that the core would take: its router's mail counts only when `router_takes`.
    pub(super) fn has_mail(&self, router_takes: bool) -> bool {
        !self.outcomes.is_empty()
            || !self.gateway.is_empty()
            || (router_takes && !self.router.is_empty())
            || !self.links.is_empty()
            || self.of_node.as_ref().is_some_and(|of| !of.from_api.is_empty() || !of.commands.is_empty())
    }

    /// Items waiting now: for the gateway shard, for the router shard, outcomes, for links.
    pub(super) fn depths(&self) -> [usize; 4] {
        [self.gateway.len(), self.router.len(), self.outcomes.len(), self.links.len()]
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
    routers: Vec<Sender<Routed>>,
    links: Vec<Sender<(GatewayId, ToGateway)>>,
    api: mpsc::Sender<ToGateway>,
    settings: Settings,
    remotes: Arc<Remotes>,
    /// Gateway shards of other nodes that were spoken to, as long as none of them is gone.
    known: HashMap<GatewayId, Remote>,
    gone: u64,
}

impl Outgoing {
    /// Puts an envelope into a gateway shard's mailbox, the API's, or that of the core that has the shard's link; gives it back
    /// when it does not fit. One for a shard that is gone is dropped.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn deliver_to_gateway(
        &mut self,
        gateway: GatewayId,
        envelope: ToGateway,
    ) -> Result<(), ToGateway> {
        if gateway == GatewayId::API {
            return self.deliver_to_api(envelope);
        }
        let Some(sender) = self.gateways.get_mut(gateway.0 as usize) else {
            return self.deliver_to_remote(gateway, envelope);
        };
        let fill = envelope.lane().fill_max(sender.mailbox().capacity());
        sender.push(envelope, fill)
    }

    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    fn deliver_to_remote(&mut self, gateway: GatewayId, envelope: ToGateway) -> Result<(), ToGateway> {
        let Some(Remote { core, gauge }) = self.remote(gateway) else { return Ok(()) };
        if !gauge.admit(envelope.lane(), self.settings.brim) {
            return Err(envelope);
        }
        let pushed = self.links[usize::from(core)].push((gateway, envelope), usize::MAX);
        pushed.map_err(|(_, envelope)| envelope)
    }

    /// Has the link of a gateway shard of another node ended, by the core that has it. One that is gone has none.
    pub(super) fn cut(&mut self, gateway: GatewayId) {
        let Some(remote) = self.remote(gateway) else { return };
        self.remotes.cut(&remote);
        self.links[usize::from(remote.core)].wake();
    }

    fn remote(&mut self, gateway: GatewayId) -> Option<Remote> {
        let gone = self.remotes.gone();
        if gone != self.gone {
            self.known.clear();
            self.gone = gone;
        }
        if let Some(remote) = self.known.get(&gateway) {
            return Some(remote.clone());
        }
        let remote = self.remotes.get(gateway)?;
        self.known.insert(gateway, remote.clone());
        Some(remote)
    }

    /// Puts an envelope into the mailbox of a router shard of this node; gives it back when it does not fit.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn deliver_to_router(
        &mut self,
        core: u16,
        by: Epoch,
        envelope: ToRouter,
    ) -> Result<(), ToRouter> {
        let sender = &mut self.routers[usize::from(core)];
        let fill = envelope.lane().fill_max(sender.mailbox().capacity());
        sender.push((by, envelope), fill).map_err(|(_, envelope)| envelope)
    }

    /// How many cores there are.
    pub(super) fn cores(&self) -> u16 {
        self.routers.len() as u16
    }

    /// Wakes every core that sleeps.
    pub(super) fn wake_all(&self) {
        self.routers.iter().for_each(Sender::wake);
    }

    /// Wakes each core that got something and sleeps, once.
    pub(super) fn flush(&mut self) {
        self.gateways.iter_mut().for_each(Sender::flush);
        self.routers.iter_mut().for_each(Sender::flush);
        self.links.iter_mut().for_each(Sender::flush);
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
    use protocol::placement::Epoch;

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

    fn exchange(places: usize, api: mpsc::Sender<ToGateway>) -> Exchange {
        let brim = Brim { envelopes: places, bytes: 1 << 20 };
        let settings = Settings { cores: 1, places, brim };
        Exchange::new(settings, api, Arc::new(Table::alone(1, Epoch(0)))).unwrap()
    }

    fn accepted(gateway: GatewayId, exchange: &Exchange, envelope: fn() -> ToGateway) -> usize {
        let mut outgoing = exchange.outgoing();
        (0..64).take_while(|_| outgoing.deliver_to_gateway(gateway, envelope()).is_ok()).count()
    }

    #[test]
    fn each_lane_fills_a_mailbox_to_its_share_and_no_further() {
        let (api, _inbox) = mpsc::channel(16);
        let exchange = exchange(16, api);
        for gateway in [GatewayId(0), GatewayId::API] {
            assert_eq!(accepted(gateway, &exchange, typing), 8);
            assert_eq!(accepted(gateway, &exchange, head), 4);
            assert_eq!(accepted(gateway, &exchange, required), 4);
            assert_eq!(accepted(gateway, &exchange, typing), 0);
        }
    }

    #[test]
    fn a_gateway_shard_that_is_given_up_is_marked_for_the_core_with_its_link() {
        let (api, _inbox) = mpsc::channel(1);
        let exchange = exchange(1, api);
        let [given_up, other] = [exchange.remotes().number(), exchange.remotes().number()];
        for gateway in [given_up, other] {
            exchange.remotes().insert(gateway, Remote { core: 0, gauge: Arc::default() });
        }
        exchange.outgoing().cut(given_up);
        let is_cut = |gateway| exchange.remotes().get(gateway).map(|remote| remote.gauge.is_cut());
        assert_eq!((is_cut(given_up), is_cut(other)), (Some(true), Some(false)));
        exchange.remotes().remove(given_up);
        exchange.outgoing().cut(given_up);
    }

    #[test]
    fn an_answer_for_a_core_that_is_gone_is_dropped() {
        let (api, _inbox) = mpsc::channel(1);
        let exchange = exchange(1, api);
        drop(exchange.inbox(0));
        for request in 0..3 {
            exchange.answer(RouterId(0), RequestId(request), Outcome::Marked);
        }
        assert_eq!(exchange.inbox(0).depths(), [0, 0, 1, 0]);
    }
}
