//! A process of the measured server: what it does, how it is asked, watched and stopped. Who starts it is the server's.

use core::fmt;
use std::process::Command;
use std::time::Duration;

use super::{Api, Child, Metrics, ServerError, Usage, cpu_of};

/// What a process of the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Everything, or nobody knows: `serve`, another server than Murmuring, one that was attached to.
    Whole,
    /// Clients' sockets and nothing that lasts.
    Gateway,
    /// Conversations, users and their store.
    Router,
}

impl Role {
    /// The subcommand that runs it.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Whole => "serve",
            Self::Gateway => "gateway",
            Self::Router => "router",
        }
    }

    /// What all nodes of the role are called together, in the names of figures.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Whole => "servers",
            Self::Gateway => "gateways",
            Self::Router => "routers",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.command())
    }
}

/// A process of the server, as far as it is known.
#[derive(Debug)]
pub(super) struct Node {
    /// Its name in the cluster; empty for a server of one process.
    name: String,
    role: Role,
    /// Its HTTP API: of a Murmuring alone.
    api: Option<Api>,
    pid: Option<u32>,
    child: Option<Child>,
}

impl Node {
    /// One that was started here.
    pub(super) fn started(name: String, role: Role, api: Option<Api>, child: Child) -> Self {
        Self { name, role, api, pid: Some(child.id()), child: Some(child) }
    }

    /// One that was there before.
    pub(super) fn attached(api: Option<Api>, pid: Option<u32>) -> Self {
        Self { name: String::new(), role: Role::Whole, api, pid, child: None }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn api(&self) -> Option<&Api> {
        self.api.as_ref()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// What it has used and holds; `None` when its process is not known.
    pub(super) fn usage(&self) -> Result<Option<Usage>, ServerError> {
        self.pid.map(Usage::of).transpose().map_err(|error| error.of_node(&self.name))
    }

    /// The same, CPU time alone.
    pub(super) fn cpu(&self) -> Result<Option<Duration>, ServerError> {
        self.pid.map(cpu_of).transpose().map_err(|error| error.of_node(&self.name))
    }

    /// What it says of itself; nothing where there is no API.
    pub(super) fn metrics(&self) -> Result<Metrics, ServerError> {
        let metrics = self.api.as_ref().map_or(Ok(Metrics::default()), Api::metrics);
        metrics.map_err(|error| error.of_node(&self.name))
    }

    /// Whether it still runs; always so for one that was attached to.
    pub(super) fn check(&mut self) -> Result<(), ServerError> {
        self.child.as_mut().map_or(Ok(()), Child::check).map_err(|error| error.of_node(&self.name))
    }

    /// Stops one that was started; leaves another alone.
    pub(super) fn stop(self, patience: Duration) -> Result<(), ServerError> {
        let stopped = self.child.map(|child| child.stop(patience)).transpose();
        stopped.map(drop).map_err(|error| error.of_node(&self.name))
    }
}

/// How a node of this role is run with a configuration.
pub(super) fn command(program: &std::path::Path, role: Role, file: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    command.arg(role.command()).arg("--config").arg(file);
    command
}
