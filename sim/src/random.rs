//! The one source of chance of a run: xoshiro256++ seeded through splitmix64 (Blackman and Vigna, prng.di.unimi.it).
//!
//! Not for secrets.

/// A deterministic generator: the same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

/// How often something happens, in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chance(pub(crate) u32);

impl Chance {
    /// Never.
    pub(crate) const NEVER: Self = Self(0);
    const ALWAYS: u32 = 10_000;
}

/// An inclusive range to draw a delay, a size or a count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Smallest.
    pub(crate) low: u64,
    /// Largest, not below `low`.
    pub(crate) high: u64,
}

impl Span {
    /// From `low` to `high`, both included.
    pub(crate) const fn new(low: u64, high: u64) -> Self {
        assert!(low <= high);
        Self { low, high }
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Random {
    /// A generator of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut mixer = seed;
        Self { state: std::array::from_fn(|_| splitmix64(&mut mixer)) }
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        let state = &mut self.state;
        let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// A number below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0);
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// An index of a list of `length` entries, at least 1.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number of a range.
    pub(crate) fn within(&mut self, span: Span) -> u64 {
        span.low + self.below(span.high - span.low + 1)
    }

    /// Whether something of this chance happens now.
    pub(crate) fn happens(&mut self, chance: Chance) -> bool {
        chance != Chance::NEVER && self.below(u64::from(Chance::ALWAYS)) < u64::from(chance.0)
    }

    /// A coin.
    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// One of a list that is not empty.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// A chance between two, or never at all in half of the draws: a fault that is always there hides others.
    pub(crate) fn draw_chance(&mut self, low: u32, high: u32) -> Chance {
        if self.coin() {
            return Chance::NEVER;
        }
        Chance(self.within(Span::new(u64::from(low), u64::from(high))) as u32)
    }

    /// A range whose upper end lies anywhere between `low` and `ceiling`, small ones as often as large ones.
    pub(crate) fn draw_span(&mut self, low: u64, ceiling: u64) -> Span {
        let doublings = (ceiling / low.max(1)).max(1).ilog2();
        let high = low.max(1) << self.below(u64::from(doublings) + 1);
        Span::new(low, high.clamp(low, ceiling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.below(10), random.within(Span::new(5, 9))]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn ranges_hold_both_ends_and_nothing_else() {
        let mut random = Random::new(1);
        let drawn: std::collections::BTreeSet<u64> =
            (0..1_000).map(|_| random.within(Span::new(3, 5))).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
