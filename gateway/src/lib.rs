//! The gateway: the shard that holds connections and rooms, the links to other nodes (both pure), and the event loop that is
//! the only thing between them and the kernel; around them the configuration, the command line and the life of a whole
//! server.

pub mod auth;
pub mod command;
pub mod config;
pub mod core;
pub mod credentials;
pub mod host;
pub mod link;
pub mod log;
pub mod secret;
pub mod serve;
pub mod shard;
