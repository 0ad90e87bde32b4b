//! Copies a whole store from one engine into another and proves the copy, while no server runs on either.
//!
//! ```text
//! note in the destination ─► copy, piece by piece, with the note ─► compare all, mend what differs ─► compare again
//!    ─► verify the destination ─► the note goes away
//! ```
//!
//! The note says how far it is. While it stands no server takes the destination for a store, and whoever migrates again
//! goes on where it stopped. Nothing of the source is changed here; whoever calls keeps servers away from it.
//!
//! What router nodes that share the source know of each other (the placement, their numbers and leases) is not copied: it
//! belongs to that cluster. The fences are, so that whoever takes the copy over gets an epoch above all of the source's.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;

use crate::damage::Damage;
use crate::engine::Engine;
use crate::key;
use crate::kv::{EngineError, Key, Value, Write};
use crate::verify::{self, Fault, Report};

/// Where the note is: behind the layout's end, so that no walk over a store meets it.
pub const KEY: &[u8] = b"\xfemigration";

/// What is to be said of a store with such a note.
pub const UNFINISHED: &str =
    "a migration into this store has begun and not ended: run the same `murmuring migrate` again, it goes on";

/// Pairs of one piece.
const PIECE: usize = 1_000;
/// Bytes of keys and values of one piece; with one more of the largest values it stays below a commit's bound.
const PIECE_BYTES_MAX: usize = 512 * 1024;
/// Pieces between two syncs.
const SYNC_PIECES: u64 = 64;

/// How far a migration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub stage: Stage,
    /// Keys of this stage so far.
    pub keys: u64,
    /// Bytes of keys and values of this stage so far.
    pub bytes: u64,
}

/// What a migration does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// From the source into the destination.
    #[default]
    Copy,
    /// Reads both side by side.
    Compare,
    /// Proves the destination as `verify` does.
    Verify,
}

/// Why a migration did not end.
#[derive(Debug)]
pub enum MigrateError {
    /// The destination holds a store already.
    Occupied,
    /// The destination is no place for a store, in words.
    Unfit(String),
    /// The source can't be read.
    Source(EngineError),
    /// The destination can't be read or written.
    Destination(EngineError),
    /// They still differ after all was copied: somebody writes to one of them. The first such key.
    Differs(Key),
    /// The copy is as the source, but it is not whole.
    Damaged(Damage),
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Occupied => f.write_str("the destination holds a store already; nothing was changed"),
            Self::Unfit(why) => write!(f, "the destination: {why}"),
            Self::Source(error) => write!(f, "the source can't be read: {error}; run it again, it goes on"),
            Self::Destination(error) => {
                write!(f, "the destination does not take it: {error}; run it again, it goes on")
            }
            Self::Differs(key) => write!(
                f,
                "source and destination differ at {} after everything was copied: is a server running on one of them?",
                key.escape_ascii()
            ),
            Self::Damaged(damage) => write!(f, "the copy is as the source is, and not whole: {damage}"),
        }
    }
}

impl std::error::Error for MigrateError {}

/// Whether a migration into this store has begun and not ended: then no server may use it.
///
/// # Errors
/// When the store can't be read.
pub fn is_unfinished(engine: &mut Engine) -> Result<bool, EngineError> {
    Ok(note(engine)?.is_some())
}

/// The key up to which all was copied; `None`: no migration is under way.
fn note(engine: &mut Engine) -> Result<Option<Key>, EngineError> {
    engine.get(KEY.to_vec())
}

/// A migration that has begun: its note is in the destination.
#[derive(Debug)]
pub struct Migration {
    /// Behind the last key that is copied.
    copied: Key,
}

impl Migration {
    /// Makes sure that the destination is empty, or that of an interrupted migration, and puts the note there.
    ///
    /// # Errors
    /// [`MigrateError::Occupied`] and [`MigrateError::Unfit`], and nothing was changed; or it can't be read or written.
    pub fn begin(destination: &mut Engine) -> Result<Self, MigrateError> {
        Ok(Self { copied: prepare(destination)? })
    }

    /// Copies everything and proves it. `told` hears how far it is, once a piece.
    ///
    /// # Errors
    /// [`MigrateError`]; after most of them a migration that is begun again goes on where this one stopped.
    pub fn run(
        self,
        source: &mut Engine,
        destination: &mut Engine,
        told: &mut impl FnMut(Progress),
    ) -> Result<Report, MigrateError> {
        migrate(source, destination, self.copied, told)
    }
}

fn migrate(
    source: &mut Engine,
    destination: &mut Engine,
    copied: Key,
    told: &mut impl FnMut(Progress),
) -> Result<Report, MigrateError> {
    copy(source, destination, copied, told)?;
    let mended = compare(source, destination, told, |destination, writes| {
        destination.commit(writes).map_err(MigrateError::Destination)
    })?;
    if mended > 0 {
        destination.sync().map_err(MigrateError::Destination)?;
        compare(source, destination, told, |_, writes| Err(MigrateError::Differs(changed_key(&writes))))?;
    }
    told(Progress { stage: Stage::Verify, keys: 0, bytes: 0 });
    let report = verify::verify(destination).map_err(|fault| match fault {
        Fault::Engine(error) => MigrateError::Destination(error),
        Fault::Damage(damage) => MigrateError::Damaged(damage),
    })?;
    let ended = destination.commit(vec![Write::Clear(KEY.to_vec())]).and_then(|()| destination.sync());
    ended.map_err(MigrateError::Destination)?;
    Ok(report)
}

/// Makes sure that the destination is empty or ours, notes that a migration is under way, and says where it goes on.
fn prepare(destination: &mut Engine) -> Result<Key, MigrateError> {
    if let Some(copied) = note(destination).map_err(MigrateError::Destination)? {
        return Ok(copied);
    }
    #[cfg(feature = "foundationdb")]
    if let Engine::Foundationdb(engine) = destination {
        engine.check_format().map_err(|error| MigrateError::Unfit(error.to_string()))?;
    }
    let mut walk = Walk::from(Key::new());
    if walk.next(destination).map_err(MigrateError::Destination)?.is_some() {
        return Err(MigrateError::Occupied);
    }
    let begun = destination.commit(vec![Write::Set(KEY.to_vec(), Value::new())]);
    begun.and_then(|()| destination.sync()).map_err(MigrateError::Destination)?;
    Ok(Key::new())
}

fn copy(
    source: &mut Engine,
    destination: &mut Engine,
    mut begin: Key,
    told: &mut impl FnMut(Progress),
) -> Result<(), MigrateError> {
    let mut progress = Progress { stage: Stage::Copy, ..Progress::default() };
    for pieces in 1.. {
        let (pairs, more) = source.walk(begin, PIECE, PIECE_BYTES_MAX).map_err(MigrateError::Source)?;
        begin = pairs.last().map_or_else(Key::new, |(last, _)| key::behind(last.clone()));
        let ended = !more;
        let mut writes = Vec::with_capacity(pairs.len() + 1);
        for (key, value) in pairs.into_iter().filter(|(key, _)| is_copied(key)) {
            progress.keys += 1;
            progress.bytes += (key.len() + value.len()) as u64;
            writes.push(Write::Set(key, value));
        }
        if !writes.is_empty() {
            writes.push(Write::Set(KEY.to_vec(), begin.clone()));
            destination.commit(writes).map_err(MigrateError::Destination)?;
        }
        if ended || pieces % SYNC_PIECES == 0 {
            destination.sync().map_err(MigrateError::Destination)?;
        }
        told(progress);
        if ended {
            break;
        }
    }
    Ok(())
}

/// Reads both side by side and hands what differs, as writes that would mend it, to `mend`; says how many keys differed.
fn compare(
    source: &mut Engine,
    destination: &mut Engine,
    told: &mut impl FnMut(Progress),
    mut mend: impl FnMut(&mut Engine, Vec<Write>) -> Result<(), MigrateError>,
) -> Result<u64, MigrateError> {
    let mut progress = Progress { stage: Stage::Compare, ..Progress::default() };
    let (mut here, mut there) = (Walk::of_copied(), Walk::from(Key::new()));
    let mut differing = 0;
    let (mut one, mut other) = (
        here.next(source).map_err(MigrateError::Source)?,
        there.next(destination).map_err(MigrateError::Destination)?,
    );
    loop {
        let order = match (&one, &other) {
            (None, None) => return Ok(differing),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let write = match (order, &one, &other) {
            (Ordering::Equal, Some((_, wanted)), Some((_, found))) if wanted == found => None,
            (Ordering::Greater, _, Some((key, _))) => Some(Write::Clear(key.clone())),
            (_, Some((key, value)), _) => Some(Write::Set(key.clone(), value.clone())),
            _ => unreachable!("an order is one of two keys or of what is there alone"),
        };
        if let Some(write) = write {
            differing += 1;
            mend(destination, vec![write])?;
        }
        if let Some((key, value)) = one.as_ref().filter(|_| order != Ordering::Greater) {
            progress.keys += 1;
            progress.bytes += (key.len() + value.len()) as u64;
            if progress.keys.is_multiple_of(PIECE as u64) {
                told(progress);
            }
            one = here.next(source).map_err(MigrateError::Source)?;
        }
        if order != Ordering::Less {
            other = there.next(destination).map_err(MigrateError::Destination)?;
        }
    }
}

fn changed_key(writes: &[Write]) -> Key {
    match writes.first() {
        Some(Write::Set(key, _) | Write::Clear(key) | Write::ClearRange(key, _)) => key.clone(),
        None => Key::new(),
    }
}

/// Whether a key goes to the destination: all but those of a cluster of router nodes.
fn is_copied(key: &Key) -> bool {
    let (begin, end) = key::cluster();
    *key < begin || *key >= end
}

/// All pairs of a store in order, read ahead by one piece.
struct Walk {
    begin: Option<Key>,
    pairs: VecDeque<(Key, Value)>,
    /// Leaves out what does not go to the destination.
    copied: bool,
}

impl Walk {
    const fn from(begin: Key) -> Self {
        Self { begin: Some(begin), pairs: VecDeque::new(), copied: false }
    }

    const fn of_copied() -> Self {
        Self { begin: Some(Key::new()), pairs: VecDeque::new(), copied: true }
    }

    fn next(&mut self, engine: &mut Engine) -> Result<Option<(Key, Value)>, EngineError> {
        while self.pairs.is_empty()
            && let Some(begin) = self.begin.take()
        {
            let (pairs, more) = engine.walk(begin, PIECE, PIECE_BYTES_MAX)?;
            self.begin = pairs.last().filter(|_| more).map(|(last, _)| key::behind(last.clone()));
            self.pairs = pairs.into_iter().filter(|(key, _)| !self.copied || is_copied(key)).collect();
        }
        Ok(self.pairs.pop_front())
    }
}
