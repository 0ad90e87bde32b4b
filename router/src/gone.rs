//! Gateway shards of other nodes that are gone, with all their sessions, rooms and watches. From that moment on nothing is
//! told to them, and nobody may wait for them; what they had here is searched for and ended some at a time.

use protocol::envelope::GatewayId;

use crate::conversation::Place;
use crate::hash::UserHash;
use crate::limits::SWEPT_A_ROUND;
use crate::shard::RouterShard;
use crate::users::Turn;

/// The search for what gone gateway shards have left: one for all that are gone when it begins.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// True: one more ended since it began.
    again: bool,
    under_way: Option<Pass>,
}

/// How far it has come.
#[derive(Debug)]
struct Pass {
    place: usize,
    user: usize,
    /// Watched users that were not looked at.
    watched: Vec<UserHash>,
}

impl Sweep {
    /// True when nothing is left to be searched.
    pub(crate) fn is_done(&self) -> bool {
        !self.again && self.under_way.is_none()
    }
}

impl RouterShard {
    /// A gateway shard of another node is gone.
    pub(crate) fn gateway_gone(&mut self, gateway: GatewayId) {
        // Whoever never spoke has nothing here.
        if self.outgoing.lose(gateway) {
            self.counters.gateways_gone += 1;
            self.forget_gateway(gateway);
        }
    }

    /// The same for one that was given up.
    pub(crate) fn forget_gateway(&mut self, gateway: GatewayId) {
        self.behind.lose(gateway);
        self.sweep.again = true;
    }

    /// Searches on.
    pub(crate) fn flush_sweep(&mut self) {
        if self.sweep.is_done() {
            return;
        }
        let pass = self.sweep.under_way.take().unwrap_or_else(|| {
            self.sweep.again = false;
            Pass { place: 0, user: 0, watched: self.watches.all() }
        });
        self.sweep.under_way = self.sweep_on(pass);
    }

    fn sweep_on(&mut self, mut pass: Pass) -> Option<Pass> {
        let places = self.conversations.places().min(pass.place + SWEPT_A_ROUND);
        for place in pass.place..places {
            self.sweep_place(Place(place as u32));
        }
        let users = self.users.records().min(pass.user + SWEPT_A_ROUND);
        for user in pass.user..users {
            self.sweep_user(user);
        }
        let left = pass.watched.len().saturating_sub(SWEPT_A_ROUND);
        for hash in pass.watched.drain(left..) {
            let outgoing = &self.outgoing;
            self.watches.keep_watchers(hash, |gateway| outgoing.reaches(gateway));
        }
        let done =
            places == self.conversations.places() && users == self.users.records() && pass.watched.is_empty();
        (pass.place, pass.user) = (places, users);
        (!done).then_some(pass)
    }

    fn sweep_place(&mut self, place: Place) {
        let outgoing = &self.outgoing;
        if self.conversations.keep_interest(place, |gateway| outgoing.reaches(gateway)) {
            self.touched.push(place);
        }
    }

    /// The user stays online for the offline time, as when a connection breaks.
    fn sweep_user(&mut self, record: usize) {
        let outgoing = &self.outgoing;
        let now_ms = self.now.monotonic_ms;
        let ended = self.users.keep_sessions(record, |gateway| outgoing.reaches(gateway), now_ms);
        if let Some((hash, turn)) = ended
            && turn != Turn::Same
            && let Some(user) = self.watches.user(hash)
        {
            self.presence_turn(hash, &user, turn);
        }
    }

    /// Asserts that nothing is left of the gone once the search is done.
    pub(crate) fn gone_invariants(&self) {
        assert!(self.behind.iter().all(|(gateway, _)| self.outgoing.reaches(gateway)));
        if self.sweep.is_done() {
            assert!(self.conversations.interested().all(|gateway| self.outgoing.reaches(gateway)));
            assert!(self.users.gateways().all(|gateway| self.outgoing.reaches(gateway)));
            assert!(self.watches.gateways().all(|gateway| self.outgoing.reaches(gateway)));
        }
    }
}
