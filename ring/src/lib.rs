//! The kernel's rings made safe: setup, direct descriptors, typed submission and completion, buffer pools, mailboxes,
//! timers, pinning. The only crate with `unsafe`. Knows nothing of what the bytes say.

pub mod operation;
pub mod packet;
pub mod token;
