//! The router shard itself: takes completions, gives operations, and says which part answers for what.
//!
//! Decides nothing: what a request may do is in `roles`, what it does in the file of its noun.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use protocol::envelope::{GatewayId, Lane, RouterId, ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::placement::{Epoch, Slot, Table};
use protocol::time::Now;
use storage::request::{Failure, Outcome, Request, RequestId};

use crate::announcements::Announcements;
use crate::attaches::Attaches;
use crate::behind::Behind;
use crate::conversation::Place;
use crate::conversations::Conversations;
use crate::create::Creation;
use crate::gone::Sweep;
use crate::grace::Grace;
use crate::hash::Keys;
use crate::held::Held;
use crate::lamport::Lamport;
use crate::limits::{
    APPENDS_MAX, APPENDS_SOFT, ATTACHES_MAX, OPENINGS_MAX, READS_MAX, READS_SOFT, RETURNED_SOFT, WAITING_MAX,
    WAITING_SOFT,
};
use crate::marks::Marks;
use crate::openings::Openings;
use crate::outgoing::Outgoing;
use crate::receipts::Receipts;
use crate::refusal::NOT_FOUND;
use crate::request;
use crate::seen::Seen;
use crate::shrink;
use crate::store::{Pending, Read, StoreRequests};
use crate::tenure::owned;
use crate::typing::Typing;
use crate::users::Users;
use crate::watches::Watches;
use crate::{Completion, Counters, Operation, Settings};

/// Owner of the conversations and users of its slots. Pure: no clock, no I/O, chance from a seed.
#[derive(Debug)]
pub struct RouterShard {
    pub(crate) id: RouterId,
    pub(crate) table: Arc<Table>,
    /// True while another may own the slots.
    pub(crate) lapsed: bool,
    pub(crate) settings: Settings,
    pub(crate) keys: Keys,
    pub(crate) now: Now,
    /// When memory was last given back, in monotonic milliseconds.
    trimmed_ms: u64,
    pub(crate) lamport: Lamport,
    pub(crate) counters: Counters,
    pub(crate) outgoing: Outgoing,
    pub(crate) store: StoreRequests,

    pub(crate) conversations: Conversations,
    /// Places to be settled at the end of the call.
    pub(crate) touched: Vec<Place>,
    /// How many requests wait in all conversations.
    pub(crate) waiting: usize,
    /// How many appends wait or are under way in all conversations, and their bytes.
    pub(crate) appends: usize,
    pub(crate) append_bytes: usize,
    /// Joins that creations under way have yet to append.
    pub(crate) founding: usize,
    /// Conversations with a batch to send, in the order that they got it.
    pub(crate) batches: VecDeque<Place>,
    /// Conversations that wait to be loaded, created, removed.
    pub(crate) loads: VecDeque<Place>,
    pub(crate) creates: VecDeque<Place>,
    pub(crate) creations: BTreeMap<Place, Creation>,
    pub(crate) removes: VecDeque<(Place, protocol::envelope::Caller)>,
    /// Conversations whose log is to be read behind the published head, and not before when.
    pub(crate) doubts: BTreeSet<(u64, Place)>,
    /// Reads that wait for the store.
    pub(crate) reads: VecDeque<(Read, Request)>,
    pub(crate) attaches: Attaches,
    pub(crate) behind: Behind,
    /// Events that are published together with the next ones.
    pub(crate) held: Held,
    pub(crate) announcements: Announcements,
    pub(crate) marks: Marks,
    pub(crate) receipts: Receipts,
    pub(crate) typing: Typing,

    pub(crate) users: Users,
    pub(crate) openings: Openings,
    pub(crate) watches: Watches,
    pub(crate) seen: Seen,
    pub(crate) grace: Grace,
    pub(crate) sweep: Sweep,
}

impl RouterShard {
    /// A shard that owns what `table` gives to `id`. `seed` keys the hashes of what comes from outside.
    #[must_use]
    pub fn new(id: RouterId, table: Arc<Table>, settings: Settings, seed: u64) -> Self {
        let keys = Keys::new(seed);
        let slots_owned = owned(&table, id) as u64;
        Self {
            id,
            table,
            lapsed: false,
            settings,
            keys,
            now: Now::default(),
            trimmed_ms: 0,
            lamport: Lamport::default(),
            counters: Counters { slots_owned, ..Counters::default() },
            outgoing: Outgoing::new(),
            store: StoreRequests::new(&keys),
            conversations: Conversations::new(&settings, keys),
            touched: Vec::new(),
            waiting: 0,
            appends: 0,
            append_bytes: 0,
            founding: 0,
            batches: VecDeque::new(),
            loads: VecDeque::new(),
            creates: VecDeque::new(),
            creations: BTreeMap::new(),
            removes: VecDeque::new(),
            doubts: BTreeSet::new(),
            reads: VecDeque::new(),
            attaches: Attaches::default(),
            behind: Behind::default(),
            held: Held::default(),
            announcements: Announcements::default(),
            marks: Marks::default(),
            receipts: Receipts::default(),
            typing: Typing::new(&keys),
            users: Users::new(&settings),
            openings: Openings::default(),
            watches: Watches::new(&settings, &keys),
            seen: Seen::default(),
            grace: Grace::default(),
            sweep: Sweep::default(),
        }
    }

    /// Takes one completion; what follows from it comes out of [`Self::poll_operation`].
    pub fn handle(&mut self, now: Now, completion: Completion) {
        self.now = now;
        match completion {
            Completion::Envelope(request) => self.envelope(request),
            Completion::Routed(epoch, request) => self.routed(epoch, request),
            Completion::Store(id, outcome) => self.outcome(id, outcome),
            Completion::StoreFull(id, request) => {
                self.counters.store_full += 1;
                self.store.give_back(id, request, now.monotonic_ms);
            }
            Completion::GatewayFull(gateway, envelope) => self.gateway_full(gateway, envelope),
            Completion::RouterFull(_, envelope) => self.router_full(envelope),
            Completion::Table(table) => self.take_table(table),
            Completion::Lapsed(lapsed) => self.lapsed = lapsed,
            Completion::Tick => self.trim(),
        }
        self.settle();
    }

    /// Now and then gives back the memory that a storm took.
    fn trim(&mut self) {
        let now_ms = self.now.monotonic_ms;
        self.grace.trim(now_ms);
        if now_ms < self.trimmed_ms + shrink::EVERY_MS {
            return;
        }
        self.trimmed_ms = now_ms;
        self.outgoing.trim();
        self.users.trim();
        self.attaches.trim();
        self.openings.trim();
        shrink::list(&mut self.touched);
        for places in [&mut self.batches, &mut self.loads, &mut self.creates] {
            shrink::queue(places);
        }
        shrink::queue(&mut self.removes);
        shrink::queue(&mut self.reads);
    }

    pub(crate) fn envelope(&mut self, request: ToRouter) {
        if request.gateway().is_some_and(|gateway| !self.outgoing.meet(gateway)) {
            // Its link is ending, and it asks again over the next one.
            return;
        }
        match request {
            ToRouter::Attach { caller, actor, items } => self.attach(caller, actor, &items),
            ToRouter::Detach { gateway, conversation } => self.detach(gateway, conversation),
            ToRouter::SessionOpen { caller, user, device, again } => {
                self.session_open(caller, user, &device, again);
            }
            ToRouter::SessionHeard { caller, user, heard } => self.session_heard(&caller, &user, heard),
            ToRouter::SessionClose { caller, user, normal } => self.session_close(&caller, &user, normal),
            ToRouter::Watch { gateway, users } => self.watch(gateway, &users),
            ToRouter::Unwatch { gateway, users } => self.unwatch(gateway, &users),
            ToRouter::PresenceOf { caller, user } => self.presence_of(caller, user),
            ToRouter::Conversations { caller, user, after, limit } => {
                self.list_conversations(caller, user, after, limit);
            }
            ToRouter::GatewayGone { gateway } => self.gateway_gone(gateway),
            ToRouter::Membership { user, conversation, joined, after } if self.owns(Slot::of_user(&user)) => {
                self.membership(&user, conversation, joined, after);
            }
            request @ ToRouter::Membership { .. } => self.turn_away(request),
            request => {
                let key = request::conversation(&request).expect("all others are about a conversation");
                let outside = request::actor(&request).is_some_and(|actor| actor.key.tenant != key.tenant);
                if outside { self.refuse(&request, NOT_FOUND) } else { self.admit(key, request) }
            }
        }
    }

    fn outcome(&mut self, id: RequestId, outcome: Outcome) {
        // A store that answers twice, or what nobody asked, is not this shard's fault to die of.
        let Some(pending) = self.store.end(id) else { return };
        match pending {
            Pending::Append { places, sent_us } => self.append_outcome(places, sent_us, outcome),
            Pending::Create(place) => self.create_outcome(place, outcome),
            Pending::Load(place) => self.load_outcome(place, outcome),
            Pending::Bar(place) => self.bar_outcome(place, &outcome),
            Pending::CatchUp(place) => self.catch_up_outcome(place, outcome),
            Pending::Remove(place, caller) => self.remove_outcome(place, caller, outcome),
            Pending::Read(read) => self.read_outcome(read, outcome),
            Pending::Orphan(orphan) => self.orphan_outcome(orphan, outcome),
            Pending::Mark => self.mark_outcome(&outcome),
            Pending::Seen => {
                self.seen.end(matches!(outcome, Outcome::Seen), self.now.monotonic_ms);
            }
        }
    }

    fn gateway_full(&mut self, gateway: GatewayId, envelope: ToGateway) {
        let now_ms = self.now.monotonic_ms;
        match envelope.lane() {
            Lane::Required => {
                self.counters.required_returned += 1;
                self.attached_returned(gateway, &envelope);
                self.outgoing.gateway_full(gateway, envelope, now_ms);
            }
            Lane::Publish => {
                if let ToGateway::Publish { conversation, .. } | ToGateway::Head { conversation, .. } =
                    envelope
                {
                    self.counters.publishes_missed += 1;
                    self.missed(gateway, &conversation);
                }
            }
            Lane::Ephemeral => {
                self.counters.ephemeral_dropped += 1;
                if let ToGateway::Presence { user, .. } = envelope {
                    let due = now_ms + self.settings.presence_batch_ms;
                    self.watches.owe(self.keys.user(&user), Some(gateway), due);
                }
            }
        }
    }

    /// The next operation. Call it until it is empty after the completions of a turn: what they have in common
    /// goes out together, so that many appends make one transaction.
    pub fn poll_operation(&mut self) -> Option<Operation> {
        if self.outgoing.is_polled() {
            self.flush();
        }
        self.outgoing.pop()
    }

    /// Sends what is due: first what waited longest, then what a turn has gathered.
    fn flush(&mut self) {
        let now_ms = self.now.monotonic_ms;
        self.outgoing.begin_round(now_ms);
        for id in self.store.give_up(now_ms) {
            self.outcome(id, Outcome::Failed(Failure::Unavailable));
        }
        for (id, request) in self.store.retry(now_ms) {
            self.outgoing.push(Operation::Store(id, request));
        }
        self.flush_sweep();
        self.flush_held();
        self.flush_offline();
        self.flush_asked();
        self.flush_typing();
        self.flush_receipts();
        self.flush_presence();
        self.flush_announcements();
        self.flush_appends();
        self.flush_catch_ups();
        self.flush_loads();
        self.flush_creates();
        self.flush_removes();
        self.flush_reads();
        self.flush_marks();
        self.flush_seen();
        self.flush_heads();
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(gateway) = self.outgoing.take_cut() {
            self.counters.gateways_cut += 1;
            self.forget_gateway(gateway);
        }
        while let Some(place) = self.touched.pop() {
            self.conversations.settle(place);
        }
        self.counters.conversations = self.conversations.len() as u64;
        self.counters.sessions = self.users.sessions() as u64;
        self.counters.watched = self.watches.len() as u64;
        self.counters.waiting = self.waiting as u64;
        self.counters.store_requests = self.store.len() as u64;
        self.counters.returned = self.outgoing.returned() as u64;
    }

    /// False: too much waits; give this shard no envelope until it is true again. Everything else it always takes.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        // Not those for other router shards: two that wait for one another would wait for ever.
        self.outgoing.returned_to_gateways() < RETURNED_SOFT
            && self.waiting < WAITING_SOFT
            && self.appends < APPENDS_SOFT
            && self.append_bytes < self.settings.pending_bytes_max
            && self.reads.len() < READS_SOFT
    }

    /// When the shard wants a [`Completion::Tick`] at the latest, in milliseconds of the monotonic clock.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let deadlines = [
            self.outgoing.deadline(),
            self.store.deadline(),
            self.typing.deadline(),
            self.receipts.deadline(),
            self.watches.deadline(),
            self.users.deadline(),
            self.marks.deadline(),
            self.seen.deadline(),
            self.behind.deadline(),
            self.held.deadline(),
            self.grace.deadline(),
            (!self.sweep.is_done()).then_some(self.now.monotonic_ms),
            self.doubts.first().map(|&(due, _)| due),
            self.announces().then_some(self.now.monotonic_ms),
        ];
        let earliest = deadlines.into_iter().flatten().min()?;
        Some(earliest.max(self.now.monotonic_ms + 1))
    }

    /// The table that it goes by.
    #[must_use]
    pub fn table_epoch(&self) -> Epoch {
        self.table.epoch
    }

    /// What the shard has counted, and how much it holds now.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// True when nothing is under way: no request waits, none is at the store, nothing is to be told. Whoever types or
    /// goes offline with time does not count.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outgoing.is_polled()
            && self.outgoing.returned() == 0
            && self.store.len() == 0
            && self.waiting == 0
            && self.appends == 0
            && self.reads.is_empty()
            && self.doubts.is_empty()
            && self.behind.is_empty()
            && self.held.is_empty()
            && self.grace.deadline().is_none()
            && self.sweep.is_done()
            && self.announcements.is_empty()
            && self.marks.is_empty()
            && self.seen.is_empty()
            && self.receipts.deadline().is_none()
            && self.watches.deadline().is_none()
    }

    /// Answers a request that is refused, as that kind of request is answered.
    pub(crate) fn refuse(&mut self, request: &ToRouter, refusal: Refusal) {
        match request {
            ToRouter::Backlog { caller, conversation, after, .. } => {
                self.count_refusal(&refusal);
                let (caller, conversation, after) = (*caller, *conversation, *after);
                let head =
                    self.conversations.find(&conversation).map_or(0, |place| self.conversations[place].head);
                let events = Box::default();
                let refused = Some(refusal);
                let answer = ToGateway::Backlog { caller, conversation, after, events, head, refused };
                self.outgoing.answer(caller.gateway, answer);
            }
            request => {
                if let Some((caller, id)) = request::caller(request) {
                    self.refuse_caller(caller, id, refusal);
                }
            }
        }
    }

    /// Answers that a request is refused.
    pub(crate) fn refuse_caller(
        &mut self,
        caller: protocol::envelope::Caller,
        id: Option<protocol::id::ClientId>,
        refusal: Refusal,
    ) {
        self.count_refusal(&refusal);
        self.outgoing.answer(caller.gateway, ToGateway::Refused { caller, id, refusal });
    }

    pub(crate) fn count_refusal(&mut self, refusal: &Refusal) {
        self.counters.refused += 1;
        self.counters.unavailable += u64::from(refusal.code == ErrorCode::Unavailable);
        self.counters.strangers += u64::from(*refusal == NOT_FOUND);
    }

    /// Asserts every bound and every fact of the structure.
    pub fn invariants(&self) {
        assert!(self.touched.is_empty());
        assert!(self.waiting <= WAITING_MAX);
        assert!(self.appends + self.founding <= APPENDS_MAX);
        let founding: usize = self.creations.values().map(Creation::reserved).sum();
        assert_eq!(founding, self.founding);
        assert!(self.reads.len() <= READS_MAX);
        // Each request that is under way, and nothing else, can still become an answer that finds no room.
        let answers = RETURNED_SOFT + WAITING_MAX + APPENDS_MAX + READS_MAX + ATTACHES_MAX + OPENINGS_MAX;
        assert!(self.outgoing.returned_weight() <= 4 * answers);
        assert_eq!(self.conversations.waiting(), self.waiting);
        assert_eq!(self.conversations.append_load(), (self.appends, self.append_bytes));
        for (gateway, place) in self.behind.iter() {
            assert!(self.conversations[place].interest.contains(&gateway), "only the interested are behind");
        }
        for (place, seq) in self.held.iter() {
            let conversation = &self.conversations[place];
            assert_eq!(seq, conversation.head, "what waits ends where the log does");
            assert!(!conversation.appends.is_empty(), "what waits, waits for a batch");
        }
        self.held.invariants();
        self.outgoing.invariants();
        self.store.invariants();
        self.attaches.invariants();
        self.announcements.invariants();
        self.marks.invariants();
        self.receipts.invariants();
        self.typing.invariants();
        self.seen.invariants();
        self.tenure_invariants();
        self.gone_invariants();
    }
}
