//! What a router shard holds of one conversation.

use std::collections::VecDeque;

use protocol::envelope::{Conversation as Shown, ConversationKind, GatewayId, ToRouter};
use protocol::id::{ConversationKey, UserKey};
use protocol::pair::PackedConversation;

use crate::appends::Appends;
use crate::limits::WAITING_OF_ONE_MAX;
use crate::members::Members;
use crate::recent::Recent;

/// A conversation's place in the shard's table. Stays while anything refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) u32);

/// An attach that waits, by its number in the table of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AttachNumber(pub(crate) u32);

/// A request that waits until it can be decided.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// As it came.
    Request(Box<ToRouter>),
    /// One conversation of an attach.
    Attach {
        /// Which attach.
        attach: AttachNumber,
        /// Which of its items.
        item: usize,
        /// Who attaches; `None` for the server.
        user: Option<UserKey>,
    },
}

/// What the shard knows of a conversation's existence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The store was not asked yet.
    Unknown,
    /// There is none.
    Absent,
    /// There is.
    Present(Meta),
}

/// A conversation apart from its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// What sort.
    pub(crate) kind: ConversationKind,
    /// For people.
    pub(crate) title: Option<Box<str>>,
    /// When it was created, milliseconds since the Unix epoch.
    pub(crate) created: u64,
    /// How many members.
    pub(crate) members: u64,
}

/// What is under way at the store for the conversation as a whole. While it is, every request waits behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing.
    None,
    /// Its state and some users' roles are asked for.
    Load,
    /// The same, but a role has changed since: what comes back is older than what is known.
    StaleLoad,
    /// It is being created, or its further members are.
    Create,
    /// It is being removed.
    Remove,
}

/// Longer keys take memory of their own.
const KEY_BYTES_INLINE: usize = 37;

/// One conversation of this shard.
#[derive(Debug)]
pub(crate) struct Conversation {
    key: PackedConversation<KEY_BYTES_INLINE>,
    /// Whether there is one.
    pub(crate) standing: Standing,
    /// Last published seq. Never goes back while the conversation stands.
    pub(crate) head: u64,
    /// Stamp of the last published event.
    pub(crate) lamport: u64,
    /// Who is known to be a member, or none.
    pub(crate) members: Members,
    /// Requests in their order.
    pub(crate) waiting: VecDeque<Waiting>,
    /// What they wait for at the store.
    pub(crate) work: Work,
    /// Events on their way into the log.
    pub(crate) appends: Appends,
    /// True while the log may hold events behind `head` that nobody was told of: they come before anything newer.
    pub(crate) doubtful: bool,
    /// True while an append whose answer was lost may still land: the log is not to be believed before that is barred.
    pub(crate) unbarred: bool,
    /// True while the store does not say what a log in doubt holds: nothing more is taken for it.
    pub(crate) unanswered: bool,
    /// The newest published events.
    pub(crate) recent: Recent,
    /// Gateway shards with members online, ascending.
    pub(crate) interest: Vec<GatewayId>,
    /// Attaches that are decided here and wait for other conversations.
    pub(crate) attaching: Vec<AttachNumber>,
    /// How many things refer to this place and keep it: reads, typing, receipts.
    pub(crate) pins: u32,
    /// Since when it is idle, in the table's own count; `None`: it is not in the list of those.
    pub(crate) idle_since: Option<u64>,
    /// When its recent events were last added to, in the table's own count.
    pub(crate) recent_since: u64,
}

impl Conversation {
    /// A conversation of which nothing is known.
    pub(crate) fn new(key: &ConversationKey) -> Self {
        Self {
            key: key.into(),
            standing: Standing::Unknown,
            head: 0,
            lamport: 0,
            members: Members::default(),
            waiting: VecDeque::new(),
            work: Work::None,
            appends: Appends::default(),
            doubtful: false,
            unbarred: false,
            unanswered: false,
            recent: Recent::default(),
            interest: Vec::new(),
            attaching: Vec::new(),
            pins: 0,
            idle_since: None,
            recent_since: 0,
        }
    }

    /// Which it is.
    pub(crate) fn key(&self) -> ConversationKey {
        self.key.key()
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, key: &ConversationKey) -> bool {
        self.key.is(&key.tenant, &key.conversation)
    }

    /// Its metadata, where it is known to exist.
    pub(crate) fn meta(&self) -> Option<&Meta> {
        match &self.standing {
            Standing::Present(meta) => Some(meta),
            Standing::Unknown | Standing::Absent => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn meta_mut(&mut self) -> Option<&mut Meta> {
        match &mut self.standing {
            Standing::Present(meta) => Some(meta),
            Standing::Unknown | Standing::Absent => None,
        }
    }

    /// As the API shows it; `None` when it is not known to exist.
    pub(crate) fn show(&self) -> Option<Shown> {
        let Meta { kind, title, created, members } = self.meta()?.clone();
        Some(Shown { key: self.key(), kind, title, created, head: self.head, lamport: self.lamport, members })
    }

    /// Takes the request that waits longest. What many have waited in goes when the last of them does.
    pub(crate) fn next_waiting(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        next
    }

    /// True when nothing refers to it and nothing is under way: it may be forgotten.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.work == Work::None
            && self.appends.is_empty()
            && !self.doubtful
            && self.interest.is_empty()
            && self.attaching.is_empty()
            && self.pins == 0
    }

    /// True when a batch of its appends can go to the store.
    pub(crate) fn has_batch(&self) -> bool {
        self.appends.is_ready() && !self.doubtful
    }

    /// Asserts what must be.
    pub(crate) fn invariants(&self) {
        assert!(self.waiting.len() <= WAITING_OF_ONE_MAX);
        assert!(self.interest.is_sorted_by(|a, b| a < b), "each gateway shard once");
        self.appends.invariants();
        self.recent.invariants(self.head);
        match self.work {
            // No change is admitted while a load is under way, and none was: what it says is what is.
            Work::Load | Work::StaleLoad => {
                assert!(!self.waiting.is_empty());
                assert!(!self.appends.has_changes());
            }
            Work::Create => {}
            Work::Remove => assert!(self.appends.is_empty()),
            Work::None => {}
        }
        if self.idle_since.is_some() {
            assert!(self.is_idle());
        }
        assert!(self.doubtful || !self.unbarred, "what may still land is waited for");
        assert!(
            !self.unanswered || (self.doubtful && self.appends.is_empty()),
            "nobody waits for a store that is away"
        );
        if self.has_batch() || self.doubtful {
            assert!(self.meta().is_some());
        }
        if self.has_batch() {
            assert!(self.appends.listed, "who has a batch is in the list of those");
        }
    }
}
