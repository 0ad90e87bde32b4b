//! The life of a node's cores, as its main thread directs it and as they report: running, draining, stopping, and that
//! they still turn.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// What all cores are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Serve.
    Running = 0,
    /// Send every client away; go on storing and answering.
    Draining = 1,
    /// End as soon as nothing is under way.
    Stopping = 2,
}

/// One for all cores.
#[derive(Debug)]
pub struct Direction {
    phase: AtomicU8,
    drained: Vec<AtomicBool>,
    /// A core found that the process must stop.
    gave_up: AtomicBool,
    /// Signs of life of each core; the count wraps, for only its changes say anything.
    beats: Vec<AtomicU32>,
}

impl Direction {
    /// For `cores` cores, running.
    #[must_use]
    pub fn new(cores: u16) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Running as u8),
            drained: (0..cores).map(|_| AtomicBool::new(false)).collect(),
            gave_up: AtomicBool::new(false),
            beats: (0..cores).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// What all cores are to do; seen at a core's next turn, so wake it.
    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// What all cores are to do.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// True when no core holds a connection any more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drained.iter().all(|drained| drained.load(Ordering::Acquire))
    }

    /// The process must stop, and say that it failed.
    pub fn give_up(&self) {
        self.gave_up.store(true, Ordering::Release);
    }

    /// True when the process must stop.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        self.gave_up.load(Ordering::Acquire)
    }

    /// How often each core has said that it lives: about once a second.
    pub fn beats(&self) -> impl Iterator<Item = u32> {
        self.beats.iter().map(|beat| beat.load(Ordering::Relaxed))
    }

    pub(super) fn report_alive(&self, core: u16) {
        self.beats[usize::from(core)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn report_drained(&self, core: u16) {
        self.drained[usize::from(core)].store(true, Ordering::Release);
    }
}
