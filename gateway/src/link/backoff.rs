//! When to dial again: soon after the first failure, ever later after the next, never all at once.

use crate::shard::random::Random;

/// Bounds of the time between the end of a link, or of a dial, and the next dial, in milliseconds.
const DELAY_MS_MIN: u32 = 100;
const DELAY_MS_MAX: u32 = 2_000;
/// A link that was ready for so long was a good one, in milliseconds.
const GOOD_MS: u64 = 5_000;

/// When to dial one peer again.
#[derive(Debug)]
pub struct Backoff {
    delay_ms: u32,
    ready_ms: Option<u64>,
    random: Random,
}

impl Backoff {
    /// For a peer that was never dialled. The seed spreads those who lost the same peer.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { delay_ms: DELAY_MS_MIN, ready_ms: None, random: Random::new(seed) }
    }

    /// The link is ready.
    pub const fn ready(&mut self, now_ms: u64) {
        self.ready_ms = Some(now_ms);
    }

    /// The link ended, or there was none: when to dial again. Between half of the delay and all of it from now; the delay
    /// doubles each time, and begins anew after a link that was ready for 5 s.
    pub fn ended(&mut self, now_ms: u64) -> u64 {
        if self.ready_ms.take().is_some_and(|ready_ms| now_ms >= ready_ms + GOOD_MS) {
            self.delay_ms = DELAY_MS_MIN;
        }
        let delay_ms = self.delay_ms;
        self.delay_ms = (2 * delay_ms).min(DELAY_MS_MAX);
        now_ms + u64::from(delay_ms / 2 + self.random.below(delay_ms / 2 + 1))
    }
}
