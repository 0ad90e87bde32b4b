//! Links: one end of a connection between two nodes, from the first byte to the last. Pure: bytes and the time in, events
//! and gathers out; sockets, mailboxes and which links there are, are the event loop's.
//!
//! ```text
//! dialler                                             acceptor
//!    hello     nonce                              →
//!                                                 ←   challenge  nonce, and nothing else to whoever is unknown
//!    proof     MAC("dialler", nonces, greeting)   →
//!                                                 ←   proof      MAC("acceptor", nonces, both greetings)
//!    routing epoch, ToRouter …                    ⇄   table, ToGateway …, taken words
//! ```
//! A proof is good for one link, since both nonces are in it, and in one direction, since its sender's part is. What
//! follows is neither secret nor protected on its way: the network between nodes is the operator's.
//!
//! How the loop drives a link:
//!
//! - On bytes: [`Link::next_event`] until it gives nothing. Where an event can't be carried out now (a mailbox is full, a
//!   table has not come), [`Link::pause`], and the socket too; the same calls then put the unread rest aside. Later
//!   [`Link::resume`], the socket too, and [`Link::next_event`] without bytes.
//! - At the end of a turn: [`Link::poll_send`]; its gather comes back through [`Link::sent`].
//! - At [`Link::deadline`]: [`Link::tick`], [`Link::next_event`], [`Link::poll_send`].
//! - [`Event::Ended`] comes once, as the last: the socket is closed then.

mod backoff;
mod common;
mod counters;
mod handshake;
mod outbox;
mod proof;
mod reason;
mod receiving;
mod sending;
mod timing;
mod words;

use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use protocol::link::{Greeting, Reader, VERSION, VERSION_OLDEST};
use protocol::placement::{Epoch, NodeId, Table};
use protocol::time::Now;

pub use self::backoff::Backoff;
pub use self::common::{Common, TableFrame};
pub use self::counters::{Counters, Traffic};
use self::handshake::Handshake;
use self::outbox::Outbox;
pub use self::outbox::UNSENT_BYTES_MAX;
pub use self::proof::{ClusterKey, SECRET_BYTES_MIN, ShortSecret};
pub use self::reason::Reason;
pub use self::receiving::KEPT_BYTES_MAX;
pub use self::sending::Unsent;
pub use self::timing::{HANDSHAKE_MS, PING_MS, SILENCE_MS};
use self::words::Words;

/// Random bytes of an end: of one link alone, and not to be guessed.
pub type Nonce = [u8; protocol::link::NONCE_BYTES];

// With a second version, frames are to be written in the one that was agreed on.
const _: () =
    assert!(VERSION == VERSION_OLDEST, "`write_to_router` and `write_to_gateway` write one version");

/// What a link has to tell.
#[derive(Debug)]
pub enum Event {
    /// Both have proved themselves. From now on envelopes are taken.
    Ready {
        /// Who the peer is.
        peer: Greeting,
        /// The version of envelopes that both write.
        version: u8,
    },
    /// To the acceptor: an envelope for the router shard of one of its cores.
    ToRouter {
        /// Which: below the node's number of cores.
        to_core: u16,
        /// The envelope; its gateway shard is called as this end was told to call it.
        envelope: ToRouter,
    },
    /// To the dialler: an envelope for the gateway shard of its core.
    ToGateway(ToGateway),
    /// To the dialler: a table that is newer than what its core knows.
    Table(Table),
    /// To the acceptor: what follows goes where this table says. A node that does not have it yet pauses.
    Routing(Epoch),
    /// The link is over, and this is its last event.
    Ended(Reason),
}

/// Which end this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Dialler {
        /// Whom it wants, when it knows: the address may be somebody else's by now.
        wanted: Option<NodeId>,
    },
    Acceptor {
        /// What the peer's gateway shard is called here, once it has proved itself.
        known_as: Option<GatewayId>,
    },
}

/// How far a link is.
#[derive(Debug)]
enum Stage {
    Handshake(Box<Handshake>),
    /// The peer has proved itself, but there is no version for both: it is told who this is, so that it finds out too.
    Refusing(Reason),
    Ready,
    /// Over; the owner has not been told.
    Over(Reason),
    Told,
}

/// One end of a link.
#[derive(Debug)]
pub struct Link {
    role: Role,
    stage: Stage,
    /// The core at the other end, once it is known.
    peer_core: u16,
    reader: Reader,
    /// The first bytes of an unfinished frame.
    assembly: Vec<u8>,
    /// What came and was not read: from `kept_from` on, while the owner pauses and until it has caught up.
    kept: Vec<u8>,
    kept_from: usize,
    paused: bool,
    outbox: Outbox,
    words: Words,
    /// The newest table of which the peer was told: its routing, or the table itself.
    told: Epoch,
    /// When the peer was heard last, and when something was last given to the socket.
    heard_ms: u64,
    spoke_ms: u64,
    /// When the handshake ends, one way or the other.
    handshake_until_ms: u64,
}

impl Link {
    /// The dialling end of a connection that was just made, to a router node. The nonce is random and new.
    #[must_use]
    pub fn dial(now: Now, common: &mut Common, wanted: Option<NodeId>, nonce: Nonce) -> Self {
        let mut link = Self::new(now, Role::Dialler { wanted }, Handshake::dial(nonce));
        link.say(common, &protocol::link::Control::Hello { nonce: &nonce });
        link
    }

    /// The accepting end of a connection that was just accepted. The nonce is random and new.
    #[must_use]
    pub fn accept(now: Now, nonce: Nonce) -> Self {
        Self::new(now, Role::Acceptor { known_as: None }, Handshake::accept(nonce))
    }

    /// Says what the peer's gateway shard is called here: at [`Event::Ready`], before the next event.
    pub const fn call_peer(&mut self, gateway: GatewayId) {
        if let Role::Acceptor { known_as } = &mut self.role {
            *known_as = Some(gateway);
        }
    }

    fn new(now: Now, role: Role, handshake: Handshake) -> Self {
        Self {
            role,
            stage: Stage::Handshake(Box::new(handshake)),
            peer_core: 0,
            reader: Reader::new(),
            assembly: Vec::new(),
            kept: Vec::new(),
            kept_from: 0,
            paused: false,
            outbox: Outbox::new(),
            words: Words::default(),
            told: Epoch(0),
            heard_ms: now.monotonic_ms,
            spoke_ms: now.monotonic_ms,
            handshake_until_ms: now.monotonic_ms + HANDSHAKE_MS,
        }
    }

    /// Whether envelopes are taken: from [`Event::Ready`] until the link is over.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }

    /// Whether nothing will be sent or read any more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_) | Stage::Told)
    }

    /// What the peer's gateway shard is called here: at the accepting end.
    #[must_use]
    pub const fn known_as(&self) -> Option<GatewayId> {
        match self.role {
            Role::Acceptor { known_as } => known_as,
            Role::Dialler { .. } => None,
        }
    }

    /// The socket is at its end: `error` is its `errno`, 0 for a plain end of the stream.
    pub fn socket_ended(&mut self, common: &mut Common, error: i32) {
        let rejected =
            matches!(&self.stage, Stage::Handshake(handshake) if handshake.awaits_welcome(self.role));
        self.end(common, if rejected { Reason::Rejected } else { Reason::Socket(error) });
    }

    /// The owner ends the link: the peer does not take what it must be told, or follows a table that can't be found.
    pub fn give_up(&mut self, common: &mut Common, reason: Reason) {
        self.end(common, reason);
    }

    /// The words that the peer has not taken, for whoever finds them another way: at the dialling end, once the link is over.
    pub fn untaken(&mut self, node: NodeId) -> Vec<(RouterId, ToRouter)> {
        self.words.give_back(node)
    }

    /// Ends the link, unless it has ended: the first reason counts.
    fn end(&mut self, common: &mut Common, reason: Reason) {
        let reason = match self.stage {
            Stage::Over(_) | Stage::Told => return,
            Stage::Refusing(refusal) => refusal,
            Stage::Handshake(_) | Stage::Ready => reason,
        };
        common.counters.count_end(self.is_ready(), reason);
        self.stage = Stage::Over(reason);
        self.kept = Vec::new();
        self.kept_from = 0;
        self.assembly = Vec::new();
        self.outbox.clear(&mut common.buffers);
    }

    /// Asserts what must hold between two calls.
    ///
    /// # Panics
    /// When it does not: a fault of this module.
    pub fn invariants(&self) {
        self.outbox.invariants();
        self.reader.invariants(&self.assembly);
        assert!(self.kept.is_empty() || self.kept_from < self.kept.len(), "what is read is given back");
        assert!(self.kept.len() - self.kept_from <= KEPT_BYTES_MAX);
        assert!(!self.is_over() || (self.kept.is_empty() && self.assembly.is_empty()));
    }
}
