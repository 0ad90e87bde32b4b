//! One simulated client: a device of a user, which connects, says hello, sends, reads, goes and comes back.
//!
//! It keeps what a good client keeps: cursors, a ticket, and what was not acknowledged yet. It judges nothing: every
//! frame goes to the checker.

mod dial;
mod habits;
mod hear;
mod websocket;

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::frame::Subprotocol;
use protocol::id::{ClientId, ConversationId, DeviceId, UserId, UserKey};

use self::websocket::Reader;
use crate::asked::Asked;
use crate::checker::{Checker, Violation};
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::kernel::{ConnectionNumber, Kernel, Read};
use crate::random::{Chance, Span};
use crate::store::Store;
use crate::told::Content;
use crate::weather::{Crowd, Network};
use crate::world::World;

/// A client, by its number in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientNumber(pub(crate) usize);

/// What a client may touch.
pub(crate) struct Stage<'a> {
    /// Time, chance, plans.
    pub(crate) world: &'a mut World<Event>,
    /// Sockets.
    pub(crate) kernel: &'a mut Kernel,
    /// The store, for the checker's look into it.
    pub(crate) store: &'a Store,
    /// What was promised.
    pub(crate) checker: &'a mut Checker,
    /// What was sent lately by each user, on whatever device.
    pub(crate) notebook: &'a mut BTreeMap<UserKey, Vec<Note>>,
    /// What was acknowledged.
    pub(crate) acks: &'a mut Vec<Acked>,
    /// How the network behaves.
    pub(crate) network: &'a Network,
    /// How clients behave.
    pub(crate) crowd: &'a Crowd,
    /// Gateway shards to connect to.
    pub(crate) gateways: u16,
    /// False: no new work any more, only what is under way is brought to its end.
    pub(crate) storm: bool,
}

/// Something that a user sent.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// Client id.
    pub(crate) id: ClientId,
    /// Where.
    pub(crate) conversation: ConversationId,
    /// What.
    pub(crate) content: Content,
}

/// A send that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    /// Where.
    pub(crate) conversation: ConversationId,
    /// When it was first sent, virtual microseconds.
    pub(crate) sent_us: u64,
    /// When its ack came.
    pub(crate) acked_us: u64,
}

/// Something sent and not answered for good.
#[derive(Clone, Debug)]
struct Pending {
    conversation: ConversationId,
    content: Content,
    ephemeral: bool,
    /// It waits for an answer on the present connection.
    under_way: bool,
    /// Not to be tried again before.
    retry_at_us: u64,
    /// When it was asked last.
    asked_us: u64,
    /// When it was sent first.
    sent_us: u64,
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Without a connection, until then.
    Away { until_us: u64 },
    /// The upgrade was asked for, then.
    Upgrading { since_us: u64 },
    /// `hello` was said, then.
    Greeting { since_us: u64 },
    /// Welcome.
    Open,
    /// A close was sent, then.
    Closing { since_us: u64 },
}

/// How long a client waits for an answer to its upgrade, `hello` or close.
const PATIENCE_US: u64 = 15_000_000;

/// How long a vanished client stays away, microseconds: less and more than heartbeats take to notice.
const VANISHED_US: Span = Span::new(10_000, 40_000_000);

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    number: ClientNumber,
    user: UserKey,
    device: DeviceId,
    token: Arc<str>,
    subprotocol: Subprotocol,
    ticket: Option<String>,
    /// Conversations and users of the tenant, member or not.
    places: Arc<[ConversationId]>,
    neighbours: Arc<[UserId]>,
    /// What this device has.
    cursors: BTreeMap<ConversationId, u64>,
    pending: BTreeMap<ClientId, Pending>,
    state: State,
    connection: Option<ConnectionNumber>,
    head: Vec<u8>,
    reader: Reader,
    slow_until_us: u64,
    /// When it was told something last.
    told_us: u64,
    token_in_hello: bool,
    sent: u64,
    reference: i64,
    failures: u32,
    finished: bool,
    /// The gateway shard of its connection.
    gateway: usize,
    /// The gateway shard that was gone with its node when the connection ended.
    lost_with: Option<usize>,
}

impl Client {
    /// A client that has never been connected.
    pub(crate) fn new(
        number: ClientNumber,
        user: UserKey,
        device: DeviceId,
        token: Arc<str>,
        subprotocol: Subprotocol,
        (places, neighbours): (Arc<[ConversationId]>, Arc<[UserId]>),
    ) -> Self {
        Self {
            number,
            user,
            device,
            token,
            subprotocol,
            ticket: None,
            places,
            neighbours,
            cursors: BTreeMap::new(),
            pending: BTreeMap::new(),
            state: State::Away { until_us: 0 },
            connection: None,
            head: Vec::new(),
            reader: Reader::default(),
            slow_until_us: 0,
            told_us: 0,
            token_in_hello: false,
            sent: 0,
            reference: 0,
            failures: 0,
            finished: false,
            gateway: 0,
            lost_with: None,
        }
    }

    /// The connection, when there is one.
    pub(crate) fn connection(&self) -> Option<ConnectionNumber> {
        self.connection
    }

    /// The gateway shard at which it is welcome.
    pub(crate) fn seat(&self) -> Option<usize> {
        (self.state == State::Open).then_some(self.gateway)
    }

    /// A moment of the client's own.
    pub(crate) fn step(&mut self, stage: &mut Stage<'_>) {
        let now_us = stage.world.now_us();
        match self.state {
            State::Away { until_us } if now_us >= until_us && !self.finished => self.dial(stage),
            State::Away { .. } => {}
            State::Upgrading { since_us } | State::Greeting { since_us } | State::Closing { since_us } => {
                if now_us > since_us + PATIENCE_US {
                    self.cut(stage);
                }
            }
            State::Open => self.act(stage),
        }
        stage.world.plan_within(stage.crowd.pace_us, Event::ClientStep(self.number));
    }

    /// There is something to read.
    pub(crate) fn readable(&mut self, stage: &mut Stage<'_>) -> Result<(), Violation> {
        let Some(connection) = self.connection else { return Ok(()) };
        let now_us = stage.world.now_us();
        if now_us < self.slow_until_us {
            stage.world.plan(self.slow_until_us - now_us, Event::ClientReadable(connection));
            return Ok(());
        }
        let count = stage.world.random.within(Span::new(1, 8_192)) as usize;
        match stage.kernel.read(stage.world, connection, count) {
            Read::Bytes(bytes) => self.take(stage, &bytes),
            Read::Nothing => Ok(()),
            Read::End | Read::Reset => {
                if self.state == State::Open && !stage.kernel.is_listening(self.gateway) {
                    self.lost_with = Some(self.gateway);
                }
                self.disconnected(stage, None);
                Ok(())
            }
        }
    }

    fn take(&mut self, stage: &mut Stage<'_>, bytes: &[u8]) -> Result<(), Violation> {
        if let State::Upgrading { .. } = self.state {
            self.head.extend_from_slice(bytes);
            return self.upgraded(stage);
        }
        self.reader.feed(bytes);
        self.hear(stage)
    }

    /// Asks something of the server.
    fn ask(&mut self, stage: &mut Stage<'_>, asked: &Asked) {
        let Some(connection) = self.connection else { return };
        stage.checker.asked(connection, asked);
        stage.world.trace(|| format!("{} asks {asked:?}", self.name()));
        let mut frame = Vec::new();
        let fragment = if stage.storm { Chance(500) } else { Chance::NEVER };
        let payload = asked.encode(self.subprotocol);
        let binary = self.subprotocol == Subprotocol::Rkyv;
        websocket::write_message(&mut frame, &mut stage.world.random, fragment, binary, &payload);
        stage.kernel.write(stage.world, connection, &frame);
    }

    fn name(&self) -> String {
        format!("{}/{}/{}", self.user.tenant, self.user.user, self.device)
    }

    /// The connection is over: what was not acknowledged waits for the next one.
    fn disconnected(&mut self, stage: &mut Stage<'_>, wait_us: Option<u64>) {
        let Some(connection) = self.connection.take() else { return };
        stage.checker.gone(connection);
        stage.kernel.leave(stage.world, connection);
        self.pending.retain(|_, pending| !pending.ephemeral);
        for pending in self.pending.values_mut() {
            pending.under_way = false;
        }
        self.failures += 1;
        let most_us = (50_000 << self.failures.min(5)).min(1_000_000);
        let backoff_us = wait_us.unwrap_or_else(|| stage.world.random.within(Span::new(1_000, most_us)));
        stage.world.trace(|| format!("{} is disconnected, back in {backoff_us} us", self.name()));
        self.state = State::Away { until_us: stage.world.now_us() + backoff_us };
    }

    /// The client is gone without a word, and will be back as if new.
    fn vanished(&mut self, stage: &mut Stage<'_>) {
        if let Some(connection) = self.connection {
            stage.kernel.vanish(connection);
            let back_us = stage.world.random.within(VANISHED_US);
            self.disconnected(stage, Some(back_us));
        }
    }

    /// Cuts the connection: a client that dies, or has lost its patience.
    fn cut(&mut self, stage: &mut Stage<'_>) {
        if let Some(connection) = self.connection {
            stage.world.coverage.hit(Mark::Reset);
            stage.kernel.reset(stage.world, connection);
            self.disconnected(stage, None);
        }
    }

    /// A send that waits for its answer for too long, asked since a moment. As long as the client is still being told things, the answer
    /// may be behind them: on a slow connection whole pages are.
    pub(crate) fn overdue(&self, since_us: u64, now_us: u64, patience_us: u64) -> Option<String> {
        let late = |pending: &&Pending| {
            pending.under_way
                && pending.asked_us >= since_us
                && now_us > pending.asked_us.max(self.told_us) + patience_us
        };
        let (State::Open, Some(pending)) = (self.state, self.pending.values().find(late)) else {
            return None;
        };
        Some(format!("{} waits for the answer to {pending:?}", self.name()))
    }

    /// What keeps the client from being done; `None` when all is answered and every stream has reached its head.
    pub(crate) fn unsettled(&self, checker: &Checker) -> Option<String> {
        let Some(connection) = self.connection.filter(|_| self.state == State::Open) else {
            return Some(format!("{} is {:?}", self.name(), self.state));
        };
        if !self.pending.is_empty() || checker.unanswered(connection) > 0 {
            let waiting = checker.waiting(connection);
            return Some(format!("{} waits for {waiting}, has {:?} to send", self.name(), self.pending));
        }
        let behind = checker.memberships(self.user).into_iter().find(|(conversation, head)| {
            checker.position(connection, *conversation).unwrap_or_default() < *head
        });
        behind.map(|(conversation, head)| {
            let position = checker.position(connection, conversation);
            format!("{} stands at {position:?} of {head} in {conversation}", self.name())
        })
    }

    /// The run ends: closes in order, for good.
    pub(crate) fn finish(&mut self, stage: &mut Stage<'_>) {
        self.finished = true;
        if let Some(connection) = self.connection {
            let mut frame = Vec::new();
            websocket::write_close(&mut frame, &mut stage.world.random, 1000);
            stage.kernel.write(stage.world, connection, &frame);
            self.state = State::Closing { since_us: stage.world.now_us() };
        }
    }

    /// The storm is over: the client reads again.
    pub(crate) fn calm(&mut self) {
        self.slow_until_us = 0;
    }
}
