//! Whole clusters in one thread on virtual time, from a seed: gateway shards, router shards, clients, a store and the
//! API, driven through their plain enums by a kernel, a store and a clock that are not real.
//!
//! Not needed to build or run the product. Judges by PROTOCOL alone: section 3, and who may send and see.

mod asked;
mod checker;
mod client;
mod cluster;
mod coverage;
mod crowd;
mod desk;
mod disaster;
mod fleet;
mod kernel;
mod mailbox;
mod node;
mod office;
mod random;
mod run;
pub mod seeds;
mod store;
mod tier;
mod told;
mod town;
mod weather;
mod world;

pub use coverage::{Coverage, Mark};
pub use fleet::{
    CLIENTS_A_GATEWAY_NODE_MIN, FleetReport, FleetSettings, LINKS_MAX, Ledger, Unfit, run_fleet,
};
pub use run::{Failure, Report, run, run_alone, run_doctored};
pub use tier::Doctor;
