//! Store requests and results: the far side of the router shard's seam.
//!
//! A router shard emits a [`Request`] as an operation and gets its [`Outcome`] as a completion, later and in any
//! order. It has at most one append in flight a conversation; the store relies on the fence alone for that to be safe.

use std::sync::Arc;

use protocol::envelope::{Change, Conversation, Member};
use protocol::event::{Draft, Event, Role};
use protocol::frame::{ChatListEntry, Range};
use protocol::id::{ConversationId, ConversationKey, DeviceId, UserId, UserKey};
use protocol::limits::ID_BYTES_MAX;
pub use protocol::placement::Epoch;
use protocol::placement::{NodeId, Slot, Table};

use crate::kv::COMMIT_BYTES_MAX;
pub use crate::value::Lease;

/// A router shard's word for a request, echoed in its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What a router shard asks of the store.
#[derive(Debug)]
pub enum Request {
    /// Events for one or more conversations, in one transaction.
    Append(AppendBatch),
    /// A new conversation with its first members, in one transaction. No event is written.
    Create {
        /// The tenure.
        epoch: Epoch,
        /// As it is to be; `head`, `lamport` and `members` are ignored.
        conversation: Conversation,
        /// Its first members (≤ 500 a transaction; the router splits larger lists into joins).
        members: Box<[Member]>,
    },
    /// One conversation's state, and what some users are in it.
    Load {
        /// Which.
        conversation: ConversationKey,
        /// Whose roles and read cursors to look up.
        users: Box<[UserId]>,
    },
    /// A page of the log.
    Page {
        /// Which log.
        conversation: ConversationKey,
        /// From where.
        range: Range,
        /// At most so many events (≤ 200).
        limit: u16,
        /// At most so many bytes of events, but at least one event.
        bytes_max: u32,
    },
    /// Members, ascending by id.
    Members {
        /// Of which.
        conversation: ConversationKey,
        /// Ids larger than this.
        after: Option<UserId>,
        /// At most so many.
        limit: u16,
    },
    /// A user's chat list, newest lamport first.
    Conversations {
        /// Whose.
        user: UserKey,
        /// Entries behind this (lamport, conversation).
        after: Option<(u64, ConversationId)>,
        /// At most so many (≤ 1,000).
        limit: u16,
    },
    /// Cursors moved up; each is stored as the larger of old and new.
    Mark {
        /// Which cursors (≤ 1,000).
        marks: Box<[Mark]>,
    },
    /// A user was last heard at these times.
    Seen {
        /// (user, milliseconds since the Unix epoch).
        seen: Box<[(UserKey, u64)]>,
    },
    /// When a user was last heard.
    LastSeen {
        /// Who.
        user: UserKey,
    },
    /// A conversation and everything of it goes away.
    Remove {
        /// The tenure.
        epoch: Epoch,
        /// Which.
        conversation: ConversationKey,
    },
    /// A new owner takes slots over: whoever held them before is fenced from now on. If router nodes shared the store until
    /// now, they do not any more: their table and their leases go away.
    Claim {
        /// Which (at most all of them).
        slots: Box<[Slot]>,
    },
    /// A router node is still there: its lease is written anew. Tells of the others, and of the placement.
    Beat {
        /// Its lease; `beat` is counted here. With [`NodeId::NONE`] it is the first of this process that counts: it gets
        /// the number that its name has, or a new one, whoever had the lease.
        lease: Lease,
        /// The epoch of the table that it has; 0 when it has none.
        known: Epoch,
    },
    /// A new placement table, unless it was made from an outdated state.
    Place {
        /// The epoch of the table that it was made from; 0 when there was none.
        base: Epoch,
        /// Which slot belongs to whom. Its epoch is given here, at least the one that it has; so is that of the tenures which
        /// differ from the stored table's.
        table: Box<Table>,
        /// Who places: nothing happens when another process has the lease.
        holder: Holder,
        /// Leases that end with it: nothing happens when one of them was written meanwhile.
        removed: Box<[Stale]>,
    },
}

/// A process that has a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The number of its node.
    pub node: NodeId,
    /// Which process of that node.
    pub incarnation: u64,
}

/// A lease as it was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Of which process.
    pub holder: Holder,
    /// How often it had been written.
    pub beat: u64,
}

/// Appends of one transaction: each conversation once, and [`AppendBatch::store_bytes`] at most [`COMMIT_BYTES_MAX`].
#[derive(Debug)]
pub struct AppendBatch {
    /// The tenure. All conversations lie in slots of one router shard.
    pub epoch: Epoch,
    /// Milliseconds since the Unix epoch; an event's time never goes below its predecessor's.
    pub time: u64,
    /// What to append where.
    pub conversations: Vec<ConversationAppend>,
}

/// The appends of a batch to one conversation, in the order that they get their seqs.
#[derive(Debug)]
pub struct ConversationAppend {
    /// Where.
    pub conversation: ConversationKey,
    /// What. Without any, the head is written as it is: no commit that is still under way lands behind that.
    pub items: Vec<AppendItem>,
}

/// What an item writes beside its draft, at most: five keys and the values of the small ones.
const ITEM_BYTES_MAX: usize = 5 * (4 * ID_BYTES_MAX + 64) + 4 * 64;
/// What a conversation writes beside its items, at most: head and meta.
const CONVERSATION_BYTES_MAX: usize = 2 * (2 * ID_BYTES_MAX + 32) + 512;

const _: () = assert!(
    CONVERSATION_BYTES_MAX + ITEM_BYTES_MAX + protocol::limits::EVENT_BYTES_MAX <= COMMIT_BYTES_MAX,
    "the largest event fits a transaction"
);

impl AppendBatch {
    /// The most that the batch may write, in bytes.
    #[must_use]
    pub fn store_bytes(&self) -> usize {
        self.conversations.iter().map(ConversationAppend::store_bytes).sum()
    }
}

impl ConversationAppend {
    /// The most that these appends may write, in bytes.
    #[must_use]
    pub fn store_bytes(&self) -> usize {
        CONVERSATION_BYTES_MAX + self.items.iter().map(AppendItem::store_bytes).sum::<usize>()
    }
}

impl AppendItem {
    /// The most that this item may write, in bytes.
    #[must_use]
    pub fn store_bytes(&self) -> usize {
        ITEM_BYTES_MAX + self.draft.as_bytes().len()
    }
}

/// One event to append.
#[derive(Debug)]
pub struct AppendItem {
    /// Sender, device, client id and content.
    pub draft: Draft,
    /// The stamp is larger than this and than the conversation's last.
    pub lamport: u64,
    /// What else the same transaction writes, and what it asks for first.
    pub rule: AppendRule,
}

/// What an append depends on in the log, and what it changes beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendRule {
    /// Nothing.
    Free,
    /// `target` must be a message of this conversation; `own`: and the sender's own, or the item is [`Appended::Forbidden`].
    Target {
        /// Seq of the message.
        target: u64,
        /// True: only its sender may.
        own: bool,
    },
    /// Membership or the conversation changes with the event. A change that changes nothing is [`Appended::Unchanged`].
    Change(Change),
}

/// What came of one [`AppendItem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Stored now.
    Stored(Event),
    /// Stored before, with the same content.
    Duplicate {
        /// Its place.
        seq: u64,
        /// When, milliseconds since the Unix epoch.
        time: u64,
    },
    /// The id was stored before with another content.
    Conflict,
    /// The target is no message of this conversation.
    NoTarget,
    /// The target is somebody else's.
    Forbidden,
    /// The change changes nothing: already a member, already gone, same role.
    Unchanged,
    /// The last owner can't leave, a direct conversation's members can't change: one sentence.
    Refused(&'static str),
    /// The conversation does not exist.
    NoConversation,
}

/// A cursor that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub conversation: ConversationKey,
    /// Whose.
    pub user: UserId,
    /// On which device; for `received`.
    pub device: DeviceId,
    /// On the device up to here.
    pub received: Option<u64>,
    /// Read by the user up to here.
    pub read: Option<u64>,
}

/// A membership, as loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadedMember {
    /// Who.
    pub user: UserId,
    /// As what; `None`: not a member.
    pub role: Option<Role>,
    /// Read up to here.
    pub read: u64,
}

/// What the store answers, in the order of [`Request`].
#[derive(Debug)]
pub enum Outcome {
    /// Durable. For each conversation of the batch, in its order, what came of each item, in its order.
    Appended(Vec<Vec<Appended>>),
    /// Created, or there already (`created` false); as it is now.
    Created {
        /// As it is now.
        conversation: Conversation,
        /// True: by this request.
        created: bool,
    },
    /// A conversation's state; `None` when there is none.
    Loaded {
        /// Its state.
        conversation: Option<Conversation>,
        /// In the order asked for.
        members: Box<[LoadedMember]>,
    },
    /// A page.
    Page {
        /// Ascending by seq, dense.
        events: Vec<Event>,
        /// The log's last seq in the store.
        head: u64,
        /// True when there are more in the direction asked for.
        more: bool,
        /// First seq that retention still holds, when the request reached below it.
        trimmed: Option<u64>,
    },
    /// Members.
    Members {
        /// Ascending by id.
        members: Vec<Member>,
        /// True when there are more.
        more: bool,
    },
    /// A chat list.
    Conversations {
        /// Newest lamport first.
        entries: Vec<ChatListEntry>,
        /// True when there are more.
        more: bool,
    },
    /// Cursors are durable.
    Marked,
    /// Times are durable.
    Seen,
    /// When the user was last heard; `None`: never.
    LastSeen(Option<u64>),
    /// A conversation is gone; its members were these.
    Removed {
        /// False: there was none.
        existed: bool,
        /// Whose chat lists it was taken from.
        members: Vec<UserId>,
    },
    /// The slots are the asker's, under this epoch.
    Claimed(Epoch),
    /// What a beat finds.
    Beat(Beaten),
    /// The table as it was written; `None`: nothing was, as what it was made from is outdated.
    Placed(Option<Arc<Table>>),
    /// Nothing was stored or read.
    Failed(Failure),
}

/// What a beat finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    /// The number of the node.
    pub node: NodeId,
    /// The lease was written. False: it was not, and will not be. Another process has the name (or the number), or the
    /// placement that this one knew has gone: it is to stop.
    pub held: bool,
    /// All leases, ascending by number.
    pub leases: Vec<Lease>,
    /// The placement.
    pub placement: Placement,
}

/// The placement, for somebody who knows a table or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// There is no table: no router node has made one yet, or a server that is all there is took the store.
    Absent,
    /// The table that is known is the newest.
    Known,
    /// There is a newer table.
    Newer(Arc<Table>),
}

/// Why the store did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another owner holds the slot.
    Fenced,
    /// The store is away, or its queue is full; a retry may succeed.
    Unavailable,
    /// It may or may not have been stored, and no retry could tell within the limits: the same request again will.
    Unknown,
    /// The store refuses this request, and would again; one sentence for the log. Nothing was stored.
    Refused(String),
    /// The store can't go on; one sentence for the log.
    Poisoned(String),
    /// A record does not agree with its checksum or its key; one sentence for the log.
    Damaged(String),
}
