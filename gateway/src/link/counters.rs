//! Counters: what the links of a core have done, as plain numbers that its loop publishes. Nothing here is read by a link.

use super::Reason;

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Envelopes to router shards.
    pub to_router: u64,
    /// Envelopes to gateway shards, publishes among them.
    pub to_gateway: u64,
    /// Publishes among those.
    pub publishes: u64,
    /// Frames of the links themselves: handshakes, pings, tables, routings.
    pub control: u64,
    /// Pings among those.
    pub pings: u64,
    /// Tables among those.
    pub tables: u64,
}

impl Traffic {
    /// Frames: each has one envelope, or is one of the links' own.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.to_router + self.to_gateway + self.control
    }
}

/// Everything counted since the core began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What was read, as far as frames are whole.
    pub incoming: Traffic,
    /// What was written; bytes once the kernel took them.
    pub outgoing: Traffic,
    /// Handshakes that came to their end well.
    pub ready: u64,
    /// Gathers given to the kernel, continued ones each time.
    pub sends: u64,
    /// Envelopes given back to their senders since too much was unsent.
    pub full: u64,
    /// Envelopes given back since they do not fit a frame.
    pub too_large: u64,
    /// Times that an owner paused a link.
    pub pauses: u64,
    /// Handshakes that came to nothing, by the reason's number.
    pub(crate) refused: [u64; Reason::COUNT],
    /// Links that ended after that, by the reason's number.
    pub(crate) ended: [u64; Reason::COUNT],
}

impl Counters {
    pub(super) const fn count_end(&mut self, was_ready: bool, reason: Reason) {
        if was_ready {
            self.ended[reason.number()] += 1;
        } else {
            self.refused[reason.number()] += 1;
        }
    }

    /// Handshakes that came to nothing, by the reason's name.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Reason::NAMES.into_iter().zip(self.refused.iter().copied())
    }

    /// Links that were ready and ended, by the reason's name.
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Reason::NAMES.into_iter().zip(self.ended.iter().copied())
    }
}
