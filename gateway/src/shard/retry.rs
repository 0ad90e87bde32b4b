//! Retries: what the owner of a conversation could not do when it was asked, each at its time. What a client asked is
//! never here: the client is told, and tries again itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use protocol::id::ConversationKey;
use ring::token::Token;

use super::GatewayShard;
use super::connection::Flag;

/// Bounds of a retry's delay, in milliseconds.
const DELAY_MS_MIN: u32 = 100;
const DELAY_MS_MAX: u32 = 5_000;
/// Milliseconds when the owner named none.
const DELAY_MS_DEFAULT: u32 = 1_000;

/// What to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Retry {
    /// A room's pull.
    Room(ConversationKey),
    /// A lagging connection's pull: slot and generation.
    Pull(TokenBits),
    /// A connection's attach to a conversation, behind a seq.
    Attach(TokenBits, ConversationKey, u64),
    /// A session, of which its user's owner was to be told again.
    Session(TokenBits),
}

/// A token in an order, for the heap alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TokenBits(u64);

impl From<Token> for TokenBits {
    fn from(token: Token) -> Self {
        Self(token.to_bits())
    }
}

/// All retries, the next one first. At most one a room, one a connection, and one an attach or an announcement that was
/// refused.
#[derive(Debug, Default)]
pub(super) struct Retries {
    heap: BinaryHeap<Reverse<(u64, Retry)>>,
}

impl Retries {
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((due_ms, _))| *due_ms)
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<Retry> {
        self.next_ms().filter(|due_ms| *due_ms <= now_ms)?;
        self.heap.pop().map(|Reverse((_, retry))| retry)
    }
}

impl GatewayShard {
    pub(super) fn retry_after(&mut self, delay_ms: Option<u32>, retry: Retry) {
        let delay_ms = delay_ms.unwrap_or(DELAY_MS_DEFAULT).clamp(DELAY_MS_MIN, DELAY_MS_MAX);
        // Spread, so that all rooms do not ask an owner that has come back in the same moment.
        let delay_ms = delay_ms + self.random.below(delay_ms / 2);
        self.retries.heap.push(Reverse((self.now.monotonic_ms + u64::from(delay_ms), retry)));
    }

    pub(super) fn retry_due(&mut self) {
        while let Some(retry) = self.retries.pop_due(self.now.monotonic_ms) {
            match retry {
                Retry::Room(key) => self.retry_room(&key),
                Retry::Pull(token) => {
                    if let Some(slot) = self.slab.slot(Token::from_bits(token.0)) {
                        self.slab[slot].flags.clear(Flag::Pulling);
                        self.pump(slot);
                    }
                }
                Retry::Attach(token, key, after) => {
                    if let Some(slot) = self.slab.slot(Token::from_bits(token.0)) {
                        self.joined(slot, &key, after);
                    }
                }
                Retry::Session(token) => {
                    if let Some(slot) = self.slab.slot(Token::from_bits(token.0)) {
                        self.announce_session(slot);
                    }
                }
            }
        }
    }
}
