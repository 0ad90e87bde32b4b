//! Drives a fleet through virtual time: lets things happen until something is so, and has clients talk meanwhile.

use super::ledger::Ledger;
use super::rooms::{Rooms, Size};
use super::settings::FleetSettings;
use crate::checker::Violation;
use crate::client::ClientNumber;
use crate::cluster::{Cluster, Event};
use crate::random::Random;
use crate::tier::{Census, Tier};
use crate::world::World;

/// From one look to the next, microseconds.
const LOOK_US: u64 = 10_000;
/// The same, of a look at every client.
const SETTLE_LOOK_US: u64 = 100_000;
/// Within which every client has its answers and stands at its heads, microseconds.
const SETTLE_US: u64 = 60_000_000;
/// The kernel's bounds are checked once in so many events: it looks at every connection.
const INVARIANTS_EVERY: u64 = 1 << 18;

/// Messages a second, by the size of the room.
pub(super) type Rates = [(Size, f64)];

/// A cluster, who lives in it, and what was measured.
pub(super) struct Fleet {
    pub(super) cluster: Cluster,
    pub(super) settings: FleetSettings,
    pub(super) rooms: Rooms,
    pub(super) ledger: Ledger,
    pub(super) events: u64,
    /// Bytes on links a second while nobody is there.
    pub(super) idle_bytes: f64,
    talk: Vec<(Size, f64)>,
    owed: [f64; Size::ALL.len()],
}

impl Fleet {
    /// Before anything happened.
    pub(super) fn new(settings: FleetSettings) -> Self {
        let mut random = Random::new(settings.seed);
        let rooms = Rooms::draw(&mut random, &settings);
        let mut cluster = Cluster::of(World::new(settings.seed, false), settings.scenery(&rooms));
        cluster.storm = false;
        let (ledger, talk, owed) = (Ledger::default(), Vec::new(), [0.0; Size::ALL.len()]);
        Self { cluster, settings, rooms, ledger, events: 0, idle_bytes: 0.0, talk, owed }
    }

    pub(super) fn tier(&self) -> &Tier {
        self.cluster.tier.as_ref().expect("a fleet is a cluster")
    }

    pub(super) fn now_us(&self) -> u64 {
        self.cluster.world.now_us()
    }

    pub(super) fn census(&self) -> Census {
        self.tier().census()
    }

    /// Clients write so many messages a second from now on.
    pub(super) fn talk_at(&mut self, rates: &Rates) {
        self.talk = rates.to_vec();
    }

    /// One event; true when it is time to look.
    fn happen(&mut self) -> Result<bool, Violation> {
        let event = self.cluster.happen()?;
        self.events += 1;
        if self.events.is_multiple_of(INVARIANTS_EVERY) {
            self.cluster.invariants();
        }
        if !matches!(event, Event::Inspect) {
            return Ok(false);
        }
        self.cluster.world.plan(LOOK_US, Event::Inspect);
        let now_us = self.now_us();
        self.cluster.checker.pass(now_us);
        self.speak();
        Ok(true)
    }

    /// Lets things happen until something is so, and says how long it took, in microseconds.
    pub(super) fn until(
        &mut self,
        what: &'static str,
        limit_us: u64,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<u64, Violation> {
        let since_us = self.now_us();
        while !is_so(self) {
            if self.now_us() > since_us + limit_us {
                return Err(Violation::new(what, format!("not within {limit_us} us")));
            }
            while !self.happen()? {}
        }
        Ok(self.now_us() - since_us)
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time_us: u64) -> Result<(), Violation> {
        let until_us = self.now_us() + time_us;
        while self.now_us() < until_us {
            self.happen()?;
        }
        Ok(())
    }

    /// Until every client is answered and stands at its heads, the API is done, and the store rests.
    pub(super) fn settle(&mut self) -> Result<u64, Violation> {
        self.talk.clear();
        let since_us = self.now_us();
        loop {
            let Cluster { checker, store, crowd, office, .. } = &mut self.cluster;
            checker.refresh_all(&mut |key, after| store.synced_log(key, after))?;
            let mut left = crowd.unsettled(checker);
            left.extend(office.unsettled());
            if left.is_empty() && store.is_idle() {
                return Ok(self.now_us() - since_us);
            }
            if self.now_us() > since_us + SETTLE_US {
                left.truncate(5);
                return Err(Violation::new("everybody settles", left.join("; ")));
            }
            self.pass(SETTLE_LOOK_US)?;
        }
    }

    fn speak(&mut self) {
        for index in 0..self.talk.len() {
            let (size, rate) = self.talk[index];
            self.owed[index] += rate * LOOK_US as f64 / 1e6;
            while self.owed[index] >= 1.0 {
                self.owed[index] -= 1.0;
                self.speak_in(size);
            }
        }
    }

    /// A member of a room of this size writes, unless it is away.
    fn speak_in(&mut self, size: Size) {
        let random = &mut self.cluster.world.random;
        let count = self.rooms.of(size).count();
        let room = self.rooms.of(size).nth(random.index(count)).expect("below their number");
        let (client, conversation) = (*random.pick(&room.members), room.key.conversation);
        let (crowd, mut scene) = self.cluster.scene();
        crowd.speak(&mut scene, ClientNumber(client), conversation);
    }
}
