//! A simulated mailbox: bounded, in order, with lanes, and full at times when it is not.

use std::collections::VecDeque;

use protocol::envelope::Lane;

/// Envelopes on their way to one shard.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    envelopes: VecDeque<T>,
    capacity: usize,
}

impl<T> Mailbox<T> {
    /// An empty mailbox for so many envelopes (≥ 4, so that each lane has room).
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(capacity >= 4);
        Self { envelopes: VecDeque::new(), capacity }
    }

    /// Puts an envelope in, or gives it back when its lane is full.
    pub(crate) fn push(&mut self, lane: Lane, envelope: T) -> Result<(), T> {
        if self.envelopes.len() >= lane.fill_max(self.capacity) {
            return Err(envelope);
        }
        self.envelopes.push_back(envelope);
        Ok(())
    }

    /// Takes the oldest out.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.envelopes.pop_front()
    }

    /// Envelopes in it.
    pub(crate) fn len(&self) -> usize {
        self.envelopes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_fills_its_share_and_no_more() {
        for (lane, share) in [(Lane::Ephemeral, 4), (Lane::Publish, 6), (Lane::Required, 8)] {
            let mut mailbox = Mailbox::new(8);
            let taken = (0..20).take_while(|number| mailbox.push(lane, *number).is_ok()).count();
            assert_eq!(taken, share);
            assert_eq!(mailbox.push(lane, 99), Err(99));
        }
    }
}
