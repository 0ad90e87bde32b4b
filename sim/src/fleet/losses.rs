//! What follows when a node of a fleet is killed, lost, added, drained or told to stop, while clients talk.

use protocol::id::ConversationKey;
use protocol::placement::{NodeId, Slot, Table};
use router::keeper::Command;

use super::driver::Fleet;
use super::rooms::Size;
use super::steady::{acks_ms, spread};
use crate::checker::Violation;
use crate::client::Acked;
use crate::coverage::Mark;
use crate::tier::Census;

/// How long clients talk on, microseconds.
const TALK_US: u64 = 6_000_000;
/// Microseconds within which slots have owners again, and clients are back.
const AGAIN_US: u64 = 60_000_000;
/// The node of each event, by its place: router nodes come first.
const KILLED: usize = 1;
const DRAINED: usize = 2;
const STOPPED: usize = 0;
/// Messages a second in large rooms, and in the one that is everywhere.
const LARGE_RATE: f64 = 2.0;
const EVERYWHERE_RATE: f64 = 1.0;
/// Milliseconds of two beats: what a death takes beside the lease. The last renewal is seen at one, and that it is old enough at another.
const BEATS_MS: f64 = 1_000.0;
/// Milliseconds within which acks come where slots move as planned, and where nothing happens: some times a usual one's, and far
/// below a lease.
const PLANNED_MS: f64 = 1_000.0;
const ELSEWHERE_MS: f64 = 100.0;

/// Slots that have another owner, and those of them that neither came from a node nor went to it.
fn moved(before: &Table, after: &Table, node: NodeId) -> (f64, f64) {
    let moved = Slot::all().filter(|slot| before.owner(*slot) != after.owner(*slot));
    let (mut all, mut others) = (0u32, 0u32);
    for slot in moved {
        all += 1;
        let of_node = before.owner(slot).node() == node || after.owner(slot).node() == node;
        others += u32::from(!of_node);
    }
    (f64::from(all), f64::from(others))
}

fn owned(table: &Table, node: NodeId) -> f64 {
    table.tenures.iter().filter(|tenure| tenure.owner.node() == node).count() as f64
}

fn owns(table: &Table, node: NodeId) -> bool {
    owned(table, node) > 0.0
}

impl Fleet {
    fn talk_everywhere(&mut self) {
        let rates = [
            (Size::Small, self.small_rate()),
            (Size::Large, LARGE_RATE),
            (Size::Everywhere, EVERYWHERE_RATE),
        ];
        self.cluster.crowd.take_acks();
        self.talk_at(&rates);
    }

    /// Talks on, until everybody settles.
    fn talk_on(&mut self, name: &str) -> Result<(), Violation> {
        self.pass(TALK_US)?;
        let took_us = self.settle()?;
        self.ledger.note(format!("{name}: settled, after the last message"), took_us as f64 / 1e6, "s");
        Ok(())
    }

    /// The same, and notes how long acks took: those of a node's slots, and all others, for which nothing is to have happened.
    fn talk_apart(
        &mut self,
        name: &str,
        is_its: &dyn Fn(Slot) -> bool,
        most_ms: f64,
    ) -> Result<(), Violation> {
        self.talk_on(name)?;
        let tenant = self.rooms.user(0).tenant;
        let acks = self.cluster.crowd.take_acks();
        let (its, others): (Vec<Acked>, Vec<Acked>) = acks.into_iter().partition(|ack| {
            let slot = Slot::of_conversation(&ConversationKey { tenant, conversation: ack.conversation });
            is_its(slot)
        });
        let count = [&its, &others].map(|acks| acks.len() as f64);
        self.ledger.note(format!("{name}: messages in its slots"), count[0], "");
        if let Some([_, _, all]) = acks_ms(&its) {
            self.ledger.at_most(format!("{name}: acks in its slots, all within"), all, "ms", most_ms);
        }
        self.ledger.note(format!("{name}: messages elsewhere"), count[1], "");
        if let Some([_, _, all]) = acks_ms(&others) {
            self.ledger.at_most(format!("{name}: acks elsewhere, all within"), all, "ms", ELSEWHERE_MS);
        }
        Ok(())
    }

    /// What gateways told owners anew since then, and should have.
    fn note_announced(&mut self, name: &str, before: &Census, expected: f64) {
        let announced = (self.census().announced - before.announced) as f64;
        self.ledger.about(format!("{name}: rooms and sessions told anew"), announced, "", expected, 0.01);
    }

    fn note_moved(&mut self, name: &str, before: &Table, node: NodeId) {
        let (all, others) = moved(before, &self.tier().newest_table(), node);
        let share = owned(before, node).max(owned(&self.tier().newest_table(), node));
        self.ledger.about(format!("{name}: slots that moved"), all, "", share, 0.0);
        self.ledger.at_most(format!("{name}: slots of others that moved"), others, "", 0.0);
    }

    /// Tables that went over links since then, each of which is told of each.
    fn note_tables(&mut self, name: &str, before: &Census) {
        let after = self.census();
        let links: usize = after.accepted.iter().sum();
        let tables = after.link_tables.saturating_sub(before.link_tables) as f64 / links as f64;
        self.ledger.note(format!("{name}: tables, each link"), tables, "");
    }

    fn number_of(&self, place: usize) -> NodeId {
        self.tier().node_at(place).expect("it runs")
    }

    /// A router node is killed (kill -9): its kernel closes its links, its lease runs out.
    pub(super) fn kill_router(&mut self) -> Result<(), Violation> {
        const NAME: &str = "router killed";
        let (table, node) = (self.tier().newest_table(), self.number_of(KILLED));
        self.talk_everywhere();
        self.pass(1_000_000)?;
        self.cluster.with_tier(|tier, weather, outside| tier.lose(KILLED, weather, outside, true));
        let before = self.census();
        let owned_us = self.until("slots of a dead node have owners", AGAIN_US, |fleet| {
            !owns(&fleet.tier().newest_table(), node)
        })?;
        let known_us = self.until("every core knows the owners", AGAIN_US, |fleet| {
            fleet.tier().is_linked(&fleet.tier().newest_table())
        })?;
        let [owned_s, known_s] = [owned_us, owned_us + known_us].map(|time_us| time_us as f64 / 1e6);
        let most_ms = self.settings.lease_ms() + BEATS_MS + ELSEWHERE_MS;
        self.ledger.at_most(format!("{NAME}: every slot has an owner, after"), owned_s, "s", most_ms / 1e3);
        self.ledger.at_most(format!("{NAME}: every core knows it, after"), known_s, "s", most_ms / 1e3);
        self.note_moved(NAME, &table, node);
        self.talk_apart(NAME, &|slot| table.owner(slot).node() == node, most_ms)?;
        self.note_tables(NAME, &before);
        let expected = self.to_announce(&table, node);
        self.ledger.note(format!("{NAME}: rooms and sessions of its slots"), expected, "");
        self.note_announced(NAME, &before, expected + f64::from(self.settings.clients));
        Ok(())
    }

    /// Sessions whose users have a node as owner, and rooms of gateway shards that do.
    fn to_announce(&self, table: &Table, node: NodeId) -> f64 {
        let is_of = |slot: Slot| table.owner(slot).node() == node;
        let seats: std::collections::BTreeMap<usize, usize> =
            self.cluster.crowd.seats().map(|(number, seat)| (number.0, seat)).collect();
        let sessions = seats.keys().filter(|client| is_of(Slot::of_user(self.rooms.user(**client)))).count();
        let rooms = self.rooms.rooms.iter().filter(|room| is_of(Slot::of_conversation(&room.key)));
        let shards = rooms.map(|room| {
            let seats = room.members.iter().filter_map(|member| seats.get(member));
            seats.collect::<std::collections::BTreeSet<_>>().len()
        });
        (sessions + shards.sum::<usize>()) as f64
    }

    /// The node that was killed comes back, and gets what is fair.
    pub(super) fn add_router(&mut self) -> Result<(), Violation> {
        const NAME: &str = "router added";
        let (before, table) = (self.census(), self.tier().newest_table());
        self.talk_everywhere();
        self.cluster.with_tier(|tier, weather, outside| tier.start_again(KILLED, weather, outside));
        let took_us = self.until_fair()?;
        self.ledger.note(format!("{NAME}: it has its share, after"), took_us as f64 / 1e6, "s");
        let (after, node) = (self.tier().newest_table(), self.number_of(KILLED));
        self.note_moved(NAME, &table, node);
        self.note_tables(NAME, &before);
        self.talk_apart(NAME, &|slot| after.owner(slot).node() == node, PLANNED_MS)?;
        self.note_announced(NAME, &before, self.to_announce(&after, node));
        Ok(())
    }

    /// Until each router core has what is fair, and every core knows it.
    fn until_fair(&mut self) -> Result<u64, Violation> {
        self.until("a node gets its share", AGAIN_US, |fleet| {
            let table = fleet.tier().newest_table();
            fleet.fair_slots().is_some() && fleet.tier().is_linked(&table)
        })
    }

    /// An operator drains a router node, and undrains it.
    pub(super) fn drain_router(&mut self) -> Result<(), Violation> {
        const NAME: &str = "router drained";
        let (before, table, node) = (self.census(), self.tier().newest_table(), self.number_of(DRAINED));
        let name: Box<str> = table.node(node).expect("it runs").name.clone();
        let order = |fleet: &mut Self, command| {
            fleet.cluster.with_tier(|tier, _, _| tier.order_at(0, command));
        };
        self.talk_everywhere();
        order(self, Command::Drain(name.clone()));
        let took_us = self.until("a drained node is empty", AGAIN_US, |fleet| {
            let table = fleet.tier().newest_table();
            !owns(&table, node) && fleet.tier().is_linked(&table)
        })?;
        self.ledger.note(format!("{NAME}: it is empty, after"), took_us as f64 / 1e6, "s");
        self.note_moved(NAME, &table, node);
        self.note_tables(NAME, &before);
        self.talk_apart(NAME, &|slot| table.owner(slot).node() == node, PLANNED_MS)?;
        self.note_announced(NAME, &before, self.to_announce(&table, node));
        order(self, Command::Undrain(name));
        self.until_fair()?;
        self.settle()?;
        Ok(())
    }

    /// A router node is told to stop (SIGTERM): it is emptied first, and starts again later.
    pub(super) fn stop_router(&mut self) -> Result<(), Violation> {
        const NAME: &str = "router stopped";
        let (before, table, node) = (self.census(), self.tier().newest_table(), self.number_of(STOPPED));
        self.talk_everywhere();
        self.cluster.with_tier(|tier, _, outside| tier.stop(STOPPED, outside));
        let took_us =
            self.until("a node stops", AGAIN_US, |fleet| fleet.tier().node_at(STOPPED).is_none())?;
        self.ledger.note(format!("{NAME}: it is gone, after"), took_us as f64 / 1e6, "s");
        self.note_moved(NAME, &table, node);
        self.until("it comes back", AGAIN_US, |fleet| fleet.tier().node_at(STOPPED).is_some())?;
        self.until_fair()?;
        let (after, again) = (self.tier().newest_table(), self.number_of(STOPPED));
        let is_its = |slot| table.owner(slot).node() == node || after.owner(slot).node() == again;
        self.talk_apart(NAME, &is_its, PLANNED_MS)?;
        let twice = self.to_announce(&table, node) + self.to_announce(&after, again);
        self.note_announced(NAME, &before, twice + f64::from(self.settings.clients));
        Ok(())
    }

    /// The host of a gateway node is gone without a word.
    pub(super) fn lose_gateway(&mut self) -> Result<(), Violation> {
        const NAME: &str = "gateway lost";
        let place = usize::from(self.settings.router_nodes);
        let sockets = self.tier().sockets_at(place);
        let sessions = self.cluster.crowd.seats().filter(|(_, seat)| sockets.contains(seat)).count();
        let count = |fleet: &Self, mark| fleet.cluster.world.coverage.count(mark);
        let (elsewhere, resumed) = (count(self, Mark::ResumedElsewhere), count(self, Mark::EventResumed));
        self.talk_everywhere();
        self.pass(1_000_000)?;
        self.cluster.with_tier(|tier, weather, outside| tier.lose(place, weather, outside, false));
        self.until("clients notice", AGAIN_US, |fleet| !fleet.is_everybody_here())?;
        let took_us = self.until("everybody is back", AGAIN_US, Fleet::is_everybody_here)?;
        self.ledger.note(format!("{NAME}: its sessions"), sessions as f64, "");
        let elsewhere = count(self, Mark::ResumedElsewhere) - elsewhere;
        self.ledger.about(
            format!("{NAME}: sessions at other nodes"),
            elsewhere as f64,
            "",
            sessions as f64,
            0.0,
        );
        self.ledger.note(format!("{NAME}: everybody is back, after"), took_us as f64 / 1e6, "s");
        let resumed = count(self, Mark::EventResumed) - resumed;
        self.ledger.note(format!("{NAME}: sessions with news behind their cursor"), resumed as f64, "");
        let census = self.census();
        let (least, _, most) = spread(census.connections.iter().copied());
        self.ledger.note(format!("{NAME}: sessions of a gateway core, least"), least, "");
        self.ledger.note(format!("{NAME}: sessions of a gateway core, most"), most, "");
        self.talk_on(NAME)?;
        self.note_acks(NAME);
        self.cluster.with_tier(|tier, weather, outside| tier.start_again(place, weather, outside));
        self.until_fair()?;
        Ok(())
    }

    /// A gateway node is told to stop (SIGTERM): its clients are told to go elsewhere.
    pub(super) fn stop_gateway(&mut self) -> Result<(), Violation> {
        const NAME: &str = "gateway stopped";
        let place = usize::from(self.settings.router_nodes) + 1;
        let sockets = self.tier().sockets_at(place);
        let sessions = self.cluster.crowd.seats().filter(|(_, seat)| sockets.contains(seat)).count();
        self.talk_everywhere();
        self.cluster.with_tier(|tier, _, outside| tier.stop(place, outside));
        let took_us = self.until("a node stops", AGAIN_US, |fleet| fleet.tier().node_at(place).is_none())?;
        self.ledger.note(format!("{NAME}: its sessions"), sessions as f64, "");
        self.ledger.note(format!("{NAME}: it is gone, after"), took_us as f64 / 1e6, "s");
        self.until("everybody is back", AGAIN_US, Fleet::is_everybody_here)?;
        self.talk_on(NAME)?;
        self.note_acks(NAME);
        Ok(())
    }
}
