//! Bounds of a router shard that nobody chooses, and how they stand to one another.
//!
//! A *soft* bound makes [`crate::RouterShard::wants_input`] false; the *hard* one behind it refuses as `unavailable`.

use protocol::limits::{EVENT_BYTES_MAX, PAGE_EVENTS_MAX};
use protocol::link::{ENVELOPE_EVENTS_BYTES_MAX, ENVELOPE_EVENTS_MAX, ENVELOPE_ITEMS_MAX};
use storage::kv::COMMIT_BYTES_MAX;

/// Requests of one conversation that wait for a load.
pub(crate) const WAITING_OF_ONE_MAX: usize = 8_192;
/// Requests of all conversations that wait for a load: soft.
pub(crate) const WAITING_SOFT: usize = 32_768;
/// Requests of all conversations that wait for a load: hard.
pub(crate) const WAITING_MAX: usize = 2 * WAITING_SOFT;
/// Users whose roles one load asks for.
pub(crate) const LOAD_USERS_MAX: usize = 128;
/// Known members of one conversation.
pub(crate) const MEMBERS_OF_ONE_MAX: usize = 65_536;

/// Events of one conversation that wait for their transaction.
pub(crate) const APPENDS_OF_ONE_MAX: usize = 8_192;
/// Events of all conversations that wait for the store or are on their way: soft.
pub(crate) const APPENDS_SOFT: usize = 32_768;
/// Events of all conversations that wait for the store or are on their way: hard.
pub(crate) const APPENDS_MAX: usize = 2 * APPENDS_SOFT;
/// Events of one transaction.
pub(crate) const BATCH_EVENTS_MAX: usize = 512;
/// Bytes of one transaction as this shard reckons them, below the store's own bound.
pub(crate) const BATCH_BYTES_MAX: usize = 950_000;
/// What a transaction writes for an event beside it, at most, in bytes: no less than the store reckons.
pub(crate) const ITEM_BYTES: usize = 1_900;
/// What a transaction writes for a conversation beside its events, at most, in bytes: no less than the store reckons.
pub(crate) const CONVERSATION_BYTES: usize = 900;
/// What the smallest event of a further conversation adds to a transaction, in bytes.
pub(crate) const EVENT_FLOOR_BYTES: usize = ITEM_BYTES + CONVERSATION_BYTES;
/// Transactions of appends under way at once.
pub(crate) const APPENDS_IN_FLIGHT_MAX: usize = 8;
/// Conversations of which a batch waits to be published together with the next.
pub(crate) const HELD_CONVERSATIONS_MAX: usize = 64;
/// How long a batch waits at most to be published together with the next, in milliseconds: some commits.
pub(crate) const HELD_MS_MAX: u64 = 3;

/// Store requests under way at once.
pub(crate) const STORE_REQUESTS_MAX: usize = 512;
/// Reads that wait for the store: soft.
pub(crate) const READS_SOFT: usize = 8_192;
/// Reads that wait for the store: hard.
pub(crate) const READS_MAX: usize = 2 * READS_SOFT;
/// How long a request that the store's full queue gave back is tried again before it counts as failed, in milliseconds.
pub(crate) const STORE_PATIENCE_MS: u64 = 1_000;
/// After what time what was given back is tried again, in milliseconds.
pub(crate) const RETRY_MS: u64 = 2;
/// After what time the store is asked again when it failed, in milliseconds.
pub(crate) const STORE_RETRY_MS: u64 = 500;
/// What a client is told to wait when the store or a bound refuses, in milliseconds.
pub(crate) const RETRY_AFTER_MS: u32 = 500;

/// Recent events of one conversation.
pub(crate) const RECENT_EVENTS_MAX: usize = 100;
/// Bytes of recent events of one conversation.
pub(crate) const RECENT_BYTES_MAX: usize = 256 * 1024;
/// Bytes of events of one page.
pub(crate) const PAGE_BYTES_MAX: usize = 512 * 1024;
/// Members of one list.
pub(crate) const MEMBERS_PAGE_MAX: u16 = 500;
/// Lines of one chat list.
pub(crate) const CONVERSATIONS_PAGE_MAX: u16 = 1_000;

/// Attaches that wait for a load.
pub(crate) const ATTACHES_MAX: usize = 16_384;
/// Conversations of one attach.
pub(crate) const ATTACH_ITEMS_MAX: usize = 4_096;

/// Members that one transaction creates a conversation with.
pub(crate) const CREATE_MEMBERS_A_TRANSACTION: usize = 500;
/// Members that a conversation can be created with.
pub(crate) const CREATE_MEMBERS_MAX: usize = 10_000;
/// Users who have yet to be told of a membership: soft; past it members can't change.
pub(crate) const ANNOUNCEMENTS_SOFT: usize = 100_000;
/// Users told of a membership at once.
pub(crate) const ANNOUNCEMENTS_A_ROUND: usize = 1_024;

/// Required envelopes that wait for room: soft.
pub(crate) const RETURNED_SOFT: usize = 8_192;
/// Required envelopes that wait for one gateway shard of another node: past it the shard gives that one up. More than a gateway shard asks
/// of a router shard at a time (twice its `router_queue_max`), so that no answers alone are too many for one that is only slow.
pub(crate) const REMOTE_RETURNED_MAX: usize = 2 * RETURNED_SOFT;
/// How many of these count for [`RETURNED_SOFT`] at most: one that is slow keeps nobody from being heard, many together do.
pub(crate) const REMOTE_SHARE: usize = RETURNED_SOFT / 8;
/// Required envelopes tried again at once, a destination.
pub(crate) const RETURNED_A_ROUND: usize = 256;
/// Heads tried at once, a gateway shard.
pub(crate) const HEADS_A_ROUND: usize = 256;

/// Sessions of one user.
pub(crate) const SESSIONS_OF_ONE_MAX: u16 = 128;
/// Sessions whose chat list is on its way.
pub(crate) const OPENINGS_MAX: usize = READS_MAX;
/// Membership news kept for a session whose chat list is on its way; past it the list is read again.
pub(crate) const HELD_NEWS_MAX: usize = 64;
/// Users whose last time heard waits for the store.
pub(crate) const SEEN_MAX: usize = 65_536;
/// Users of one request that stores when they were last heard.
pub(crate) const SEEN_A_REQUEST: usize = 500;
/// Presence envelopes of one batch.
pub(crate) const PRESENCE_A_BATCH: usize = 8_192;

/// How long after a slot came nobody of it is told to be offline, in milliseconds: its sessions are still being announced.
pub(crate) const PRESENCE_GRACE_MS: u64 = 5_000;
/// Envelopes to router shards that wait for a slot without an owner to get one.
pub(crate) const UNOWNED_MAX: usize = 4_096;
/// Conversations, and as many users and watched users, that are searched at once for what a gone gateway shard has left.
pub(crate) const SWEPT_A_ROUND: usize = 4_096;

/// Cursors that wait for the store.
pub(crate) const MARKS_MAX: usize = 16_384;
/// Cursors of one request.
pub(crate) const MARKS_A_REQUEST: usize = 1_000;
/// Receipts of one conversation in one batch.
pub(crate) const RECEIPTS_OF_ONE_MAX: usize = 256;
/// Receipts of all conversations in one batch.
pub(crate) const RECEIPTS_MAX: usize = 16_384;

/// Users typing, over all conversations.
pub(crate) const TYPING_MAX: usize = 10_000;
/// One typing a user and conversation in this time, in milliseconds (PROTOCOL, section 3, promise 6).
pub(crate) const TYPING_EVERY_MS: u64 = 3_000;
/// Typing is over when it was not heard of for this time, in milliseconds (PROTOCOL, section 3, promise 6).
pub(crate) const TYPING_OVER_MS: u64 = 5_000;

/// Largest stamp taken from elsewhere: what is above would leave no room below 2^53 to count on.
pub(crate) const LAMPORT_MAX: u64 = (1 << 53) - (1 << 32);

const _: () = assert!(EVENT_BYTES_MAX + ITEM_BYTES + CONVERSATION_BYTES <= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX < COMMIT_BYTES_MAX);
const _: () = assert!(APPENDS_IN_FLIGHT_MAX < STORE_REQUESTS_MAX);
const _: () = assert!(RECENT_EVENTS_MAX <= PAGE_EVENTS_MAX as usize);
const _: () = assert!(EVENT_BYTES_MAX <= RECENT_BYTES_MAX && RECENT_BYTES_MAX <= PAGE_BYTES_MAX);
const _: () = assert!(CREATE_MEMBERS_MAX < APPENDS_MAX && CREATE_MEMBERS_MAX < ANNOUNCEMENTS_SOFT);
const _: () = assert!(WAITING_OF_ONE_MAX <= WAITING_SOFT && APPENDS_OF_ONE_MAX <= APPENDS_SOFT);
const _: () = assert!(BATCH_EVENTS_MAX * APPENDS_IN_FLIGHT_MAX < REMOTE_RETURNED_MAX);
const _: () = assert!(RETURNED_A_ROUND < REMOTE_SHARE && 2 * REMOTE_SHARE < RETURNED_SOFT);
const _: () = assert!(TYPING_EVERY_MS < TYPING_OVER_MS);
// Whatever an owner tells fits a frame of a link: two batches that are published together, or one and what a page has behind
// it; a page, which has one event at least; lists.
const _: () = assert!(2 * BATCH_BYTES_MAX <= ENVELOPE_EVENTS_BYTES_MAX);
const _: () = assert!(2 * BATCH_EVENTS_MAX <= ENVELOPE_EVENTS_MAX);
const _: () = assert!(BATCH_BYTES_MAX + PAGE_BYTES_MAX + EVENT_BYTES_MAX <= ENVELOPE_EVENTS_BYTES_MAX);
const _: () = assert!(BATCH_EVENTS_MAX + PAGE_EVENTS_MAX as usize <= ENVELOPE_EVENTS_MAX);
const _: () = assert!(ATTACH_ITEMS_MAX <= ENVELOPE_ITEMS_MAX && CREATE_MEMBERS_MAX <= ENVELOPE_ITEMS_MAX);
const _: () = assert!(
    MEMBERS_PAGE_MAX as usize <= ENVELOPE_ITEMS_MAX && CONVERSATIONS_PAGE_MAX as usize <= ENVELOPE_ITEMS_MAX
);
