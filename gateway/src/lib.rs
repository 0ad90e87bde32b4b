//! The gateway: the shard that holds connections and rooms (pure), and the event loop that is the only thing between
//! it and the kernel; around them the configuration, the command line and the life of a whole server.

pub mod auth;
pub mod command;
pub mod config;
pub mod core;
pub mod credentials;
pub mod host;
pub mod log;
pub mod secret;
pub mod serve;
pub mod shard;
