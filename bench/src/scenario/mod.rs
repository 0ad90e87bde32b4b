//! The scenarios: one a file, each a population, a script for the swarm, and what is measured of it.

mod away;
pub mod broadcast;
pub mod durable;
pub mod fanout;
mod gathering;
pub mod history;
pub mod idle;
pub mod moves;
mod population;
pub mod rooms;
pub mod slow;
pub mod storm;

use std::time::Duration;

pub use self::population::Population;

/// How often a scenario looks at what it waits for.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a server may take to close what its clients have left.
const SETTLING: Duration = Duration::from_secs(60);
