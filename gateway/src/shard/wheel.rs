//! The timer wheel: one deadline a connection, linked through the records, so that arming allocates nothing and a
//! tick touches only what is due. What is due then is the shard's to find out.
//!
//! Traffic does not move a timer: it fires at the earliest time that something could be due, looks, and arms again.

use super::connection::NONE;
use super::slab::Slab;

/// Milliseconds of one tick.
pub(super) const TICK_MS: u64 = 100;
/// Ticks of one turn of the wheel; a later deadline is looked at once a turn.
const BUCKETS: usize = 1_024;
/// How many ticks ahead of the cursor a timer may lie. One less than there are buckets: a timer that is put off while
/// its bucket is looked at (`arm_later`) must not land in that very bucket.
const HORIZON: u32 = BUCKETS as u32 - 2;
/// The place of a timer that is in no bucket.
const NO_BUCKET: u16 = u16::MAX;

/// A connection's place in the wheel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    next: u32,
    previous: u32,
    tick: u32,
    bucket: u16,
}

impl Timer {
    pub(super) const IDLE: Self = Self { next: NONE, previous: NONE, tick: 0, bucket: NO_BUCKET };
}

/// The tick of a time, rounded down.
pub(super) const fn tick_of(monotonic_ms: u64) -> u32 {
    (monotonic_ms / TICK_MS) as u32
}

/// How many ticks after that of any moment at least so many milliseconds have passed since it: one more than cover
/// them, for the moment may have been at the very end of its tick.
pub(super) const fn ticks(milliseconds: u32) -> u32 {
    milliseconds.div_ceil(TICK_MS as u32) + 1
}

/// All deadlines of a shard.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32; BUCKETS]>,
    occupied: [u64; BUCKETS / 64],
    /// All ticks before this one were looked at.
    cursor: u32,
    armed: u32,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { heads: Box::new([NONE; BUCKETS]), occupied: [0; BUCKETS / 64], cursor: 0, armed: 0 }
    }

    /// Sets a connection's deadline in place of the one that it has.
    pub(super) fn arm(&mut self, slab: &mut Slab, slot: u32, tick: u32) {
        self.disarm(slab, slot);
        let horizon = self.cursor.saturating_add(HORIZON);
        let bucket = tick.clamp(self.cursor, horizon) as usize % BUCKETS;
        let head = self.heads[bucket];
        slab[slot].timer = Timer { next: head, previous: NONE, tick, bucket: bucket as u16 };
        if head != NONE {
            slab[head].timer.previous = slot;
        }
        self.heads[bucket] = slot;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        self.armed += 1;
    }

    /// Brings a connection's deadline forward; a later one than it has changes nothing.
    pub(super) fn arm_earlier(&mut self, slab: &mut Slab, slot: u32, tick: u32) {
        let timer = slab[slot].timer;
        if timer.bucket == NO_BUCKET || tick < timer.tick {
            self.arm(slab, slot, tick);
        }
    }

    /// Takes a connection's deadline away.
    pub(super) fn disarm(&mut self, slab: &mut Slab, slot: u32) {
        let timer = core::mem::replace(&mut slab[slot].timer, Timer::IDLE);
        if timer.bucket == NO_BUCKET {
            return;
        }
        if timer.next != NONE {
            slab[timer.next].timer.previous = timer.previous;
        }
        if timer.previous == NONE {
            self.set_head(usize::from(timer.bucket), timer.next);
        } else {
            slab[timer.previous].timer.next = timer.next;
        }
        self.armed -= 1;
    }

    fn set_head(&mut self, bucket: usize, slot: u32) {
        self.heads[bucket] = slot;
        if slot == NONE {
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
        }
    }

    /// Takes out one connection whose deadline is not after `now_tick`; `None` when all were.
    pub(super) fn expire(&mut self, slab: &mut Slab, now_tick: u32) -> Option<u32> {
        self.cursor = self.cursor.max(now_tick.saturating_sub(BUCKETS as u32 - 1));
        while self.cursor <= now_tick {
            let slot = self.heads[self.cursor as usize % BUCKETS];
            if slot == NONE {
                self.cursor += 1;
                continue;
            }
            let tick = slab[slot].timer.tick;
            self.disarm(slab, slot);
            if tick <= now_tick {
                return Some(slot);
            }
            // Armed for a later turn of the wheel: behind the cursor's bucket it is found again in time.
            self.arm_later(slab, slot, tick);
        }
        None
    }

    fn arm_later(&mut self, slab: &mut Slab, slot: u32, tick: u32) {
        self.cursor += 1;
        self.arm(slab, slot, tick);
        self.cursor -= 1;
    }

    /// The first tick at which [`Wheel::expire`] may find something; `None` when nothing is armed.
    pub(super) fn next_tick(&self) -> Option<u32> {
        if self.armed == 0 {
            return None;
        }
        let start = self.cursor as usize % BUCKETS;
        let words = self.occupied.len();
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let bucket = word * 64 + bits.trailing_zeros() as usize;
                return Some(self.cursor + ((bucket + BUCKETS - start) % BUCKETS) as u32);
            }
        }
        None
    }

    /// Asserts the links of every bucket.
    pub(super) fn invariants(&self, slab: &Slab) {
        let mut found = 0;
        for (bucket, &head) in self.heads.iter().enumerate() {
            assert_eq!(self.occupied[bucket / 64] >> (bucket % 64) & 1 == 1, head != NONE);
            let (mut slot, mut previous) = (head, NONE);
            while slot != NONE {
                let timer = slab[slot].timer;
                assert_eq!((usize::from(timer.bucket), timer.previous), (bucket, previous));
                (previous, slot) = (slot, timer.next);
                found += 1;
            }
        }
        assert_eq!(found, self.armed);
    }
}

#[cfg(test)]
mod tests {
    use ring::token::Token;

    use super::*;

    fn slab(slots: u32) -> Slab {
        let mut slab = Slab::new(slots);
        for slot in 0..slots {
            slab.occupy(Token { slot, generation: 1 });
        }
        slab
    }

    #[test]
    fn each_timer_expires_once_at_its_tick_and_not_before() {
        let deadlines = [0, 1, 5, 1_023, 1_024, 1_025, 2_047, 2_048, 5_000, 100_000];
        let mut slab = slab(deadlines.len() as u32);
        let mut wheel = Wheel::new();
        for (slot, &tick) in deadlines.iter().enumerate() {
            wheel.arm(&mut slab, slot as u32, tick);
        }
        let mut expired = Vec::new();
        for now in 0..=100_000 {
            let next = wheel.next_tick();
            while let Some(slot) = wheel.expire(&mut slab, now) {
                assert!(next.is_some_and(|next| next <= now), "the wheel had told a later time");
                expired.push((now, slot as usize));
            }
            if now % 997 == 0 {
                wheel.invariants(&slab);
            }
        }
        let expected: Vec<_> = deadlines.iter().enumerate().map(|(slot, &tick)| (tick, slot)).collect();
        assert_eq!(expired, expected);
        assert_eq!(wheel.next_tick(), None);
    }

    #[test]
    fn a_leap_of_the_clock_loses_nobody() {
        let mut slab = slab(3);
        let mut wheel = Wheel::new();
        for (slot, tick) in [(0, 7), (1, 900), (2, 70_000)] {
            wheel.arm(&mut slab, slot, tick);
        }
        let mut expired = Vec::new();
        while let Some(slot) = wheel.expire(&mut slab, 50_000) {
            expired.push(slot);
        }
        expired.sort_unstable();
        assert_eq!(expired, [0, 1]);
        assert_eq!(wheel.expire(&mut slab, 69_999), None);
        assert_eq!(wheel.expire(&mut slab, 70_000), Some(2));
    }

    #[test]
    fn a_timer_taken_out_or_moved_fires_no_more_at_its_old_time() {
        let mut slab = slab(3);
        let mut wheel = Wheel::new();
        for slot in 0..3 {
            wheel.arm(&mut slab, slot, 10);
        }
        wheel.disarm(&mut slab, 1);
        wheel.arm_earlier(&mut slab, 2, 20);
        wheel.arm_earlier(&mut slab, 0, 4);
        assert_eq!(wheel.expire(&mut slab, 4), Some(0));
        assert_eq!(wheel.expire(&mut slab, 9), None);
        assert_eq!(wheel.expire(&mut slab, 10), Some(2));
        assert_eq!(wheel.expire(&mut slab, 5_000), None);
        wheel.invariants(&slab);
    }
}
