//! Source addresses: where each ring dials from, so that no pair of source and target runs out of ports. Only for servers
//! on this host: 127.0.0.0/8 is all its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Addresses of a ring. The kernel looks for a free port of each (source, target) pair; the emptier its range, the sooner
/// it finds one.
const SOURCES_PER_RING: u32 = 4;
/// 127.0.x.y is left alone: it has the addresses that people use. Far more than rings there are.
const FIRST: u32 = u32::from_be_bytes([127, 1, 0, 1]);

/// The sources of one ring, in turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources {
    first: Option<u32>,
    next: u32,
}

impl Sources {
    /// Of the ring of that number, towards `target`.
    pub(super) fn new(ring: u32, target: SocketAddr) -> Self {
        let own = matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback());
        Self { first: own.then_some(FIRST + ring * SOURCES_PER_RING), next: 0 }
    }

    /// Where to dial from next; `None` leaves it to the kernel.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let first = self.first?;
        let address = first + self.next;
        self.next = (self.next + 1) % SOURCES_PER_RING;
        Some(SocketAddr::new(Ipv4Addr::from_bits(address).into(), 0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{SOURCES_PER_RING, Sources};

    #[test]
    fn rings_share_no_source() {
        let target = "127.0.0.1:9000".parse().unwrap();
        let mut seen = HashSet::new();
        for ring in 0..1_000 {
            let mut sources = Sources::new(ring, target);
            let round: Vec<_> = (0..SOURCES_PER_RING).map(|_| sources.next().unwrap()).collect();
            assert!(round.iter().all(|source| source.ip().is_loopback() && seen.insert(*source)));
            assert_eq!(sources.next(), Some(round[0]));
        }
    }

    #[test]
    fn another_host_is_dialled_from_wherever_the_kernel_likes() {
        assert_eq!(Sources::new(0, "192.0.2.1:9000".parse().unwrap()).next(), None);
    }
}
