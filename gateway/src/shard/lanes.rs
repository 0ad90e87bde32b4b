//! Lanes: what is on its way to each router shard, in order. A full mailbox gives an envelope back to the front of its
//! lane, and nothing overtakes it.

use std::collections::VecDeque;

use protocol::envelope::{Lane as Class, RouterId, ToRouter};

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<ToRouter>,
    /// The mailbox was full a moment ago: try again when something else has happened.
    blocked: bool,
}

/// The lanes of a shard, one a router shard.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Box<[Lane]>,
    /// Envelopes of one lane from which on connections are not read.
    congested: usize,
    /// Where polling goes on.
    next: usize,
}

impl Lanes {
    pub(super) fn new(routers: u16, congested: u32) -> Self {
        let lanes = (0..routers).map(|_| Lane::default()).collect();
        Self { lanes, congested: congested.max(1) as usize, next: 0 }
    }

    /// How many router shards there are.
    pub(super) fn routers(&self) -> u16 {
        self.lanes.len() as u16
    }

    /// Puts an envelope behind the others of its lane.
    pub(super) fn push(&mut self, router: RouterId, envelope: ToRouter) {
        self.lanes[usize::from(router.0)].waiting.push_back(envelope);
    }

    /// Takes back what a full mailbox did not; an ephemeral envelope is forgotten.
    pub(super) fn give_back(&mut self, router: RouterId, envelope: ToRouter) {
        let lane = &mut self.lanes[usize::from(router.0)];
        if envelope.lane() != Class::Ephemeral {
            lane.waiting.push_front(envelope);
            lane.blocked = true;
        }
    }

    /// Something has happened since: every lane may be tried again.
    pub(super) fn unblock(&mut self) {
        for lane in &mut self.lanes {
            lane.blocked = false;
        }
    }

    /// The next envelope to hand over.
    pub(super) fn poll(&mut self) -> Option<(RouterId, ToRouter)> {
        for _ in 0..self.lanes.len() {
            let at = self.next;
            let lane = &mut self.lanes[at];
            if !lane.blocked
                && let Some(envelope) = lane.waiting.pop_front()
            {
                return Some((RouterId(at as u16), envelope));
            }
            self.next = (at + 1) % self.lanes.len();
        }
        None
    }

    /// True when a lane is so long that no more should be read from clients.
    pub(super) fn are_congested(&self) -> bool {
        self.lanes.iter().any(|lane| lane.waiting.len() >= self.congested)
    }

    /// True when a mailbox was full and something waits for it.
    pub(super) fn are_blocked(&self) -> bool {
        self.lanes.iter().any(|lane| lane.blocked)
    }

    pub(super) fn are_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// Asserts the bound: `extra` envelopes may come on top of the limit, for what must be said at the end of sessions
    /// and rooms.
    pub(super) fn invariants(&self, extra: usize) {
        assert!(self.lanes.iter().all(|lane| lane.waiting.len() <= self.congested + extra));
    }
}

#[cfg(test)]
mod tests {
    use protocol::envelope::GatewayId;

    use super::*;

    fn envelope(number: u16) -> ToRouter {
        ToRouter::Watch { gateway: GatewayId(number), users: Box::new([]) }
    }

    fn number(polled: Option<(RouterId, ToRouter)>) -> Option<(u16, u16)> {
        match polled? {
            (router, ToRouter::Watch { gateway, .. }) => Some((router.0, gateway.0)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_mailbox_holds_up_its_own_lane_alone_and_keeps_the_order() {
        let mut lanes = Lanes::new(2, 2);
        for at in 0..3 {
            lanes.push(RouterId(0), envelope(at));
            lanes.push(RouterId(1), envelope(10 + at));
        }
        assert!(lanes.are_congested());
        let (router, back) = lanes.poll().unwrap();
        assert_eq!(router, RouterId(0));
        lanes.give_back(router, back);
        let others: Vec<_> = std::iter::from_fn(|| number(lanes.poll())).collect();
        assert_eq!(others, [(1, 10), (1, 11), (1, 12)]);
        assert!(lanes.are_blocked());
        lanes.unblock();
        let rest: Vec<_> = std::iter::from_fn(|| number(lanes.poll())).collect();
        assert_eq!(rest, [(0, 0), (0, 1), (0, 2)]);
        assert!(lanes.are_empty() && !lanes.are_congested());
    }
}
