//! The newest changes, in memory, before they are in tables: found by key through a hash table, and in order through a
//! few sorted runs. What is not synced yet is here, too, and can be taken back as if it had never been.
//!
//! ```text
//! bytes     key value │ key value │ key value │ …        one arena: no allocation a change, one to free
//! entries   where each begins, and which entry of the same key it replaced
//! newest    hash of a key ──► its newest entry           point reads
//! runs      sorted entries ▓▓▓▓▓▓▓ ▓▓▓▓▓▓▓ ▓▓▓▓ ▓▓ ▓      ranges: short runs are merged until one has its full length, so
//!                                                        runs are few, and no commit waits for a long merge
//! ```

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::kv::{Key, Value};

/// Entries of a run that is merged no more: a commit waits some milliseconds for it at most. A memtable of 16 MiB has two
/// dozen such runs.
const RUN_ENTRIES_MAX: usize = 1 << 13;
/// Entries that are brought into a run although nobody reads a range. Fewer than that are sorted in the time of a system call.
const UNSORTED_MAX: usize = 1 << 11;

/// Changes of keys, in the order in which they were made.
#[derive(Default)]
pub(super) struct Memtable {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    newest: HashTable<Number>,
    runs: Vec<Vec<Number>>,
    /// Entries from this one on are not durable.
    kept: usize,
    /// Entries from this one on are in no run.
    sorted: usize,
    hasher: RandomState,
}

/// A place in `entries`: the larger, the newer.
type Number = u32;

/// One change of a key.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: usize,
    key_bytes: u32,
    /// `None`: the key was cleared.
    value_bytes: Option<u32>,
    /// The change of the same key that was the newest before.
    replaced: Option<Number>,
}

/// A change as it is read: a key, and its value unless it was cleared.
type Change<'a> = (&'a [u8], Option<&'a [u8]>);

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("keys and values have bounds")
}

fn find<'a>(bytes: &'a [u8], entry: &Entry) -> Change<'a> {
    let (key, rest) = bytes[entry.at..].split_at(entry.key_bytes as usize);
    (key, entry.value_bytes.map(|value_bytes| &rest[..value_bytes as usize]))
}

impl Memtable {
    /// An empty one with room for a quarter more than `before` holds: growing moves all there is, while a commit waits.
    /// Memory that is not written to takes none of the host's.
    pub(super) fn after(before: &Self) -> Self {
        let room = |items: usize| items + items / 4;
        Self {
            bytes: Vec::with_capacity(room(before.bytes.len())),
            entries: Vec::with_capacity(room(before.entries.len())),
            newest: HashTable::with_capacity(room(before.newest.len())),
            ..Self::default()
        }
    }

    /// Makes a change, not durable yet.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let number = Number::try_from(self.entries.len()).expect("a memtable is sealed long before");
        let Self { bytes, entries, newest, hasher, .. } = self;
        let at = bytes.len();
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.unwrap_or_default());
        let same = |other: &Number| find(bytes, &entries[*other as usize]).0 == key;
        let rehash = |other: &Number| hasher.hash_one(find(bytes, &entries[*other as usize]).0);
        let replaced = match newest.entry(hasher.hash_one(key), same, rehash) {
            hashbrown::hash_table::Entry::Occupied(mut known) => {
                Some(std::mem::replace(known.get_mut(), number))
            }
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert(number);
                None
            }
        };
        entries.push(Entry { at, key_bytes: length(key), value_bytes: value.map(length), replaced });
    }

    fn change(&self, number: Number) -> Change<'_> {
        find(&self.bytes, &self.entries[number as usize])
    }

    fn key(&self, number: Number) -> &[u8] {
        self.change(number).0
    }

    /// What became of a key; `None`: it was not touched.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let number = self.newest.find(self.hasher.hash_one(key), |number| self.key(*number) == key)?;
        Some(self.change(*number).1)
    }

    /// True when all is durable.
    pub(super) fn is_kept(&self) -> bool {
        self.kept == self.entries.len()
    }

    /// The changes that are not durable, in their order.
    pub(super) fn unkept(&self) -> impl Iterator<Item = Change<'_>> {
        self.entries[self.kept..].iter().map(|entry| find(&self.bytes, entry))
    }

    /// All changes are durable now.
    pub(super) fn keep(&mut self) {
        self.kept = self.entries.len();
        if self.kept - self.sorted >= UNSORTED_MAX {
            self.sort();
        }
    }

    /// Brings all into order, for a memtable that changes no more.
    pub(super) fn seal(&mut self) {
        assert!(self.is_kept(), "only what is durable is sealed");
        self.sort();
    }

    /// Takes back what is not durable.
    pub(super) fn take_back(&mut self) {
        while !self.is_kept() {
            let number = (self.entries.len() - 1) as Number;
            let hash = self.hasher.hash_one(self.key(number));
            let entry = self.entries[number as usize];
            match (self.newest.find_entry(hash, |other| *other == number), entry.replaced) {
                (Ok(mut known), Some(replaced)) => *known.get_mut() = replaced,
                (Ok(known), None) => drop(known.remove()),
                (Err(_), _) => unreachable!("the last entry of all is the newest of its key"),
            }
            self.entries.pop();
            self.bytes.truncate(entry.at);
        }
        if self.sorted > self.entries.len() {
            // A run that was merged meanwhile may hold what is gone, and lack what that had replaced.
            let mut run: Vec<Number> = self.newest.iter().copied().collect();
            run.sort_unstable_by(|a, b| self.order(*a, *b));
            self.runs = vec![run];
            self.sorted = self.entries.len();
        }
    }

    /// Brings the entries that are in no run yet into one, and keeps the runs few.
    fn sort(&mut self) {
        if self.sorted == self.entries.len() {
            return;
        }
        let mut run: Vec<Number> = (self.sorted as Number..self.entries.len() as Number).collect();
        run.sort_unstable_by(|a, b| self.order(*a, *b));
        run.dedup_by(|next, first| self.key(*next) == self.key(*first));
        let joins = |last: &Vec<Number>, entries: usize| {
            last.len() < 2 * entries && last.len() + entries <= RUN_ENTRIES_MAX
        };
        while self.runs.last().is_some_and(|last| joins(last, run.len())) {
            let mut longer = self.runs.pop().unwrap_or_default();
            longer.append(&mut run);
            // A stable sort finds the two runs and merges them.
            longer.sort_by(|a, b| self.order(*a, *b));
            longer.dedup_by(|next, first| self.key(*next) == self.key(*first));
            run = longer;
        }
        self.runs.push(run);
        self.sorted = self.entries.len();
    }

    /// By key, the newest first.
    fn order(&self, a: Number, b: Number) -> Ordering {
        self.key(a).cmp(self.key(b)).then(Reverse(a).cmp(&Reverse(b)))
    }

    /// All changes that count, by key, of a memtable that is sealed.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        assert_eq!(self.sorted, self.entries.len(), "every entry is in a run");
        let mut all = self.runs.concat();
        all.sort_by(|a, b| self.order(*a, *b));
        all.dedup_by(|next, first| self.key(*next) == self.key(*first));
        all.into_iter().map(|number| self.change(number))
    }

    /// The changes of `begin..end` that count, by key, or from the end downwards.
    fn range(&mut self, begin: &[u8], end: &[u8], reverse: bool) -> Range<'_> {
        self.sort();
        self.range_sorted(begin, end, reverse)
    }

    fn range_sorted(&self, begin: &[u8], end: &[u8], reverse: bool) -> Range<'_> {
        assert_eq!(self.sorted, self.entries.len(), "every entry is in a run");
        let runs = self.runs.iter().map(|run| {
            let first = run.partition_point(|number| self.key(*number) < begin);
            let count = run[first..].partition_point(|number| self.key(*number) < end);
            &run[first..first + count]
        });
        Range { of: self, runs: runs.filter(|run| !run.is_empty()).collect(), reverse }
    }

    /// The pairs of `begin..end` as they are with these changes laid over `below`, which yields them in the same order.
    pub(super) fn over<'a, E: 'a>(
        &'a mut self,
        begin: &[u8],
        end: &[u8],
        reverse: bool,
        below: Pairs<'a, E>,
    ) -> Pairs<'a, E> {
        over(self.range(begin, end, reverse), below)
    }

    /// The same of a memtable that is sealed.
    pub(super) fn sealed_over<'a, E: 'a>(
        &'a self,
        begin: &[u8],
        end: &[u8],
        reverse: bool,
        below: Pairs<'a, E>,
    ) -> Pairs<'a, E> {
        over(self.range_sorted(begin, end, reverse), below)
    }
}

/// Pairs in order, or why they can't be read.
pub(super) type Pairs<'a, E> = Box<dyn Iterator<Item = Result<(Key, Value), E>> + 'a>;

/// Changes in order, out of several runs.
struct Range<'a> {
    of: &'a Memtable,
    /// What is left of each run, never empty.
    runs: Vec<&'a [Number]>,
    reverse: bool,
}

impl<'a> Range<'a> {
    fn head(&self, run: &[Number]) -> Number {
        if self.reverse { run[run.len() - 1] } else { run[0] }
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        let (of, reverse) = (self.of, self.reverse);
        let heads = self.runs.iter().map(|run| self.head(run));
        let next = heads.min_by(|a, b| {
            let keys = of.key(*a).cmp(of.key(*b));
            (if reverse { keys.reverse() } else { keys }).then(b.cmp(a))
        })?;
        let key = of.key(next);
        for run in &mut self.runs {
            let head = if reverse { run.len() - 1 } else { 0 };
            if of.key(run[head]) == key {
                *run = if reverse { &run[..head] } else { &run[1..] };
            }
        }
        self.runs.retain(|run| !run.is_empty());
        Some(of.change(next))
    }
}

/// Lays changes over the pairs below them.
fn over<'a, E: 'a>(above: Range<'a>, below: Pairs<'a, E>) -> Pairs<'a, E> {
    if above.runs.is_empty() {
        return below;
    }
    let reverse = above.reverse;
    let (mut above, mut below) = (above.peekable(), below.peekable());
    let mut next = move || {
        let order = match (above.peek(), below.peek()) {
            (None, _) | (Some(_), Some(Err(_))) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some((key, _)), Some(Ok((other, _)))) if reverse => other.as_slice().cmp(key),
            (Some((key, _)), Some(Ok((other, _)))) => (*key).cmp(other),
        };
        if order == Ordering::Greater {
            return below.next().map(|pair| pair.map(Some));
        }
        if order == Ordering::Equal {
            below.next();
        }
        above.next().map(|(key, value)| Ok(value.map(|value| (key.to_vec(), value.to_vec()))))
    };
    // What was cleared is skipped.
    Box::new(std::iter::from_fn(move || {
        loop {
            match next()? {
                Ok(None) => {}
                Ok(Some(pair)) => return Some(Ok(pair)),
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

impl fmt::Debug for Memtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs: Vec<usize> = self.runs.iter().map(Vec::len).collect();
        f.debug_struct("Memtable").field("entries", &self.entries.len()).field("runs", &runs).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;

    type Model = BTreeMap<Key, Option<Value>>;

    /// A number below `end` from a seed (splitmix64).
    fn below(seed: &mut u64, end: u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % end
    }

    fn check(memtable: &mut Memtable, model: &Model, seed: &mut u64) {
        for key in 0..=u8::MAX {
            let expected = model.get(&vec![key]).map(Option::as_deref);
            assert_eq!(memtable.get(&[key]), expected, "key {key}");
        }
        let (begin, end) = (below(seed, 256) as u8, below(seed, 256) as u8);
        let lies_below: BTreeMap<Key, Value> =
            (0..40).map(|_| (vec![below(seed, 256) as u8], vec![0])).collect();
        let mut expected = lies_below.clone();
        for (key, value) in model {
            match value {
                Some(value) => expected.insert(key.clone(), value.clone()),
                None => expected.remove(key),
            };
        }
        for reverse in [false, true] {
            let within = |key: &Key| (begin..end).contains(&key[0]);
            let pairs = |all: BTreeMap<Key, Value>| {
                let mut pairs: Vec<_> = all.into_iter().filter(|(key, _)| within(key)).collect();
                if reverse {
                    pairs.reverse();
                }
                pairs
            };
            let lower = Box::new(pairs(lies_below.clone()).into_iter().map(Ok::<_, Infallible>));
            let (begin, end) = ([begin], [end.max(begin)]);
            let found: Vec<_> = memtable.over(&begin, &end, reverse, lower).map(Result::unwrap).collect();
            assert_eq!(found, pairs(expected.clone()));
        }
    }

    #[test]
    fn a_memtable_is_a_map_whose_last_changes_can_be_taken_back() {
        for first in 0..200 {
            let mut seed = first;
            let (mut memtable, mut model) = (Memtable::default(), Model::new());
            for _ in 0..below(&mut seed, 40) {
                let mut changed = model.clone();
                for _ in 0..below(&mut seed, 30) {
                    let key = vec![below(&mut seed, 256) as u8];
                    let value = (below(&mut seed, 4) > 0).then(|| vec![below(&mut seed, 256) as u8; 3]);
                    memtable.set(&key, value.as_deref());
                    changed.insert(key, value);
                }
                if below(&mut seed, 2) == 0 {
                    check(&mut memtable, &changed, &mut seed);
                }
                if below(&mut seed, 5) == 0 {
                    memtable.take_back();
                } else {
                    memtable.keep();
                    model = changed;
                }
                check(&mut memtable, &model, &mut seed);
                assert!(memtable.is_kept() && memtable.unkept().next().is_none());
            }
            memtable.seal();
            let all: Model =
                memtable.changes().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect();
            assert_eq!(all, model, "seed {first}");
            assert!(memtable.changes().map(|(key, _)| key).is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn runs_stay_few_however_small_the_groups_are() {
        let mut memtable = Memtable::default();
        for number in 0..100_000_u32 {
            memtable.set(&number.wrapping_mul(0x9e37_79b1).to_be_bytes(), Some(b"value"));
            memtable.keep();
            let full = 2 * memtable.entries.len() / RUN_ENTRIES_MAX;
            assert!(memtable.runs.len() <= full + 16, "{memtable:?}");
        }
        memtable.seal();
        assert_eq!(memtable.changes().count(), 100_000);
    }
}
