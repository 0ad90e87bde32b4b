//! Queues and tables that a storm has made long become short again after it, by half at a time. Serves the gateway shard too.

use std::collections::VecDeque;

/// How often a shard looks after its memory, in milliseconds.
pub const EVERY_MS: u64 = 5_000;
/// Smaller queues stay as they are, in bytes.
const KEPT_BYTES: usize = 16 * 1024;

/// Halves the memory of a queue of which no more than a quarter is in use.
pub fn queue<T>(queue: &mut VecDeque<T>) {
    let capacity = queue.capacity();
    if capacity * size_of::<T>() > KEPT_BYTES && queue.len() <= capacity / 4 {
        queue.shrink_to(capacity / 2);
    }
}

/// The same for a list.
pub fn list<T>(list: &mut Vec<T>) {
    let capacity = list.capacity();
    if capacity * size_of::<T>() > KEPT_BYTES && list.len() <= capacity / 4 {
        list.shrink_to(capacity / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_comes_down_to_what_it_needs_and_a_short_one_stays() {
        let mut long: VecDeque<u64> = (0..100_000).collect();
        queue(&mut long);
        assert!(long.capacity() >= 100_000, "it is in use");
        long.truncate(1_000);
        for _ in 0..20 {
            queue(&mut long);
        }
        assert!((1_000..8_000).contains(&long.capacity()), "{}", long.capacity());
        let mut short: VecDeque<u64> = VecDeque::with_capacity(1_000);
        queue(&mut short);
        assert!(short.capacity() >= 1_000);
    }
}
