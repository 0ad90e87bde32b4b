//! Ports to listen on that no client of this host takes: outside of `net.ipv4.ip_local_port_range`, or a storm's own
//! source ports would take them before a restart does.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

use super::ServerError;

/// Ports below need a right, or are somebody's.
const PORT_MIN: u16 = 10_000;

/// How often a port is tried.
const TRIES_MAX: u32 = 1_000;

/// Steps from port to port: a prime, so that runs that begin at the same time part.
const STEP: u32 = 7_919;

/// A free port of `ip` outside of the range of clients' ports. Whoever is first takes it: nobody holds it meanwhile.
///
/// # Errors
/// [`ServerError::NoPort`].
pub(crate) fn free(ip: IpAddr) -> Result<SocketAddr, ServerError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let taken = ring::probe::probe().local_ports.map_or(32_768..=60_999, |(low, high)| low..=high);
    for _ in 0..TRIES_MAX {
        let number = std::process::id().wrapping_add(NEXT.fetch_add(STEP, Ordering::Relaxed));
        let Some(port) = outside(&taken, number) else { break };
        let address = SocketAddr::new(ip, port);
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(ServerError::NoPort)
}

/// The port with this number among those outside of `taken`.
fn outside(taken: &RangeInclusive<u16>, number: u32) -> Option<u16> {
    let below = u32::from(taken.start().saturating_sub(PORT_MIN));
    let above = u32::from(u16::MAX - *taken.end());
    let number = number.checked_rem(below + above)?;
    let port = if number < below {
        u32::from(PORT_MIN) + number
    } else {
        u32::from(*taken.end()) + 1 + number - below
    };
    u16::try_from(port).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_port_outside_of_the_range() {
        for taken in [32_768..=60_999, 1_024..=60_999, 10_000..=65_534, 1..=10_000] {
            for number in 0..80_000 {
                let port = outside(&taken, number).unwrap();
                assert!(!taken.contains(&port) && port >= PORT_MIN, "{port} in {taken:?}");
            }
        }
    }

    #[test]
    fn a_range_over_everything_leaves_none() {
        assert_eq!(outside(&(1..=u16::MAX), 5), None);
    }

    #[test]
    fn two_free_ports_can_be_bound() {
        let [first, second] = [(); 2].map(|()| free(IpAddr::from([127, 0, 0, 1])).unwrap());
        assert_ne!(first, second);
        let _listeners = [first, second].map(|address| TcpListener::bind(address).unwrap());
    }
}
