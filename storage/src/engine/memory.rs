//! The engine that keeps everything in memory, and can crash: what was synced stays, of the rest a prefix of whole
//! commits, as of a log whose end is torn.
//!
//! Not here: delays, refusals and lost answers. Those are the simulator's.

use std::collections::BTreeMap;

use crate::kv::{EngineError, Found, Key, Read, Value, Write, take_pairs};

/// Pairs in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryEngine {
    /// With all commits.
    current: BTreeMap<Key, Value>,
    /// As of the last sync.
    synced: BTreeMap<Key, Value>,
    /// The commits since.
    unsynced: Vec<Vec<Write>>,
    /// Why it takes no commits any more.
    poisoned: Option<String>,
    /// Commits were taken back, and nobody was told yet.
    took_back: bool,
}

fn apply(pairs: &mut BTreeMap<Key, Value>, writes: &[Write]) {
    for write in writes {
        match write {
            Write::Set(key, value) => {
                pairs.insert(key.clone(), value.clone());
            }
            Write::Clear(key) => {
                pairs.remove(key);
            }
            Write::ClearRange(begin, end) => {
                if begin < end {
                    let keys: Vec<Key> =
                        pairs.range(begin.clone()..end.clone()).map(|(key, _)| key.clone()).collect();
                    for key in keys {
                        pairs.remove(&key);
                    }
                }
            }
        }
    }
}

fn read(pairs: &BTreeMap<Key, Value>, read: &Read) -> Found {
    match read {
        Read::Get { key, .. } => Found::Value(pairs.get(key).cloned()),
        Read::Range { begin, end, .. } if begin >= end => Found::Pairs { pairs: Vec::new(), more: false },
        Read::Range { begin, end, limit, bytes_max, reverse } => {
            let range = pairs
                .range(begin.clone()..end.clone())
                .map(|(key, value)| Ok::<_, std::convert::Infallible>((key.clone(), value.clone())));
            let Ok(found) = if *reverse {
                take_pairs(range.rev(), *limit, *bytes_max)
            } else {
                take_pairs(range, *limit, *bytes_max)
            };
            found
        }
    }
}

impl MemoryEngine {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads, in order, what has been committed.
    #[must_use]
    pub fn read(&self, reads: &[Read]) -> Vec<Found> {
        reads.iter().map(|one| read(&self.current, one)).collect()
    }

    /// Reads, in order, what has been synced.
    #[must_use]
    pub fn read_synced(&self, reads: &[Read]) -> Vec<Found> {
        reads.iter().map(|one| read(&self.synced, one)).collect()
    }

    /// Commits all of `writes`.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] after [`Self::poison`].
    pub fn commit(&mut self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.check()?;
        apply(&mut self.current, &writes);
        self.unsynced.push(writes);
        Ok(())
    }

    /// Makes all commits durable.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] when [`Self::poison`] took commits back since the last sync.
    pub fn sync(&mut self) -> Result<(), EngineError> {
        if std::mem::take(&mut self.took_back) {
            self.check()?;
        }
        for writes in self.unsynced.drain(..) {
            apply(&mut self.synced, &writes);
        }
        Ok(())
    }

    /// Ends its work in order.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] after [`Self::poison`].
    pub fn close(&mut self) -> Result<(), EngineError> {
        self.sync()?;
        self.check()
    }

    /// Fails from now on, as after a failed sync; reads see what was durable.
    pub fn poison(&mut self, why: &str) {
        self.poisoned.get_or_insert_with(|| why.to_owned());
        self.took_back |= !self.unsynced.is_empty();
        self.unsynced.clear();
        self.current.clone_from(&self.synced);
    }

    fn check(&self) -> Result<(), EngineError> {
        self.poisoned.as_ref().map_or(Ok(()), |why| Err(EngineError::Poisoned(why.clone())))
    }

    /// How many commits are not durable.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Begins anew: loses what was not synced, except for the first `kept` of the commits since: at most [`Self::unsynced`].
    pub fn crash(&mut self, kept: usize) {
        for writes in self.unsynced.drain(..).take(kept) {
            apply(&mut self.synced, &writes);
        }
        self.current.clone_from(&self.synced);
        self.poisoned = None;
        self.took_back = false;
    }

    /// A copy of what has been synced, as a store of its own.
    #[must_use]
    pub fn durable(&self) -> Self {
        Self {
            current: self.synced.clone(),
            synced: self.synced.clone(),
            unsynced: Vec::new(),
            poisoned: None,
            took_back: false,
        }
    }

    /// All pairs that have been committed, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.current.iter()
    }

    /// Asserts what must be: the commits since the last sync lead from what was synced to what is.
    pub fn invariants(&self) {
        if self.unsynced.is_empty() {
            assert!(self.current == self.synced, "without commits since the sync both states are one");
        }
    }
}
