//! A transaction under way, and what was changed since it began: the store's own notion of a conflict.

use std::collections::BTreeMap;

use storage::kv::{Found, Key, Read, Value, Write, take_pairs};
use storage::request::RequestId;
use storage::transaction::{Step, Transaction};

use super::Asker;

/// One transaction.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) asker: Asker,
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
    pub(super) fn new(asker: Asker, id: RequestId, transaction: Transaction) -> Self {
        let basis = Basis::default();
        Self { asker, id, transaction, next: None, deposed: false, cut: false, basis }
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

    /// The version at which its transaction reads.
    pub(super) fn version(&self) -> Option<u64> {
        self.version
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

/// Which key was changed at which version, and what it was at each.
#[derive(Debug, Default)]
pub(super) struct Changes {
    version: u64,
    /// By key, ascending by version; empty unless the store keeps them.
    history: BTreeMap<Key, Vec<(u64, Option<Value>)>>,
    keeps_history: bool,
    keys: BTreeMap<Key, u64>,
    ranges: Vec<(Key, Key, u64)>,
}

impl Changes {
    /// Changes of a store whose transactions read at the version that they began at, whatever is committed meanwhile.
    pub(super) fn with_history() -> Self {
        Self { keeps_history: true, ..Self::default() }
    }

    /// Whether older versions can be read.
    pub(super) fn keeps_history(&self) -> bool {
        self.keeps_history
    }

    /// Reads as of a version.
    pub(super) fn read_at(&self, version: u64, reads: &[Read]) -> Vec<Found> {
        reads.iter().map(|read| self.read_one(version, read)).collect()
    }

    fn read_one(&self, version: u64, read: &Read) -> Found {
        let at = |values: &Vec<(u64, Option<Value>)>| {
            let known = values.iter().rev().find(|(since, _)| *since <= version);
            known.and_then(|(_, value)| value.clone())
        };
        match read {
            Read::Get { key, .. } => Found::Value(self.history.get(key).and_then(at)),
            Read::Range { begin, end, .. } if begin >= end => Found::Pairs { pairs: Vec::new(), more: false },
            Read::Range { begin, end, limit, bytes_max, reverse } => {
                let range = self.history.range(begin.clone()..end.clone());
                let pairs = range.filter_map(|(key, values)| {
                    at(values).map(|value| Ok::<_, std::convert::Infallible>((key.clone(), value)))
                });
                let Ok(found) = if *reverse {
                    take_pairs(pairs.rev(), *limit, *bytes_max)
                } else {
                    take_pairs(pairs, *limit, *bytes_max)
                };
                found
            }
        }
    }

    fn remember(&mut self, write: &Write) {
        let version = self.version;
        match write {
            Write::Set(key, value) => {
                self.history.entry(key.clone()).or_default().push((version, Some(value.clone())));
            }
            Write::Clear(key) => self.history.entry(key.clone()).or_default().push((version, None)),
            Write::ClearRange(begin, end) if begin < end => {
                for (_, values) in self.history.range_mut(begin.clone()..end.clone()) {
                    values.push((version, None));
                }
            }
            Write::ClearRange(..) => {}
        }
    }

    /// How many commits there were.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Notes a commit.
    pub(super) fn note(&mut self, writes: &[Write]) {
        self.version += 1;
        for write in writes {
            if self.keeps_history {
                self.remember(write);
            }
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
