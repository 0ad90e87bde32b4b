//! What a keeper promises, one file a promise. The store is the real one, in memory; time is virtual.

mod command;
mod drain;
mod membership;
mod outage;
mod placement;
mod world;
