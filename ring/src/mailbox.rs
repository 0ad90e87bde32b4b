//! Mailboxes: bounded queues into one core from all others, with one wake a batch. Knows no lanes and no envelopes:
//! how far an item may fill the queue is a number that comes with it.
//!
//! An empty mailbox holds no memory for its items: they come in blocks of 31, for a node may have hundreds of mailboxes
//! of which few are ever full. That costs some tens of nanoseconds an item of 440 bytes.

use std::sync::Arc;

use crossbeam_queue::SegQueue;

use crate::waker::Waker;

/// A bounded queue with many senders and one receiver. Its clones are the same queue.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Arc<SegQueue<T>>,
    items_max: usize,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), items_max: self.items_max }
    }
}

impl<T> Mailbox<T> {
    /// A mailbox for at most `items_max` items.
    ///
    /// # Panics
    /// `items_max` is 0.
    #[must_use]
    pub fn new(items_max: usize) -> Self {
        assert!(items_max > 0, "a mailbox has room for something");
        Self { queue: Arc::new(SegQueue::new()), items_max }
    }

    /// Puts an item at the end, and wakes nobody: see [`Sender::flush`].
    ///
    /// # Errors
    /// Gives the item back if there are `fill_max` or more already, or the mailbox is full. Senders that push at the
    /// same moment may pass either bound by one item each.
    pub fn push(&self, item: T, fill_max: usize) -> Result<(), T> {
        if self.queue.len() >= fill_max.min(self.items_max) {
            return Err(item);
        }
        self.queue.push(item);
        Ok(())
    }

    /// Takes the oldest item.
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Items waiting, as of some moment during the call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Most items it holds.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.items_max
    }

    /// A sender that wakes the mailbox's receiver through `waker`.
    #[must_use]
    pub fn sender(&self, waker: Waker) -> Sender<T> {
        Sender { mailbox: self.clone(), waker, pushed: false }
    }
}

/// One sender's end of a mailbox: it knows whether it owes the receiver a wake.
#[derive(Clone, Debug)]
pub struct Sender<T> {
    mailbox: Mailbox<T>,
    waker: Waker,
    pushed: bool,
}

impl<T> Sender<T> {
    /// Puts an item at the end. The receiver may sleep on until [`Sender::flush`].
    ///
    /// # Errors
    /// Gives the item back, as [`Mailbox::push`] does.
    pub fn push(&mut self, item: T, fill_max: usize) -> Result<(), T> {
        self.mailbox.push(item, fill_max)?;
        self.pushed = true;
        Ok(())
    }

    /// Wakes the receiver if it sleeps and something was pushed since the last flush: once a batch.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.pushed) {
            self.waker.wake();
        }
    }

    /// Wakes the receiver if it sleeps, whatever is in the mailbox.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// The mailbox, to ask its length and bound.
    #[must_use]
    pub fn mailbox(&self) -> &Mailbox<T> {
        &self.mailbox
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.flush();
    }
}
