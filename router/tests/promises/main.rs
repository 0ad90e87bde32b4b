//! What a router shard promises, one file a promise. The store is the real one, in memory.

mod bounds;
mod change;
mod chaos;
mod cluster;
mod dedup;
mod failure;
mod gone;
mod late;
mod listed;
mod mailbox;
mod moved;
mod moves;
mod order;
mod page;
mod presence;
mod receipt;
mod roles;
mod session;
mod slow;
mod together;
mod typing;
mod world;
