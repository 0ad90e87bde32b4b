//! An allocator that counts, for tests and benches that promise "no allocation". It lives here because `unsafe` does;
//! the product does not install it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counting by thread. Install it in a test binary with `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

impl Counting {
    /// Allocations (and growths) that this thread has made.
    #[must_use]
    pub fn count() -> u64 {
        COUNT.get()
    }

    /// Bytes that these asked for.
    #[must_use]
    pub fn bytes() -> u64 {
        BYTES.get()
    }

    /// Bytes that this thread has allocated and not freed, as they were asked for; what a thread frees for another
    /// counts down, below zero if need be.
    #[must_use]
    pub fn live() -> i64 {
        LIVE.get()
    }
}

fn note(bytes: usize) {
    // A thread that ends may free and allocate after its counters are gone: nobody asks for those.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    let _ = BYTES.try_with(|total| total.set(total.get() + bytes as u64));
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes as i64));
}

fn note_freed(bytes: usize) {
    let _ = LIVE.try_with(|live| live.set(live.get() - bytes as i64));
}

// SAFETY: every method hands its arguments, and with them the caller's promises, to `System` unchanged; counting
// touches constant-initialised thread-locals without destructors, which never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise about `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise about `layout`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note_freed(layout.size());
        // SAFETY: the caller's promise that `pointer` came from here with `layout`, so from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size);
        note_freed(layout.size());
        // SAFETY: the caller's promises about all three.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
