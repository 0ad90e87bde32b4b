//! Tables that grow by whole chunks: nothing moves when they do, nothing is copied, and no more than a chunk is held in
//! advance. Serves the gateway shard too.

use std::ops::{Index, IndexMut};

/// Items by their number, `CHUNK` of them in one piece of memory.
#[derive(Debug)]
pub struct Chunks<T, const CHUNK: usize> {
    chunks: Vec<Vec<T>>,
}

impl<T, const CHUNK: usize> Default for Chunks<T, CHUNK> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const CHUNK: usize> Chunks<T, CHUNK> {
    /// No items.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Puts an item behind the others; its number.
    ///
    /// # Panics
    /// There are 2^32 items.
    pub fn push(&mut self, item: T) -> u32 {
        let at = u32::try_from(self.len()).expect("numbers have 32 bits");
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(item),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(item);
                self.chunks.push(chunk);
            }
        }
        at
    }

    /// The item of a number.
    #[must_use]
    pub fn get(&self, at: u32) -> Option<&T> {
        self.chunks.get(at as usize / CHUNK)?.get(at as usize % CHUNK)
    }

    /// All items, by number.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// Forgets all items, and gives their memory back.
    pub fn clear(&mut self) {
        self.chunks = Vec::new();
    }
}

impl<T, const CHUNK: usize> Index<u32> for Chunks<T, CHUNK> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}

impl<T, const CHUNK: usize> IndexMut<u32> for Chunks<T, CHUNK> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_number_and_their_place() {
        let mut chunks = Chunks::<u32, 4>::new();
        assert!(chunks.is_empty() && chunks.get(0).is_none());
        assert_eq!(chunks.push(0), 0);
        let first: *const u32 = &raw const chunks[0];
        for at in 1..11 {
            assert_eq!(chunks.push(at), at);
        }
        assert_eq!(&raw const chunks[0], first);
        assert_eq!((chunks.len(), chunks.get(10), chunks.get(11)), (11, Some(&10), None));
        chunks[7] = 70;
        assert_eq!(chunks.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 70, 8, 9, 10]);
        chunks.clear();
        assert_eq!((chunks.len(), chunks.push(5)), (0, 0));
    }
}
