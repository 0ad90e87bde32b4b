//! Source addresses: where each ring dials from, so that no pair of source and target runs out of ports. Only for servers
//! on this host: 127.0.0.0/8 is all its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

/// Clients for which a ring has an address. The kernel looks for a free port of each (source, target) pair; the emptier its
/// range, the sooner it finds one.
const SOURCE_CLIENTS: u32 = 4_875;
/// 127.0.x.y is left alone: it has the addresses that people use.
const FIRST: u32 = u32::from_be_bytes([127, 1, 0, 1]);

/// The sources of one ring, in turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources {
    first: Option<u32>,
    count: u32,
    next: u32,
}

impl Sources {
    /// Of the ring of that number with these clients of all, towards `targets`.
    pub(super) fn new(ring: u32, clients: &Range<u32>, targets: &[SocketAddr]) -> Self {
        let is_own = |target: &SocketAddr| matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let own = targets.iter().all(is_own);
        // Rounded down for the clients before, and one for each of their rings: no two rings share an address.
        let first = FIRST + clients.start / SOURCE_CLIENTS + ring;
        let count = (clients.end - clients.start).div_ceil(SOURCE_CLIENTS).max(1);
        Self { first: own.then_some(first), count, next: 0 }
    }

    /// Where to dial from next; `None` leaves it to the kernel.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let first = self.first?;
        let address = first + self.next;
        self.next = (self.next + 1) % self.count;
        Some(SocketAddr::new(Ipv4Addr::from_bits(address).into(), 0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Sources;

    #[test]
    fn rings_share_no_source() {
        let target = "127.0.0.1:9000".parse().unwrap();
        let mut seen = HashSet::new();
        let mut start = 0;
        for (ring, clients) in
            [1, 19_500, 0, 4_875, 4_876, 9_749, 500_000, 1_500_000, 3].into_iter().enumerate()
        {
            let mut sources = Sources::new(ring as u32, &(start..start + clients), &[target]);
            start += clients;
            let round: Vec<_> =
                (0..clients.div_ceil(4_875).max(1)).map(|_| sources.next().unwrap()).collect();
            assert!(round.iter().all(|source| source.ip().is_loopback() && seen.insert(*source)));
            assert_eq!(sources.next(), Some(round[0]));
        }
    }

    #[test]
    fn another_host_is_dialled_from_wherever_the_kernel_likes() {
        let [own, other] = ["127.0.0.1:9000", "192.0.2.1:9000"].map(|target| target.parse().unwrap());
        assert_eq!(Sources::new(0, &(0..1), &[other]).next(), None);
        assert_eq!(Sources::new(0, &(0..1), &[own, other]).next(), None);
    }
}
