//! Unfinished input: what came of a message that is not whole, and what came while a connection is not read. In a
//! table beside the records, for few connections have any; all of it together is bounded.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ring::spare::Spare;

/// Buffers kept for the next connection that needs one at most.
const FREE_MAX: usize = 64;
/// A larger buffer goes back to the allocator.
const FREE_BYTES_MAX: usize = 128 * 1024;

/// What one connection has sent that could not be taken whole.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// The head of the upgrade request, then the unfinished message: the framing's own.
    pub(super) assembly: Vec<u8>,
    /// Received and not looked at: the connection waits for something.
    pub(super) stash: Vec<u8>,
}

impl Input {
    fn is_empty(&self) -> bool {
        self.assembly.is_empty() && self.stash.is_empty()
    }

    fn capacity(&self) -> u64 {
        (self.assembly.capacity() + self.stash.capacity()) as u64
    }
}

/// All unfinished input of a shard, by slot.
#[derive(Debug)]
pub(super) struct Inputs {
    table: HashMap<u32, Input, FixedState>,
    free: Spare<Vec<u8>>,
    bytes: u64,
}

impl Inputs {
    pub(super) fn new() -> Self {
        Self { table: HashMap::default(), free: Spare::new(FREE_MAX), bytes: 0 }
    }

    /// Bytes of memory that the table's input holds.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a connection's input out to work on; empty buffers when there is none.
    pub(super) fn take(&mut self, slot: u32, present: bool) -> Input {
        if present && let Some(input) = self.table.remove(&slot) {
            self.bytes -= input.capacity();
            return input;
        }
        Input { assembly: self.free.take().unwrap_or_default(), stash: Vec::new() }
    }

    /// Puts it back; true when anything is left of it, and the table has an entry.
    pub(super) fn put(&mut self, slot: u32, mut input: Input) -> bool {
        if input.is_empty() {
            self.recycle(input.assembly);
            self.recycle(input.stash);
            return false;
        }
        if input.stash.is_empty() {
            self.recycle(core::mem::take(&mut input.stash));
        }
        if input.assembly.is_empty() {
            self.recycle(core::mem::take(&mut input.assembly));
        }
        self.bytes += input.capacity();
        let before = self.table.insert(slot, input);
        assert!(before.is_none(), "slot {slot} has two inputs");
        true
    }

    /// Forgets a connection's input.
    pub(super) fn drop(&mut self, slot: u32) {
        let mut input = self.take(slot, true);
        input.assembly.clear();
        input.stash.clear();
        self.put(slot, input);
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        if (1..=FREE_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.free.put(buffer);
        }
    }

    /// Gives back memory that nothing has needed for a while.
    pub(super) fn trim(&mut self) {
        self.free.trim();
        self.table.shrink_to(2 * self.table.len());
    }

    /// Asserts the count of bytes, and that exactly these slots have an entry.
    pub(super) fn invariants(&self, slots: impl Iterator<Item = u32>) {
        let mut slots_with_input = 0;
        for slot in slots {
            assert!(self.table.contains_key(&slot), "slot {slot} has no input");
            slots_with_input += 1;
        }
        assert_eq!(slots_with_input, self.table.len());
        assert_eq!(self.bytes, self.table.values().map(Input::capacity).sum::<u64>());
    }
}
