//! A core: a thread with one ring, one gateway shard and one router shard, and the event loop between them and the
//! kernel. The loop carries completions in and operations out; it decides nothing that a shard could.
//!
//! A turn: wait in the ring; hand its completions to the gateway shard, or to the links; take mail; execute what both shards
//! want until they want nothing more; send what the links have; wake whoever got mail. What did not fit into a mailbox goes
//! back to its shard in the same turn.
//!
//! In a cluster the first core has the node's keeper, too.

mod clock;
pub mod exchange;
mod hands;
mod keeping;

mod links;
mod phase;
mod report;
mod seeds;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use api::metrics::Registry;
use protocol::envelope::{GatewayId, Lane, RouterId, ToGateway, ToRouter};
use protocol::placement::{Epoch, NodeId};
use protocol::time::Now;
use ring::Ring;
use router::{RouterShard, shrink};
use storage::driver;

pub use clock::Clock;
pub use exchange::{Exchange, Inbox, Outgoing};

pub use keeping::{CommandAnswers, Keeping};
pub use links::{LinkSettings, Links};
pub use phase::{Direction, Phase};
pub use seeds::Seeds;
pub use shared::{Brim, Placement, Remotes};

use self::hands::{Hands, send_over};
use crate::shard::{self, GatewayShard};

/// Longest sleep while the router shard has something under way, in milliseconds, and time from tick to tick of a core that
/// does not sleep.
const TICK_MS: u64 = 100;
/// Longest sleep of a core that has nothing to do before a deadline. There may be dozens of cores on a CPU: an idle one must
/// not wake for nothing.
const IDLE_SLEEP: Duration = Duration::from_secs(1);
/// Sleep while a full mailbox keeps a shard from going on.
const REFUSED_SLEEP: Duration = Duration::from_millis(1);
/// Envelopes and outcomes taken from each mailbox a turn: the others, and the sockets, wait no longer than that.
const MAIL_TURN_MAX: usize = 1_024;
/// Rounds of executing what the shards want a turn: they hand each other work, and sockets must not wait for its end.
const ROUNDS_TURN_MAX: usize = 16;
/// Entries for the kernel from which on a turn takes no more from the gateway shard: a send costs some 7 µs, so a turn takes
/// a few milliseconds at most, and 1,000 deliveries still take no more than 4 system calls. What is left in outboxes meanwhile
/// leaves together with what comes.
const ENTRIES_TURN_MAX: usize = 512;
/// How often counters are published, and spare memory is given back, in milliseconds.
const REPORT_MS: u64 = 1_000;

/// Everything that a core is made of.
pub struct Parts {
    /// Its number, which is also the number of both of its shards.
    pub number: u16,
    /// The router node that the process is.
    pub node: NodeId,
    /// Its ring.
    pub ring: Ring,
    /// Its connections.
    pub gateway: GatewayShard,
    /// Its conversations and users.
    pub router: RouterShard,
    /// Its links; `None` for a server that is all there is.
    pub links: Option<Links>,
    /// The node's keeper, on the first core of a router node.
    pub keeping: Option<Keeping>,
    /// Its mail.
    pub inbox: Inbox,
    /// Its way to the others.
    pub outgoing: Outgoing,
    /// Who owns what, as the node knows it.
    pub placement: Arc<Placement>,
    /// Its way to the store; `None` on a node without router shards.
    pub store: Option<driver::Handle>,
    /// The node's clock.
    pub clock: Clock,
    /// What the node's cores are to do.
    pub direction: Arc<Direction>,
    /// Where counters are published.
    pub metrics: Arc<Registry>,
}

/// A core. Lives on its thread.
pub struct Core {
    parts: Parts,
    /// What the loop has told its shards so far.
    phase: Phase,
    table: Epoch,
    lapsed: bool,
    /// What did not fit, on its way back to the router shard; empty between turns.
    returned: Vec<router::Completion>,
    /// Destinations that gave an envelope back since the router shard was polled; empty between turns.
    full_gateways: Vec<GatewayId>,
    full_routers: Vec<RouterId>,
    ticked_ms: u64,
    /// When counters are published next.
    report_ms: u64,
    unfinished: Unfinished,
}

/// What a turn left for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfinished {
    /// Nothing: sleep.
    Nothing,
    /// Something did not fit into a full mailbox: try again soon.
    Refused,
    /// More than one turn may do: go on at once.
    Work,
}

impl Core {
    /// A core that has not begun. Call it on its thread.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            phase: Phase::Running,
            table: Epoch(0),
            lapsed: false,
            returned: Vec::new(),
            full_gateways: Vec::new(),
            full_routers: Vec::new(),
            ticked_ms: 0,
            report_ms: 0,
            unfinished: Unfinished::Work,
        }
    }

    /// Runs until the node stops.
    ///
    /// # Panics
    /// When the kernel breaks the ring: the process must not go on half alive.
    pub fn run(mut self) {
        while !self.is_done() {
            if let Err(error) = self.turn() {
                panic!("the ring of core {} is broken: {error}", self.parts.number);
            }
        }
        self.parts.outgoing.flush();
    }

    fn is_done(&self) -> bool {
        let Parts { router, inbox, .. } = &self.parts;
        self.phase == Phase::Stopping && router.is_idle() && !inbox.has_mail(true)
    }

    fn turn(&mut self) -> std::io::Result<()> {
        let patience = self.patience(self.parts.clock.read());
        let Parts {
            number, ring, gateway, router, links, inbox, outgoing, placement, clock, direction, ..
        } = &mut self.parts;
        let (phase, table, router_takes) = (self.phase, self.table, router.wants_input());
        let mut read = None;
        ring.turn(
            patience,
            || inbox.has_mail(router_takes) || direction.phase() != phase || placement.epoch() != table,
            |completion| {
                let now = *read.get_or_insert_with(|| clock.read());
                let Some(links) = links.as_mut().filter(|links| links.concerns(&completion)) else {
                    return gateway.handle(now, shard::Completion::Socket(completion));
                };
                let hands = &mut Hands { number: *number, gateway, router, outgoing, placement };
                links.complete(now, completion, hands);
            },
        )?;
        let now = read.unwrap_or_else(|| clock.read());
        self.unfinished = Unfinished::Nothing;
        self.follow_direction(now);
        self.follow_placement(now);
        self.take_mail(now);
        self.tick(now);
        self.execute(now);
        self.keep(now);
        self.send_links(now);
        self.parts.outgoing.flush();
        self.report_drained();
        self.report(now);
        Ok(())
    }

    /// Goes on with links that had to wait, dials, and hands the kernel what links have to send.
    fn send_links(&mut self, now: Now) {
        let Parts { number, ring, gateway, router, links, outgoing, placement, .. } = &mut self.parts;
        let Some(links) = links else { return };
        let hands = &mut Hands { number: *number, gateway, router, outgoing, placement };
        if links.turn(now, ring, hands) == links::Pace::Waiting && self.unfinished == Unfinished::Nothing {
            self.unfinished = Unfinished::Refused;
        }
    }

    /// Tells the shards of a newer table, and of the node's lease.
    fn follow_placement(&mut self, now: Now) {
        let placement = &self.parts.placement;
        if placement.is_lapsed() != self.lapsed {
            self.lapsed = !self.lapsed;
            self.parts.router.handle(now, router::Completion::Lapsed(self.lapsed));
        }
        if placement.epoch() == self.table {
            return;
        }
        let table = placement.table();
        self.table = table.epoch;
        let Parts { number, gateway, router, links, outgoing, placement, .. } = &mut self.parts;
        router.handle(now, router::Completion::Table(Arc::clone(&table)));
        if let Some(links) = links {
            let hands = &mut Hands { number: *number, gateway, router, outgoing, placement };
            links.follow(now, &table, hands);
            gateway.handle(now, shard::Completion::Table(table));
        }
    }

    /// How long the ring may sleep.
    fn patience(&self, now: Now) -> Duration {
        match self.unfinished {
            Unfinished::Work => return Duration::ZERO,
            Unfinished::Refused => return REFUSED_SLEEP,
            Unfinished::Nothing => {}
        }
        let Parts { gateway, router, links, keeping, .. } = &self.parts;
        let sleep = if router.is_idle() { IDLE_SLEEP } else { Duration::from_millis(TICK_MS) };
        let deadlines = [
            gateway.deadline(),
            router.deadline(),
            links.as_ref().and_then(Links::deadline),
            keeping.as_ref().and_then(Keeping::deadline),
        ];
        let Some(deadline) = deadlines.into_iter().flatten().min() else {
            return sleep;
        };
        // Not twice in the same millisecond, whatever a shard asks for: nothing can have become due.
        let wake = deadline.max(self.ticked_ms + 1);
        Duration::from_millis(wake.saturating_sub(now.monotonic_ms)).min(sleep)
    }

    /// Tells the gateway shard of a drain, once.
    fn follow_direction(&mut self, now: Now) {
        let Parts { gateway, direction, .. } = &mut self.parts;
        let phase = direction.phase();
        if phase >= Phase::Draining && self.phase < Phase::Draining {
            gateway.handle(now, shard::Completion::Drain);
        }
        self.phase = phase;
    }

    /// Tells the main thread of a drain's end.
    fn report_drained(&self) {
        let kept = self.parts.keeping.as_ref().is_none_or(Keeping::has_left);
        if self.phase >= Phase::Draining && self.parts.gateway.is_drained() && kept {
            self.parts.direction.report_drained(self.parts.number);
        }
    }

    /// Outcomes first, then the gateway shard's mail and that of links, then the router shard's while it wants any. A mailbox
    /// may hold what was sent by a table that is newer than the one at the beginning of this turn: then that comes first.
    fn take_mail(&mut self, now: Now) {
        for (request, outcome) in popped(&self.parts.inbox.outcomes) {
            match &mut self.parts.keeping {
                Some(keeping) if keeping.asked(request) => keeping.outcome(now, request, outcome),
                _ => self.parts.router.handle(now, router::Completion::Store(request, outcome)),
            }
        }
        for envelope in popped(&self.parts.inbox.gateway) {
            self.parts.gateway.handle(now, shard::Completion::Envelope(envelope));
        }
        for _ in 0..MAIL_TURN_MAX {
            let Some((gateway, envelope)) = self.parts.inbox.links.pop() else { break };
            self.follow_placement(now);
            if let Some(links) = &mut self.parts.links {
                links.take_mail(gateway, envelope);
            }
        }
        self.take_mail_of_node(now);
        let mut left = MAIL_TURN_MAX;
        while left > 0 && self.parts.router.wants_input() {
            let Some((by, envelope)) = self.parts.inbox.router.pop() else { break };
            self.follow_placement(now);
            self.parts.router.handle(now, router::Completion::Routed(by, envelope));
            left -= 1;
        }
        if self.parts.inbox.has_mail(self.parts.router.wants_input()) {
            self.unfinished = Unfinished::Work;
        }
    }

    /// The API's requests in a cluster, and orders to the keeper.
    fn take_mail_of_node(&mut self, now: Now) {
        let Parts { gateway, inbox, keeping, .. } = &mut self.parts;
        let Some(exchange::OfNode { from_api, commands }) = &inbox.of_node else { return };
        for envelope in popped(from_api) {
            gateway.handle(now, shard::Completion::FromApi(envelope));
        }
        for (number, command) in popped(commands) {
            if let Some(keeping) = keeping {
                keeping.command(now, number, command);
            }
        }
    }

    /// Executes what the keeper wants.
    fn keep(&mut self, now: Now) {
        let Parts { keeping, outgoing, placement, store, direction, .. } = &mut self.parts;
        if let (Some(keeping), Some(store)) = (keeping, store) {
            keeping.turn(now, direction, store, placement, outgoing);
        }
    }

    fn tick(&mut self, now: Now) {
        let Parts { gateway, router, .. } = &mut self.parts;
        let over = |deadline: Option<u64>| deadline.is_some_and(|deadline| deadline <= now.monotonic_ms);
        if now.monotonic_ms >= self.ticked_ms + TICK_MS || over(gateway.deadline()) || over(router.deadline())
        {
            gateway.handle(now, shard::Completion::Tick);
            router.handle(now, router::Completion::Tick);
            self.ticked_ms = now.monotonic_ms;
        }
    }

    /// Executes what both shards want, round after round, since what one does gives the other something to do, and until the
    /// kernel has enough to do.
    fn execute(&mut self, now: Now) {
        for _ in 0..ROUNDS_TURN_MAX {
            let gateway_wanted = self.execute_gateway(now);
            let router_wanted = self.execute_router(now);
            if self.parts.ring.unsubmitted() >= ENTRIES_TURN_MAX {
                break;
            }
            if !gateway_wanted && !router_wanted {
                return;
            }
        }
        if self.unfinished == Unfinished::Nothing {
            self.unfinished = Unfinished::Work;
        }
    }

    /// False when it wanted nothing.
    fn execute_gateway(&mut self, now: Now) -> bool {
        let Parts { ring, gateway, router, links, outgoing, number, node, .. } = &mut self.parts;
        let own = RouterId::new(*node, *number);
        let mut wanted = false;
        while ring.unsubmitted() < ENTRIES_TURN_MAX {
            // Taken apart where it comes: an operation is as large as the largest envelope, and most are a send.
            let (to, envelope) = match gateway.poll_operation() {
                None => break,
                Some(shard::Operation::Socket(operation)) => {
                    ring.submit(operation);
                    wanted = true;
                    continue;
                }
                Some(shard::Operation::ToApi(envelope)) => {
                    // An API that does not read its answers tells whoever waits for them that none came in time.
                    let _ = outgoing.deliver_to_gateway(GatewayId::API, envelope);
                    wanted = true;
                    continue;
                }
                Some(shard::Operation::ToRouter(to, envelope)) => (to, envelope),
            };
            wanted = true;
            let back = if to.node() != *node {
                send_over(links.as_mut(), to, envelope).err()
            } else if to != own {
                outgoing.deliver_to_router(to.core(), self.table, envelope).err()
            } else if router.wants_input() {
                router.handle(now, router::Completion::Envelope(envelope));
                None
            } else {
                Some(envelope)
            };
            if let Some(envelope) = back {
                gateway.handle(now, shard::Completion::RouterFull(to, envelope));
                self.unfinished = Unfinished::Refused;
            }
        }
        wanted
    }

    /// False when it wanted nothing. Once a destination has given an envelope back it gives back every later required
    /// one too, until the router shard has them again: their order is kept.
    fn execute_router(&mut self, now: Now) -> bool {
        let mut wanted = false;
        while let Some(operation) = self.parts.router.poll_operation() {
            wanted = true;
            match operation {
                router::Operation::ToGateway(to, envelope) => self.deliver_to_gateway(now, to, envelope),
                router::Operation::ToRouter(to, envelope) => self.deliver_to_router(to, envelope),
                router::Operation::Cut(gateway) => self.parts.outgoing.cut(gateway),
                router::Operation::Store(request, content) => {
                    let Parts { store, node, number, .. } = &self.parts;
                    // A node without a store owns nothing, and so asks for nothing.
                    let Some(store) = store else { continue };
                    let asker = RouterId::new(*node, *number);
                    if let Err((request, content)) = store.try_submit(asker, request, content) {
                        self.returned.push(router::Completion::StoreFull(request, content));
                        self.unfinished = Unfinished::Refused;
                    }
                }
            }
        }
        self.full_gateways.clear();
        self.full_routers.clear();
        for completion in self.returned.drain(..) {
            self.parts.router.handle(now, completion);
        }
        wanted
    }

    fn deliver_to_gateway(&mut self, now: Now, to: GatewayId, envelope: ToGateway) {
        let Parts { gateway, outgoing, links, number, .. } = &mut self.parts;
        if to == GatewayId(u32::from(*number)) {
            gateway.handle(now, shard::Completion::Envelope(envelope));
            return;
        }
        let required = envelope.lane() == Lane::Required;
        let result = if required && self.full_gateways.contains(&to) {
            Err(envelope)
        } else if let Some(links) = links.as_mut().filter(|links| links.has_gateway(to)) {
            links.send_to_gateway(to, envelope)
        } else {
            outgoing.deliver_to_gateway(to, envelope)
        };
        if let Err(envelope) = result {
            if required && !self.full_gateways.contains(&to) {
                self.full_gateways.push(to);
            }
            self.returned.push(router::Completion::GatewayFull(to, envelope));
            self.unfinished = Unfinished::Refused;
        }
    }

    fn deliver_to_router(&mut self, to: RouterId, envelope: ToRouter) {
        let Parts { router, outgoing, links, node, number, .. } = &mut self.parts;
        let full = self.full_routers.contains(&to);
        let result = if to == RouterId::new(*node, *number) {
            if router.wants_input() && !full {
                self.returned.push(router::Completion::Envelope(envelope));
                return;
            }
            Err(envelope)
        } else if full && envelope.lane() == Lane::Required {
            Err(envelope)
        } else if to.node() != *node {
            send_over(links.as_mut(), to, envelope)
        } else {
            outgoing.deliver_to_router(to.core(), self.table, envelope)
        };
        if let Err(envelope) = result {
            if !full && envelope.lane() == Lane::Required {
                self.full_routers.push(to);
            }
            self.returned.push(router::Completion::RouterFull(to, envelope));
            self.unfinished = Unfinished::Refused;
        }
    }

    fn report(&mut self, now: Now) {
        if now.monotonic_ms < self.report_ms {
            return;
        }
        self.report_ms = now.monotonic_ms + REPORT_MS;
        self.parts.direction.report_alive(self.parts.number);
        report::publish(&self.parts);
        self.parts.ring.trim();
        if let Some(links) = &mut self.parts.links {
            links.trim();
        }
        shrink::list(&mut self.returned);
    }
}

/// What a mailbox holds, at most as much as a turn may take.
fn popped<T>(mailbox: &ring::mailbox::Mailbox<T>) -> impl Iterator<Item = T> + '_ {
    (0..MAIL_TURN_MAX).map_while(|_| mailbox.pop())
}
