//! The promises of the gateway shard, one file each, driven through its two enums alone.

mod owner;
mod session;
mod wire;
mod world;
