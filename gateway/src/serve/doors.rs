//! The doors of a node: the listening sockets of each core, bound before anything else, so that a wrong address is an error
//! at once.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use ring::listener::{Listener, ListenerSettings};
use ring::setup::SetupError;

use super::error::ServeError;
use super::role::{Membership, Role};
use super::settings;
use crate::config::Config;

/// How long an address may be in use before that is an error.
const BIND_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is tried meanwhile.
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// Where a node listens, with the real ports.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Addresses {
    /// Clients.
    pub(super) client: Option<SocketAddr>,
    /// Echoes for tests.
    pub(super) echo: Option<SocketAddr>,
    /// Links of other nodes.
    pub(super) link: Option<SocketAddr>,
}

/// The listening sockets of each core, in the order of [`settings::listeners`]; that for links is the last.
pub(super) struct Doors {
    /// Where they listen.
    pub(super) addresses: Addresses,
    /// By core.
    pub(super) listeners: Vec<Vec<Listener>>,
}

impl Doors {
    /// Binds everything.
    ///
    /// # Errors
    /// An address can't be bound.
    pub(super) fn open(
        config: &Config,
        role: Role,
        membership: Option<&Membership>,
        shards: u16,
        cpus: &[usize],
    ) -> Result<Self, ServeError> {
        let mut doors =
            Self { addresses: Addresses::default(), listeners: (0..shards).map(|_| Vec::new()).collect() };
        if role.has_clients() {
            let clients = settings::listener(config);
            let steers = config.listen.steer_by_cpu && settings::pins(config, shards, cpus.len());
            let steered = steers.then_some(cpus);
            doors.addresses.client = Some(doors.add(config.listen.client, clients, steered)?);
            if let Some(echo) = config.debug.echo {
                doors.addresses.echo = Some(doors.add(echo, clients, steered)?);
            }
        }
        if let Some(listen) = membership.and_then(|membership| membership.listen) {
            doors.addresses.link = Some(doors.add(listen, ListenerSettings::default(), None)?);
        }
        Ok(doors)
    }

    /// A listening socket of this address for each core.
    fn add(
        &mut self,
        address: SocketAddr,
        listening: ListenerSettings,
        cpus: Option<&[usize]>,
    ) -> Result<SocketAddr, ServeError> {
        let listeners = bind(address, self.listeners.len(), listening)?;
        if let Some(cpus) = cpus {
            let steered = Listener::steer(&listeners, cpus);
            steered.map_err(|error| ServeError::System("listen.steer_by_cpu", error))?;
        }
        let bound = listeners[0].address();
        for (core, listener) in self.listeners.iter_mut().zip(listeners) {
            core.push(listener);
        }
        Ok(bound)
    }
}

/// Binds an address. Whoever follows a killed server finds its port taken for a moment: the kernel ends the requests
/// of a ring, and so its listening sockets, a little after the process.
fn bind(address: SocketAddr, count: usize, listening: ListenerSettings) -> Result<Vec<Listener>, ServeError> {
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match Listener::bind(address, count, listening) {
            Err(SetupError::AddressInUse { .. }) if Instant::now() < deadline => thread::sleep(BIND_PAUSE),
            result => return Ok(result?),
        }
    }
}
