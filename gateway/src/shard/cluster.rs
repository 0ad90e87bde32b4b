//! A cluster: owners are on other nodes, have slots until a newer table says otherwise, and may be out of reach. Each request is kept
//! until it is answered; what can't be sent now is held for a while. Which of it goes where when something moves is told in `moves`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use protocol::envelope::{Caller, GatewayId, RouterId, ToGateway, ToRouter};
use protocol::id::Tenant;
use protocol::placement::{NodeId, Slot, Table};
use router::shrink;

use super::GatewayShard;
use super::announce::Announcements;
use super::connection::Flag;
use super::pressure::HeldUp;
use super::requests::{Request, Requests, UNAVAILABLE, answer_of, refused};
use super::settings::Settings;
use super::slots::SlotSet;

/// A router node, as this shard sees it.
#[derive(Debug)]
struct Link {
    up: bool,
    /// Since when it is not.
    since_ms: u64,
}

/// What is no request and can't be sent yet.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) slot: Slot,
    pub(super) envelope: ToRouter,
    until_ms: u64,
}

/// What a shard of a cluster keeps beside its queues by owner.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) table: Arc<Table>,
    /// The node whose router shards are in this process.
    pub(super) node: NodeId,
    patience_ms: u64,
    links: BTreeMap<NodeId, Link>,
    pub(super) requests: Requests,
    /// Slots whose owner said that it is not: what is for them waits.
    pub(super) unsettled: SlotSet,
    /// When what was misplaced is asked again, though there be no newer table.
    pub(super) settle_ms: Option<u64>,
    pub(super) held: VecDeque<Held>,
    pub(super) held_up: HeldUp,
    /// Answers of the shard itself, to be taken at the end of the completion in hand.
    answers: VecDeque<ToGateway>,
    to_api: VecDeque<ToGateway>,
    /// How many of the requests are the API's.
    of_api: usize,
    pub(super) announcements: Announcements,
}

impl Cluster {
    /// `None` when there is none.
    pub(super) fn new(settings: &Settings, table: &Table) -> Option<Box<Self>> {
        settings.clustered.then(|| {
            Box::new(Self {
                table: Arc::new(table.clone()),
                node: settings.node,
                patience_ms: settings.request_patience_ms.into(),
                links: BTreeMap::new(),
                requests: Requests::default(),
                unsettled: SlotSet::default(),
                settle_ms: None,
                held: VecDeque::new(),
                held_up: HeldUp::default(),
                answers: VecDeque::new(),
                to_api: VecDeque::new(),
                of_api: 0,
                announcements: Announcements::default(),
            })
        })
    }

    /// True when there is a way to a router shard.
    pub(super) fn is_up(&self, owner: RouterId) -> bool {
        let node = owner.node();
        owner != RouterId::NOBODY && (node == self.node || self.links.get(&node).is_some_and(|link| link.up))
    }

    /// Notes whether there is a link to a node. One that is told twice not to be there is not for as long as it was.
    pub(super) fn set_link(&mut self, node: NodeId, up: bool, now_ms: u64) {
        let link = self.links.entry(node).or_insert(Link { up, since_ms: now_ms });
        if link.up || up {
            *link = Link { up, since_ms: now_ms };
        }
    }

    /// Knows the nodes of the table, and forgets those that are neither in it nor up.
    pub(super) fn note_nodes(&mut self, now_ms: u64) {
        let Self { links, table, .. } = self;
        for node in &table.nodes {
            links.entry(node.id).or_insert(Link { up: false, since_ms: now_ms });
        }
        links.retain(|id, link| link.up || table.node(*id).is_some());
    }

    /// True when an owner's node was out of reach for as long as a request has patience: nobody need wait for that again.
    fn is_given_up(&self, owner: RouterId, now_ms: u64) -> bool {
        let link = self.links.get(&owner.node());
        !self.is_up(owner) && link.is_some_and(|link| now_ms > link.since_ms + self.patience_ms)
    }

    /// When something is due.
    pub(super) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        let patience = self.requests.oldest().map(|(_, request)| request.deadline_ms);
        let held = self.held.front().map(|held| held.until_ms);
        let answers = (!self.answers.is_empty()).then_some(now_ms);
        [patience, held, answers, self.settle_ms, self.announcements.due_ms()].into_iter().flatten().min()
    }

    /// True when the API has all its answers.
    pub(super) fn is_drained(&self) -> bool {
        self.of_api == 0 && self.to_api.is_empty()
    }

    pub(super) fn poll_api(&mut self) -> Option<ToGateway> {
        self.to_api.pop_front()
    }

    pub(super) fn trim(&mut self) {
        self.requests.trim();
        self.held_up.trim();
        shrink::queue(&mut self.held);
        shrink::queue(&mut self.answers);
        shrink::queue(&mut self.to_api);
    }

    /// The slots of all that is kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = Slot> {
        let requests = self.requests.iter().map(|(_, request)| request.slot);
        requests.chain(self.held.iter().map(|held| held.slot))
    }

    pub(super) fn invariants(&self) {
        self.requests.invariants();
        assert!(self.answers.is_empty(), "what the shard answers itself is taken at once");
        assert_eq!(self.of_api, self.requests.iter().filter(|(_, request)| of_api(request)).count());
        assert!(self.unsettled.is_empty() || self.settle_ms.is_some());
        assert!(self.held.iter().all(|held| held.envelope.request().is_none()));
    }
}

fn of_api(request: &Request) -> bool {
    request.caller().gateway == GatewayId::API
}

impl GatewayShard {
    /// Hands an envelope to the owner of a slot, behind all others.
    pub(super) fn tell_slot(&mut self, slot: Slot, envelope: ToRouter) {
        if self.cluster.is_some() {
            self.tell_cluster(slot, envelope);
        } else {
            self.owners.push(slot, envelope);
        }
    }

    /// Hands an envelope to an owner, of whose slots all of it is.
    pub(super) fn tell_owner(&mut self, owner: RouterId, envelope: ToRouter) {
        match if self.cluster.is_some() { envelope.slot() } else { None } {
            Some(slot) => self.tell_cluster(slot, envelope),
            None => self.owners.push_to(owner, envelope),
        }
    }

    /// What the API asks or says.
    pub(super) fn api_says(&mut self, envelope: ToRouter) {
        if let Some(slot) = envelope.slot() {
            self.tell_slot(slot, envelope);
        }
    }

    fn tell_cluster(&mut self, slot: Slot, envelope: ToRouter) {
        match envelope.request().copied() {
            Some(caller) => self.ask_cluster(slot, caller, envelope),
            None => self.say(slot, envelope),
        }
    }

    /// A request: kept until it is answered, or refused at once.
    fn ask_cluster(&mut self, slot: Slot, caller: Caller, envelope: ToRouter) {
        let owner = self.owners.owner_of(slot);
        let Some(cluster) = &mut self.cluster else { return };
        let now_ms = self.now.monotonic_ms;
        if self.owners.is_overrun(slot) || cluster.is_given_up(owner, now_ms) {
            cluster.answers.push_back(refused(&envelope, caller, UNAVAILABLE));
            self.begins_not(&envelope);
            return;
        }
        cluster.of_api += usize::from(caller.gateway == GatewayId::API);
        let deadline_ms = now_ms + cluster.patience_ms;
        let which = cluster.requests.add(Request::new(envelope, slot, deadline_ms));
        self.owners.keep(slot);
        self.send_request(which);
    }

    /// Of a session that its owner was not asked for, the owner need not be told the end.
    fn begins_not(&mut self, envelope: &ToRouter) {
        if let ToRouter::SessionOpen { caller, again: false, .. } = envelope
            && let Some(slot) = self.registered(caller.connection)
        {
            self.slab[slot].flags.clear(Flag::Registered);
        }
    }

    /// True when what is for a slot may go to its owner.
    pub(super) fn is_open(&self, slot: Slot) -> bool {
        self.owners.is_up(slot) && self.cluster.as_ref().is_none_or(|cluster| !cluster.unsettled.has(slot))
    }

    /// Sends a request to the owner that has its slot, if there is a way.
    pub(super) fn send_request(&mut self, which: u64) {
        if self.is_moot(which) {
            self.forget(which);
            return;
        }
        let Some(cluster) = &mut self.cluster else { return };
        let number = cluster.requests.number(which);
        let Some(request) = cluster.requests.get_mut(which) else { return };
        let slot = request.slot;
        if !self.owners.is_up(slot) || cluster.unsettled.has(slot) {
            return;
        }
        request.doubtful |= request.asked;
        request.asked = true;
        let mut envelope = request.envelope.clone();
        if let Some(caller) = envelope.request_mut() {
            (caller.gateway, caller.reference) = (self.id, number);
        }
        self.owners.push(slot, envelope);
    }

    /// True for a session that begins for a client who has gone: it may be somewhere else by now, and its device is not to be
    /// taken from it.
    fn is_moot(&self, which: u64) -> bool {
        let request = self.cluster.as_ref().and_then(|cluster| cluster.requests.get(which));
        let Some(ToRouter::SessionOpen { caller, .. }) = request.map(|request| &request.envelope) else {
            return false;
        };
        self.registered(caller.connection).is_none()
    }

    /// What is no request: sent, or held while the slot is unsettled. To a node out of reach only marks are kept: of all else it is
    /// told anew what is true by then. To an owner that is overrun nobody says that he types, and who says anything else waits.
    pub(super) fn say(&mut self, slot: Slot, envelope: ToRouter) {
        if self.owners.is_overrun(slot) {
            if matches!(envelope, ToRouter::Typing { .. }) {
                return;
            }
            if let Some(cluster) = &mut self.cluster {
                cluster.held_up.overrun(slot);
            }
        }
        if self.is_open(slot) {
            self.owners.push(slot, envelope);
            return;
        }
        let owner = self.owners.owner_of(slot);
        let Some(cluster) = &mut self.cluster else { return };
        let now_ms = self.now.monotonic_ms;
        let is_mark = matches!(envelope, ToRouter::Mark { .. });
        let held = self.owners.is_up(slot) || is_mark && !cluster.is_given_up(owner, now_ms);
        if held && !matches!(envelope, ToRouter::Typing { .. }) {
            cluster.held.push_back(Held { slot, envelope, until_ms: now_ms + cluster.patience_ms });
            self.owners.keep(slot);
        }
    }

    /// An owner's mailbox, or the link to it, was full.
    pub(super) fn give_back(&mut self, owner: RouterId, envelope: ToRouter) {
        if self.cluster.is_none() || self.owners.knows(owner) {
            self.owners.give_back(owner, envelope);
        } else if let (None, Some(slot)) = (envelope.request(), envelope.slot()) {
            self.say(slot, envelope);
        }
    }

    /// An envelope in a cluster: the answer to a request, something for the API, or news.
    pub(super) fn cluster_envelope(&mut self, envelope: ToGateway) {
        let Some(cluster) = &mut self.cluster else { return };
        if let ToGateway::Publish { conversation, .. } | ToGateway::Head { conversation, .. } = &envelope
            && conversation.tenant == Tenant::SYSTEM
        {
            cluster.to_api.push_back(envelope);
            return;
        }
        let Some(caller) = envelope.caller() else {
            self.take_envelope(envelope);
            return;
        };
        let Some(which) = cluster.requests.find(caller.reference) else {
            self.counters.late_answers += 1;
            self.undo(&envelope);
            return;
        };
        if matches!(envelope, ToGateway::Misplaced { .. }) {
            self.misplaced(which);
        } else if let Some(request) = self.forget(which) {
            self.hand_on(answer_of(&request, envelope));
        }
    }

    /// The request is answered.
    pub(super) fn forget(&mut self, which: u64) -> Option<Request> {
        let cluster = self.cluster.as_mut()?;
        let request = cluster.requests.remove(which)?;
        cluster.of_api -= usize::from(of_api(&request));
        self.owners.let_go(request.slot);
        Some(request)
    }

    /// An answer that comes too late may have given interest that nobody has any more.
    fn undo(&mut self, envelope: &ToGateway) {
        let ToGateway::Attached { tenant, items, .. } = envelope else { return };
        if *tenant == Tenant::SYSTEM {
            // The API's, which has no rooms here.
            return;
        }
        for item in items.iter().filter(|item| item.state.is_some()) {
            let conversation =
                protocol::id::ConversationKey { tenant: *tenant, conversation: item.conversation };
            if self.rooms.find(&conversation).is_none() {
                self.ask(&conversation, ToRouter::Detach { gateway: self.id, conversation });
            }
        }
    }

    fn hand_on(&mut self, answer: ToGateway) {
        match &mut self.cluster {
            Some(cluster) if answer.caller().is_some_and(|caller| caller.gateway == GatewayId::API) => {
                cluster.to_api.push_back(answer);
            }
            _ => self.take_envelope(answer),
        }
    }

    /// Takes what the shard has answered itself.
    pub(super) fn take_answers(&mut self) {
        while let Some(answer) = self.cluster.as_mut().and_then(|cluster| cluster.answers.pop_front()) {
            self.counters.patience_over += 1;
            self.hand_on(answer);
        }
    }

    /// Refuses what nobody has answered in time, and lets go of what could not be said.
    pub(super) fn lose_patience(&mut self) {
        let now_ms = self.now.monotonic_ms;
        while let Some(cluster) = &self.cluster
            && let Some((which, request)) = cluster.requests.oldest()
            && request.deadline_ms <= now_ms
        {
            if let Some(request) = self.forget(which)
                && let Some(cluster) = &mut self.cluster
            {
                cluster.answers.push_back(refused(&request.envelope, request.caller(), UNAVAILABLE));
            }
        }
        while let Some(cluster) = &mut self.cluster
            && cluster.held.front().is_some_and(|held| held.until_ms <= now_ms)
            && let Some(held) = cluster.held.pop_front()
        {
            self.owners.let_go(held.slot);
        }
    }
}
