//! What every scenario of talkers takes on the command line.

use std::time::Duration;

use clap::Args;

use super::{Plan, Population};
use crate::options::Options;
use crate::report::Report;
use crate::schedule::Arrivals;

/// Options of every scenario in which clients talk.
#[derive(Args, Clone, Debug)]
pub struct TalkOptions {
    /// Bytes of a message's body, 16 or more
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub body_bytes: u32,
    /// Seconds before the measured part
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub warm_up: f64,
    /// Seconds of the measured part
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub time: f64,
}

impl TalkOptions {
    /// A plan for single messages at a constant distance, by nobody slow.
    #[must_use]
    pub fn plan(&self, population: Population, seed: u64) -> Plan {
        Plan {
            population,
            run: ring::clock::realtime_ms(),
            body_bytes: self.body_bytes as usize,
            burst: 1,
            arrivals: Arrivals::Constant,
            seed,
            slow: None,
            is_followed: false,
        }
    }

    /// Time before the measured part.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up.max(0.0))
    }

    /// Time of the measured part.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.time.max(0.0))
    }

    /// Puts the settings that every scenario of talkers has into the report.
    pub fn tell(&self, options: &Options, report: &mut Report) {
        report.setting("subprotocol", options.swarm.subprotocol.name());
        report.setting("engine", options.server.engine.name());
        report.setting("body_bytes", self.body_bytes);
        report.setting("seconds", self.time);
        report.setting("seed", options.seed);
    }
}
