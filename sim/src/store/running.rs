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
    /// Its commit was under way when the cluster fell silent: nobody will learn what came of it.
    pub(super) cut: bool,
    pub(super) basis: Basis,
}

impl Running {
    pub(super) fn new(router: RouterId, id: RequestId, transaction: Transaction) -> Self {
        let basis = Basis::default();
        Self { router, id, transaction, next: None, deposed: false, cut: false, basis }
    }

    /// Whether a commit is what it waits for.
    pub(super) fn is_committing(&self) -> bool {
        matches!(self.next, Some(Step::Commit(_)))
    }
}

/// What a commit rests on: the version at which its transaction read, and what it must find unchanged since.
#[derive(Debug, Default)]
pub(super) struct Basis {
    version: Option<u64>,
    conflicts: Vec<Key>,
}

impl Basis {
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

    /// Whether something that a commit rests on was changed since its transaction read it.
    pub(super) fn touch(&self, basis: &Basis) -> bool {
        let since = basis.version.unwrap_or(self.version);
        let set = |key| self.keys.get(key).is_some_and(|version| *version > since);
        let cleared = |key| {
            let holds =
                |(begin, end, version): &(Key, Key, u64)| *version > since && begin <= key && key < end;
            self.ranges.iter().any(holds)
        };
        basis.conflicts.iter().any(|key| set(key) || cleared(key))
    }
}
