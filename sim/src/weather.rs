//! The weather of a run: every size, delay and probability, all drawn from the seed before the first event. Fixed ones
//! hide bugs.

use crate::random::{Chance, Random, Span};
use crate::tier::Tier;
use crate::tier::weather::TierWeather;

/// The shape of the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Gateway shards, at least 1.
    pub(crate) gateways: u16,
    /// Router shards, at least 1.
    pub(crate) routers: u16,
    /// Sockets a gateway shard.
    pub(crate) slots: u32,
    /// Envelopes that a gateway shard's mailbox holds.
    pub(crate) gateway_mailbox: usize,
    /// Envelopes that a router shard's mailbox holds.
    pub(crate) router_mailbox: usize,
    /// Most completions that a shard handles before its operations are polled.
    pub(crate) turn_completions: u64,
    /// A shard's invariants are checked once in so many turns.
    pub(crate) invariants_every: u64,
}

/// How the simulated network and kernel behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    /// From a write to when the reader knows, microseconds.
    pub(crate) delay_us: Span,
    /// From a full mailbox or a planned completion to the shard's turn, microseconds.
    pub(crate) turn_us: Span,
    /// Bytes of a receive buffer.
    pub(crate) buffer_bytes: usize,
    /// Bytes that a stream holds between its two ends.
    pub(crate) window_bytes: usize,
    /// A receive takes a part of what is there.
    pub(crate) receive_split: Chance,
    /// A receive waits for a buffer.
    pub(crate) buffers_exhausted: Chance,
    /// A send takes a part.
    pub(crate) send_short: Chance,
    /// A connection is reset, at a step of a client.
    pub(crate) reset: Chance,
    /// A client vanishes, at a step.
    pub(crate) vanish: Chance,
    /// A client ends its half of the stream, at a step.
    pub(crate) half_close: Chance,
    /// A client begins to read slowly, at a step.
    pub(crate) slow_reader: Chance,
    /// An envelope finds a mailbox full that is not.
    pub(crate) mailbox_refuses: Chance,
}

/// How the simulated store behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreWeather {
    /// Requests that wait or are under way.
    pub(crate) queue: usize,
    /// Transactions under way at a time.
    pub(crate) parallel: usize,
    /// One batch of reads, microseconds.
    pub(crate) read_us: Span,
    /// One commit, microseconds.
    pub(crate) commit_us: Span,
    /// From a commit to its sync, microseconds.
    pub(crate) sync_us: Span,
    /// A step finds the store away.
    pub(crate) unavailable: Chance,
    /// A commit meets a conflict that nobody made.
    pub(crate) conflict: Chance,
    /// A commit's result is unknown.
    pub(crate) unknown: Chance,
    /// A read is too old.
    pub(crate) too_old: Chance,
    /// The queue is full that is not.
    pub(crate) queue_refuses: Chance,
    /// True: a store of its own, that outlives the node, as FoundationDB does. False: embedded, it crashes with the node.
    pub(crate) external: bool,
    /// What only a store of its own has.
    pub(crate) distance: Distance,
}

/// What comes of a store being a cluster of its own, at the other end of a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance {
    /// A commit's result is cut off while the commit is under way: it lands later, or never.
    pub(crate) late: Chance,
    /// From the cut to the landing, microseconds.
    pub(crate) late_us: Span,
    /// A request's time is over when a commit of it is in doubt.
    pub(crate) gives_up: Chance,
    /// From the end of one silence of the cluster to the next, microseconds; `None`: none in this run.
    pub(crate) silence_every_us: Option<Span>,
    /// How long the cluster is silent, microseconds.
    pub(crate) silence_us: Span,
    /// How long the driver bears a silence before it gives up all that is under way, microseconds.
    pub(crate) patience_us: Span,
}

/// How often the whole node is hit, by the time between two hits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disasters {
    /// Time from one to the next, microseconds; `None`: none in this run.
    pub(crate) every_us: Option<Span>,
    /// How long the node is down after a crash, microseconds.
    pub(crate) down_us: Span,
}

/// What the clients of a run are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// Users of the first tenant; the second has half as many, under the same names.
    pub(crate) users: usize,
    /// Conversations that exist from the beginning, a tenant.
    pub(crate) conversations: usize,
    /// From one step of a client to its next, microseconds.
    pub(crate) pace_us: Span,
    /// Bytes of a body.
    pub(crate) body_bytes: Span,
    /// From one change of a membership to the next, microseconds.
    pub(crate) change_us: Span,
    /// How long a slow reader stays slow, microseconds.
    pub(crate) slow_us: Span,
    /// What is answered `unavailable` is never asked again.
    pub(crate) gives_up: Chance,
    /// When clients come, microseconds from the beginning; `None`: once they are told to.
    pub(crate) coming_us: Option<Span>,
    /// Whoever comes back always has its ticket, and its cursors as they are.
    pub(crate) is_orderly: bool,
}

/// What the shards are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// `heartbeat_ms` of the gateway shards.
    pub(crate) heartbeat_ms: u32,
    /// Bytes of an outbox.
    pub(crate) outbox_bytes: u32,
    /// Events after which a lagging connection is told so.
    pub(crate) lag_events_max: u64,
    /// `large_members` of the router shards.
    pub(crate) large_members: u64,
    /// `held_members_min` of the router shards.
    pub(crate) held_members_min: u64,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    /// The cluster.
    pub(crate) shape: Shape,
    /// Network and kernel.
    pub(crate) network: Network,
    /// The store.
    pub(crate) store: StoreWeather,
    /// Crashes.
    pub(crate) disasters: Disasters,
    /// The clients.
    pub(crate) crowd: Crowd,
    /// The shards' settings.
    pub(crate) tuning: Tuning,
    /// How long clients work and faults happen, microseconds.
    pub(crate) storm_us: u64,
    /// A cluster of nodes; `None`: one server is all there is.
    pub(crate) tier: Option<TierWeather>,
}

impl Weather {
    /// Draws the weather of a run.
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            shape: draw_shape(random),
            network: draw_network(random),
            store: draw_store(random),
            disasters: draw_disasters(random),
            crowd: draw_crowd(random),
            tuning: draw_tuning(random),
            storm_us: random.within(Span::new(4_000_000, 12_000_000)),
            tier: None,
        }
    }

    /// Makes a cluster of it.
    pub(crate) fn spread(&mut self, random: &mut Random) {
        let tier = TierWeather::draw(random);
        self.storm_us = tier.storm_us;
        self.store.external = !tier.embedded;
        // All nodes' requests meet in it.
        self.store.queue *= 4;
        self.disasters.every_us = None;
        self.tier = Some(tier);
        self.shape.gateways = Tier::gateways(self).expect("just set");
    }

    /// The same cluster without faults: what follows the storm, so that all must come to an end.
    pub(crate) fn calm(&mut self) {
        let network = &mut self.network;
        for chance in [
            &mut network.receive_split,
            &mut network.buffers_exhausted,
            &mut network.send_short,
            &mut network.reset,
            &mut network.vanish,
            &mut network.half_close,
            &mut network.slow_reader,
            &mut network.mailbox_refuses,
            &mut self.store.unavailable,
            &mut self.store.conflict,
            &mut self.store.unknown,
            &mut self.store.too_old,
            &mut self.store.queue_refuses,
            &mut self.store.distance.late,
            &mut self.store.distance.gives_up,
        ] {
            *chance = Chance::NEVER;
        }
        self.crowd.gives_up = Chance::NEVER;
        self.store.distance.silence_every_us = None;
        self.disasters.every_us = None;
        self.tier.iter_mut().for_each(TierWeather::calm);
    }
}

fn draw_shape(random: &mut Random) -> Shape {
    Shape {
        gateways: random.within(Span::new(1, 3)) as u16,
        routers: random.within(Span::new(1, 3)) as u16,
        // More than a town has devices: in the calm all of them must find room.
        slots: random.within(Span::new(20, 64)) as u32,
        gateway_mailbox: draw_mailbox(random),
        router_mailbox: draw_mailbox(random),
        turn_completions: random.within(Span::new(1, 16)),
        invariants_every: random.within(Span::new(1, 64)),
    }
}

/// Small mailboxes as often as large ones.
fn draw_mailbox(random: &mut Random) -> usize {
    let capacity = random.draw_span(8, 512);
    random.within(capacity) as usize
}

fn draw_network(random: &mut Random) -> Network {
    Network {
        delay_us: random.draw_span(10, 50_000),
        turn_us: random.draw_span(1, 2_000),
        buffer_bytes: random.within(Span::new(64, 4_096)) as usize,
        window_bytes: random.within(Span::new(512, 16_384)) as usize,
        receive_split: random.draw_chance(100, 5_000),
        buffers_exhausted: random.draw_chance(10, 1_000),
        send_short: random.draw_chance(100, 5_000),
        reset: random.draw_chance(1, 100),
        vanish: random.draw_chance(1, 50),
        half_close: random.draw_chance(1, 50),
        slow_reader: random.draw_chance(1, 200),
        mailbox_refuses: random.draw_chance(10, 1_000),
    }
}

fn draw_store(random: &mut Random) -> StoreWeather {
    StoreWeather {
        queue: random.within(Span::new(4, 256)) as usize,
        parallel: random.within(Span::new(1, 8)) as usize,
        read_us: random.draw_span(10, 20_000),
        commit_us: random.draw_span(10, 20_000),
        sync_us: Span::new(1_000, random.within(Span::new(5_000, 300_000))),
        unavailable: random.draw_chance(10, 500),
        conflict: random.draw_chance(10, 1_000),
        unknown: random.draw_chance(10, 500),
        too_old: random.draw_chance(10, 500),
        queue_refuses: random.draw_chance(10, 500),
        external: random.coin(),
        distance: draw_distance(random),
    }
}

fn draw_distance(random: &mut Random) -> Distance {
    let often = random.coin();
    Distance {
        late: random.draw_chance(10, 1_000),
        late_us: random.draw_span(1_000, 5_000_000),
        gives_up: random.draw_chance(1_000, 10_000),
        silence_every_us: often.then(|| random.draw_span(200_000, 6_000_000)),
        silence_us: random.draw_span(100_000, 6_000_000),
        patience_us: Span::new(1_000_000, 2_000_000),
    }
}

fn draw_disasters(random: &mut Random) -> Disasters {
    let often = random.coin();
    Disasters {
        every_us: often.then(|| random.draw_span(1_000_000, 8_000_000)),
        down_us: random.draw_span(1_000, 2_000_000),
    }
}

fn draw_crowd(random: &mut Random) -> Crowd {
    Crowd {
        users: random.within(Span::new(3, 6)) as usize,
        conversations: random.within(Span::new(2, 5)) as usize,
        pace_us: random.draw_span(20_000, 1_000_000),
        body_bytes: random.draw_span(1, 4_000),
        change_us: random.draw_span(300_000, 5_000_000),
        slow_us: random.draw_span(500_000, 10_000_000),
        gives_up: random.draw_chance(500, 5_000),
        coming_us: Some(Span::new(0, 2_000_000)),
        is_orderly: false,
    }
}

fn draw_tuning(random: &mut Random) -> Tuning {
    Tuning {
        heartbeat_ms: random.within(Span::new(1_000, 10_000)) as u32,
        outbox_bytes: random.within(Span::new(16_384, 65_536)) as u32,
        lag_events_max: random.draw_span(4, 1_000).high,
        large_members: 4,
        held_members_min: 2,
    }
}
