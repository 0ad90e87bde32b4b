//! Reads the whole store, in the order of its keys, and proves what the transactions promise: every checksum, dense
//! logs, ascending times and stamps, heads that agree, one client id an event and one event a client id, both sides of
//! every membership, cursors of members within the log, the time index, the marks of deletions, and that the placement
//! agrees with the fences.
//!
//! Memory is bounded by one conversation's index: 16 bytes an entry. Nothing is mended here.

mod conversation;
mod placement;

use std::fmt;

use protocol::id::{ConversationKey, UserKey};

use crate::damage::Damage;
use crate::engine::Engine;
use crate::key::{self, StoreKey};
use crate::kv::{EngineError, Key, Value};
use crate::value::{self, Head};

use conversation::Walk;

/// Pairs read at once.
const PIECE: usize = 1_000;
/// Bytes read at once.
const PIECE_BYTES_MAX: usize = 4 << 20;

/// What a whole store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Conversations, without those that are being removed.
    pub conversations: u64,
    /// Removals that have not ended.
    pub removals: u64,
    /// Events of all logs.
    pub events: u64,
    /// Memberships.
    pub members: u64,
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// Why a store is not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first thing that does not agree.
    Damage(Damage),
    /// The engine could not read on.
    Engine(EngineError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damage(damage) => write!(f, "{damage}"),
            Self::Engine(EngineError::Poisoned(why)) => f.write_str(why),
            Self::Engine(error) => write!(f, "the store can't be read: {error:?}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// A fault of a key, in words.
fn fault<T>(key: &StoreKey, what: impl fmt::Display) -> Result<T, Fault> {
    Err(Damage(format!("{key}: {what}")).into())
}

/// Single keys, looked up beside the walk.
struct Lookup<'a> {
    engine: &'a mut Engine,
}

impl Lookup<'_> {
    fn get(&mut self, key: &StoreKey) -> Result<Option<Value>, Fault> {
        Ok(self.engine.get(key.encode())?)
    }

    /// Opens a key's value, if there is one.
    fn open<T>(
        &mut self,
        key: &StoreKey,
        open: impl FnOnce(&[u8], &[u8]) -> Result<T, Damage>,
    ) -> Result<Option<T>, Fault> {
        let value = self.get(key)?;
        Ok(value.map(|value| open(&key.encode(), &value)).transpose()?)
    }
}

/// Proves the whole store, or names its first fault.
///
/// # Errors
/// The first fault, in the order of the keys.
pub fn verify(engine: &mut Engine) -> Result<Report, Fault> {
    let mut report = Report::default();
    let mut walk = None;
    let mut begin = Key::new();
    loop {
        let (pairs, more) = engine.walk(begin, PIECE, PIECE_BYTES_MAX)?;
        for (key, value) in &pairs {
            report.keys += 1;
            report.bytes += (key.len() + value.len()) as u64;
            let mut lookup = Lookup { engine };
            visit(&mut lookup, &mut walk, &mut report, StoreKey::decode(key)?, key, value)?;
        }
        match pairs.into_iter().next_back() {
            Some((last, _)) if more => begin = key::behind(last),
            _ => break,
        }
    }
    leave(&mut walk, &mut report)?;
    Ok(report)
}

/// The conversation that a key is part of.
fn conversation_of(key: &StoreKey) -> Option<ConversationKey> {
    match key {
        StoreKey::Meta(of)
        | StoreKey::Head(of)
        | StoreKey::Event(of, _)
        | StoreKey::Client(of, ..)
        | StoreKey::Member(of, _)
        | StoreKey::Received(of, ..)
        | StoreKey::Time(of, ..)
        | StoreKey::Deleted(of, _) => Some(*of),
        StoreKey::Fence(_)
        | StoreKey::PlacementEpoch
        | StoreKey::Placement
        | StoreKey::LastNode
        | StoreKey::Lease(_)
        | StoreKey::Removal(_)
        | StoreKey::Membership(..)
        | StoreKey::Read(..)
        | StoreKey::Seen(_) => None,
    }
}

fn leave(walk: &mut Option<Walk>, report: &mut Report) -> Result<(), Fault> {
    walk.take().map_or(Ok(()), |walk| walk.end(report))
}

fn visit(
    lookup: &mut Lookup<'_>,
    walk: &mut Option<Walk>,
    report: &mut Report,
    key: StoreKey,
    bytes: &[u8],
    value: &[u8],
) -> Result<(), Fault> {
    if let Some(of) = conversation_of(&key) {
        if walk.as_ref().is_none_or(|walk| *walk.of() != of) {
            leave(walk, report)?;
        }
        return walk.get_or_insert_with(|| Walk::new(of)).visit(lookup, key, bytes, value);
    }
    leave(walk, report)?;
    match key {
        StoreKey::Fence(_) => Ok(value::open_epoch(bytes, Some(value)).map(|_| ())?),
        StoreKey::PlacementEpoch | StoreKey::Placement | StoreKey::LastNode | StoreKey::Lease(_) => {
            placement::visit(lookup, &key, bytes, value)
        }
        StoreKey::Removal(of) => {
            value::open_nothing(bytes, value)?;
            report.removals += 1;
            match lookup.open(&StoreKey::Meta(of), value::Meta::open)? {
                Some(value::Meta::Removed) => Ok(()),
                _ => fault(&key, "there is a note of it, but the conversation is not being removed"),
            }
        }
        StoreKey::Membership(user, of) => {
            report.members += 1;
            let role = value::open_role(bytes, value)?;
            let conversation = ConversationKey { tenant: user.tenant, conversation: of };
            let member = StoreKey::Member(conversation, user.user);
            match lookup.open(&member, value::open_role)? {
                Some(other) if other == role => Ok(()),
                Some(other) => fault(&key, format_args!("role {role:?} here, {other:?} in the conversation")),
                None => fault(&key, "the conversation does not know of it"),
            }
        }
        StoreKey::Read(user, of) => {
            let seq = value::open_number(bytes, value)?;
            let conversation = ConversationKey { tenant: user.tenant, conversation: of };
            check_cursor(lookup, &key, conversation, user, seq)
        }
        StoreKey::Seen(_) => Ok(value::open_number(bytes, value).map(|_| ())?),
        other => unreachable!("{other} is part of a conversation"),
    }
}

/// A read cursor is a member's, and not past the head, which a removal may have taken already.
fn check_cursor(
    lookup: &mut Lookup<'_>,
    key: &StoreKey,
    conversation: ConversationKey,
    user: UserKey,
    seq: u64,
) -> Result<(), Fault> {
    if lookup.get(&StoreKey::Member(conversation, user.user))?.is_none() {
        return fault(key, "its user is no member");
    }
    let head = lookup.open(&StoreKey::Head(conversation), Head::open)?;
    match head {
        Some(head) if seq > head.seq => {
            fault(key, format_args!("it says {seq}, the log ends with {}", head.seq))
        }
        _ => Ok(()),
    }
}
