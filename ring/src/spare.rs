//! Spare things, kept for whoever needs the next one. What was not needed for a while goes back to the allocator, so that a
//! storm leaves nothing behind that is as large as the storm.

/// So few are kept whether or not they are needed.
const KEPT_MIN: usize = 16;

/// Unused things; the last put in is the first taken, for it is warm.
#[derive(Debug)]
pub struct Spare<T> {
    items: Vec<T>,
    items_max: usize,
    /// The fewest there were since the last trim: so many were never needed.
    unneeded: usize,
}

impl<T> Spare<T> {
    /// Keeps at most `items_max`.
    #[must_use]
    pub const fn new(items_max: usize) -> Self {
        Self { items: Vec::new(), items_max, unneeded: 0 }
    }

    /// Takes one, when there is one.
    pub fn take(&mut self) -> Option<T> {
        let item = self.items.pop();
        self.unneeded = self.unneeded.min(self.items.len());
        item
    }

    /// Puts one in, or drops it when there are enough.
    pub fn put(&mut self, item: T) {
        if !self.is_full() {
            self.items.push(item);
        }
    }

    /// Whether there are as many as are kept.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.items.len() >= self.items_max
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Everything kept.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// Drops half of what nobody has needed since the last call, down to a few. To be called every few seconds.
    pub fn trim(&mut self) {
        let dropped = self.unneeded.div_ceil(2).min(self.items.len().saturating_sub(KEPT_MIN));
        if dropped > 0 {
            self.items.drain(..dropped);
            self.items.shrink_to(2 * self.items.len());
        }
        self.unneeded = self.items.len();
    }
}

#[cfg(test)]
mod tests {
    use super::Spare;

    #[test]
    fn what_is_needed_between_two_trims_stays_and_the_rest_goes() {
        let mut spare = Spare::new(100);
        for item in 0..200 {
            spare.put(item);
        }
        assert_eq!(spare.len(), 100);
        spare.trim();
        for _ in 0..20 {
            let taken: Vec<_> = (0..50).map(|_| spare.take().unwrap()).collect();
            taken.into_iter().for_each(|item| spare.put(item));
            spare.trim();
        }
        assert_eq!(spare.len(), 50);
        for _ in 0..10 {
            spare.trim();
        }
        assert_eq!(spare.len(), super::KEPT_MIN);
    }
}
