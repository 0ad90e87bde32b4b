//! The sorted tables: an LSM tree (the `lsm-tree` crate, fjall's) that holds what the log has made durable, and its two
//! threads: one writes memtables out, the other compacts tables, so that nobody waits for a compaction.
//!
//! The tree is never ahead of the log: a group is applied after its sync. A memtable ends where a segment of the log
//! ends, and each group writes its number under a key of the engine's own, so a reopened tree says by itself up to
//! which group its tables reach; the log has the rest. The check of its files is `inspect.rs`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, AnyTree, Cache, Config, Guard, SequenceNumberCounter};
use xxhash_rust::xxh3::xxh3_64;

use super::error::{OpenError, Problem};
use super::format::StoreId;
use super::frame::Change;
use crate::fault::contain;
use crate::kv::{Key, Value};

/// Where the number of the last group is: behind every key of the store's layout.
const GROUP_KEY: &[u8] = b"\xffgroup";
/// Compactions in a row behind one memtable.
const COMPACTIONS_MAX: usize = 16;
/// Memtables written out that no compaction has taken yet, before new ones are held up: each makes reads slower.
const UNCOMPACTED_MAX: usize = 20;
/// How long a new memtable is held up at most, so that compaction gains on it.
const HOLD_UP_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(crate::key::END[0] < GROUP_KEY[0], "the engine's own key lies behind the store's");

/// An open tree.
pub(super) struct Tree {
    tree: AnyTree,
    path: PathBuf,
    id: StoreId,
    seqno: SequenceNumberCounter,
    visible: SequenceNumberCounter,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the tree and its thread tell each other.
struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
    /// Reads are at this or a later number: older versions of a key may go.
    read_from: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// Last group of the memtables that wait to be written out.
    sealed: u64,
    /// Last group of the tables.
    in_tables: u64,
    /// Memtables were written out since the last compaction began.
    uncompacted: bool,
    failed: Option<String>,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        // A thread that failed while it held the lock left whole values: they are plain.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready`; `None` when the tree is dropped before.
    fn wait_until(&self, ready: impl Fn(&Progress) -> bool) -> Option<MutexGuard<'_, Progress>> {
        let waits = |progress: &mut Progress| !progress.stop && !ready(progress);
        let waited = self.changed.wait_while(self.lock(), waits);
        Some(waited.unwrap_or_else(PoisonError::into_inner)).filter(|progress| !progress.stop)
    }
}

fn group_value(id: StoreId, group: u64) -> Vec<u8> {
    let mut value = [group.to_le_bytes(), id.0.to_le_bytes()].concat();
    let check = xxh3_64(&value);
    value.extend_from_slice(&check.to_le_bytes());
    value
}

fn damaged(path: &Path, error: &lsm_tree::Error) -> OpenError {
    match error {
        lsm_tree::Error::Io(error) => {
            OpenError::new(path, Problem::System(std::io::Error::new(error.kind(), error.to_string())))
        }
        other => OpenError::damaged(path, other.to_string()),
    }
}

impl Tree {
    /// Opens the tree, or makes an empty one. Its threads run from here on.
    pub(super) fn open(path: &Path, id: StoreId, cache_bytes: u64) -> Result<Self, OpenError> {
        let (seqno, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let tree = Config::new(path, seqno.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(cache_bytes)))
            .open()
            .map_err(|error| damaged(path, &error))?;
        let first_free = tree.get_highest_persisted_seqno().map_or(1, |seqno| seqno + 1);
        seqno.fetch_max(first_free);
        visible.fetch_max(first_free);
        let read_from = AtomicU64::new(visible.get());
        let shared = Shared { progress: Mutex::default(), changed: Condvar::new(), read_from };
        let shared = Arc::new(shared);
        let mut tree = Self { tree, path: path.to_owned(), id, seqno, visible, shared, threads: Vec::new() };
        let in_tables = tree.stored_group()?;
        *tree.shared.lock() = Progress { sealed: in_tables, in_tables, ..Progress::default() };
        for (name, work) in [("store-tables", write_out as Work), ("store-compact", compact as Work)] {
            let thread = tree.start(name, work)?;
            tree.threads.push(thread);
        }
        Ok(tree)
    }

    fn start(&self, name: &str, work: Work) -> Result<JoinHandle<()>, OpenError> {
        let (tree, shared) = (self.tree.clone(), Arc::clone(&self.shared));
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(move || go_on(&tree, &shared, work)).map_err(OpenError::system(&self.path))
    }

    /// The group that the tables end with; 0 for an empty tree.
    fn stored_group(&self) -> Result<u64, OpenError> {
        let found =
            self.tree.get(GROUP_KEY, self.visible.get()).map_err(|error| damaged(&self.path, &error))?;
        let Some(found) = found else {
            return match self.tree.table_count() {
                0 => Ok(0),
                _ => Err(OpenError::lost(&self.path, "its tables do not say up to which group they reach")),
            };
        };
        let group = found.first_chunk().map_or(0, |group| u64::from_le_bytes(*group));
        if *found == *group_value(self.id, group) {
            return Ok(group);
        }
        Err(OpenError::damaged(&self.path, "the number of its last group is not what this store wrote"))
    }

    /// Up to which group the tables reach.
    pub(super) fn in_tables(&self) -> u64 {
        self.shared.lock().in_tables
    }

    /// Why its threads could not go on.
    pub(super) fn failure(&self) -> Option<String> {
        self.shared.lock().failed.clone()
    }

    /// Makes a durable group visible.
    pub(super) fn apply(&self, group: u64, changes: impl Iterator<Item = Change>) {
        let seqno = self.seqno.next();
        for (key, value) in changes {
            match value {
                Some(value) => self.tree.insert(key, value, seqno),
                None => self.tree.remove(key, seqno),
            };
        }
        self.tree.insert(GROUP_KEY, group_value(self.id, group), seqno);
        self.visible.fetch_max(seqno + 1);
        self.shared.read_from.store(self.visible.get(), Ordering::Release);
    }

    /// Ends the memtable behind `group`, to be written out. Waits while the one before is not written yet, so that two are
    /// in memory at most, and a little while compaction is far behind.
    ///
    /// # Errors
    /// When a thread can't go on: a full disk.
    pub(super) fn seal(&self, group: u64) -> Result<(), String> {
        let waits =
            |progress: &mut Progress| progress.in_tables < progress.sealed && progress.failed.is_none();
        let waited = self.shared.changed.wait_while(self.shared.lock(), waits);
        let progress = waited.unwrap_or_else(PoisonError::into_inner);
        let behind =
            |progress: &mut Progress| self.tree.l0_run_count() > UNCOMPACTED_MAX && progress.failed.is_none();
        let waited = self.shared.changed.wait_timeout_while(progress, HOLD_UP_MAX, behind);
        let (mut progress, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &progress.failed {
            return Err(why.clone());
        }
        self.tree.rotate_memtable();
        progress.sealed = group;
        self.shared.changed.notify_all();
        Ok(())
    }

    pub(super) fn get(&self, key: &[u8]) -> lsm_tree::Result<Option<Value>> {
        Ok(self.tree.get(key, self.visible.get())?.map(|value| value.to_vec()))
    }

    /// The pairs of `begin..end`, in order, or from the end downwards.
    pub(super) fn range(
        &self,
        begin: &[u8],
        end: &[u8],
        reverse: bool,
    ) -> Box<dyn Iterator<Item = lsm_tree::Result<(Key, Value)>>> {
        let range = self.tree.range::<&[u8], _>(begin..end, self.visible.get(), None);
        let pair = |guard: lsm_tree::IterGuardImpl| {
            guard.into_inner().map(|(key, value)| (key.to_vec(), value.to_vec()))
        };
        if reverse { Box::new(range.rev().map(pair)) } else { Box::new(range.map(pair)) }
    }
}

/// One turn of a thread's work; false when the tree is dropped.
type Work = fn(&AnyTree, &Shared) -> lsm_tree::Result<bool>;

/// Works until the tree is dropped or something fails.
fn go_on(tree: &AnyTree, shared: &Shared, work: Work) {
    loop {
        // The tree asserts on some failures of the disk instead of returning them.
        let failed = match contain(|| work(tree, shared)) {
            Some(Ok(true)) => continue,
            Some(Ok(false)) => return,
            Some(Err(error)) => format!("writing tables: {error}"),
            None => "writing tables failed: see the message of the panic".to_owned(),
        };
        shared.lock().failed = Some(failed);
        shared.changed.notify_all();
        return;
    }
}

/// Writes the memtables out that have ended.
fn write_out(tree: &AnyTree, shared: &Shared) -> lsm_tree::Result<bool> {
    let Some(progress) = shared.wait_until(|progress| progress.in_tables < progress.sealed) else {
        return Ok(false);
    };
    let group = progress.sealed;
    drop(progress);
    let flush_lock = tree.get_flush_lock();
    tree.flush(&flush_lock, shared.read_from.load(Ordering::Acquire))?;
    drop(flush_lock);
    let mut progress = shared.lock();
    progress.in_tables = group;
    progress.uncompacted = true;
    shared.changed.notify_all();
    Ok(true)
}

/// Compacts until there is nothing to do.
fn compact(tree: &AnyTree, shared: &Shared) -> lsm_tree::Result<bool> {
    let Some(mut progress) = shared.wait_until(|progress| progress.uncompacted) else {
        return Ok(false);
    };
    progress.uncompacted = false;
    drop(progress);
    for _ in 0..COMPACTIONS_MAX {
        let before = tree.disk_space();
        let tables = tree.table_count();
        tree.compact(Arc::new(Leveled::default()), shared.read_from.load(Ordering::Acquire))?;
        shared.changed.notify_all();
        if shared.lock().stop || (tree.disk_space(), tree.table_count()) == (before, tables) {
            break;
        }
    }
    Ok(true)
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // Each answers for its own failures: nothing is left to say.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("path", &self.path).field("progress", &*self.shared.lock()).finish()
    }
}
