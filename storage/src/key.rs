//! The one key layout of every engine: tuples of the FoundationDB tuple layer, so that any of its tools can read them.
//!
//! ```text
//! (tenant, 0, conversation, part, …)   everything of a conversation, one range
//!     part 0  meta                      1  head               2 (seq)           event
//!     part 3 (sender, id)  client id    4 (user)  member      5 (user, device)  received cursor
//!     part 6 (time, seq)   time index   7 (seq)   deleted
//! (tenant, 1, user, part, …)           everything of a user, one range
//!     part 0 (conversation) membership  1 (conversation)  read cursor           2  last seen
//! (1, slot)                            fence: the epoch of the slot's owner
//! (2, tenant, conversation)            a removal that is not finished
//! (3, part, …)                         what router nodes that share this store know of each other
//!     part 0  the placement table's epoch   1  the table        2  the last number given to a node
//!     part 3 (node)  lease
//! ```
//!
//! A tenant is a string and sorts before the numbers, so each tenant is one range, too. What the keys hold is `value.rs`.

use std::fmt;

use foundationdb_tuple::{Element, TuplePack, pack, pack_into, unpack};
use protocol::id::{ClientId, ConversationId, ConversationKey, DeviceId, InvalidId, Tenant, UserId, UserKey};
use protocol::placement::{NodeId, SLOTS, Slot};

use crate::damage::Damage;
use crate::kv::{KEY_BYTES_MAX, Key};

const FENCE_TAG: i64 = 1;
const REMOVAL_TAG: i64 = 2;
const CLUSTER_TAG: i64 = 3;

const CONVERSATIONS_TAG: i64 = 0;
const USERS_TAG: i64 = 1;

const META: u64 = 0;
const HEAD: u64 = 1;
const EVENT: u64 = 2;
const CLIENT: u64 = 3;
const MEMBER: u64 = 4;
const RECEIVED: u64 = 5;
const TIME: u64 = 6;
const DELETED: u64 = 7;

const PLACEMENT_EPOCH: i64 = 0;
const PLACEMENT: i64 = 1;
const LAST_NODE: i64 = 2;
const LEASE: i64 = 3;

const MEMBERSHIP: u64 = 0;
const READ: u64 = 1;
const SEEN: u64 = 2;

/// No key of usual ids is longer, in bytes: such a key is allocated once.
const KEY_BYTES_USUAL: usize = 96;

/// Behind every key of this layout; what an engine keeps for itself lies from here on.
pub const END: &[u8] = &[0xfe];

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKey {
    /// The epoch of a slot's owner.
    Fence(Slot),
    /// A removal that has begun and not ended.
    Removal(ConversationKey),
    /// The epoch of the placement table, beside it so that whoever has this one need not read the whole.
    PlacementEpoch,
    /// The placement table.
    Placement,
    /// The last number that was given to a router node.
    LastNode,
    /// The lease of a router node.
    Lease(NodeId),
    /// What a conversation is.
    Meta(ConversationKey),
    /// Where its log ends.
    Head(ConversationKey),
    /// An event of its log, by seq.
    Event(ConversationKey, u64),
    /// What a sender stored under a client id.
    Client(ConversationKey, UserId, ClientId),
    /// A member and its role.
    Member(ConversationKey, UserId),
    /// Up to where a device has received.
    Received(ConversationKey, UserId, DeviceId),
    /// At this time (milliseconds) that seq was stored; one entry each [`crate::value::TIME_INDEX_STEP`] events.
    Time(ConversationKey, u64, u64),
    /// The message of this seq was deleted.
    Deleted(ConversationKey, u64),
    /// A user's membership: the other side of [`StoreKey::Member`].
    Membership(UserKey, ConversationId),
    /// Up to where a user has read.
    Read(UserKey, ConversationId),
    /// When a user was last heard.
    Seen(UserKey),
}

/// A range of keys: first, and behind the last.
pub type KeyRange = (Key, Key);

fn packed<T: TuplePack>(tuple: &T) -> Key {
    let mut bytes = Key::with_capacity(KEY_BYTES_USUAL);
    pack_into(tuple, &mut bytes);
    bytes
}

fn conversation_key<T: TuplePack>(key: &ConversationKey, part: u64, rest: T) -> Key {
    let mut bytes = conversation_prefix(key, part);
    pack_into(&rest, &mut bytes);
    bytes
}

fn conversation_prefix(key: &ConversationKey, part: u64) -> Key {
    packed(&(key.tenant.as_str(), CONVERSATIONS_TAG, key.conversation.as_str(), part))
}

fn user_key<T: TuplePack>(key: &UserKey, part: u64, rest: T) -> Key {
    let mut bytes = user_prefix(key, part);
    pack_into(&rest, &mut bytes);
    bytes
}

fn user_prefix(key: &UserKey, part: u64) -> Key {
    packed(&(key.tenant.as_str(), USERS_TAG, key.user.as_str(), part))
}

/// All keys that begin with `prefix` and go on: no element of a tuple begins with 0xff.
fn below(prefix: Key) -> KeyRange {
    let mut end = prefix.clone();
    end.push(0xff);
    (prefix, end)
}

impl StoreKey {
    /// The key's bytes; at most [`KEY_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> Key {
        let key = match self {
            Self::Fence(slot) => pack(&(FENCE_TAG, u64::from(slot.0))),
            Self::Removal(of) => pack(&(REMOVAL_TAG, of.tenant.as_str(), of.conversation.as_str())),
            Self::PlacementEpoch => pack(&(CLUSTER_TAG, PLACEMENT_EPOCH)),
            Self::Placement => pack(&(CLUSTER_TAG, PLACEMENT)),
            Self::LastNode => pack(&(CLUSTER_TAG, LAST_NODE)),
            Self::Lease(node) => pack(&(CLUSTER_TAG, LEASE, u64::from(node.0))),
            Self::Meta(of) => conversation_prefix(of, META),
            Self::Head(of) => conversation_prefix(of, HEAD),
            Self::Event(of, seq) => conversation_key(of, EVENT, (seq,)),
            Self::Client(of, sender, id) => conversation_key(of, CLIENT, (sender.as_str(), id.as_str())),
            Self::Member(of, user) => conversation_key(of, MEMBER, (user.as_str(),)),
            Self::Received(of, user, device) => {
                conversation_key(of, RECEIVED, (user.as_str(), device.as_str()))
            }
            Self::Time(of, time, seq) => conversation_key(of, TIME, (time, seq)),
            Self::Deleted(of, seq) => conversation_key(of, DELETED, (seq,)),
            Self::Membership(user, of) => user_key(user, MEMBERSHIP, (of.as_str(),)),
            Self::Read(user, of) => user_key(user, READ, (of.as_str(),)),
            Self::Seen(user) => user_prefix(user, SEEN),
        };
        assert!(key.len() <= KEY_BYTES_MAX, "four ids and two numbers fit a key");
        key
    }

    /// What a key's bytes stand for.
    ///
    /// # Errors
    /// When the bytes are no key of this layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let elements = unpack::<Vec<Element<'_>>>(bytes).map_err(|_| NoKey("no tuple"));
        let key = elements.and_then(|elements| decode_elements(&elements)).map_err(|why| {
            Damage(format!("the key {} is not one of this store: {}", bytes.escape_ascii(), why.0))
        })?;
        if key.encode() == bytes {
            Ok(key)
        } else {
            Err(Damage(format!("the key {} is written in another way than ours", bytes.escape_ascii())))
        }
    }
}

/// All events of `first..=last` of a conversation.
#[must_use]
pub fn events(key: &ConversationKey, first: u64, last: u64) -> KeyRange {
    (StoreKey::Event(*key, first).encode(), StoreKey::Event(*key, last + 1).encode())
}

/// All members of a conversation with ids larger than `after`.
#[must_use]
pub fn members(key: &ConversationKey, after: Option<UserId>) -> KeyRange {
    let (begin, end) = below(conversation_prefix(key, MEMBER));
    (after.map_or(begin, |user| behind(StoreKey::Member(*key, user).encode())), end)
}

/// All received cursors of a user in a conversation.
#[must_use]
pub fn received_of(key: &ConversationKey, user: &UserId) -> KeyRange {
    below(conversation_key(key, RECEIVED, (user.as_str(),)))
}

/// All entries of a conversation's time index with a time below `time`.
#[must_use]
pub fn times_before(key: &ConversationKey, time: u64) -> KeyRange {
    (conversation_prefix(key, TIME), conversation_key(key, TIME, (time,)))
}

/// Everything of a conversation but its meta.
#[must_use]
pub fn all_but_meta(key: &ConversationKey) -> KeyRange {
    let (_, end) = below(pack(&(key.tenant.as_str(), CONVERSATIONS_TAG, key.conversation.as_str())));
    (conversation_prefix(key, HEAD), end)
}

/// A user's memberships in conversations with ids larger than `after`.
#[must_use]
pub fn memberships(key: &UserKey, after: Option<ConversationId>) -> KeyRange {
    let (begin, end) = below(user_prefix(key, MEMBERSHIP));
    (after.map_or(begin, |of| behind(StoreKey::Membership(*key, of).encode())), end)
}

/// All removals that have not ended.
#[must_use]
pub fn removals() -> KeyRange {
    below(pack(&(REMOVAL_TAG,)))
}

/// All leases.
#[must_use]
pub fn leases() -> KeyRange {
    below(pack(&(CLUSTER_TAG, LEASE)))
}

/// Everything that router nodes which share a store know of each other: the placement, the numbers, the leases.
#[must_use]
pub fn cluster() -> KeyRange {
    below(pack(&(CLUSTER_TAG,)))
}

/// The first key that is larger than `key`.
#[must_use]
pub fn behind(mut key: Key) -> Key {
    key.push(0);
    key
}

/// Reads the elements of a key.
fn decode_elements(elements: &[Element<'_>]) -> Result<StoreKey, NoKey> {
    match elements {
        [Element::Int(FENCE_TAG), Element::Int(slot)] => {
            let slot = u16::try_from(*slot).ok().filter(|slot| *slot < SLOTS).ok_or(NoKey("no such slot"))?;
            Ok(StoreKey::Fence(Slot(slot)))
        }
        [Element::Int(REMOVAL_TAG), Element::String(tenant), Element::String(id)] => {
            Ok(StoreKey::Removal(ConversationKey { tenant: parse_tenant(tenant)?, conversation: parse(id)? }))
        }
        [Element::Int(CLUSTER_TAG), Element::Int(part), rest @ ..] => decode_cluster(*part, rest),
        [
            Element::String(tenant),
            Element::Int(CONVERSATIONS_TAG),
            Element::String(id),
            Element::Int(part),
            rest @ ..,
        ] => {
            let of = ConversationKey { tenant: parse_tenant(tenant)?, conversation: parse(id)? };
            decode_conversations(of, number(part)?, rest)
        }
        [
            Element::String(tenant),
            Element::Int(USERS_TAG),
            Element::String(id),
            Element::Int(part),
            rest @ ..,
        ] => {
            let of = UserKey { tenant: parse_tenant(tenant)?, user: parse(id)? };
            decode_users(of, number(part)?, rest)
        }
        _ => Err(NoKey("no such family")),
    }
}

fn decode_cluster(part: i64, rest: &[Element<'_>]) -> Result<StoreKey, NoKey> {
    Ok(match (part, rest) {
        (PLACEMENT_EPOCH, []) => StoreKey::PlacementEpoch,
        (PLACEMENT, []) => StoreKey::Placement,
        (LAST_NODE, []) => StoreKey::LastNode,
        (LEASE, [Element::Int(node)]) => {
            StoreKey::Lease(NodeId(u16::try_from(*node).map_err(|_| NoKey("no such node"))?))
        }
        _ => return Err(NoKey("no such part of a cluster")),
    })
}

fn decode_conversations(of: ConversationKey, part: u64, rest: &[Element<'_>]) -> Result<StoreKey, NoKey> {
    Ok(match (part, rest) {
        (META, []) => StoreKey::Meta(of),
        (HEAD, []) => StoreKey::Head(of),
        (EVENT, [Element::Int(seq)]) => StoreKey::Event(of, number(seq)?),
        (CLIENT, [Element::String(sender), Element::String(id)]) => {
            StoreKey::Client(of, parse(sender)?, parse(id)?)
        }
        (MEMBER, [Element::String(user)]) => StoreKey::Member(of, parse(user)?),
        (RECEIVED, [Element::String(user), Element::String(device)]) => {
            StoreKey::Received(of, parse(user)?, parse(device)?)
        }
        (TIME, [Element::Int(time), Element::Int(seq)]) => StoreKey::Time(of, number(time)?, number(seq)?),
        (DELETED, [Element::Int(seq)]) => StoreKey::Deleted(of, number(seq)?),
        _ => return Err(NoKey("no such part of a conversation")),
    })
}

fn decode_users(of: UserKey, part: u64, rest: &[Element<'_>]) -> Result<StoreKey, NoKey> {
    Ok(match (part, rest) {
        (MEMBERSHIP, [Element::String(id)]) => StoreKey::Membership(of, parse(id)?),
        (READ, [Element::String(id)]) => StoreKey::Read(of, parse(id)?),
        (SEEN, []) => StoreKey::Seen(of),
        _ => return Err(NoKey("no such part of a user")),
    })
}

/// Why bytes are no key.
struct NoKey(&'static str);

fn number(number: &i64) -> Result<u64, NoKey> {
    u64::try_from(*number).map_err(|_| NoKey("a number below zero"))
}

fn parse_tenant(text: &str) -> Result<Tenant, NoKey> {
    if text.is_empty() { Ok(Tenant::SYSTEM) } else { parse(text) }
}

fn parse<T: for<'a> TryFrom<&'a str, Error = InvalidId>>(text: &str) -> Result<T, NoKey> {
    T::try_from(text).map_err(|invalid| NoKey(invalid.message()))
}

/// Names a conversation in a message: its id, and its tenant where that is not the default one.
pub struct Named<'a>(pub &'a ConversationKey);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conversation {}", self.0.conversation)?;
        if self.0.tenant == Tenant::default_tenant() {
            return Ok(());
        }
        write!(
            f,
            " of tenant {}",
            if self.0.tenant == Tenant::SYSTEM { "(system)" } else { self.0.tenant.as_str() }
        )
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fence(slot) => write!(f, "fence of slot {}", slot.0),
            Self::Removal(of) => write!(f, "removal of {}", Named(of)),
            Self::PlacementEpoch => f.write_str("epoch of the placement table"),
            Self::Placement => f.write_str("placement table"),
            Self::LastNode => f.write_str("last number of a node"),
            Self::Lease(node) => write!(f, "lease of node {}", node.0),
            Self::Meta(of) => write!(f, "meta of {}", Named(of)),
            Self::Head(of) => write!(f, "head of {}", Named(of)),
            Self::Event(of, seq) => write!(f, "event {seq} of {}", Named(of)),
            Self::Client(of, sender, id) => write!(f, "client id {id} of {sender} in {}", Named(of)),
            Self::Member(of, user) => write!(f, "member {user} of {}", Named(of)),
            Self::Received(of, user, device) => {
                write!(f, "received cursor of {user} on {device} in {}", Named(of))
            }
            Self::Time(of, time, seq) => write!(f, "time index entry ({time}, {seq}) of {}", Named(of)),
            Self::Deleted(of, seq) => write!(f, "deletion mark of event {seq} of {}", Named(of)),
            Self::Membership(user, of) => write!(f, "membership of {} in conversation {of}", user.user),
            Self::Read(user, of) => write!(f, "read cursor of {} in conversation {of}", user.user),
            Self::Seen(user) => write!(f, "last time of {}", user.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(tenant: &str, id: &str) -> ConversationKey {
        ConversationKey {
            tenant: if tenant.is_empty() { Tenant::SYSTEM } else { Tenant::parse(tenant).unwrap() },
            conversation: ConversationId::parse(id).unwrap(),
        }
    }

    fn samples() -> Vec<StoreKey> {
        let mut keys = Vec::new();
        for of in
            [conversation("", "c"), conversation("t", "c"), conversation("t", "cc"), conversation("tt", "c")]
        {
            let user = UserId::parse(of.conversation.as_str()).unwrap();
            let user_key = UserKey { tenant: of.tenant, user };
            keys.extend([
                StoreKey::Removal(of),
                StoreKey::Meta(of),
                StoreKey::Head(of),
                StoreKey::Event(of, 1),
                StoreKey::Event(of, protocol::limits::SEQ_MAX),
                StoreKey::Client(of, user, ClientId::parse("1").unwrap()),
                StoreKey::Member(of, user),
                StoreKey::Received(of, user, DeviceId::parse("d").unwrap()),
                StoreKey::Time(of, 1_700_000_000_000, 65),
                StoreKey::Deleted(of, 3),
                StoreKey::Membership(user_key, of.conversation),
                StoreKey::Read(user_key, of.conversation),
                StoreKey::Seen(user_key),
            ]);
        }
        keys.extend([StoreKey::Fence(Slot(0)), StoreKey::Fence(Slot(SLOTS - 1))]);
        keys.extend([StoreKey::PlacementEpoch, StoreKey::Placement, StoreKey::LastNode]);
        keys.extend([1, 255, 256, u16::MAX - 1].map(|node| StoreKey::Lease(NodeId(node))));
        keys
    }

    #[test]
    fn every_key_is_read_back_as_it_was_written_and_no_two_are_alike() {
        let keys = samples();
        let encoded: std::collections::BTreeSet<Key> = keys.iter().map(StoreKey::encode).collect();
        assert_eq!(encoded.len(), keys.len());
        for key in keys {
            let bytes = key.encode();
            assert_eq!(StoreKey::decode(&bytes).unwrap(), key);
            assert!(bytes.as_slice() < END);
        }
    }

    #[test]
    fn a_cut_or_longer_key_is_never_read_as_the_same() {
        for key in samples() {
            let bytes = key.encode();
            for end in 0..bytes.len() {
                assert_ne!(StoreKey::decode(&bytes[..end]).ok(), Some(key), "cut at {end}");
            }
            assert!(StoreKey::decode(&behind(bytes)).is_err());
        }
    }

    #[test]
    fn events_sort_by_seq_over_every_length_of_a_number() {
        let of = conversation("t", "c");
        let seqs = [1, 2, 255, 256, 65_535, 65_536, (1 << 24) - 1, 1 << 24, (1 << 53) - 1];
        let keys: Vec<Key> = seqs.iter().map(|seq| StoreKey::Event(of, *seq).encode()).collect();
        assert!(keys.is_sorted());
        let (begin, end) = events(&of, 1, (1 << 53) - 1);
        assert!(keys.iter().all(|key| *key >= begin && *key < end));
    }

    #[test]
    fn a_conversations_range_holds_its_own_keys_and_no_others() {
        let of = conversation("t", "c");
        let (begin, end) = all_but_meta(&of);
        for key in samples() {
            let own = match key {
                StoreKey::Head(k)
                | StoreKey::Event(k, _)
                | StoreKey::Client(k, ..)
                | StoreKey::Member(k, _)
                | StoreKey::Received(k, ..)
                | StoreKey::Time(k, ..)
                | StoreKey::Deleted(k, _) => k == of,
                _ => false,
            };
            let bytes = key.encode();
            assert_eq!(bytes >= begin && bytes < end, own, "{key}");
        }
    }

    #[test]
    fn a_clusters_range_holds_its_own_keys_and_no_others() {
        let ((begin, end), (first, last)) = (cluster(), leases());
        for key in samples() {
            let lease = matches!(key, StoreKey::Lease(_));
            let own =
                lease || matches!(key, StoreKey::PlacementEpoch | StoreKey::Placement | StoreKey::LastNode);
            let bytes = key.encode();
            assert_eq!(bytes >= begin && bytes < end, own, "{key}");
            assert_eq!(bytes >= first && bytes < last, lease, "{key}");
        }
    }

    #[test]
    fn ranges_after_a_name_leave_that_name_out() {
        let of = conversation("t", "c");
        let user = UserId::parse("a").unwrap();
        let (begin, end) = members(&of, Some(user));
        assert!(StoreKey::Member(of, user).encode() < begin);
        for next in ["a-", "aa", "b", "~"] {
            let key = StoreKey::Member(of, UserId::parse(next).unwrap()).encode();
            assert!(key >= begin && key < end, "{next}");
        }
    }
}
