//! A transaction under way, and what was changed since it began: the store's own notion of a conflict.

use std::collections::BTreeMap;

use protocol::envelope::RouterId;
use storage::kv::{Key, Read, Write};
use storage::request::RequestId;
use storage::transaction::{Step, Transaction};

/// One transaction.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) router: RouterId,
    pub(super) id: RequestId,
    pub(super) transaction: Transaction,
    /// What is planned.
    pub(super) next: Option<Step>,
    /// Its node is gone: nobody waits for what comes of it.
    pub(super) deposed: bool,
    version: Option<u64>,
    conflicts: Vec<Key>,
}

impl Running {
    pub(super) fn new(router: RouterId, id: RequestId, transaction: Transaction) -> Self {
        Self { router, id, transaction, next: None, deposed: false, version: None, conflicts: Vec::new() }
    }

    /// Whether a read at this version belongs to what was read before.
    pub(super) fn reads_at(&mut self, version: u64) -> bool {
        *self.version.get_or_insert(version) == version
    }

    /// Notes the keys that a commit depends on.
    pub(super) fn remember(&mut self, reads: &[Read]) {
        let conflicts = reads.iter().filter_map(|read| match read {
            Read::Get { key, conflict: true } => Some(key.clone()),
            Read::Get { .. } | Read::Range { .. } => None,
        });
        self.conflicts.extend(conflicts);
    }

    /// What follows reads at a new version.
    pub(super) fn begin_again(&mut self) {
        self.version = None;
        self.conflicts.clear();
    }
}

/// Which key was changed at which version.
#[derive(Debug, Default)]
pub(super) struct Changes {
    version: u64,
    keys: BTreeMap<Key, u64>,
    ranges: Vec<(Key, Key, u64)>,
}

impl Changes {
    /// How many commits there were.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Notes a commit.
    pub(super) fn note(&mut self, writes: &[Write]) {
        self.version += 1;
        for write in writes {
            match write {
                Write::Set(key, _) | Write::Clear(key) => {
                    self.keys.insert(key.clone(), self.version);
                }
                Write::ClearRange(begin, end) => {
                    self.ranges.push((begin.clone(), end.clone(), self.version));
                }
            }
        }
    }

    /// Whether something that the transaction depends on was changed since it read it.
    pub(super) fn touch(&self, running: &Running) -> bool {
        let since = running.version.unwrap_or(self.version);
        let set = |key| self.keys.get(key).is_some_and(|version| *version > since);
        let cleared = |key| {
            let holds =
                |(begin, end, version): &(Key, Key, u64)| *version > since && begin <= key && key < end;
            self.ranges.iter().any(holds)
        };
        running.conflicts.iter().any(|key| set(key) || cleared(key))
    }
}
