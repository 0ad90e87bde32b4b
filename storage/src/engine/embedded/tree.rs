//! The sorted tables: an LSM tree (the `lsm-tree` crate, fjall's) under the memtables (`memtable.rs`), and its two threads:
//! one writes memtables out, the other compacts tables, so that nobody waits for a compaction.
//!
//! The tables are never ahead of the log: only what was synced is written out. A memtable ends where a segment of the log
//! ends, and the number of its last group is written with it under a key of the engine's own, so a reopened tree says by
//! itself up to which group its tables reach; the log has the rest. The check of its files is `inspect.rs`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lsm_tree::compaction::Leveled;
use lsm_tree::config::PartitioningPolicy;
use lsm_tree::{
    AbstractTree, AnyTree, Cache, Config, Guard, InternalValue, SeqNo, SequenceNumberCounter, ValueType,
};
use xxhash_rust::xxh3::xxh3_64;

use super::error::{OpenError, Problem};
use super::format::StoreId;
use super::memtable::{Memtable, Pairs};
use crate::fault::contain;
use crate::kv::Value;

/// Where the number of the last group is: behind every key of the store's layout.
const GROUP_KEY: &[u8] = b"\xffgroup";
/// Memtables written out before they are compacted into the level below, which is rewritten with them.
const FIRST_LEVEL_TABLES: u8 = 8;
/// Bytes of a compacted table. The level below the first has room for [`FIRST_LEVEL_TABLES`] of these, each one below for ten
/// times as much; it is rewritten in full each time, so it is no larger than what comes into it.
const TABLE_BYTES: u64 = 8 << 20;
/// Compactions in a row behind one memtable.
const COMPACTIONS_MAX: usize = 16;
/// Memtables written out that no compaction has taken yet, before new ones are held up: each makes reads slower.
const UNCOMPACTED_MAX: usize = 20;
/// Niceness of the tree's threads (setpriority(2)): a tenth of the CPU time that a commit's threads get beside them. Writing
/// a memtable out takes a tenth of a second of a CPU, for which acks would wait.
const NICE: i32 = 10;
/// Reads see whatever is in the tables: the newest change of each key.
const NEWEST: SeqNo = SeqNo::MAX;
/// How long a new memtable is held up at most, so that compaction gains on it.
const HOLD_UP_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(crate::key::END[0] < GROUP_KEY[0], "the engine's own key lies behind the store's");

/// An open tree.
pub(super) struct Tree {
    tree: AnyTree,
    path: PathBuf,
    /// Above all else.
    active: Memtable,
    /// The one before, until the tables hold it, and its last group.
    sealed: Option<(Arc<Memtable>, u64)>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the tree and its thread tell each other.
struct Shared {
    id: StoreId,
    progress: Mutex<Progress>,
    changed: Condvar,
    /// Last group of the tables.
    in_tables: AtomicU64,
    seqno: SequenceNumberCounter,
    visible: SequenceNumberCounter,
}

#[derive(Debug, Default)]
struct Progress {
    /// Last group that was sealed.
    sealed: u64,
    /// What is to be written out.
    memtable: Option<Arc<Memtable>>,
    /// A memtable that nobody reads any more: freeing one takes longer than a commit may.
    released: Option<Arc<Memtable>>,
    /// Files that nobody needs any more: removing one takes longer than a commit may.
    unneeded: Vec<PathBuf>,
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
            .filter_block_partitioning_policy(below_first_level())
            .index_block_partitioning_policy(below_first_level())
            .open()
            .map_err(|error| damaged(path, &error))?;
        let first_free = tree.get_highest_persisted_seqno().map_or(1, |seqno| seqno + 1);
        seqno.fetch_max(first_free);
        visible.fetch_max(first_free);
        let in_tables = stored_group(&tree, path, id)?;
        let progress = Mutex::new(Progress { sealed: in_tables, ..Progress::default() });
        let (changed, in_tables) = (Condvar::new(), AtomicU64::new(in_tables));
        let shared = Arc::new(Shared { id, progress, changed, in_tables, seqno, visible });
        let (path, active) = (path.to_owned(), Memtable::default());
        let mut tree = Self { tree, path, active, sealed: None, shared, threads: Vec::new() };
        for (name, work) in [("store-tables", write_out as Work), ("store-compact", compact as Work)] {
            let thread = tree.start(name, work)?;
            tree.threads.push(thread);
        }
        Ok(tree)
    }

    fn start(&self, name: &str, work: Work) -> Result<JoinHandle<()>, OpenError> {
        let (tree, shared) = (self.tree.clone(), Arc::clone(&self.shared));
        let thread = thread::Builder::new().name(name.to_owned());
        let work = move || {
            step_back();
            go_on(&tree, &shared, work);
        };
        thread.spawn(work).map_err(OpenError::system(&self.path))
    }

    /// Up to which group the tables reach.
    pub(super) fn in_tables(&self) -> u64 {
        self.shared.in_tables.load(Ordering::Acquire)
    }

    /// Why its threads could not go on.
    pub(super) fn failure(&self) -> Option<String> {
        self.shared.lock().failed.clone()
    }

    /// Makes a change, not durable yet.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.active.set(key, value);
    }

    /// True when all changes are durable.
    pub(super) fn is_kept(&self) -> bool {
        self.active.is_kept()
    }

    /// The changes that are not durable, in their order.
    pub(super) fn unkept(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.active.unkept()
    }

    /// All changes are durable now.
    pub(super) fn keep(&mut self) {
        self.active.keep();
        self.release();
    }

    /// Takes back what is not durable.
    pub(super) fn take_back(&mut self) {
        self.active.take_back();
    }

    /// Lets go of the sealed memtable when the tables hold it.
    fn release(&mut self) {
        if self.sealed.as_ref().is_some_and(|(_, group)| *group <= self.in_tables())
            && let Some((memtable, _)) = self.sealed.take()
        {
            self.shared.lock().released = Some(memtable);
            self.shared.changed.notify_all();
        }
    }

    /// Has files removed, in their order, soon.
    pub(super) fn remove(&self, files: Vec<PathBuf>) {
        self.shared.lock().unneeded.extend(files);
        self.shared.changed.notify_all();
    }

    /// Ends the memtable behind `group`, which is durable, to be written out. Waits while the one before is not written yet, so that two are
    /// in memory at most, and a little while compaction is far behind.
    ///
    /// # Errors
    /// When a thread can't go on: a full disk.
    pub(super) fn seal(&mut self, group: u64) -> Result<(), String> {
        self.active.seal();
        let waits = |progress: &mut Progress| self.in_tables() < progress.sealed && progress.failed.is_none();
        let waited = self.shared.changed.wait_while(self.shared.lock(), waits);
        let progress = waited.unwrap_or_else(PoisonError::into_inner);
        let behind =
            |progress: &mut Progress| self.tree.l0_run_count() > UNCOMPACTED_MAX && progress.failed.is_none();
        let waited = self.shared.changed.wait_timeout_while(progress, HOLD_UP_MAX, behind);
        let (mut progress, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &progress.failed {
            return Err(why.clone());
        }
        let next = Memtable::after(&self.active);
        let memtable = Arc::new(std::mem::replace(&mut self.active, next));
        progress.released = self.sealed.replace((Arc::clone(&memtable), group)).map(|(written, _)| written);
        progress.memtable = Some(memtable);
        progress.sealed = group;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// What a key holds above the tables; `None`: nothing that is known here.
    pub(super) fn get_recent(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let sealed = self.sealed.as_ref();
        self.active.get(key).or_else(|| sealed.and_then(|(memtable, _)| memtable.get(key)))
    }

    /// What a key holds in the tables.
    pub(super) fn get_older(&self, key: &[u8]) -> lsm_tree::Result<Option<Value>> {
        Ok(self.tree.get(key, NEWEST)?.map(|value| value.to_vec()))
    }

    /// The pairs of `begin..end`, in order, or from the end downwards.
    pub(super) fn range<'a>(
        &'a mut self,
        begin: &[u8],
        end: &[u8],
        reverse: bool,
    ) -> Pairs<'a, lsm_tree::Error> {
        let range = self.tree.range::<&[u8], _>(begin..end, NEWEST, None);
        let pair = |guard: lsm_tree::IterGuardImpl| {
            guard.into_inner().map(|(key, value)| (key.to_vec(), value.to_vec()))
        };
        let tables: Pairs<'a, _> =
            if reverse { Box::new(range.rev().map(pair)) } else { Box::new(range.map(pair)) };
        let older = match &self.sealed {
            Some((memtable, _)) => memtable.sealed_over(begin, end, reverse, tables),
            None => tables,
        };
        self.active.over(begin, end, reverse, older)
    }
}

/// What a memtable was written to keeps its filter and its index in memory whole. A compacted table's are hundreds of
/// kilobytes, more than a shard of the cache takes: whole, they would be read for every key, so they are in parts of a block.
fn below_first_level() -> PartitioningPolicy {
    PartitioningPolicy::new([false, true])
}

/// The group that the tables end with; 0 for an empty tree.
fn stored_group(tree: &AnyTree, path: &Path, id: StoreId) -> Result<u64, OpenError> {
    let found = tree.get(GROUP_KEY, NEWEST).map_err(|error| damaged(path, &error))?;
    let Some(found) = found else {
        return match tree.table_count() {
            0 => Ok(0),
            _ => Err(OpenError::lost(path, "its tables do not say up to which group they reach")),
        };
    };
    let group = found.first_chunk().map_or(0, |group| u64::from_le_bytes(*group));
    if *found == *group_value(id, group) {
        return Ok(group);
    }
    Err(OpenError::damaged(path, "the number of its last group is not what this store wrote"))
}

/// One turn of a thread's work; false when the tree is dropped.
type Work = fn(&AnyTree, &Shared) -> lsm_tree::Result<bool>;

/// Lets every thread of ours that has something to do run before this one. Who waits for it has nothing to do, so it goes on
/// at full speed when it is needed.
fn step_back() {
    use rustix::process::{getpriority_process, setpriority_process};
    // Of the calling thread, on Linux (setpriority(2), NOTES). A host that refuses has its reasons.
    if getpriority_process(None).is_ok_and(|nice| nice < NICE) {
        let _ = setpriority_process(None, NICE);
    }
}

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

/// Writes the memtable out that has ended, and frees what others have no time to free.
fn write_out(tree: &AnyTree, shared: &Shared) -> lsm_tree::Result<bool> {
    let ready = |progress: &Progress| {
        progress.memtable.is_some() || progress.released.is_some() || !progress.unneeded.is_empty()
    };
    let Some(mut progress) = shared.wait_until(ready) else {
        return Ok(false);
    };
    let (memtable, group) = (progress.memtable.take(), progress.sealed);
    let (released, unneeded) = (progress.released.take(), std::mem::take(&mut progress.unneeded));
    drop(progress);
    if let Some(memtable) = memtable {
        write_table(tree, shared, &memtable, group)?;
        shared.in_tables.store(group, Ordering::Release);
        shared.lock().uncompacted = true;
        shared.changed.notify_all();
    }
    drop(released);
    for file in unneeded {
        fs::remove_file(file)?;
    }
    Ok(true)
}

/// Makes a table of a memtable that ends with `group`.
fn write_table(tree: &AnyTree, shared: &Shared, memtable: &Memtable, group: u64) -> lsm_tree::Result<()> {
    let seqno = shared.seqno.next();
    let changes = memtable.changes().map(|(key, value)| match value {
        Some(value) => InternalValue::from_components(key, value, seqno, ValueType::Value),
        None => InternalValue::new_tombstone(key, seqno),
    });
    let value = group_value(shared.id, group);
    let last = InternalValue::from_components(GROUP_KEY, value, seqno, ValueType::Value);
    let flush_lock = tree.get_flush_lock();
    let tables = tree.flush_to_tables(changes.chain([last]).map(Ok))?;
    if let Some((tables, _)) = tables {
        tree.register_tables(&tables, None, None, &[], shared.visible.get())?;
    }
    drop(flush_lock);
    Ok(())
}

/// Compacts until there is nothing to do.
fn compact(tree: &AnyTree, shared: &Shared) -> lsm_tree::Result<bool> {
    let Some(mut progress) = shared.wait_until(|progress| progress.uncompacted) else {
        return Ok(false);
    };
    progress.uncompacted = false;
    drop(progress);
    let strategy =
        Leveled::default().with_l0_threshold(FIRST_LEVEL_TABLES).with_table_target_size(TABLE_BYTES);
    let strategy = Arc::new(strategy);
    for _ in 0..COMPACTIONS_MAX {
        let before = tree.disk_space();
        let tables = tree.table_count();
        tree.compact(Arc::clone(&strategy) as _, shared.visible.get())?;
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
