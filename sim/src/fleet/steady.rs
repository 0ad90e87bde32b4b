//! A fleet to which nothing happens: how it begins, what it costs while nobody is there, what a session and a message cost, and
//! how it ends.

use std::collections::BTreeSet;

use gateway::link::Link;
use protocol::placement::{RouterNode, Tenure};

use super::driver::Fleet;
use super::rooms::{Room, Size};
use crate::checker::Violation;
use crate::client::Acked;
use crate::random::Span;
use crate::run::leftovers;
use crate::tier::{Census, Sort};

/// How long nobody is there, microseconds: links ping all at once, and one ping more or less is to be seen.
const IDLE_US: u64 = 20_000_000;
/// Clients come within this time, microseconds.
const COMING_US: Span = Span::new(0, 8_000_000);
/// How long clients talk in rooms of one size, microseconds.
const TALK_US: u64 = 5_000_000;
/// Messages a second in large rooms, and in the one that is everywhere.
const LARGE_RATE: f64 = 10.0;
const EVERYWHERE_RATE: f64 = 5.0;
/// Microseconds within which nodes find one another, rooms are created, clients are welcome, and all is over.
const BEGIN_US: u64 = 60_000_000;
const END_US: u64 = 180_000_000;
/// Bytes of a ping of a link, which goes each way once a second, and of the state of a link.
const PING_BYTES: f64 = 18.0;
const LINK_BYTES: f64 = 512.0;
/// Beats of a router node in the store a second.
const BEATS: f64 = 2.0;
/// Bytes of a table in memory.
const TABLE_BYTES: f64 = 68_000.0;
/// Bytes of a table on a link: those of its slots, and of each node.
const SLOTS_BYTES: f64 = 24.0 * 1_024.0;
const NODE_BYTES: f64 = 100.0;

/// Smallest, mean and largest.
pub(super) fn spread(numbers: impl Iterator<Item = u64> + Clone) -> (f64, f64, f64) {
    let (sum, count) = numbers.clone().fold((0, 0), |(sum, count), number| (sum + number, count + 1));
    let least = numbers.clone().min().unwrap_or_default();
    let most = numbers.max().unwrap_or_default();
    (least as f64, sum as f64 / f64::from(count.max(1)), most as f64)
}

/// Milliseconds within which half of the acks came, 99 of a hundred, and all.
pub(super) fn acks_ms(acks: &[Acked]) -> Option<[f64; 3]> {
    let mut times: Vec<u64> = acks.iter().map(|ack| ack.acked_us - ack.sent_us).collect();
    times.sort_unstable();
    let last = times.len().checked_sub(1)?;
    Some([0.5, 0.99, 1.0].map(|part| times[(last as f64 * part) as usize] as f64 / 1e3))
}

/// How many gateway shards have members, of so many members that each came to any of the shards.
fn spread_over(members: f64, shards: f64) -> f64 {
    shards * (1.0 - (1.0 - 1.0 / shards).powf(members))
}

fn counts(numbers: &[usize]) -> impl Iterator<Item = u64> + Clone + '_ {
    numbers.iter().map(|number| *number as u64)
}

impl Fleet {
    /// Messages a second in small rooms: so many that everybody writes 36 an hour.
    pub(super) fn small_rate(&self) -> f64 {
        f64::from(self.settings.clients) / 100.0
    }

    /// Until every router node has slots, and every core goes by the same table and has all its links.
    pub(super) fn start(&mut self) -> Result<(), Violation> {
        let nodes = usize::from(self.settings.router_nodes);
        let took_us = self.until("a cluster begins", BEGIN_US, |fleet| {
            let table = fleet.tier().newest_table();
            table.nodes.len() == nodes && fleet.tier().is_linked(&table) && fleet.fair_slots().is_some()
        })?;
        self.ledger.note("nodes", f64::from(self.settings.gateway_nodes + self.settings.router_nodes), "");
        self.ledger.note("begin: every core has its links, after", took_us as f64 / 1e6, "s");
        self.count_links();
        let table = self.tier().newest_table();
        let held = size_of::<Tenure>() * table.tenures.len() + size_of::<RouterNode>() * table.nodes.len();
        self.ledger.at_most("table at a core", held as f64, "bytes", TABLE_BYTES);
        let most = SLOTS_BYTES + NODE_BYTES * nodes as f64;
        self.ledger.at_most("table on a link", table.to_bytes().len() as f64, "bytes", most);
        let (least, fair, most) = self.fair_slots().expect("waited for");
        self.ledger.about("slots of a router core, least", least, "", fair, 1.0 / fair);
        self.ledger.about("slots of a router core, most", most, "", fair, 1.0 / fair);
        Ok(())
    }

    fn count_links(&mut self) {
        let Census { dialled, accepted, accepted_a_node, .. } = self.census();
        let (routers, gateways) = (self.settings.routers(), self.settings.gateways());
        let of_node = gateways + routers - u64::from(self.settings.router_cores);
        let (least, _, most) = spread(counts(&accepted_a_node));
        self.ledger.about("links of a router node, least", least, "", of_node as f64, 0.0);
        self.ledger.about("links of a router node, most", most, "", of_node as f64, 0.0);
        let a_core = of_node as f64 / f64::from(self.settings.router_cores);
        self.ledger.about("links of a router core, mean", spread(counts(&accepted)).1, "", a_core, 0.0);
        self.ledger.note("links of a router core, most", spread(counts(&accepted)).2, "");
        let nodes = f64::from(self.settings.router_nodes);
        self.ledger.about("links of a gateway core, most", spread(counts(&dialled)).2, "", nodes, 0.0);
    }

    /// Slots of router cores: fewest, what is fair, and most; `None` while some core has less than what is fair.
    pub(super) fn fair_slots(&self) -> Option<(f64, f64, f64)> {
        let mut owned = std::collections::BTreeMap::new();
        for tenure in &self.tier().newest_table().tenures {
            *owned.entry(tenure.owner).or_insert(0u64) += 1;
        }
        let fair = f64::from(protocol::placement::SLOTS) / self.settings.routers() as f64;
        let (least, _, most) = spread(owned.values().copied());
        let all = owned.len() as u64 == self.settings.routers();
        (all && least >= fair.floor() && most <= fair.ceil()).then_some((least, fair, most))
    }

    pub(super) fn create_rooms(&mut self) -> Result<(), Violation> {
        self.until("rooms are created", BEGIN_US, |fleet| fleet.cluster.office.unsettled().is_none())?;
        for size in Size::ALL {
            let count = self.rooms.of(size).count();
            self.ledger.note(format!("{}: how many", size.name()), count as f64, "");
        }
        Ok(())
    }

    /// Pings of links, and beats.
    pub(super) fn idle(&mut self) -> Result<(), Violation> {
        self.pass(2_000_000)?;
        let (before, beats) = (self.census(), self.cluster.store.beats);
        self.pass(IDLE_US)?;
        let after = self.census();
        let seconds = IDLE_US as f64 / 1e6;
        let links: usize = after.accepted.iter().sum();
        self.idle_bytes = (after.link_bytes - before.link_bytes) as f64 / seconds;
        self.ledger.note("links", links as f64, "");
        let a_link = self.idle_bytes / (2.0 * links as f64);
        self.ledger.at_most("idle link, each way a second", a_link, "bytes", PING_BYTES * 1.02);
        self.ledger.at_most(
            "idle link, at each end without its heap",
            size_of::<Link>() as f64,
            "bytes",
            LINK_BYTES,
        );
        let beats = (self.cluster.store.beats - beats) as f64 / seconds;
        let expected = BEATS * f64::from(self.settings.router_nodes);
        self.ledger.about("beats in the store a second", beats, "", expected, 0.05);
        Ok(())
    }

    /// Everybody comes, and hears of all rooms.
    pub(super) fn welcome(&mut self) -> Result<(), Violation> {
        let before = self.census();
        let since_us = self.now_us();
        self.cluster.crowd.come(&mut self.cluster.world, COMING_US);
        self.until("everybody is welcome", BEGIN_US, Fleet::is_everybody_here)?;
        self.settle()?;
        let after = self.census();
        let clients = f64::from(self.settings.clients);
        self.ledger.note("clients", clients, "");
        let (least, mean, most) = spread(after.connections.iter().copied());
        self.ledger.note("sessions of a gateway core, least", least, "");
        self.ledger.note("sessions of a gateway core, mean", mean, "");
        self.ledger.note("sessions of a gateway core, most", most, "");
        let (_, mean, most) = spread(after.registered.iter().copied());
        let fair = clients / self.settings.routers() as f64;
        self.ledger.about("sessions that a router core registers, mean", mean, "", fair, 0.0);
        self.ledger.note("sessions that a router core registers, most", most, "");
        let a_session = |count: u64| count as f64 / clients;
        let requests = |sort| a_session(after.tally.to_router(sort) - before.tally.to_router(sort));
        let answers = |sort| a_session(after.tally.to_gateway(sort) - before.tally.to_gateway(sort));
        let rooms: usize = self.rooms.rooms.iter().map(|room| room.members.len()).sum();
        let rooms = rooms as f64 / clients;
        self.ledger.note("a session: rooms", rooms, "");
        let (opens, opened) = (requests(Sort::Sessions), answers(Sort::Sessions));
        self.ledger.at_most("a session: envelopes to its user's owner", opens, "", 1.0);
        self.ledger.at_most("a session: answers to these", opened, "", 1.0);
        let (attaches, attached) = (requests(Sort::Rooms), answers(Sort::Rooms));
        self.ledger.at_most("a session: envelopes to its rooms' owners", attaches, "", rooms);
        self.ledger.at_most("a session: answers to those", attached, "", rooms);
        let bytes = self.link_bytes_since(&before, &after, since_us);
        self.ledger.note("a session: on links", bytes / clients, "bytes");
        Ok(())
    }

    pub(super) fn is_everybody_here(&self) -> bool {
        self.cluster.crowd.seats().count() == self.settings.clients as usize
    }

    /// Bytes on links since then, but for those of idle links.
    fn link_bytes_since(&self, before: &Census, after: &Census, since_us: u64) -> f64 {
        let seconds = (self.now_us() - since_us) as f64 / 1e6;
        (after.link_bytes - before.link_bytes) as f64 - self.idle_bytes * seconds
    }

    /// Messages in rooms of each size in turn.
    pub(super) fn talk(&mut self) -> Result<(), Violation> {
        for size in Size::ALL {
            let rate = match size {
                Size::Small => self.small_rate(),
                Size::Large => LARGE_RATE,
                Size::Everywhere => EVERYWHERE_RATE,
            };
            self.talk_in(size, rate)?;
        }
        Ok(())
    }

    fn talk_in(&mut self, size: Size, rate: f64) -> Result<(), Violation> {
        let since_us = self.now_us();
        let heads: Vec<u64> = self.rooms.of(size).map(|room| self.cluster.checker.head(&room.key)).collect();
        let before = self.census();
        self.cluster.crowd.take_acks();
        self.talk_at(&[(size, rate)]);
        self.pass(TALK_US)?;
        self.settle()?;
        let after = self.census();
        let sums = Sums::of(self, size, &heads, (&before, &after));
        let messages = sums.messages as f64;
        let name = |what: &str| format!("{}: {what}", size.name());
        let requests = after.tally.to_router(Sort::Sends) - before.tally.to_router(Sort::Sends);
        let bytes = self.link_bytes_since(&before, &after, since_us);
        self.ledger.note(name("messages"), messages, "");
        let members = sums.members as f64 / messages;
        self.ledger.note(name("members, mean"), members, "");
        let shards = sums.shards as f64 / messages;
        let expected = spread_over(members, self.settings.gateways() as f64);
        self.ledger.about(name("gateway shards with members, mean"), shards, "", expected, 0.1);
        let published = sums.envelopes as f64 / messages;
        self.ledger.at_most(name("publishes on links a message"), published, "", shards);
        self.ledger.about(name("events on links a message"), sums.events as f64 / messages, "", shards, 0.0);
        self.ledger.at_most(name("rooms with more than one a shard"), sums.exceeded as f64, "", 0.0);
        self.ledger.about(name("sends on links a message"), requests as f64 / messages, "", 1.0, 0.0);
        self.ledger.note(name("on links a message"), bytes / messages, "bytes");
        self.note_acks(size.name());
        Ok(())
    }

    /// How long acks took since they were taken last.
    pub(super) fn note_acks(&mut self, name: &str) {
        let Some([half, most, all]) = acks_ms(&self.cluster.crowd.take_acks()) else { return };
        self.ledger.note(format!("{name}: acks, half within"), half, "ms");
        self.ledger.note(format!("{name}: acks, 99 % within"), most, "ms");
        self.ledger.note(format!("{name}: acks, all within"), all, "ms");
    }

    /// Everybody leaves, and nothing stays.
    pub(super) fn leave(&mut self) -> Result<(), Violation> {
        let (crowd, mut scene) = self.cluster.scene();
        crowd.finish(&mut scene);
        let since_us = self.now_us();
        loop {
            self.pass(1_000_000)?;
            let mut left = leftovers(&self.cluster);
            if left.is_empty() {
                return Ok(());
            }
            if self.now_us() > since_us + END_US {
                left.truncate(5);
                return Err(Violation::new("after clients leave nothing stays", left.join("; ")));
            }
        }
    }
}

/// What messages in rooms of one size came to, over all messages.
#[derive(Default)]
struct Sums {
    messages: u64,
    /// Members of each message's room.
    members: u64,
    /// Gateway shards with members, of each message's room.
    shards: u64,
    envelopes: u64,
    events: u64,
    /// Rooms of which more was published than one envelope a message and gateway shard with members.
    exceeded: u64,
}

impl Sums {
    fn of(fleet: &Fleet, size: Size, heads: &[u64], (before, after): (&Census, &Census)) -> Self {
        let mut seats = vec![0; fleet.settings.clients as usize];
        for (number, seat) in fleet.cluster.crowd.seats() {
            seats[number.0] = seat;
        }
        let mut sums = Self::default();
        for (room, head) in fleet.rooms.of(size).zip(heads) {
            let messages = fleet.cluster.checker.head(&room.key) - head;
            let (was, is) = (before.tally.published(&room.key), after.tally.published(&room.key));
            sums.add(room, messages, &seats, (is.envelopes - was.envelopes, is.events - was.events));
        }
        sums
    }

    fn add(&mut self, room: &Room, messages: u64, seats: &[usize], (envelopes, events): (u64, u64)) {
        let shards: BTreeSet<usize> = room.members.iter().map(|member| seats[*member]).collect();
        let most = messages * shards.len() as u64;
        self.messages += messages;
        self.members += messages * room.members.len() as u64;
        self.shards += most;
        self.envelopes += envelopes;
        self.events += events;
        self.exceeded += u64::from(envelopes > most);
    }
}
