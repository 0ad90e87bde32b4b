//! The gateway: the shard that holds connections and rooms (pure), and the event loop that is the only thing between
//! it and the kernel.

pub mod auth;
pub mod config;
pub mod shard;
