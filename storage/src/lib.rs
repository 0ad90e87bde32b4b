//! The store: one key layout and its transactions over a small ordered transactional key-value interface, the engines
//! behind it, and the thread that drives them.
//!
//! Knows nothing of connections, and of nodes only the leases and the placement table that they keep here.

pub mod content;
pub mod damage;
pub mod driver;
pub mod engine;
pub mod fault;
pub mod key;
pub mod kv;
pub mod migrate;
pub mod request;
mod run;
pub mod setback;
pub mod transaction;
pub mod value;
pub mod verify;

pub use run::{claim, leases, run};
