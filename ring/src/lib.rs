//! The kernel's rings made safe: setup, direct descriptors, typed submission and completion, buffer pools, mailboxes,
//! timers, pinning. The only crate with `unsafe`. Knows nothing of what the bytes say.

pub mod allocation;
pub mod clock;
pub mod cpu;
pub mod dial;
mod event;
pub mod limit;
pub mod listener;
pub mod mailbox;
pub mod operation;
pub mod packet;
pub mod pages;
pub mod probe;
pub mod random;
mod ring;
pub mod setup;
pub mod signal;
pub mod spare;
pub mod token;
pub mod waker;

pub use crate::ring::{Counters, Ring, Settings, Turn};
