//! The network between nodes: connections of two ends whose bytes come late, in pieces, or not at all; that are cut at any
//! byte, with or without the other end's noticing; and partitions. Knows nothing of links.

use std::collections::{BTreeMap, VecDeque};

use ring::packet::Gather;

use crate::cluster::Event;
use crate::coverage::Mark;
use crate::kernel::{first_bytes, unsent_bytes};
use crate::random::{Chance, Span};
use crate::tier::TierEvent;
use crate::world::World;

const REFUSED: i32 = 111;
const TIMED_OUT: i32 = 110;
const RESET: i32 = 104;
/// How long a dial that nobody answers takes, microseconds.
const DIAL_TIMEOUT_US: u64 = 2_000_000;

/// A connection, by its number in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WireNumber(usize);

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// Who dialled.
    Dialler,
    /// Who accepted.
    Acceptor,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}

/// A core of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The node's place in the run.
    pub(crate) node: usize,
    /// Its core.
    pub(crate) core: u16,
}

/// What is to come on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WireEvent {
    /// A dial reaches its target.
    Arrive(WireNumber),
    /// The target's answer reaches the dialler.
    Answer(WireNumber, i32),
    /// An end's send makes progress.
    Send(WireNumber, End),
    /// What an end sent reaches the other.
    Deliver(WireNumber, End),
}

/// What a core is told.
#[derive(Debug)]
pub(crate) enum Happened {
    /// Its dial was taken.
    Connected(WireNumber),
    /// It was not: an `errno`.
    Refused(WireNumber, i32),
    /// Somebody dialled.
    Accepted(WireNumber),
    /// Bytes came.
    Received(WireNumber, Vec<u8>),
    /// The peer sends no more: an `errno`, or 0.
    Ended(WireNumber, i32),
    /// A send ended: bytes taken, or a negative `errno`.
    Sent(WireNumber, i32, Box<Gather>),
}

/// One direction: from the end that has it.
#[derive(Debug, Default)]
struct Half {
    flight: VecDeque<u8>,
    sending: Option<Box<Gather>>,
    send_waits: bool,
    deliver_planned: bool,
    /// No bytes follow what is in flight: why.
    ended: Option<i32>,
    told_end: bool,
    /// This end was closed by its owner, or never was.
    closed: bool,
    /// This end takes bytes.
    armed: bool,
    /// What this end sends from now on reaches nobody.
    lost: bool,
}

#[derive(Debug)]
struct Wire {
    dialler: Place,
    acceptor: Place,
    halves: [Half; 2],
}

impl Wire {
    fn place(&self, end: End) -> Place {
        match end {
            End::Dialler => self.dialler,
            End::Acceptor => self.acceptor,
        }
    }
}

/// How connections behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireWeather {
    /// From one end to the other, microseconds.
    pub(crate) delay_us: Span,
    /// Bytes that a connection holds a direction.
    pub(crate) window_bytes: usize,
    /// Bytes come in pieces.
    pub(crate) split: Chance,
    /// A send takes a part.
    pub(crate) short: Chance,
    /// A dial is taken, and its answer lost; or there is one more of it.
    pub(crate) dial_lost: Chance,
}

/// Bytes from some nodes do not reach others.
#[derive(Clone, Copy, Debug)]
struct Partition {
    from: u32,
    to: u32,
}

/// All connections between nodes.
#[derive(Debug)]
pub(crate) struct Wires {
    pub(crate) weather: WireWeather,
    wires: Vec<Wire>,
    happened: BTreeMap<Place, VecDeque<Happened>>,
    /// Nodes that were told something since the last look.
    told: Vec<usize>,
    /// Nodes that listen, and on how many cores.
    listening: Vec<Option<u16>>,
    partitions: BTreeMap<u32, Partition>,
    partition_count: u32,
}

fn event(event: WireEvent) -> Event {
    Event::Tier(TierEvent::Wire(event))
}

impl Wires {
    pub(crate) fn new(weather: WireWeather, nodes: usize) -> Self {
        Self {
            weather,
            wires: Vec::new(),
            happened: BTreeMap::new(),
            told: Vec::new(),
            listening: vec![None; nodes],
            partitions: BTreeMap::new(),
            partition_count: 0,
        }
    }

    /// A node takes connections on so many cores, or none.
    pub(crate) fn listen(&mut self, node: usize, cores: Option<u16>) {
        self.listening[node] = cores;
    }

    /// Whether a core has something to be told.
    pub(crate) fn has_happened(&self, place: Place) -> bool {
        self.happened.get(&place).is_some_and(|happened| !happened.is_empty())
    }

    /// The next of it.
    pub(crate) fn next_happened(&mut self, place: Place) -> Option<Happened> {
        self.happened.get_mut(&place)?.pop_front()
    }

    /// Nodes that were told something since this was asked last.
    pub(crate) fn told(&mut self) -> impl Iterator<Item = usize> + '_ {
        self.told.drain(..)
    }

    fn tell(&mut self, place: Place, happened: Happened) {
        self.told.push(place.node);
        self.happened.entry(place).or_default().push_back(happened);
    }

    fn half(&mut self, number: WireNumber, end: End) -> &mut Half {
        &mut self.wires[number.0].halves[end as usize]
    }

    fn add(&mut self, dialler: Place, acceptor: Place) -> WireNumber {
        let half = || Half { closed: true, ..Half::default() };
        self.wires.push(Wire { dialler, acceptor, halves: [half(), half()] });
        WireNumber(self.wires.len() - 1)
    }

    fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.partitions.values().any(|block| block.from >> from & 1 == 1 && block.to >> to & 1 == 1)
    }

    /// A core dials a node.
    pub(crate) fn dial(&mut self, world: &mut World<Event>, dialler: Place, node: usize) -> WireNumber {
        let number = self.add(dialler, Place { node, core: 0 });
        self.half(number, End::Dialler).closed = false;
        world.plan_within(self.weather.delay_us, event(WireEvent::Arrive(number)));
        if world.random.happens(self.weather.dial_lost) {
            // One more that is nobody's: it was sent twice.
            world.coverage.hit(Mark::DialDoubled);
            let double = self.add(dialler, Place { node, core: 0 });
            world.plan_within(self.weather.delay_us, event(WireEvent::Arrive(double)));
        }
        number
    }

    /// An end takes bytes, or none for now.
    pub(crate) fn arm(&mut self, world: &mut World<Event>, number: WireNumber, end: End, armed: bool) {
        self.half(number, end).armed = armed;
        self.plan_delivery(world, number, end.other());
    }

    /// An end sends.
    pub(crate) fn send(
        &mut self,
        world: &mut World<Event>,
        number: WireNumber,
        end: End,
        gather: Box<Gather>,
    ) {
        assert!(unsent_bytes(&gather) > 0, "a send has bytes");
        let half = self.half(number, end);
        assert!(half.sending.is_none(), "one send is under way at a time");
        assert!(!half.closed, "no send follows a close");
        half.sending = Some(gather);
        world.plan(1, event(WireEvent::Send(number, end)));
    }

    /// An end closes in order.
    pub(crate) fn close(&mut self, world: &mut World<Event>, number: WireNumber, end: End) {
        let half = self.half(number, end);
        if half.closed {
            return;
        }
        half.closed = true;
        half.sending = None;
        half.send_waits = false;
        half.ended = Some(0);
        self.plan_delivery(world, number, end);
    }

    /// A node is gone with all its ends; `noticed`: others are told.
    pub(crate) fn node_gone(&mut self, world: &mut World<Event>, node: usize, noticed: bool) {
        self.listening[node] = None;
        self.happened.retain(|place, _| place.node != node);
        for number in (0..self.wires.len()).map(WireNumber) {
            for end in [End::Dialler, End::Acceptor] {
                let wire = &self.wires[number.0];
                if wire.place(end).node == node && !wire.halves[end as usize].closed {
                    self.reset(world, number, end, noticed);
                }
            }
        }
    }

    /// An end breaks off.
    fn reset(&mut self, world: &mut World<Event>, number: WireNumber, end: End, noticed: bool) {
        let half = self.half(number, end);
        half.closed = true;
        half.sending = None;
        half.send_waits = false;
        half.ended = Some(RESET);
        half.lost |= !noticed;
        let kept = world.random.index(half.flight.len() + 1);
        half.flight.truncate(kept);
        self.plan_delivery(world, number, end);
    }

    /// A connection that is open at both ends breaks: both are told, or one of them, or nobody is. False: there is none.
    pub(crate) fn cut_one(&mut self, world: &mut World<Event>) -> bool {
        let is_open = |wire: &Wire| wire.halves.iter().all(|half| !half.closed);
        let open: Vec<usize> = (0..self.wires.len()).filter(|number| is_open(&self.wires[*number])).collect();
        if open.is_empty() {
            return false;
        }
        let number = WireNumber(*world.random.pick(&open));
        for end in [End::Dialler, End::Acceptor] {
            let noticed = world.random.below(3) > 0;
            let half = self.half(number, end);
            let kept = world.random.index(half.flight.len() + 1);
            half.flight.truncate(kept);
            half.ended = Some(RESET);
            half.lost |= !noticed;
            self.plan_delivery(world, number, end);
        }
        true
    }

    /// Bytes of some nodes do not reach others from now on.
    pub(crate) fn part(&mut self, from: u32, to: u32) -> u32 {
        self.partition_count += 1;
        self.partitions.insert(self.partition_count, Partition { from, to });
        self.partition_count
    }

    /// A partition is over.
    pub(crate) fn join(&mut self, world: &mut World<Event>, number: u32) {
        self.partitions.remove(&number);
        for number in (0..self.wires.len()).map(WireNumber) {
            for end in [End::Dialler, End::Acceptor] {
                self.plan_delivery(world, number, end);
            }
        }
    }

    /// All partitions are over.
    pub(crate) fn join_all(&mut self, world: &mut World<Event>) {
        for number in self.partitions.keys().copied().collect::<Vec<_>>() {
            self.join(world, number);
        }
    }

    fn plan_delivery(&mut self, world: &mut World<Event>, number: WireNumber, from: End) {
        let wire = &mut self.wires[number.0];
        let armed = wire.halves[from.other() as usize].armed;
        let half = &mut wire.halves[from as usize];
        let news = !half.flight.is_empty() || half.ended.is_some() && !half.told_end;
        if news && armed && !half.deliver_planned {
            half.deliver_planned = true;
            world.plan_within(self.weather.delay_us, event(WireEvent::Deliver(number, from)));
        }
    }

    /// Something planned is due.
    pub(crate) fn handle(&mut self, world: &mut World<Event>, event: WireEvent) {
        match event {
            WireEvent::Arrive(number) => self.arrive(world, number),
            WireEvent::Answer(number, error) => self.answer(number, error),
            WireEvent::Send(number, end) => self.progress(world, number, end),
            WireEvent::Deliver(number, from) => self.deliver(world, number, from),
        }
    }

    fn arrive(&mut self, world: &mut World<Event>, number: WireNumber) {
        let (dialler, node) = (self.wires[number.0].dialler, self.wires[number.0].acceptor.node);
        if self.is_blocked(dialler.node, node) {
            return world.plan(DIAL_TIMEOUT_US, event(WireEvent::Answer(number, TIMED_OUT)));
        }
        let Some(cores) = self.listening[node] else {
            return world.plan_within(self.weather.delay_us, event(WireEvent::Answer(number, REFUSED)));
        };
        let core = world.random.below(u64::from(cores)) as u16;
        self.wires[number.0].acceptor.core = core;
        self.half(number, End::Acceptor).closed = false;
        self.tell(Place { node, core }, Happened::Accepted(number));
        if self.half(number, End::Dialler).closed {
            return;
        }
        if self.is_blocked(node, dialler.node) || world.random.happens(self.weather.dial_lost) {
            world.coverage.hit(Mark::DialLost);
            world.plan(DIAL_TIMEOUT_US, event(WireEvent::Answer(number, TIMED_OUT)));
        } else {
            world.plan_within(self.weather.delay_us, event(WireEvent::Answer(number, 0)));
        }
    }

    fn answer(&mut self, number: WireNumber, error: i32) {
        let dialler = self.wires[number.0].dialler;
        let half = self.half(number, End::Dialler);
        if half.closed {
            return;
        }
        half.closed = error != 0;
        let happened =
            if error == 0 { Happened::Connected(number) } else { Happened::Refused(number, error) };
        self.tell(dialler, happened);
    }

    fn progress(&mut self, world: &mut World<Event>, number: WireNumber, end: End) {
        let (window, short) = (self.weather.window_bytes, self.weather.short);
        let place = self.wires[number.0].place(end);
        let half = self.half(number, end);
        half.send_waits = false;
        let Some(gather) = half.sending.take() else { return };
        if half.ended.is_some() && !half.lost {
            return self.tell(place, Happened::Sent(number, -RESET, gather));
        }
        let room = window.saturating_sub(half.flight.len()).min(unsent_bytes(&gather));
        if room == 0 {
            half.sending = Some(gather);
            half.send_waits = true;
            return;
        }
        let part = room > 1 && world.random.happens(short);
        let count = if part { world.random.within(Span::new(1, room as u64 - 1)) as usize } else { room };
        if half.ended.is_none() {
            half.flight.extend(first_bytes(&gather, count));
        }
        self.tell(place, Happened::Sent(number, count as i32, gather));
        self.plan_delivery(world, number, end);
    }

    fn deliver(&mut self, world: &mut World<Event>, number: WireNumber, from: End) {
        let wire = &self.wires[number.0];
        let (source, target) = (wire.place(from), wire.place(from.other()));
        let split = self.weather.split;
        self.half(number, from).deliver_planned = false;
        if self.is_blocked(source.node, target.node) {
            return;
        }
        let reader = self.half(number, from.other());
        if reader.closed || !reader.armed {
            return;
        }
        let half = self.half(number, from);
        let there = half.flight.len();
        if there > 0 {
            let part = there > 1 && world.random.happens(split);
            let count =
                if part { world.random.within(Span::new(1, there as u64 - 1)) as usize } else { there };
            let bytes = half.flight.drain(..count).collect();
            if half.send_waits {
                half.send_waits = false;
                world.plan(1, event(WireEvent::Send(number, from)));
            }
            self.tell(target, Happened::Received(number, bytes));
        } else if let Some(error) = half.ended.filter(|_| !half.told_end && !half.lost) {
            half.told_end = true;
            self.tell(target, Happened::Ended(number, error));
        } else {
            half.told_end |= half.lost;
        }
        self.plan_delivery(world, number, from);
    }
}
