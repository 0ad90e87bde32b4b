//! A fleet: a cluster of a hundred nodes in calm weather, where what CAPACITY says of clusters is measured: what links carry for
//! a message and a session, and what follows when a node is lost, added or drained. The checker judges as in every run.
//!
//! Not here: random faults, which are `run`'s; and anything about time that is not virtual.

mod driver;
mod ledger;
mod losses;
mod rooms;
mod settings;
mod steady;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::driver::Fleet;
pub use self::ledger::Ledger;
pub use self::settings::{CLIENTS_A_GATEWAY_NODE_MIN, FleetSettings, LINKS_MAX, Unfit};
use crate::checker::Violation;
use crate::run::{last_look, words};

/// What a run of a fleet was like.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetReport {
    /// What was measured, and what CAPACITY says of it.
    pub ledger: Ledger,
    /// Hash of all operations: the same for the same settings.
    pub hash: u64,
    /// Virtual time at its end, microseconds.
    pub virtual_us: u64,
    /// Events that happened.
    pub events: u64,
}

/// Runs a fleet to its end; `progress` is told what it does.
///
/// # Errors
/// Which promise was broken, in words, or why such a fleet can't be run.
///
/// # Panics
/// When a setting is outside its bounds.
pub fn run_fleet(settings: FleetSettings, progress: &mut dyn FnMut(&str)) -> Result<FleetReport, String> {
    settings.check().map_err(|unfit| unfit.to_string())?;
    let verdict = catch_unwind(AssertUnwindSafe(|| run_checked(settings, progress)));
    match verdict {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(violation)) => Err(violation.to_string()),
        Err(panic) => Err(words(&*panic)),
    }
}

/// What a fleet does next, in words and in deed.
type Step = (&'static str, fn(&mut Fleet) -> Result<(), Violation>);

fn run_checked(settings: FleetSettings, progress: &mut dyn FnMut(&str)) -> Result<FleetReport, Violation> {
    let mut fleet = Fleet::new(settings);
    let steps: [Step; 12] = [
        ("nodes start and find one another", Fleet::start),
        ("rooms are created", Fleet::create_rooms),
        ("nobody is there", Fleet::idle),
        ("clients come", Fleet::welcome),
        ("clients talk", Fleet::talk),
        ("a router node is killed", Fleet::kill_router),
        ("it is added again", Fleet::add_router),
        ("a router node is drained, and not any more", Fleet::drain_router),
        ("a router node is told to stop, and comes back", Fleet::stop_router),
        ("a gateway node is lost, and comes back", Fleet::lose_gateway),
        ("a gateway node is told to stop", Fleet::stop_gateway),
        ("clients leave", Fleet::leave),
    ];
    for (name, step) in steps {
        progress(name);
        step(&mut fleet)?;
    }
    last_look(&mut fleet.cluster)?;
    let (world, ledger) = (&fleet.cluster.world, fleet.ledger);
    Ok(FleetReport { ledger, hash: world.hash(), virtual_us: world.now_us(), events: fleet.events })
}
