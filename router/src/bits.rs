//! A set of small numbers, a bit each: slots, or places of a table.

/// Some numbers below a bound.
#[derive(Debug)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// None of the numbers below `bound`.
    pub(crate) fn below(bound: usize) -> Self {
        Self { words: vec![0; bound.div_ceil(64)] }
    }

    /// Takes a number in.
    pub(crate) fn insert(&mut self, number: usize) {
        self.words[number / 64] |= 1 << (number % 64);
    }

    /// True when the number is in it.
    pub(crate) fn contains(&self, number: usize) -> bool {
        self.words.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// How many are in it.
    pub(crate) fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_in_and_nothing_else() {
        let mut bits = Bits::below(130);
        let some = [0, 63, 64, 129];
        some.iter().for_each(|&number| bits.insert(number));
        assert_eq!((0..200).filter(|&number| bits.contains(number)).collect::<Vec<_>>(), some);
        assert_eq!(bits.len(), 4);
    }
}
