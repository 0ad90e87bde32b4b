//! The store: one key layout and its transactions over a small ordered transactional key-value interface, the engines
//! behind it, and the thread that drives them.
//!
//! Knows nothing of connections or nodes.

pub mod kv;
pub mod request;
