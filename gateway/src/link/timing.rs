//! A link's times: how long a handshake may take, when to say that one is there, and when nobody is.

use protocol::link::Control;
use protocol::time::Now;

use super::common::Common;
use super::{Link, Reason, Stage};

/// Longest handshake, in milliseconds.
pub const HANDSHAKE_MS: u64 = 5_000;
/// An end that has sent nothing for so long sends a ping, in milliseconds.
pub const PING_MS: u64 = 1_000;
/// A peer that was not heard for so long is gone, in milliseconds: several pings may be late.
pub const SILENCE_MS: u64 = 4_000;

impl Link {
    /// When to call [`Link::tick`], in milliseconds of the monotonic clock; `None` once the link is over.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        match self.stage {
            Stage::Handshake(_) | Stage::Refusing(_) => Some(self.handshake_until_ms),
            Stage::Ready => self.ping_ms().into_iter().chain(self.silent_ms()).min(),
            Stage::Over(_) | Stage::Told => None,
        }
    }

    /// Time passed. Afterwards there may be something to send, or an event. Earlier than the deadline does no harm.
    pub fn tick(&mut self, now: Now, common: &mut Common) {
        let now_ms = now.monotonic_ms;
        let over = |due_ms: Option<u64>| due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        match self.stage {
            Stage::Handshake(_) if now_ms >= self.handshake_until_ms => self.end(common, Reason::Late),
            Stage::Refusing(reason) if now_ms >= self.handshake_until_ms => self.end(common, reason),
            Stage::Ready if over(self.silent_ms()) => self.end(common, Reason::Silent),
            Stage::Ready if over(self.ping_ms()) => {
                self.say(common, &Control::Ping);
                common.counters.outgoing.pings += 1;
            }
            _ => {}
        }
    }

    /// When a ping is due: never while something is unsent, which says as much as a ping.
    fn ping_ms(&self) -> Option<u64> {
        (self.outbox.unsent_bytes() == 0).then_some(self.spoke_ms + PING_MS)
    }

    /// When the peer is gone: never while it is this end that does not listen.
    fn silent_ms(&self) -> Option<u64> {
        (!self.paused).then_some(self.heard_ms + SILENCE_MS)
    }
}
