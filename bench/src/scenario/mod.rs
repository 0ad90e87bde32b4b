//! The scenarios: one a file, each a population, a script for the swarm, and what is measured of it.

pub mod durable;
pub mod fanout;
pub mod history;
pub mod idle;
pub mod rooms;
pub mod slow;
pub mod storm;
