//! The buffers that receives borrow, from just before the kernel writes to just after the shard has read. Touched
//! lazily, and given back to the kernel when they were not used for a while: what lies idle costs no memory.

use std::io;
use std::ptr::NonNull;

use crate::setup::SetupError;

/// Equal buffers in one piece of memory; the last given back is the first taken, for it is warm.
#[derive(Debug)]
pub(super) struct Buffers {
    base: NonNull<u8>,
    /// Of all together.
    size: usize,
    buffer_bytes: usize,
    free: Vec<u16>,
    count: u16,
    /// So many at the bottom of `free` hold no memory.
    cold: usize,
    /// The fewest that were free since the last trim.
    unneeded: usize,
}

impl Buffers {
    /// # Errors
    /// The kernel has no memory.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> Result<Self, SetupError> {
        let buffer_bytes = buffer_bytes as usize;
        let size = buffer_bytes * usize::from(count);
        let base = map(size).map_err(|error| SetupError::from_system("the receive buffers", error))?;
        let (cold, unneeded) = (usize::from(count), usize::from(count));
        Ok(Self { base, size, buffer_bytes, free: (0..count).rev().collect(), count, cold, unneeded })
    }

    pub(super) fn bytes_each(&self) -> usize {
        self.buffer_bytes
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.free.is_empty()
    }

    /// Buffers that somebody has.
    pub(super) fn taken(&self) -> usize {
        usize::from(self.count) - self.free.len()
    }

    /// Whether nobody has one.
    pub(super) fn is_whole(&self) -> bool {
        self.taken() == 0
    }

    /// Takes a buffer out: from now on it is the taker's (and the kernel's) alone.
    pub(super) fn take(&mut self) -> Option<u16> {
        let buffer = self.free.pop();
        self.unneeded = self.unneeded.min(self.free.len());
        self.cold = self.cold.min(self.free.len());
        buffer
    }

    /// Gives the memory of those back that nobody has taken since the last call. To be called every few seconds.
    pub(super) fn trim(&mut self) {
        for &buffer in self.free.get(self.cold..self.unneeded).unwrap_or_default() {
            let pointer = self.pointer(buffer);
            // SAFETY: the buffer lies in our mapping and is free, so that neither the kernel nor a shard looks at what it
            // holds; it is zeroes from now on, which are bytes as good as others. Partial pages stay (madvise(2) fails).
            let _ = unsafe { libc::madvise(pointer.cast(), self.buffer_bytes, libc::MADV_DONTNEED) };
        }
        self.cold = self.cold.max(self.unneeded);
        self.unneeded = self.free.len();
    }

    /// Puts a buffer back.
    pub(super) fn give(&mut self, buffer: u16) {
        debug_assert!(!self.free.contains(&buffer), "a buffer is given back once");
        self.free.push(buffer);
    }

    /// Where a buffer begins; it is [`Buffers::bytes_each`] long.
    pub(super) fn pointer(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count, "a buffer of this pool");
        // SAFETY: below `count` buffers of `buffer_bytes` each, the offset stays inside the one mapping.
        unsafe { self.base.as_ptr().add(usize::from(buffer) * self.buffer_bytes) }
    }

    /// The first `length` bytes of a buffer.
    ///
    /// # Safety
    /// The buffer is taken, and the kernel is done with it.
    pub(super) unsafe fn filled(&mut self, buffer: u16, length: usize) -> &mut [u8] {
        assert!(length <= self.buffer_bytes, "the kernel fills no more than it was given");
        // SAFETY: `pointer` is inside the mapping with `buffer_bytes` behind it, initialised (zeroes at first);
        // the caller says that nobody else reads or writes them, and the borrow of `self` keeps it so.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(buffer), length) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.is_whole() {
            // SAFETY: mapped in `new` with this size; every buffer is here, so neither the kernel nor a shard has one.
            let result = unsafe { libc::munmap(self.base.as_ptr().cast(), self.size) };
            debug_assert_eq!(result, 0, "a mapping of ours");
        }
        // Else the kernel may still write: the memory is left to it.
    }
}

/// Fresh zeroed memory straight from the kernel, none of it touched (mmap(2)); allocators would touch it all.
fn map(size: usize) -> io::Result<NonNull<u8>> {
    const ACCESS: i32 = libc::PROT_READ | libc::PROT_WRITE;
    const SORT: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping where the kernel likes touches nothing that exists.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), size, ACCESS, SORT, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(base.cast()).expect("a mapping is never at 0"))
}

#[cfg(test)]
mod tests {
    use super::Buffers;

    #[test]
    fn a_buffer_that_nobody_needs_gives_its_memory_back() {
        let mut buffers = Buffers::new(4, 8_192).unwrap();
        let (first, second) = (buffers.take().unwrap(), buffers.take().unwrap());
        for buffer in [first, second] {
            // SAFETY: both are taken, and the kernel has neither.
            unsafe { buffers.filled(buffer, 8_192) }.fill(7);
        }
        buffers.give(second);
        buffers.give(first);
        buffers.trim();
        assert_eq!(buffers.take(), Some(first));
        buffers.give(first);
        buffers.trim();
        // SAFETY: as above.
        let bytes = |buffers: &mut Buffers, buffer| unsafe { buffers.filled(buffer, 8_192) }.to_vec();
        assert_eq!((buffers.take(), buffers.take()), (Some(first), Some(second)));
        assert_eq!(bytes(&mut buffers, first), vec![7; 8_192], "it was needed");
        assert_eq!(bytes(&mut buffers, second), vec![0; 8_192], "it was not");
    }

    #[test]
    fn a_pool_gives_each_buffer_once() {
        let mut buffers = Buffers::new(2, 16).unwrap();
        let first = buffers.take().unwrap();
        let second = buffers.take().unwrap();
        assert_ne!(first, second);
        assert!(buffers.take().is_none() && buffers.is_exhausted());
        buffers.give(first);
        assert_eq!(buffers.take(), Some(first));
        assert_eq!(buffers.pointer(first).addr().abs_diff(buffers.pointer(second).addr()), 16);
        buffers.give(first);
        buffers.give(second);
        assert!(buffers.is_whole());
    }
}
