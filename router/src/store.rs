//! The store requests under way: what each is for, how many there may be, and those that the store's full queue gave back.

use std::collections::VecDeque;

use protocol::envelope::Caller;
use protocol::id::UserKey;
use storage::request::{Request, RequestId};

use crate::conversation::Place;
use crate::hash::{Keys, Table, UserHash};
use crate::limits::{APPENDS_IN_FLIGHT_MAX, RETRY_MS, STORE_PATIENCE_MS, STORE_REQUESTS_MAX};
use crate::openings::OpeningNumber;
use crate::orphans::{Landing, Orphan};

/// What a request is for.
#[derive(Debug)]
pub(crate) enum Pending {
    /// Appends of these conversations, in the request's order.
    Append {
        /// Where.
        places: Vec<Landing>,
        /// When it was sent, microseconds of the monotonic clock.
        sent_us: u64,
    },
    /// The conversation is created.
    Create(Place),
    /// The conversation's state and some roles.
    Load(Place),
    /// No append whose answer was lost may land any more.
    Bar(Place),
    /// What the log holds behind the published head.
    CatchUp(Place),
    /// The conversation is removed.
    Remove(Place, Caller),
    /// A read of somebody.
    Read(Read),
    /// Cursors.
    Mark,
    /// When users were last heard.
    Seen,
    /// Something of a conversation, or for somebody, that was given up since.
    Orphan(Orphan),
}

/// A read that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A page of history.
    History(Place, Caller, Direction),
    /// A page behind a seq, for a room or a connection.
    Backlog(Place, Caller, u64),
    /// Members.
    Members(Caller),
    /// A chat list.
    Conversations(Caller),
    /// The chat list of a session that begins.
    Opening(OpeningNumber),
    /// When a user was last heard, for somebody.
    PresenceOf(Caller, UserKey),
    /// When a watched user was last heard.
    Watched(UserHash),
}

/// Which way a page of history looks from where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To newer events, from behind this seq where that is known.
    Newer(Option<u64>),
    /// To older events, or both ways.
    Older,
}

impl Read {
    /// The conversation that it keeps in its place.
    pub(crate) const fn place(&self) -> Option<Place> {
        match self {
            Self::History(place, ..) | Self::Backlog(place, ..) => Some(*place),
            _ => None,
        }
    }
}

/// A request that came back because the store's queue was full.
#[derive(Debug)]
struct GivenBack {
    id: RequestId,
    request: Request,
}

/// All requests under way.
#[derive(Debug)]
pub(crate) struct StoreRequests {
    last: u64,
    pending: Table<RequestId, Pending>,
    appends: usize,
    given_back: VecDeque<GivenBack>,
    /// Since when requests come back, in monotonic milliseconds.
    full_since: Option<u64>,
    retry_at: u64,
}

impl StoreRequests {
    /// None.
    pub(crate) fn new(keys: &Keys) -> Self {
        Self {
            last: 0,
            pending: keys.table(),
            appends: 0,
            given_back: VecDeque::new(),
            full_since: None,
            retry_at: 0,
        }
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// True when one more may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < STORE_REQUESTS_MAX && self.given_back.is_empty()
    }

    /// True when one more transaction of appends may be sent.
    pub(crate) fn has_room_for_appends(&self) -> bool {
        self.appends < APPENDS_IN_FLIGHT_MAX && self.has_room()
    }

    /// Notes a request; its id goes with it.
    pub(crate) fn begin(&mut self, pending: Pending) -> RequestId {
        assert!(self.has_room());
        self.last += 1;
        self.appends += usize::from(matches!(pending, Pending::Append { .. }));
        self.pending.insert(RequestId(self.last), pending);
        RequestId(self.last)
    }

    /// The answer is here: what was it for? `None`: nothing that this shard has asked.
    pub(crate) fn end(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.appends -= usize::from(matches!(pending, Pending::Append { .. }));
        self.full_since = None;
        Some(pending)
    }

    /// What all of them are for. None of them becomes an append, and none ceases to be one.
    pub(crate) fn pending_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        self.pending.values_mut()
    }

    /// The store's queue was full.
    pub(crate) fn give_back(&mut self, id: RequestId, request: Request, now_ms: u64) {
        self.full_since.get_or_insert(now_ms);
        self.retry_at = now_ms + RETRY_MS;
        self.given_back.push_back(GivenBack { id, request });
    }

    /// What to try again now. All at once, in order: the store gives back what still does not fit.
    pub(crate) fn retry(&mut self, now_ms: u64) -> Vec<(RequestId, Request)> {
        if now_ms < self.retry_at {
            return Vec::new();
        }
        self.given_back.drain(..).map(|back| (back.id, back.request)).collect()
    }

    /// Requests that came back for so long that they count as failed.
    pub(crate) fn give_up(&mut self, now_ms: u64) -> Vec<RequestId> {
        if self.full_since.is_none_or(|since| now_ms < since + STORE_PATIENCE_MS) {
            return Vec::new();
        }
        self.given_back.drain(..).map(|back| back.id).collect()
    }

    /// When something is to be tried again.
    pub(crate) fn deadline(&self) -> Option<u64> {
        (!self.given_back.is_empty()).then_some(self.retry_at)
    }

    /// Asserts the bounds.
    pub(crate) fn invariants(&self) {
        assert!(self.pending.len() <= STORE_REQUESTS_MAX);
        assert!(self.appends <= APPENDS_IN_FLIGHT_MAX);
        assert!(self.given_back.len() <= self.pending.len());
    }
}
