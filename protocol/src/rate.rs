//! Rates of a client's sends and frames, and the `retry_after_ms` of who exceeds one (PROTOCOL, section 4): a bucket of
//! tokens in eight bytes, kept as the time at which it will be full again (the "generic cell rate algorithm", ITU-T
//! I.371, annex A). Time is an argument; whose bucket it is, the caller knows.

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    interval_us: u64,
    burst_us: u64,
}

impl Rate {
    /// `per_second` (at least 1) on average, `burst` (at least 1) at once.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval_us = (1_000_000 / u64::from(per_second.max(1))).max(1);
        Self { interval_us, burst_us: interval_us * u64::from(burst.max(1)) }
    }

    /// Milliseconds in which an empty bucket fills.
    #[must_use]
    pub fn whole_ms(self) -> u32 {
        milliseconds(self.burst_us)
    }
}

/// One bucket: the microsecond at which it is full again.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    full_us: u64,
}

impl Bucket {
    /// A bucket that nothing was taken from.
    #[must_use]
    pub const fn full() -> Self {
        Self { full_us: 0 }
    }

    /// True when nothing was taken for so long that the bucket is full.
    #[must_use]
    pub const fn is_full(self, now_us: u64) -> bool {
        self.full_us <= now_us
    }

    /// Takes one token.
    ///
    /// # Errors
    /// Milliseconds until there is one.
    pub fn take(&mut self, rate: Rate, now_us: u64) -> Result<(), u32> {
        let full_us = self.full_us.max(now_us) + rate.interval_us;
        let over_us = full_us.saturating_sub(now_us + rate.burst_us);
        if over_us > 0 {
            return Err(milliseconds(over_us));
        }
        self.full_us = full_us;
        Ok(())
    }
}

fn milliseconds(time_us: u64) -> u32 {
    u32::try_from(time_us.div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let rate = Rate::new(20, 40);
        let mut bucket = Bucket::full();
        for _ in 0..40 {
            assert_eq!(bucket.take(rate, 1_000_000), Ok(()));
        }
        assert_eq!(bucket.take(rate, 1_000_000), Err(50));
        assert_eq!(bucket.take(rate, 1_049_999), Err(1));
        assert_eq!(bucket.take(rate, 1_050_000), Ok(()));
        assert_eq!(bucket.take(rate, 1_050_000), Err(50));
    }

    #[test]
    fn the_time_told_is_the_time_that_is_enough() {
        let rate = Rate::new(7, 3);
        let mut bucket = Bucket::full();
        let mut now_us = 5;
        for _ in 0..100 {
            if let Err(retry_after_ms) = bucket.take(rate, now_us) {
                now_us += u64::from(retry_after_ms) * 1_000;
                assert_eq!(bucket.take(rate, now_us), Ok(()));
            }
        }
        assert!(!bucket.is_full(now_us) && bucket.is_full(now_us + 3_000_000));
    }
}
