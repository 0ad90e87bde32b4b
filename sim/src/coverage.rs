//! What a run met: how often each fault happened and each promise was put to the test. A simulator that tests
//! nothing shows here, and fails.

use std::collections::BTreeMap;
use std::fmt;

macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One thing that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark {
            $($(#[$doc])* $name,)*
        }

        impl Mark {
            /// Every mark there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The mark's name for people.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

marks! {
    /// A client opened a connection.
    Connected = "connections opened",
    /// A `welcome` was taken.
    Welcomed = "welcomes",
    /// Bytes from a client came in more than one piece.
    ReceiveSplit = "fault: receive split",
    /// A receive waited for a buffer.
    BuffersExhausted = "fault: receive buffers exhausted",
    /// Bytes came after a pause or a close, as what was under way may.
    ReceiveLate = "fault: bytes after pause or close",
    /// A send took only a part.
    SendShort = "fault: short send",
    /// A send waited for a reader.
    SendStalled = "fault: send stalled",
    /// A connection was reset.
    Reset = "fault: connection reset",
    /// A client vanished without a word.
    Vanished = "fault: client vanished",
    /// A client ended its half of a stream.
    HalfClosed = "fault: half-closed stream",
    /// A client read slowly for a while.
    SlowReader = "fault: slow reader",
    /// A gateway shard's mailbox was full.
    GatewayFull = "fault: gateway mailbox full",
    /// A router shard's mailbox was full.
    RouterFull = "fault: router mailbox full",
    /// The store's queue was full.
    StoreFull = "fault: store queue full",
    /// The store was away.
    StoreUnavailable = "fault: store unavailable",
    /// A commit met a conflict.
    StoreConflict = "fault: commit conflict",
    /// A commit's result was unknown, and it had happened.
    StoreUnknownCommitted = "fault: unknown result, committed",
    /// A commit's result was unknown, and it had not happened.
    StoreUnknownLost = "fault: unknown result, not committed",
    /// A read was too old.
    StoreTooOld = "fault: transaction too old",
    /// The store was slow for a while.
    StoreSlow = "fault: slow store",
    /// A commit's result was cut off while the commit was under way.
    StoreLate = "fault: result cut off, commit under way",
    /// Such a commit landed.
    StoreLateLanded = "fault: late commit landed",
    /// Such a commit met a change of what it rested on.
    StoreLateDropped = "fault: late commit dropped by a conflict",
    /// Such a commit never arrived.
    StoreLateLost = "fault: late commit lost",
    /// Such a commit came to its end after its node had.
    StoreLateDeposed = "fault: late commit of a former node",
    /// A request's time was over while a commit of it was in doubt.
    StoreGaveUp = "fault: request given up in doubt",
    /// The cluster was silent for a while.
    StoreSilent = "fault: silent store",
    /// A commit was under way when the silence began, and answered when it ended.
    StoreSilentCommit = "fault: commit cut by a silence",
    /// The driver gave up all that was under way.
    StoreImpatient = "fault: driver out of patience",
    /// A request came while the driver had given the cluster up.
    StoreRefused = "fault: request refused in a silence",
    /// A failed sync poisoned the store, until the restart.
    StorePoisoned = "fault: store poisoned",
    /// The node crashed.
    Crashed = "fault: node crashed",
    /// A crash lost commits that were not synced.
    UnsyncedLost = "fault: unsynced commits lost",
    /// A crash kept a part of the commits that were not synced.
    UnsyncedTorn = "fault: unsynced commits torn",
    /// A deposed owner's transaction went on after the restart.
    Deposed = "fault: deposed owner still committing",
    /// The node drained and restarted.
    Drained = "fault: node drained",
    /// The wall clock stepped.
    ClockStepped = "fault: wall clock stepped",
    /// A link between nodes was ready.
    Linked = "links between nodes",
    /// Such a link ended.
    LinkEnded = "links ended",
    /// A connection between nodes was cut.
    LinkCut = "fault: link cut",
    /// A link was paused: a mailbox was full, or it followed a newer table.
    LinkPaused = "links paused",
    /// A link followed a table that its node did not have yet.
    LinkAhead = "links ahead of their node",
    /// A dial was sent twice.
    DialDoubled = "fault: dial doubled",
    /// A dial was taken and its answer lost.
    DialLost = "fault: dial lost",
    /// Nodes did not reach others.
    Partitioned = "fault: partition",
    /// A router node died.
    RouterDied = "fault: router node died",
    /// A gateway node died.
    GatewayDied = "fault: gateway node died",
    /// A node froze.
    Frozen = "fault: node frozen",
    /// A node was told to stop.
    Terminated = "fault: node told to stop",
    /// A node had stopped in order, or was replaced.
    NodeLeft = "nodes stopped in order",
    /// A router node did not reach the store.
    StoreSevered = "fault: store out of a node's reach",
    /// An operator ordered a drain.
    OrderedDrain = "orders: drain",
    /// An operator ordered its end.
    OrderedUndrain = "orders: undrain",
    /// An operator moved a slot.
    OrderedMove = "orders: move",
    /// A router node's lease lapsed.
    LeaseLapsed = "leases lapsed",
    /// A router node was found dead by another.
    NodeFoundDead = "router nodes found dead",
    /// A table moved slots.
    SlotsMoved = "tables that move slots",
    /// A router shard did not have a slot that it was asked for.
    Misplaced = "requests misplaced",
    /// A request was asked again.
    Reasked = "requests asked again",
    /// A room, a session or a watch was told to an owner anew.
    Announced = "announced again",
    /// An answer came that nobody waited for.
    LateAnswer = "late answers dropped",
    /// Nobody answered in time.
    PatienceOver = "requests refused out of patience",
    /// A deposed owner's append was fenced.
    Fenced = "appends fenced",
    /// A session went on at another node after its gateway node had died.
    ResumedElsewhere = "sessions resumed at another node",
    /// A send was acknowledged for the first time.
    Acked = "sends acknowledged",
    /// A send was acknowledged as stored before.
    AckedDuplicate = "sends acknowledged as duplicates",
    /// A send was refused as a conflict.
    Conflicted = "sends refused as conflicts",
    /// A request was answered `unavailable`.
    Unavailable = "requests answered unavailable",
    /// A send that was answered so was not tried again.
    GivenUp = "sends given up, stored or not",
    /// A send was answered `rate_limited`.
    RateLimited = "sends rate-limited",
    /// A request was refused with `forbidden`.
    Forbidden = "requests forbidden",
    /// A stranger was told `not_found`.
    NotFound = "requests answered not_found",
    /// An event came live.
    EventDelivered = "events delivered",
    /// An event came out of the log after a `hello` with cursors.
    EventResumed = "events resumed by cursor",
    /// A signal came.
    SignalDelivered = "signals delivered",
    /// A page was checked.
    PageChecked = "pages checked",
    /// A sync was completed.
    Synced = "syncs completed",
    /// A connection lagged, by the shard's own count.
    Lagged = "connections gone to lag mode",
    /// A `lagging` frame came.
    Lagging = "lagging frames",
    /// A typing notice came.
    TypingDelivered = "typing notices",
    /// A receipt came.
    ReceiptDelivered = "receipts",
    /// A presence came.
    PresenceDelivered = "presence notices",
    /// A connection was closed with a code of PROTOCOL.
    ClosedByServer = "closes by the server",
    /// A session was replaced by the same device's next.
    Replaced = "sessions replaced",
    /// A heartbeat was missed.
    HeartbeatMissed = "heartbeats missed",
    /// A session went on with its ticket.
    Resumed = "sessions resumed with a ticket",
    /// A membership changed.
    MembershipChanged = "membership changes",
    /// An event was compared with the synced log.
    DurableChecked = "events found durable",
    /// An acknowledged send was found exactly once at the end.
    FoundAtEnd = "acknowledged sends found at the end",
    /// A log survived a restart.
    Recovered = "restarts with acknowledged sends",
}

/// How often each thing was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<Mark, u64>,
}

impl Coverage {
    /// Counts one more.
    pub(crate) fn hit(&mut self, mark: Mark) {
        self.add(mark, 1);
    }

    /// Counts so many more.
    pub(crate) fn add(&mut self, mark: Mark, count: u64) {
        *self.counts.entry(mark).or_default() += count;
    }

    /// How often it was met.
    #[must_use]
    pub fn count(&self, mark: Mark) -> u64 {
        self.counts.get(&mark).copied().unwrap_or_default()
    }

    /// Adds what another run met.
    pub fn merge(&mut self, other: &Self) {
        for (mark, count) in &other.counts {
            self.add(*mark, *count);
        }
    }

    /// What was never met.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        Mark::ALL.iter().filter(|mark| self.count(**mark) == 0).map(|mark| mark.name()).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mark in Mark::ALL {
            writeln!(f, "{:>10}  {}", self.count(*mark), mark.name())?;
        }
        Ok(())
    }
}
