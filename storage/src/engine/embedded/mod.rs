//! The engine of one node: a write-ahead log of its own in front of an LSM tree.
//!
//! ```text
//! data/format   what this is, and which store      data/mark   the last group that was acknowledged
//! data/lock     one process at a time              data/log/   groups, synced before all else
//! data/tree/    sorted tables, behind the log
//!
//! commit ──► memtable ── sync ──► log (fsync) ──► mark ··► tables, in the background
//! ```
//!
//! All commits between two syncs are one *group*: one frame of the log, whole or not there. The tables have recovery
//! machinery of their own in some products, which drops what it can't read; here they are given nothing that the log does
//! not hold, until they hold it. At the start every byte of all files is checked, and what was acknowledged must be
//! there, or the engine is not opened: [`OpenError`] says which file, what is wrong, and what to do.

mod error;
mod format;
mod frame;
mod inspect;
mod log;
mod mark;
mod memtable;
mod rows;
mod tree;

use std::fs;
use std::path::Path;

use crate::kv::{EngineError, Found, Key, Read, Value, Write, take_pairs};

pub use error::{OpenError, Problem};
use format::{Lock, StoreId};
use log::{Expected, Log};
use mark::Mark;
use rows::Rows;
use tree::Tree;

const LOG: &str = "log";
const TREE: &str = "tree";
const MARK: &str = "mark";
/// What a store consists of beside its `format`.
const PARTS: &[&str] = &[LOG, TREE, MARK];

/// An operator's choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of both caches: one half holds rows that were asked for by key, the other the tables' blocks.
    pub cache_bytes: u64,
    /// Bytes of log behind which a segment ends; twice as much is in memory at most, before indexes.
    pub segment_bytes: u64,
    /// Bytes of tables that are checked at the start, the newest first. What lies beyond is checked where it is read.
    pub check_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, segment_bytes: 16 << 20, check_bytes_max: 8 << 30 }
    }
}

/// An open data directory.
#[derive(Debug)]
pub struct EmbeddedEngine {
    tree: Tree,
    log: Log,
    mark: Mark,
    /// Of what is durable.
    rows: Rows,
    segment_bytes: u64,
    /// Why it takes no commits any more.
    poisoned: Option<String>,
    /// Commits were taken back, and nobody was told yet.
    took_back: bool,
    /// Given up last.
    _lock: Lock,
}

impl EmbeddedEngine {
    /// Whether a data directory holds a store; opens and makes nothing.
    ///
    /// # Errors
    /// When it holds something else, or something damaged.
    pub fn is_there(directory: &Path) -> Result<bool, OpenError> {
        Ok(matches!(format::find(directory, PARTS)?, format::Found::Store(_)))
    }

    /// Opens a data directory, or makes one where there is none.
    ///
    /// # Errors
    /// When the directory is in use, damaged, lacks acknowledged data, or the system refuses. Nothing is repaired.
    pub fn open(directory: &Path, settings: Settings) -> Result<Self, OpenError> {
        fs::create_dir_all(directory).map_err(OpenError::system(directory))?;
        let lock = format::lock(directory)?;
        let id = match format::find(directory, PARTS)? {
            format::Found::Store(id) => id,
            format::Found::Nothing => Self::create(directory)?,
        };
        let acknowledged = mark::read(directory, id)?;
        let tree_path = directory.join(TREE);
        inspect::check(&tree_path, settings.check_bytes_max)?;
        let mut tree = Tree::open(&tree_path, id, settings.cache_bytes / 2)?;
        let log = Self::recover(&directory.join(LOG), id, acknowledged, &mut tree, settings)?;
        let mark = Mark::create(directory, id, log.last())?;
        let rows = Rows::new(settings.cache_bytes / 2);
        let segment_bytes = settings.segment_bytes;
        Ok(Self { tree, log, mark, rows, segment_bytes, poisoned: None, took_back: false, _lock: lock })
    }

    fn create(directory: &Path) -> Result<StoreId, OpenError> {
        let id = format::begin(directory, PARTS)?;
        Tree::open(&directory.join(TREE), id, 0)?;
        Log::create(&directory.join(LOG), id)?;
        Mark::create(directory, id, 0)?;
        format::finish(directory)?;
        Ok(id)
    }

    /// Opens the log, and gives the tree what its tables lack.
    fn recover(
        path: &Path,
        id: StoreId,
        acknowledged: u64,
        tree: &mut Tree,
        settings: Settings,
    ) -> Result<Log, OpenError> {
        let expected = Expected { in_tree: tree.in_tables(), acknowledged };
        let mut bytes = 0;
        Log::open(path, id, expected, |group, changes| {
            if bytes >= settings.segment_bytes {
                tree.seal(group - 1)
                    .map_err(|why| OpenError::new(path, Problem::System(std::io::Error::other(why))))?;
                bytes = 0;
            }
            bytes += changes.iter().map(|(key, value)| change_bytes(key, value.as_deref())).sum::<u64>();
            changes.iter().for_each(|(key, value)| tree.set(key, value.as_deref()));
            tree.keep();
            Ok(())
        })
    }

    fn check(&self) -> Result<(), EngineError> {
        self.poisoned.as_ref().map_or(Ok(()), |why| Err(EngineError::Poisoned(why.clone())))
    }

    /// Reads, in order, what has been committed.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] when a table can't be read.
    pub fn read(&mut self, reads: &[Read]) -> Result<Vec<Found>, EngineError> {
        let found: lsm_tree::Result<Vec<Found>> = reads.iter().map(|read| self.read_one(read)).collect();
        found.map_err(|error| {
            let why = format!("reading tables: {error}");
            self.poison(&why);
            EngineError::Poisoned(why)
        })
    }

    fn read_one(&mut self, read: &Read) -> lsm_tree::Result<Found> {
        match read {
            Read::Get { key, .. } => self.get(key).map(Found::Value),
            Read::Range { begin, end, .. } if begin >= end => {
                Ok(Found::Pairs { pairs: Vec::new(), more: false })
            }
            Read::Range { begin, end, limit, bytes_max, reverse } => {
                take_pairs(self.tree.range(begin, end, *reverse), *limit, *bytes_max)
            }
        }
    }

    fn get(&mut self, key: &Key) -> lsm_tree::Result<Option<Value>> {
        if let Some(value) = self.tree.get_recent(key) {
            return Ok(value.map(<[u8]>::to_vec));
        }
        if let Some(value) = self.rows.get(key) {
            return Ok(Some(value.clone()));
        }
        let found = self.tree.get_older(key)?;
        if let Some(value) = &found {
            self.rows.keep(key, value);
        }
        Ok(found)
    }

    /// Commits all of `writes`, or nothing.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] after a failure.
    pub fn commit(&mut self, writes: Vec<Write>) -> Result<(), EngineError> {
        if self.poisoned.is_none()
            && let Some(why) = self.tree.failure()
        {
            self.poison(&why);
        }
        self.check()?;
        for write in writes {
            match write {
                Write::Set(key, value) => self.tree.set(&key, Some(&value)),
                Write::Clear(key) => self.tree.set(&key, None),
                Write::ClearRange(begin, end) => self.clear_range(begin, end)?,
            }
        }
        Ok(())
    }

    /// Clears a range key by key; who asks keeps it short.
    fn clear_range(&mut self, begin: Vec<u8>, end: Vec<u8>) -> Result<(), EngineError> {
        let all = Read::Range { begin, end, limit: usize::MAX, bytes_max: usize::MAX, reverse: false };
        for found in self.read(&[all])? {
            if let Found::Pairs { pairs, .. } = found {
                pairs.iter().for_each(|(key, _)| self.tree.set(key, None));
            }
        }
        Ok(())
    }

    /// Makes all commits durable.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`]: none of the commits since the last sync is read any more; after a restart they may be
    /// there.
    pub fn sync(&mut self) -> Result<(), EngineError> {
        if std::mem::take(&mut self.took_back) {
            self.check()?;
        }
        if self.tree.is_kept() {
            return Ok(());
        }
        let written =
            self.log.append(self.tree.unkept()).and_then(|group| self.mark.raise(group).map(|()| group));
        let group = match written {
            Ok(group) => group,
            Err(error) => {
                self.poison(&format!("writing {}: {error}", self.log.active_path().display()));
                self.took_back = false;
                return self.check();
            }
        };
        self.tree.unkept().for_each(|(key, value)| self.rows.follow(key, value));
        self.tree.keep();
        if self.log.active_bytes() >= self.segment_bytes
            && let Err(why) = self.rotate(group)
        {
            // This group is durable: only what comes next is refused.
            self.poison(&why);
        }
        Ok(())
    }

    fn rotate(&mut self, group: u64) -> Result<(), String> {
        self.tree.seal(group)?;
        self.log.rotate().map_err(|error| error.to_string())?;
        self.tree.remove(self.log.trim(self.tree.in_tables()));
        Ok(())
    }

    /// Takes no commits any more; those since the last sync are taken back.
    pub fn poison(&mut self, why: &str) {
        self.poisoned.get_or_insert_with(|| why.to_owned());
        self.took_back |= !self.tree.is_kept();
        self.tree.take_back();
    }

    /// Makes all commits and the mark durable.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] when it was poisoned or is now.
    pub fn close(&mut self) -> Result<(), EngineError> {
        self.sync()?;
        self.check()?;
        self.mark.sync().map_err(|error| EngineError::Poisoned(format!("syncing the mark: {error}")))
    }
}

fn change_bytes(key: &[u8], value: Option<&[u8]>) -> u64 {
    (key.len() + value.map_or(0, <[u8]>::len)) as u64
}
