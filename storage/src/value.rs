//! What the keys hold, and how: a version byte, the fields, and a checksum over the key and both. A flipped bit, a
//! value under another key, and a value of another kind all fail to open.
//!
//! Which key holds what is `key.rs`.

use std::borrow::Cow;
use std::net::SocketAddr;

use foundationdb_tuple::{TuplePack, TupleUnpack, pack_into, unpack};
use protocol::envelope::ConversationKind;
use protocol::event::{Event, Role};
use protocol::id::ConversationKey;
use protocol::placement::{NAME_BYTES_MAX, NodeId, Table};
use xxhash_rust::xxh3::Xxh3;

use crate::damage::Damage;
use crate::key::StoreKey;
use crate::kv::{VALUE_BYTES_MAX, Value};
use crate::request::Epoch;

/// The first byte of every value: which fields follow.
const VERSION: u8 = 1;
/// Bytes of the checksum at the end of every value.
const CHECKSUM_BYTES: usize = 8;
/// No value of numbers is longer, in bytes: such a value is allocated once.
const VALUE_BYTES_USUAL: usize = 64;
/// Events from one entry of the time index to the next.
pub const TIME_INDEX_STEP: u64 = 64;

fn checksum(key: &[u8], body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Xxh3::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(body);
    hash.digest().to_le_bytes()
}

fn finish(key: &[u8], mut value: Vec<u8>) -> Value {
    let checksum = checksum(key, &value);
    value.extend_from_slice(&checksum);
    assert!(value.len() <= VALUE_BYTES_MAX, "a value stays below the store's bound");
    value
}

fn seal<T: TuplePack>(key: &[u8], fields: &T) -> Value {
    let mut value = Vec::with_capacity(VALUE_BYTES_USUAL);
    value.push(VERSION);
    pack_into(fields, &mut value);
    finish(key, value)
}

fn open_bytes<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], String> {
    let Some((body, found)) = value.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err("the value is cut".to_owned());
    };
    if checksum(key, body) != *found {
        return Err("the checksum does not agree".to_owned());
    }
    match body.split_first() {
        Some((&VERSION, fields)) => Ok(fields),
        Some((version, _)) => Err(format!("version {version} is not known to this program")),
        None => Err("the value is empty".to_owned()),
    }
}

fn named(key: &[u8], why: impl core::fmt::Display) -> Damage {
    match StoreKey::decode(key) {
        Ok(key) => Damage(format!("{key}: {why}")),
        Err(damage) => Damage(format!("{damage}; {why}")),
    }
}

fn open<'a, T: TupleUnpack<'a>>(key: &[u8], value: &'a [u8]) -> Result<T, Damage> {
    let fields = open_bytes(key, value).map_err(|why| named(key, why))?;
    unpack(fields).map_err(|why| named(key, why))
}

fn role(key: &[u8], number: u64) -> Result<Role, Damage> {
    let role = u8::try_from(number).ok().and_then(Role::from_number);
    role.ok_or_else(|| named(key, format_args!("{number} is no role")))
}

/// What a conversation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meta {
    /// It is there.
    Alive {
        /// What sort.
        kind: ConversationKind,
        /// For people.
        title: Option<Box<str>>,
        /// When it was created, milliseconds since the Unix epoch.
        created: u64,
    },
    /// It is gone for everybody; what is left of it is being cleared.
    Removed,
}

impl Meta {
    /// The value under `key`.
    #[must_use]
    pub fn seal(&self, key: &[u8]) -> Value {
        match self {
            Self::Alive { kind, title, created } => {
                seal(key, &(1_u64, u64::from(*kind as u8), title.as_deref(), *created))
            }
            Self::Removed => seal(key, &(0_u64, 0_u64, None::<&str>, 0_u64)),
        }
    }

    /// Reads the value under `key`.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn open(key: &[u8], value: &[u8]) -> Result<Self, Damage> {
        let (alive, kind, title, created) = open::<(u64, u64, Option<Cow<'_, str>>, u64)>(key, value)?;
        if alive == 0 {
            return Ok(Self::Removed);
        }
        let known = u8::try_from(kind).ok().and_then(ConversationKind::from_number);
        let kind = known.ok_or_else(|| named(key, format_args!("{kind} is no kind of conversation")))?;
        Ok(Self::Alive { kind, title: title.map(|title| title.into_owned().into()), created })
    }
}

/// Where a conversation's log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Seq of the last event; 0 when there is none.
    pub seq: u64,
    /// Lamport stamp of the last event; of the creation when there is none.
    pub lamport: u64,
    /// Time of the last event, or of the creation, milliseconds since the Unix epoch.
    pub time: u64,
    /// How many members.
    pub members: u64,
    /// How many of them are owners.
    pub owners: u64,
    /// Seq of the first event that is still kept; 1 when nothing was trimmed.
    pub first: u64,
}

impl Head {
    /// The value under `key`.
    #[must_use]
    pub fn seal(&self, key: &[u8]) -> Value {
        seal(key, &(self.seq, self.lamport, self.time, self.members, self.owners, self.first))
    }

    /// Reads the value under `key`.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn open(key: &[u8], value: &[u8]) -> Result<Self, Damage> {
        let (seq, lamport, time, members, owners, first) = open(key, value)?;
        if first == 0 || first > seq + 1 || owners > members {
            return Err(named(key, "its numbers contradict each other"));
        }
        Ok(Self { seq, lamport, time, members, owners, first })
    }
}

/// The value of an event: its bytes as they are everywhere.
#[must_use]
pub fn seal_event(key: &[u8], event: &Event) -> Value {
    let bytes = event.as_bytes();
    let mut value = Vec::with_capacity(1 + bytes.len() + CHECKSUM_BYTES);
    value.push(VERSION);
    value.extend_from_slice(bytes);
    finish(key, value)
}

/// Reads the event under `key`, which says its conversation and its seq.
///
/// # Errors
/// When it is not what was written, or is another event than the key says.
pub fn open_event(key: &[u8], value: &[u8]) -> Result<Event, Damage> {
    match StoreKey::decode(key)? {
        StoreKey::Event(of, seq) => open_event_of(&of, seq, key, value),
        _ => Err(named(key, "no event lies there")),
    }
}

/// Reads an event under its key, which the caller has made or compared.
///
/// # Errors
/// As [`open_event`].
pub fn open_event_of(of: &ConversationKey, seq: u64, key: &[u8], value: &[u8]) -> Result<Event, Damage> {
    let bytes = open_bytes(key, value).map_err(|why| named(key, why))?;
    let event = Event::from_bytes(bytes).map_err(|why| named(key, format_args!("no event: {why:?}")))?;
    let view = event.view();
    if view.seq == seq && *view.conversation == *of.conversation.as_str() {
        return Ok(event);
    }
    Err(named(key, "another event lies there"))
}

/// What a sender stored under a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRecord {
    /// Seq of the event.
    pub seq: u64,
    /// Time of the event, milliseconds since the Unix epoch.
    pub time: u64,
    /// Hash of what the client asked for: [`crate::content::hash`].
    pub content: u128,
}

impl ClientRecord {
    /// The value under `key`.
    #[must_use]
    pub fn seal(&self, key: &[u8]) -> Value {
        seal(key, &(self.seq, self.time, (self.content >> 64) as u64, self.content as u64))
    }

    /// Reads the value under `key`.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn open(key: &[u8], value: &[u8]) -> Result<Self, Damage> {
        let (seq, time, high, low) = open::<(u64, u64, u64, u64)>(key, value)?;
        Ok(Self { seq, time, content: u128::from(high) << 64 | u128::from(low) })
    }
}

/// The value of a member and of a membership.
#[must_use]
pub fn seal_role(key: &[u8], role: Role) -> Value {
    seal(key, &(u64::from(role as u8),))
}

/// Reads a member or a membership.
///
/// # Errors
/// When it is not what was written.
pub fn open_role(key: &[u8], value: &[u8]) -> Result<Role, Damage> {
    let (number,) = open(key, value)?;
    role(key, number)
}

/// The value of a cursor, of a last time, of a deletion (the deleting event's seq).
#[must_use]
pub fn seal_number(key: &[u8], number: u64) -> Value {
    seal(key, &(number,))
}

/// Reads what [`seal_number`] wrote.
///
/// # Errors
/// When it is not what was written.
pub fn open_number(key: &[u8], value: &[u8]) -> Result<u64, Damage> {
    open(key, value).map(|(number,)| number)
}

/// The value of an entry that says all in its key: the time index, a removal.
#[must_use]
pub fn seal_nothing(key: &[u8]) -> Value {
    finish(key, vec![VERSION])
}

/// Reads what [`seal_nothing`] wrote.
///
/// # Errors
/// When it is not what was written.
pub fn open_nothing(key: &[u8], value: &[u8]) -> Result<(), Damage> {
    match open_bytes(key, value) {
        Ok([]) => Ok(()),
        Ok(_) => Err(named(key, "a value where none belongs")),
        Err(why) => Err(named(key, why)),
    }
}

/// The value of a fence.
#[must_use]
pub fn seal_epoch(key: &[u8], epoch: Epoch) -> Value {
    seal_number(key, epoch.0)
}

/// Reads a fence; no value is the epoch before all others.
///
/// # Errors
/// When it is not what was written.
pub fn open_epoch(key: &[u8], value: Option<&[u8]>) -> Result<Epoch, Damage> {
    value.map_or(Ok(Epoch(0)), |value| open_number(key, value).map(Epoch))
}

/// The value of the placement table: its bytes as they are on links.
#[must_use]
pub fn seal_table(key: &[u8], table: &Table) -> Value {
    let mut value = vec![VERSION];
    value.extend_from_slice(&table.to_bytes());
    finish(key, value)
}

/// Reads the placement table.
///
/// # Errors
/// When it is not what was written.
pub fn open_table(key: &[u8], value: &[u8]) -> Result<Table, Damage> {
    let bytes = open_bytes(key, value).map_err(|why| named(key, why))?;
    Table::from_bytes(bytes).map_err(|invalid| named(key, invalid.0))
}

/// That a router node is there: it writes this anew again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number, which the key says; [`NodeId::NONE`] in a request of a node that knows of none yet.
    pub node: NodeId,
    /// Its name in the configuration: 1 to [`NAME_BYTES_MAX`] bytes, and no two leases have the same.
    pub name: Box<str>,
    /// Where it takes links.
    pub address: SocketAddr,
    /// How many router shards it has, at least 1.
    pub cores: u16,
    /// Random, of each start of the process: a process that started later has another one.
    pub incarnation: u64,
    /// How often it was written. One that stands still belongs to a node that has gone, or has lost the store.
    pub beat: u64,
    /// The node asks to be emptied.
    pub draining: bool,
}

impl Lease {
    /// The value under `key`.
    #[must_use]
    pub fn seal(&self, key: &[u8]) -> Value {
        let address = self.address.to_string();
        let (cores, draining) = (u64::from(self.cores), u64::from(self.draining));
        seal(key, &(&*self.name, address.as_str(), cores, self.incarnation, self.beat, draining))
    }

    /// Reads the value under `key`.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn open(key: &[u8], value: &[u8]) -> Result<Self, Damage> {
        type Fields<'a> = (Cow<'a, str>, Cow<'a, str>, u64, u64, u64, u64);
        let StoreKey::Lease(node) = StoreKey::decode(key)? else {
            return Err(named(key, "no lease lies there"));
        };
        let (name, address, cores, incarnation, beat, draining) = open::<Fields<'_>>(key, value)?;
        let address = address.parse().map_err(|_| named(key, "its address is none"))?;
        let cores = u16::try_from(cores).map_err(|_| named(key, "more cores than there can be"))?;
        let draining = draining != 0;
        let lease = Self { node, name: name.into(), address, cores, incarnation, beat, draining };
        if lease.is_sound() { Ok(lease) } else { Err(named(key, "a node without a name or a core")) }
    }

    /// True when its name and its cores are within their bounds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self.name.is_empty() && self.name.len() <= NAME_BYTES_MAX && self.cores > 0
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::{ConversationId, Tenant};

    use super::*;

    fn key() -> ConversationKey {
        ConversationKey {
            tenant: Tenant::default_tenant(),
            conversation: ConversationId::parse("general").unwrap(),
        }
    }

    #[test]
    fn values_are_read_back_as_they_were_written() {
        let meta = StoreKey::Meta(key()).encode();
        for title in [None, Some(Box::from("")), Some(Box::from("Größe\0 und Wahrheit"))] {
            let alive = Meta::Alive { kind: ConversationKind::Public, title, created: u64::MAX };
            assert_eq!(Meta::open(&meta, &alive.seal(&meta)).unwrap(), alive);
        }
        assert_eq!(Meta::open(&meta, &Meta::Removed.seal(&meta)).unwrap(), Meta::Removed);
        let at = StoreKey::Head(key()).encode();
        let head = Head { seq: 70_000, lamport: 9, time: 1 << 41, members: 3, owners: 1, first: 70_001 };
        assert_eq!(Head::open(&at, &head.seal(&at)).unwrap(), head);
        let record = ClientRecord { seq: 1, time: 2, content: u128::MAX - 7 };
        assert_eq!(ClientRecord::open(&at, &record.seal(&at)).unwrap(), record);
        let at = StoreKey::Lease(NodeId(7)).encode();
        for (address, draining) in [("192.0.2.1:8802", false), ("[2001:db8::1]:8802", true)] {
            let (name, address) = ("n".repeat(NAME_BYTES_MAX).into(), address.parse().unwrap());
            let lease = Lease {
                node: NodeId(7),
                name,
                address,
                cores: 1,
                incarnation: u64::MAX,
                beat: 70_000,
                draining,
            };
            assert_eq!(Lease::open(&at, &lease.seal(&at)).unwrap(), lease);
            let unsound = Lease { cores: 0, ..lease };
            assert!(Lease::open(&at, &unsound.seal(&at)).is_err());
        }
        let at = StoreKey::Placement.encode();
        let table = Table::alone(3, Epoch(9));
        assert_eq!(open_table(&at, &seal_table(&at, &table)).unwrap(), table);
    }

    #[test]
    fn any_flipped_bit_any_cut_and_any_other_key_is_noticed() {
        let at = StoreKey::Head(key()).encode();
        let value = Head { seq: 300, lamport: 2, time: 3, members: 4, owners: 1, first: 1 }.seal(&at);
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::open(&at, &flipped).is_err(), "bit {bit}");
        }
        for end in 0..value.len() {
            assert!(Head::open(&at, &value[..end]).is_err(), "cut at {end}");
        }
        let damage = Head::open(&StoreKey::Meta(key()).encode(), &value).unwrap_err();
        assert_eq!(damage.0, "meta of conversation general: the checksum does not agree");
    }
}
