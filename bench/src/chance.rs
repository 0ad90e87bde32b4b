//! Chance from a seed (SplitMix64): the same seed, the same run.

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Numbers of a seed. Seeds that differ in any way give numbers that have nothing in common.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }

    /// A number from 0 up to, but not, `bound`; 0 for no bound.
    pub const fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiplication; its bias is below 2^-32 for bounds below 2^32.
        ((self.number() as u128 * bound as u128) >> 64) as u64
    }

    /// A number from 0 up to, but not, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A number that depends on every bit of another.
#[must_use]
pub const fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_from_the_seed_and_stay_in_their_bounds() {
        let run = |seed| {
            let mut chance = Chance::new(seed);
            (0..1_000).map(|_| chance.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        for number in 0..10 {
            let times = run(3).iter().filter(|drawn| **drawn == number).count();
            assert!((60..140).contains(&times), "{number} was drawn {times} times");
        }
        let mut chance = Chance::new(4);
        assert!((0..1_000).map(|_| chance.fraction()).all(|fraction| (0.0..1.0).contains(&fraction)));
        assert_eq!(chance.below(0), 0);
    }
}
