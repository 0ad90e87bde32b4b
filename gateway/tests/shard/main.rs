//! The promises of the gateway shard, one file each, driven through its two enums alone.

mod ahead;
mod chaos;
mod closing;
mod cluster;
mod delivery;
mod fleet;
mod moves;
mod owner;
mod pressure;
mod rejoin;
mod requests;
mod session;
mod slow;
mod splits;
mod upgrade;
mod wire;
mod world;
