//! Drain: the server stops. Every client is told, and the closes are spread over time, so that not all come back to the
//! next node at once.

use std::collections::HashSet;

use protocol::error::CloseCode;
use protocol::frame::ServerFrame;

use super::GatewayShard;
use super::connection::State;
use super::wheel::{tick_of, ticks};

/// Connections closed at least a step: few of them need no spreading.
const CLOSES_MIN: u32 = 64;
/// Milliseconds between two steps.
const STEP_MS: u64 = 100;
/// Milliseconds that a client waits at least before it connects again.
const RECONNECT_MS_MIN: u32 = 500;

/// Milliseconds left for the request of a client that has just connected.
const UPGRADE_MS: u32 = 1_000;

const REASON: &str = "the server stops";

/// How far a drain has come.
#[derive(Debug)]
pub(super) struct Drain {
    /// Slots below this one were told.
    cursor: u32,
    /// Slots of one step.
    stride: u32,
    next_ms: u64,
    drain_ms: u32,
    /// Slots of connections that came later. They are turned away, and would hold up the drain for as long as
    /// clients try.
    late: HashSet<u32>,
}

impl Drain {
    /// Milliseconds told to a client that connects now.
    pub(super) const fn retry_after_ms(&self) -> u32 {
        if self.drain_ms > RECONNECT_MS_MIN { self.drain_ms } else { RECONNECT_MS_MIN }
    }
}

impl GatewayShard {
    pub(super) fn begin_drain(&mut self) {
        if self.drain.is_some() {
            return;
        }
        let steps = (u64::from(self.settings.drain_ms) / STEP_MS).max(1);
        let stride = (u64::from(self.slab.end()).div_ceil(steps)) as u32;
        self.drain = Some(Drain {
            cursor: 0,
            stride: stride.max(1),
            next_ms: self.now.monotonic_ms,
            drain_ms: self.settings.drain_ms,
            late: HashSet::new(),
        });
        self.continue_drain();
    }

    /// A connection begins: it does not hold up a drain that has begun before.
    pub(super) fn came(&mut self, slot: u32) {
        if let Some(drain) = &mut self.drain {
            drain.late.insert(slot);
        }
    }

    /// A connection is closed.
    pub(super) fn went(&mut self, slot: u32) {
        if let Some(drain) = &mut self.drain {
            drain.late.remove(&slot);
        }
    }

    /// True after [`Completion::Drain`](super::Completion::Drain) once every connection of before it is closed and
    /// every envelope is handed over, and the API has what it asked for. Connections that came later may still be open: they were turned away.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let only_late = |drain: &Drain| drain.late.len() == self.slab.occupied() as usize;
        self.drain.as_ref().is_some_and(only_late)
            && self.owners.are_empty()
            && self.cluster.as_ref().is_none_or(|cluster| cluster.is_drained())
    }

    /// When the next clients are to be told.
    pub(super) fn drain_ms(&self) -> Option<u64> {
        self.drain.as_ref().filter(|drain| drain.cursor < self.slab.end()).map(|drain| drain.next_ms)
    }

    pub(super) fn continue_drain(&mut self) {
        let end = self.slab.end();
        while let Some(drain) = &mut self.drain
            && drain.cursor < end
            && drain.next_ms <= self.now.monotonic_ms
        {
            let until = drain.cursor.saturating_add(drain.stride).min(end);
            drain.next_ms += STEP_MS;
            let mut cursor = drain.cursor;
            let mut closed = 0;
            while cursor < end && (cursor < until || closed < CLOSES_MIN) {
                closed += u32::from(self.tell(cursor));
                cursor += 1;
            }
            if let Some(drain) = &mut self.drain {
                drain.cursor = cursor;
            }
        }
    }

    /// Tells one client and closes it; true when there was one.
    fn tell(&mut self, slot: u32) -> bool {
        match self.slab[slot].state {
            State::Free | State::Closing | State::Closed => false,
            State::Upgrading => {
                // Its request is answered with 503 if it comes now.
                let tick = tick_of(self.now.monotonic_ms) + ticks(UPGRADE_MS);
                self.slab[slot].state_tick = tick;
                self.rearm_timer(slot);
                true
            }
            State::Echo => {
                self.close(slot, CloseCode::GOING_AWAY, REASON);
                true
            }
            State::AwaitHello | State::Opening | State::Open => {
                let spread_ms = self.settings.drain_ms.max(RECONNECT_MS_MIN);
                let reconnect_after_ms = RECONNECT_MS_MIN + self.random.below(spread_ms);
                self.answer(slot, &ServerFrame::Goaway { reason: REASON, reconnect_after_ms });
                self.close(slot, CloseCode::DRAINING, REASON);
                true
            }
        }
    }
}
