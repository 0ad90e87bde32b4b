//! The world around some router shards: the real transactions over the engine in memory, mailboxes that can be full, a
//! store that can be slow, full or away, and a clock that moves when told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use protocol::envelope::{
    Actor, AttachItem, Authority, Caller, Change, ConversationKind, GatewayId, Lane, Member, RouterId,
    ToGateway, ToRouter,
};
use protocol::error::{ErrorCode, Refusal};
use protocol::event::{ContentV1, Draft, EventV1, Role};
use protocol::id::{ClientId, ConversationId, ConversationKey, DeviceId, Tenant, UserId, UserKey};
use protocol::placement::{NodeId, Table};
use protocol::time::Now;
use router::{Completion, Operation, RouterShard, Settings};
use storage::engine::{Engine, MemoryEngine};
use storage::request::{Epoch, Failure, Outcome, Request, RequestId};

/// How the next requests fare at the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Done.
    Done,
    /// Not done, and said so.
    Failed(Failure),
    /// Done, but nobody knows.
    DoneUnknown,
}

/// Router shards and their surroundings.
pub(crate) struct World {
    pub(crate) shards: Vec<RouterShard>,
    /// Whose shards they are.
    pub(crate) ids: Vec<RouterId>,
    /// The newest table: by it requests are sent.
    pub(crate) table: Arc<Table>,
    /// Which table each shard was told last.
    pub(crate) told: Vec<Epoch>,
    pub(crate) engine: Engine,
    pub(crate) now: Now,
    /// Requests at the store.
    pub(crate) store: VecDeque<(RouterId, RequestId, Request)>,
    /// How the requests fare that are done now.
    pub(crate) fate: Fate,
    /// True: the store's queue takes nothing.
    pub(crate) store_full: bool,
    /// From which lane on a gateway shard's mailbox gives envelopes back.
    pub(crate) full: BTreeMap<GatewayId, Lane>,
    /// True: router shards' mailboxes give everything back.
    pub(crate) routers_full: bool,
    /// What the gateway shards got, in order.
    pub(crate) mail: Vec<(GatewayId, ToGateway)>,
    /// Whose links are to end.
    pub(crate) cut: Vec<GatewayId>,
    /// Every request that the store has done, by its name.
    pub(crate) done: Vec<&'static str>,
    pub(crate) references: i64,
}

pub(crate) const GATEWAY: GatewayId = GatewayId(0);
pub(crate) const OTHER_GATEWAY: GatewayId = GatewayId(1);

pub(crate) fn user(name: &str) -> UserKey {
    UserKey { tenant: Tenant::default_tenant(), user: UserId::parse(name).unwrap() }
}

pub(crate) fn conversation(name: &str) -> ConversationKey {
    ConversationKey { tenant: Tenant::default_tenant(), conversation: ConversationId::parse(name).unwrap() }
}

pub(crate) fn actor(name: &str) -> Actor {
    Actor { key: user(name), authority: Authority::User }
}

pub(crate) fn server() -> Actor {
    Actor { key: user("system"), authority: Authority::Server }
}

pub(crate) fn member(name: &str, role: Role) -> Member {
    Member { user: UserId::parse(name).unwrap(), role }
}

pub(crate) fn draft(key: &ConversationKey, sender: &str, id: &str, content: ContentV1<'_>) -> Draft {
    let conversation = key.conversation.as_str();
    Draft::encode(&EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device: "d", id, content })
        .unwrap()
}

pub(crate) fn message(body: &str) -> ContentV1<'_> {
    ContentV1::Message { kind: "text", body, meta: None, reply_to: None }
}

impl World {
    pub(crate) fn new(routers: u16) -> Self {
        Self::with(routers, Settings::default())
    }

    pub(crate) fn with(routers: u16, settings: Settings) -> Self {
        let ids = (0..routers).map(|core| RouterId::new(NodeId::ALONE, core)).collect();
        Self::of(ids, settings, |epoch| Table::alone(routers, epoch))
    }

    /// A world of these router shards, whose first table is this.
    pub(crate) fn of(ids: Vec<RouterId>, settings: Settings, table: impl Fn(Epoch) -> Table) -> Self {
        let mut engine = Engine::Memory(MemoryEngine::new());
        let epoch = storage::claim(&mut engine).unwrap();
        let table = Arc::new(table(epoch));
        let shard = |(seed, &id): (u64, &RouterId)| RouterShard::new(id, Arc::clone(&table), settings, seed);
        Self {
            shards: (7..).zip(&ids).map(shard).collect(),
            told: vec![epoch; ids.len()],
            ids,
            table,
            engine,
            now: Now { monotonic_ms: 1_000, unix_ms: 1_700_000_000_000, monotonic_us: 1_000_000 },
            store: VecDeque::new(),
            fate: Fate::Done,
            store_full: false,
            full: BTreeMap::new(),
            routers_full: false,
            mail: Vec::new(),
            cut: Vec::new(),
            done: Vec::new(),
            references: 0,
        }
    }

    /// A conversation of this kind, already in the store, with these members.
    pub(crate) fn create(
        &mut self,
        name: &str,
        kind: ConversationKind,
        members: &[(&str, Role)],
    ) -> ConversationKey {
        let key = conversation(name);
        let members = members.iter().map(|(name, role)| member(name, *role)).collect();
        let caller = self.caller(GatewayId::API);
        self.send(ToRouter::Create {
            caller,
            actor: server(),
            conversation: key,
            kind,
            title: None,
            members,
        });
        self.settle();
        let answer = self.answer(&caller);
        assert!(matches!(answer, ToGateway::Created { created: true, .. }), "{answer:?}");
        key
    }

    /// A group of an owner `olga`, a moderator `mona`, members `alice` and `bob`, and a reader `rita`.
    pub(crate) fn group(&mut self, name: &str) -> ConversationKey {
        let members = [
            ("olga", Role::Owner),
            ("mona", Role::Moderator),
            ("alice", Role::Member),
            ("bob", Role::Member),
            ("rita", Role::Reader),
        ];
        self.create(name, ConversationKind::Group, &members)
    }

    /// A caller that no other request has.
    pub(crate) fn caller(&mut self, gateway: GatewayId) -> Caller {
        self.references += 1;
        Caller { gateway, connection: 1, reference: self.references }
    }

    /// Gives an envelope to whom it belongs.
    pub(crate) fn send(&mut self, envelope: ToRouter) {
        let to = self.owner(&envelope);
        self.handle(to, Completion::Envelope(envelope));
    }

    fn owner(&self, envelope: &ToRouter) -> RouterId {
        self.table.owner(envelope.slot().expect("about somebody"))
    }

    pub(crate) fn handle(&mut self, to: RouterId, completion: Completion) {
        let number = self.number(to).expect("one of the world's");
        let shard = &mut self.shards[number];
        shard.handle(self.now, completion);
        shard.invariants();
    }

    /// Which of the shards it is.
    pub(crate) fn number(&self, id: RouterId) -> Option<usize> {
        self.ids.iter().position(|&other| other == id)
    }

    /// Executes what the shards want, until they want nothing more.
    pub(crate) fn turn(&mut self) {
        while self.round() {}
    }

    fn round(&mut self) -> bool {
        let mut wanted = false;
        let mut completions = Vec::new();
        for number in 0..self.shards.len() {
            let from = self.ids[number];
            let mut full = Vec::new();
            while let Some(operation) = self.shards[number].poll_operation() {
                wanted = true;
                match operation {
                    Operation::ToGateway(to, envelope) => {
                        let required = envelope.lane() == Lane::Required;
                        if self.takes(to, envelope.lane()) && !(required && full.contains(&to)) {
                            self.mail.push((to, envelope));
                        } else {
                            if required {
                                full.push(to);
                            }
                            completions.push((from, Completion::GatewayFull(to, envelope)));
                        }
                    }
                    Operation::ToRouter(to, envelope) if self.routers_full || !self.reads(to, number) => {
                        completions.push((from, Completion::RouterFull(to, envelope)));
                    }
                    Operation::ToRouter(to, envelope) => {
                        completions.push((to, Completion::Envelope(envelope)))
                    }
                    Operation::Cut(gateway) => self.cut.push(gateway),
                    Operation::Store(id, request) if self.store_full => {
                        completions.push((from, Completion::StoreFull(id, request)));
                    }
                    Operation::Store(id, request) => self.store.push_back((from, id, request)),
                }
            }
            self.shards[number].invariants();
        }
        for (to, completion) in completions {
            self.handle(to, completion);
        }
        wanted
    }

    fn takes(&self, to: GatewayId, lane: Lane) -> bool {
        let rank = |lane| match lane {
            Lane::Ephemeral => 0,
            Lane::Publish => 1,
            Lane::Required => 2,
        };
        self.full.get(&to).is_none_or(|&full| rank(lane) > rank(full))
    }

    /// Does one of the requests that wait at the store.
    pub(crate) fn do_request(&mut self, index: usize) {
        let Some((router, id, request)) = self.store.remove(index) else { return };
        self.done.push(name_of(&request));
        let outcome = match self.fate.clone() {
            Fate::Done => self.commit(request),
            Fate::Failed(failure) => Outcome::Failed(failure),
            Fate::DoneUnknown => {
                let done = self.commit(request);
                let writes = matches!(
                    done,
                    Outcome::Appended(_)
                        | Outcome::Created { .. }
                        | Outcome::Removed { .. }
                        | Outcome::Marked
                );
                if writes { Outcome::Failed(Failure::Unknown) } else { done }
            }
        };
        self.handle(router, Completion::Store(id, outcome));
    }

    fn commit(&mut self, request: Request) -> Outcome {
        let outcome = storage::run(&mut self.engine, request);
        self.engine.sync().unwrap();
        outcome
    }

    /// Lets everything come to its end, apart from what waits for time to pass.
    pub(crate) fn settle(&mut self) {
        self.turn();
        while !self.store.is_empty() {
            self.do_request(0);
            self.turn();
        }
    }

    /// Lets time pass, with a tick at each deadline on the way.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        let end = self.now.monotonic_ms + milliseconds;
        while self.now.monotonic_ms < end {
            let deadline = self.shards.iter().filter_map(RouterShard::deadline).min();
            let next = deadline.unwrap_or(end).clamp(self.now.monotonic_ms + 1, end);
            let step = next - self.now.monotonic_ms;
            self.now.monotonic_ms += step;
            self.now.unix_ms += step;
            self.now.monotonic_us += step * 1_000;
            for number in 0..self.shards.len() {
                self.handle(self.ids[number], Completion::Tick);
            }
            self.settle();
        }
    }

    /// The answer to a caller, taken out of the mail.
    pub(crate) fn answer(&mut self, caller: &Caller) -> ToGateway {
        let at = self.mail.iter().position(|(_, envelope)| envelope.caller() == Some(*caller));
        let (gateway, answer) = self.mail.remove(at.expect("every request is answered"));
        assert_eq!(gateway, caller.gateway);
        let again = self.mail.iter().any(|(_, envelope)| envelope.caller() == Some(*caller));
        assert!(!again, "no request is answered twice");
        answer
    }

    /// Sends a request, lets it come to its end and gives the answer.
    pub(crate) fn ask(&mut self, request: impl FnOnce(Caller) -> ToRouter) -> ToGateway {
        let caller = self.caller(GATEWAY);
        self.send(request(caller));
        self.settle();
        self.answer(&caller)
    }

    pub(crate) fn append(
        &mut self,
        who: Actor,
        key: ConversationKey,
        id: &str,
        content: ContentV1<'_>,
    ) -> Caller {
        let caller = self.caller(GATEWAY);
        let draft = draft(&key, who.key.user.as_str(), id, content);
        self.send(ToRouter::Append { caller, actor: who, conversation: key, draft, lamport: 0 });
        caller
    }

    /// Sends a message and gives its seq, or why not.
    pub(crate) fn say(
        &mut self,
        who: &str,
        key: ConversationKey,
        id: &str,
        body: &str,
    ) -> Result<u64, ErrorCode> {
        self.tell(who, key, id, message(body))
    }

    /// Sends an event and gives its seq, or why not.
    pub(crate) fn tell(
        &mut self,
        who: &str,
        key: ConversationKey,
        id: &str,
        content: ContentV1<'_>,
    ) -> Result<u64, ErrorCode> {
        let who = if who == "system" { server() } else { actor(who) };
        let caller = self.append(who, key, id, content);
        self.settle();
        stored(self.answer(&caller))
    }

    /// Makes a change and gives the seq of its event, or why not.
    pub(crate) fn change(
        &mut self,
        who: Actor,
        key: ConversationKey,
        change: Change,
    ) -> Result<u64, ErrorCode> {
        let id = ClientId::parse(format!("change-{}", self.references)).unwrap();
        stored(self.ask(|caller| ToRouter::Change {
            caller,
            actor: who,
            conversation: key,
            id,
            change,
            lamport: 0,
        }))
    }

    /// Attaches a user's session on a gateway shard; the head in the answer, `None` for a stranger.
    pub(crate) fn attach(&mut self, who: &str, key: ConversationKey, gateway: GatewayId) -> Option<u64> {
        let caller = self.caller(gateway);
        let items = [AttachItem { conversation: key.conversation, listed: None }].into();
        self.send(ToRouter::Attach { caller, actor: actor(who), items });
        self.settle();
        match self.answer(&caller) {
            ToGateway::Attached { items, refused: None, .. } => items[0].state.map(|state| state.head),
            other => panic!("{other:?}"),
        }
    }

    /// The seqs published to a gateway shard so far.
    pub(crate) fn published(&self, gateway: GatewayId) -> Vec<u64> {
        let of_envelope = |(to, envelope): &(GatewayId, ToGateway)| match envelope {
            ToGateway::Publish { events, .. } if *to == gateway => {
                events.iter().map(protocol::event::Event::seq).collect()
            }
            _ => Vec::new(),
        };
        self.mail.iter().flat_map(of_envelope).collect()
    }

    /// The envelopes to a gateway shard that this picks.
    pub(crate) fn mail_to<T>(&self, gateway: GatewayId, pick: impl Fn(&ToGateway) -> Option<T>) -> Vec<T> {
        self.mail.iter().filter(|(to, _)| *to == gateway).filter_map(|(_, envelope)| pick(envelope)).collect()
    }

    /// A session of a user begins, and gets its chat list.
    pub(crate) fn open_session(&mut self, who: &str, device: &str, gateway: GatewayId) -> Caller {
        let caller = self.session_caller(gateway);
        let device = DeviceId::parse(device).unwrap();
        self.send(ToRouter::SessionOpen { caller, user: user(who), device, again: false });
        self.settle();
        let answer = self.answer(&caller);
        assert!(matches!(answer, ToGateway::SessionOpened { .. }), "{answer:?}");
        caller
    }

    /// A caller on a connection of its own.
    pub(crate) fn session_caller(&mut self, gateway: GatewayId) -> Caller {
        self.references += 1;
        Caller { gateway, connection: self.references as u64, reference: 0 }
    }

    /// Asserts that nothing is under way anywhere.
    pub(crate) fn assert_idle(&self) {
        assert!(self.store.is_empty());
        for shard in &self.shards {
            assert!(shard.is_idle());
            shard.invariants();
        }
    }
}

/// The seq of an answer to an append, or why not.
pub(crate) fn stored(answer: ToGateway) -> Result<u64, ErrorCode> {
    match answer {
        ToGateway::Appended { seq, .. } => Ok(seq),
        ToGateway::Refused { refusal, .. } => Err(refusal.code),
        other => panic!("{other:?}"),
    }
}

/// Why a request was refused.
pub(crate) fn refusal(answer: ToGateway) -> Refusal {
    match answer {
        ToGateway::Refused { refusal, .. } => refusal,
        other => panic!("{other:?}"),
    }
}

fn name_of(request: &Request) -> &'static str {
    match request {
        Request::Append(_) => "append",
        Request::Create { .. } => "create",
        Request::Load { .. } => "load",
        Request::Page { .. } => "page",
        Request::Members { .. } => "members",
        Request::Conversations { .. } => "conversations",
        Request::Mark { .. } => "mark",
        Request::Seen { .. } => "seen",
        Request::LastSeen { .. } => "last_seen",
        Request::Remove { .. } => "remove",
        Request::Claim { .. } => "claim",
        Request::Beat { .. } => "beat",
        Request::Place { .. } => "place",
    }
}

/// The table of a server of so many router shards.
pub(crate) fn alone(routers: u16, epoch: Epoch) -> Arc<Table> {
    Arc::new(Table::alone(routers, epoch))
}
