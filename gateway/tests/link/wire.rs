//! Two ends and the bytes between them.

use gateway::link::{ClusterKey, Common, Event, Link};
use protocol::envelope::GatewayId;
use protocol::link::{Greeting, VERSION, VERSION_OLDEST};
use protocol::placement::{Epoch, NodeId};
use protocol::time::Now;
use ring::packet::Gather;

pub(crate) const SECRET: &[u8] = b"a secret of the tests, 32 bytes and more";
pub(crate) const DIALLER_CORE: u16 = 3;
pub(crate) const ACCEPTOR_CORE: u16 = 1;
pub(crate) const ACCEPTOR_NODE: NodeId = NodeId(7);
pub(crate) const KNOWN_AS: GatewayId = GatewayId(70_001);

pub(crate) const fn at(monotonic_ms: u64) -> Now {
    Now { monotonic_ms, unix_ms: 0, monotonic_us: monotonic_ms * 1_000 }
}

pub(crate) fn key(secret: &[u8]) -> ClusterKey {
    ClusterKey::new(secret).unwrap()
}

pub(crate) fn dialler_greeting() -> Greeting {
    Greeting {
        oldest: VERSION_OLDEST,
        newest: VERSION,
        node: NodeId::NONE,
        core: DIALLER_CORE,
        cores: 4,
        incarnation: 11,
        name: "gateway-1".into(),
    }
}

pub(crate) fn acceptor_greeting() -> Greeting {
    Greeting {
        node: ACCEPTOR_NODE,
        core: ACCEPTOR_CORE,
        cores: 2,
        incarnation: 12,
        name: "router-7".into(),
        ..dialler_greeting()
    }
}

/// One end, its core, and what it has told.
pub(crate) struct End {
    pub(crate) link: Link,
    pub(crate) common: Common,
    pub(crate) events: Vec<Event>,
    /// Everything that the kernel took.
    pub(crate) sent: Vec<u8>,
    /// Events after which the owner pauses.
    pub(crate) pause_after: usize,
}

impl End {
    pub(crate) fn dialler(key: ClusterKey, greeting: Greeting) -> Self {
        let mut common = Common::new(key, greeting);
        let link = Link::dial(at(0), &mut common, Some(ACCEPTOR_NODE), [0xD1; 32]);
        Self { link, common, events: Vec::new(), sent: Vec::new(), pause_after: usize::MAX }
    }

    pub(crate) fn acceptor(key: ClusterKey, greeting: Greeting) -> Self {
        let common = Common::new(key, greeting);
        let link = Link::accept(at(0), [0xAC; 32]);
        Self { link, common, events: Vec::new(), sent: Vec::new(), pause_after: usize::MAX }
    }

    /// Bytes came.
    pub(crate) fn receive(&mut self, now: Now, bytes: &[u8]) {
        let mut input = bytes;
        while let Some(event) = self.link.next_event(now, &mut self.common, &mut input) {
            if matches!(event, Event::Ready { .. }) {
                self.link.call_peer(KNOWN_AS);
            }
            self.events.push(event);
            self.link.invariants();
            self.pause_after -= 1;
            if self.pause_after == 0 {
                self.link.pause(&mut self.common);
                self.pause_after = usize::MAX;
            }
        }
        assert!(input.is_empty(), "all input is taken");
        self.link.invariants();
    }

    /// Goes on after a pause.
    pub(crate) fn resume(&mut self, now: Now) {
        self.link.resume(now);
        self.receive(now, &[]);
    }

    /// Sends all there is; the kernel takes at most so many bytes at a time.
    pub(crate) fn send(&mut self, now: Now, taken_max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(gather) = self.link.poll_send(now, &mut self.common) {
            assert!(self.link.poll_send(now, &mut self.common).is_none(), "one gather at a time");
            let bytes = bytes_of(&gather);
            let taken = &bytes[..bytes.len().min(taken_max)];
            out.extend_from_slice(taken);
            self.link.sent(now, &mut self.common, taken.len() as i32, gather);
            self.link.invariants();
        }
        self.sent.extend_from_slice(&out);
        out
    }

    pub(crate) fn tick(&mut self, now: Now) {
        self.link.tick(now, &mut self.common);
        self.receive(now, &[]);
    }

    /// The events in words, since envelopes can't be compared.
    pub(crate) fn words(&self) -> Vec<String> {
        self.events.iter().map(|event| format!("{event:?}")).collect()
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.common.counters().refused().map(|(_, count)| count).sum()
    }
}

fn bytes_of(gather: &Gather) -> Vec<u8> {
    assert!(!gather.packets.is_empty(), "no gather is empty");
    let bytes = gather.packets.iter().flat_map(|packet| packet.as_bytes()).copied();
    bytes.skip(gather.skip).collect()
}

/// Both ends.
pub(crate) struct Pair {
    pub(crate) dialler: End,
    pub(crate) acceptor: End,
}

impl Pair {
    pub(crate) fn of(dialler: Greeting, acceptor: Greeting) -> Self {
        Self { dialler: End::dialler(key(SECRET), dialler), acceptor: End::acceptor(key(SECRET), acceptor) }
    }

    /// Two that have shaken hands; nothing of it is left in events.
    pub(crate) fn ready() -> Self {
        let mut pair = Self::of(dialler_greeting(), acceptor_greeting());
        pair.run(at(0));
        assert!(pair.dialler.link.is_ready() && pair.acceptor.link.is_ready());
        for end in [&mut pair.dialler, &mut pair.acceptor] {
            end.events.clear();
            end.sent.clear();
        }
        pair
    }

    /// Carries bytes to and fro until both are quiet.
    pub(crate) fn run(&mut self, now: Now) {
        loop {
            let (there, back) = (self.dialler.send(now, usize::MAX), self.acceptor.send(now, usize::MAX));
            if there.is_empty() && back.is_empty() {
                break;
            }
            self.acceptor.receive(now, &there);
            self.dialler.receive(now, &back);
        }
        self.dialler.receive(now, &[]);
        self.acceptor.receive(now, &[]);
    }

    pub(crate) fn told(&mut self, epoch: u64) {
        self.dialler.link.send_routing(&mut self.dialler.common, Epoch(epoch));
    }
}
