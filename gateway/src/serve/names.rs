//! The names of `cluster.routers`: looked up before there are cores, and again by a thread of their own whenever a router node
//! is not reached, since a name may have another address by then, or one at last.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::error::ServeError;
use crate::core::{Exchange, Seeds};
use crate::log::Logger;

/// Least time between two looks; it doubles while a name has no address.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time between two looks while a name has no address.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A name, and what it was the last time that it could be looked up.
#[derive(Clone, Debug)]
struct Name {
    host_and_port: String,
    /// All of them: whichever answers is the node's.
    addresses: Vec<SocketAddr>,
    /// It could not be looked up the last time.
    is_lost: bool,
}

/// All names of a node.
#[derive(Clone, Debug)]
pub(super) struct Names {
    names: Vec<Name>,
    logger: Logger,
}

impl Names {
    /// These `host:port`, looked up. One without an address is no error: it may get one.
    pub(super) fn of(routers: &[String], logger: &Logger) -> Self {
        let name =
            |router: &String| Name { host_and_port: router.clone(), addresses: Vec::new(), is_lost: false };
        let mut names = Self { names: routers.iter().map(name).collect(), logger: logger.clone() };
        names.look_up();
        names
    }

    /// The addresses of all names, in the order of the configuration.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.names.iter().flat_map(|name| name.addresses.iter().copied()).collect()
    }

    /// Looks them up again for as long as the process lives, whenever the cores doubt what is in `seeds`. Addresses that are no
    /// names need no thread.
    pub(super) fn keep(mut self, seeds: Arc<Seeds>, exchange: Exchange) -> Result<(), ServeError> {
        if self.names.iter().all(|name| name.host_and_port.parse::<SocketAddr>().is_ok()) {
            return Ok(());
        }
        let mut pause = PAUSE;
        let keep = move || {
            loop {
                thread::sleep(pause);
                let is_lost = self.names.iter().any(|name| name.is_lost);
                pause = if is_lost { (2 * pause).min(PAUSE_MAX) } else { PAUSE };
                if !is_lost {
                    seeds.wait_for_doubt();
                }
                self.look_up();
                if seeds.replace(self.addresses()) {
                    exchange.wake_all();
                }
            }
        };
        let spawned = thread::Builder::new().name("names".into()).spawn(keep);
        spawned.map(drop).map_err(|error| ServeError::System("a thread to look names up", error))
    }

    /// What can't be looked up keeps the addresses that it had.
    fn look_up(&mut self) {
        for name in &mut self.names {
            let found = look_up(&name.host_and_port);
            let was_lost = std::mem::replace(&mut name.is_lost, found.is_err());
            match found {
                Ok(addresses) => name.addresses = addresses,
                Err(error) if !was_lost => {
                    let fields: crate::log::Fields<'_> = &[("name", &name.host_and_port), ("error", &error)];
                    self.logger.warn("a name of cluster.routers can't be looked up; trying on", fields);
                }
                Err(_) => {}
            }
        }
    }
}

/// The addresses of a `host:port`, in an order of their own.
pub(crate) fn look_up(router: &str) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = router.to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    // Servers of names turn them round with each answer, which is no change.
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Format, Level};
    use crate::log;

    #[test]
    fn a_name_without_an_address_is_looked_up_again_and_one_that_is_lost_keeps_its_own() {
        let (logger, _thread) = log::start(Level::Error, Format::Text).unwrap();
        let routers = ["localhost:8802", "no-such-host.invalid:1", "127.0.0.2:1"].map(String::from);
        let mut names = Names::of(&routers, &logger);
        let addresses = names.addresses();
        assert!(addresses[0].ip().is_loopback() && addresses[0].port() == 8802);
        assert_eq!(addresses.last().copied(), "127.0.0.2:1".parse().ok());
        assert_eq!([0, 1, 2].map(|name| names.names[name].is_lost), [false, true, false]);
        names.names[1].host_and_port = "127.0.0.3:1".into();
        names.names[2].host_and_port = "no-such-host.invalid:1".into();
        names.look_up();
        let tail: Vec<SocketAddr> = ["127.0.0.3:1", "127.0.0.2:1"].map(|text| text.parse().unwrap()).into();
        assert!(names.addresses().ends_with(&tail));
        assert_eq!([0, 1, 2].map(|name| names.names[name].is_lost), [false, false, true]);
    }
}
