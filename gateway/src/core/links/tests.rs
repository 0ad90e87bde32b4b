//! Links of other nodes' cores at a core without a ring: who is looked at, what waits, and what is told when one ends.

use std::collections::VecDeque;

use protocol::envelope::Lane;
use protocol::id::{ConversationId, ConversationKey, Tenant, UserId};
use protocol::link::{VERSION, VERSION_OLDEST};
use protocol::placement::Epoch;
use ring::packet::Gather;
use router::RouterShard;
use tokio::sync::mpsc;

use super::*;
use crate::auth::{Authenticator, Keys, Rules};
use crate::config::{Format, Level};
use crate::core::exchange::{self, Exchange, Inbox, Outgoing};
use crate::link::{Event, PING_MS, SILENCE_MS, UNSENT_BYTES_MAX};
use crate::shard::{self, GatewayShard};

const SECRET: &[u8] = &[7; 32];
/// The core with the links is the first of so many.
const CORES: u16 = 3;
/// Places of each mailbox.
const PLACES: usize = 4;

fn greeting(node: u16, cores: u16) -> Greeting {
    let (oldest, newest) = (VERSION_OLDEST, VERSION);
    Greeting { oldest, newest, node: NodeId(node), core: 0, cores, incarnation: 1, name: "node".into() }
}

fn conversation() -> ConversationKey {
    let conversation = ConversationId::parse("c").unwrap();
    ConversationKey { tenant: Tenant::default_tenant(), conversation }
}

/// Envelopes that are told apart by a number.
fn left(seq: u64) -> ToGateway {
    ToGateway::Left { connection: 1, conversation: conversation(), seq }
}

fn mark(read: u64) -> ToRouter {
    let (authority, user) = (protocol::envelope::Authority::User, UserId::parse("u").unwrap());
    let key = protocol::id::UserKey { tenant: Tenant::default_tenant(), user };
    let actor = protocol::envelope::Actor { key, authority };
    let device = protocol::id::DeviceId::parse("d").unwrap();
    ToRouter::Mark { actor, device, conversation: conversation(), received: None, read: Some(read) }
}

/// The other end of a link, and the wire.
struct Peer {
    token: Token,
    link: Link,
    common: Common,
    heard: Vec<u64>,
    /// Sends that the kernel has not taken.
    stalled: Option<VecDeque<Box<Gather>>>,
}

struct World {
    links: Links,
    gateway: GatewayShard,
    router: RouterShard,
    exchange: Exchange,
    outgoing: Outgoing,
    inboxes: Vec<Inbox>,
    peers: Vec<Peer>,
    now: Now,
}

impl World {
    fn new(peers: u32) -> Self {
        let (logger, _thread) = crate::log::start(Level::Error, Format::Text).unwrap();
        let table = Arc::new(Table::alone(CORES, Epoch(1)));
        let (api, _inbox) = mpsc::channel(1);
        let brim = Brim { envelopes: 64, bytes: UNSENT_BYTES_MAX };
        let settings = exchange::Settings { cores: CORES, places: PLACES, brim };
        let exchange = Exchange::new(settings, api, Arc::clone(&table)).unwrap();
        let authenticator = Arc::new(Authenticator::new(Keys::new(), Rules::default(), SECRET));
        let shard = shard::Settings::default();
        let mut world = Self {
            links: Links::new(LinkSettings {
                key: ClusterKey::new(SECRET).unwrap(),
                greeting: greeting(1, CORES),
                listener: Some(0),
                seeds: Arc::default(),
                seed: 1,
                remotes: Arc::clone(exchange.remotes()),
                brim,
                logger,
            }),
            gateway: GatewayShard::new(GatewayId(0), &table, 16, shard, authenticator, 1),
            router: RouterShard::new(RouterId::new(NodeId(1), 0), table, router::Settings::default(), 1),
            outgoing: exchange.outgoing(),
            inboxes: (1..CORES).map(|core| exchange.inbox(core)).collect(),
            exchange,
            peers: Vec::new(),
            now: Now { monotonic_ms: 10_000, ..Now::default() },
        };
        for slot in 0..peers {
            world.accept(slot);
        }
        world.run();
        assert_eq!(world.links.gauges().gateways, u64::from(peers));
        world
    }

    fn accept(&mut self, slot: u32) {
        let token = Token { slot, generation: 1 };
        let mut common = Common::new(ClusterKey::new(SECRET).unwrap(), greeting(0, 1));
        let link = Link::dial(self.now, &mut common, None, [slot as u8; 32]);
        self.peers.push(Peer { token, link, common, heard: Vec::new(), stalled: None });
        self.complete(Completion::Accepted { token, listener: 0, peer: "127.0.0.1:1".parse().unwrap() });
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Links, Now, &mut Hands<'_>) -> R) -> R {
        let Self { links, gateway, router, exchange, outgoing, now, .. } = self;
        let placement = exchange.placement();
        act(links, *now, &mut Hands { number: 0, gateway, router, outgoing, placement })
    }

    fn complete(&mut self, completion: Completion<'_>) {
        self.with(|links, now, hands| links.complete(now, completion, hands));
    }

    /// A turn of the core: how it went, and how many links it sent something to.
    fn turn(&mut self) -> (Pace, usize) {
        let pace = self.with(|links, now, hands| links.go_on(now, hands));
        let mut sends = 0;
        for operation in std::mem::take(&mut self.links.operations) {
            let Operation::Send(token, gather) = operation else { continue };
            sends += 1;
            let peer = self.peers.iter_mut().find(|peer| peer.token == token).unwrap();
            match &mut peer.stalled {
                Some(stalled) => stalled.push_back(gather),
                None => self.take(token, gather),
            }
        }
        (pace, sends)
    }

    /// The kernel has taken a gather, and the peer reads it.
    fn take(&mut self, token: Token, gather: Box<Gather>) {
        let bytes: Vec<u8> = gather.packets.iter().flat_map(|packet| packet.as_bytes()).copied().collect();
        let bytes = &bytes[gather.skip..];
        let peer = self.peers.iter_mut().find(|peer| peer.token == token).unwrap();
        let mut input = bytes;
        while let Some(event) = peer.link.next_event(self.now, &mut peer.common, &mut input) {
            if let Event::ToGateway(ToGateway::Left { seq, .. }) = event {
                peer.heard.push(seq);
            }
        }
        self.complete(Completion::Sent { token, result: bytes.len() as i32, gather });
    }

    /// What a peer has to send comes.
    fn listen(&mut self, at: usize) {
        while let Some(gather) = {
            let peer = &mut self.peers[at];
            peer.link.poll_send(self.now, &mut peer.common)
        } {
            let mut bytes: Vec<u8> =
                gather.packets.iter().flat_map(|packet| packet.as_bytes()).copied().collect();
            let peer = &mut self.peers[at];
            peer.link.sent(self.now, &mut peer.common, bytes.len() as i32, gather);
            let token = peer.token;
            self.complete(Completion::Received { token, bytes: &mut bytes });
        }
    }

    /// Until nobody has anything to say any more.
    fn run(&mut self) {
        for _ in 0..8 {
            (0..self.peers.len()).for_each(|at| self.listen(at));
            self.turn();
        }
    }

    /// A peer says something to the router shard of a core.
    fn say(&mut self, at: usize, core: u16, word: u64) {
        let Peer { link, common, .. } = &mut self.peers[at];
        link.send_to_router(common, &mark(word), core).unwrap();
        self.listen(at);
    }

    /// The words, and news of gateway shards that are gone (`None`), in the mailbox of a core's router shard.
    fn mail(&self, core: u16) -> Vec<Option<u64>> {
        let mailbox = &self.inboxes[usize::from(core) - 1].router;
        let popped = core::iter::from_fn(|| mailbox.pop());
        popped
            .map(|(_, envelope)| match envelope {
                ToRouter::Mark { read, .. } => read,
                ToRouter::GatewayGone { .. } => None,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn gateway_of(&self, at: usize) -> GatewayId {
        self.links.accepted[&self.peers[at].token.slot].link.known_as().unwrap()
    }
}

#[test]
fn a_link_is_looked_at_when_something_was_done_with_it_alone() {
    let mut world = World::new(20);
    assert_eq!((world.turn(), world.links.touched.len()), ((Pace::Steady, 0), 0));
    let [first, second] = [3, 4].map(|at| world.gateway_of(at));
    for seq in 1..=3 {
        world.links.send_to_gateway(first, left(seq)).unwrap();
    }
    world.links.take_mail(second, left(9));
    assert_eq!(world.links.touched.len(), 2);
    assert_eq!(world.turn(), (Pace::Steady, 2), "what was written in a turn leaves in one send");
    assert_eq!((&world.peers[3].heard[..], &world.peers[4].heard[..]), (&[1, 2, 3][..], &[9][..]));
    assert_eq!(world.turn(), (Pace::Steady, 0));
}

#[test]
fn links_that_nothing_is_done_with_are_pinged_and_ended_in_time() {
    let mut world = World::new(3);
    let begin_ms = world.now.monotonic_ms;
    // The first peer stays silent; whoever speaks is left alone.
    while world.links.gauges().gateways == 3 {
        let due_ms = world.links.deadline().unwrap();
        assert!(due_ms > world.now.monotonic_ms, "nothing is done twice");
        world.now.monotonic_ms = due_ms;
        for at in [1, 2] {
            let Peer { link, common, .. } = &mut world.peers[at];
            link.tick(world.now, common);
            world.listen(at);
        }
        // What is sent, and that it was.
        while world.turn().1 > 0 {}
        assert!(due_ms < begin_ms + 10_000);
    }
    let took_ms = world.now.monotonic_ms - begin_ms;
    assert!((SILENCE_MS..=SILENCE_MS + TICK_MS).contains(&took_ms), "{took_ms}");
    let pings = world.links.counters().outgoing.pings;
    assert!(((SILENCE_MS / PING_MS - 1) * 3..=SILENCE_MS / PING_MS * 3).contains(&pings), "{pings}");
    assert_eq!((world.mail(1), world.mail(2)), (vec![None], vec![None]));
}

#[test]
fn what_finds_no_room_in_a_mailbox_waits_and_keeps_its_order() {
    let mut world = World::new(2);
    for word in 1..=7 {
        world.say(0, 1, word);
    }
    assert_eq!(world.turn(), (Pace::Waiting, 1), "the peer is told what was taken");
    assert_eq!(world.links.gauges().paused, 1);
    world.say(1, 2, 70);
    assert_eq!(world.mail(2), [Some(70)], "the other link goes on");
    assert_eq!(world.mail(1), [1, 2, 3, 4].map(Some));
    assert_eq!(world.turn().0, Pace::Steady);
    assert_eq!(world.mail(1), [5, 6, 7].map(Some));
    assert_eq!(world.links.gauges().paused, 0);
}

#[test]
fn who_is_gone_is_told_of_behind_its_last_word() {
    let mut world = World::new(1);
    for word in 1..=5 {
        world.say(0, 1, word);
    }
    let token = world.peers[0].token;
    world.complete(Completion::Ended { token, error: 0 });
    assert_eq!(world.turn().0, Pace::Waiting, "the mailbox is full");
    assert_eq!(world.mail(2), [None]);
    assert_eq!(world.mail(1), [1, 2, 3, 4].map(Some));
    assert_eq!(world.turn().0, Pace::Steady);
    assert_eq!(world.mail(1), [Some(5), None]);
    assert_eq!((world.links.accepted.len(), world.links.gauges().gateways), (0, 0));
}

#[test]
fn a_gateway_shard_that_is_given_up_by_another_core_is_let_go() {
    let mut world = World::new(3);
    let gateway = world.gateway_of(1);
    world.exchange.outgoing().cut(gateway);
    world.turn();
    assert!(!world.links.has_gateway(gateway));
    assert_eq!((world.links.gauges().gateways, world.mail(1)), (2, vec![None]));
    world.links.send_to_gateway(gateway, left(1)).unwrap();
    world.links.take_mail(gateway, left(2));
    assert_eq!(world.turn(), (Pace::Steady, 0), "what was on its way to it is nobody's");
}

#[test]
fn what_other_cores_send_is_held_until_the_link_has_room() {
    let mut world = World::new(1);
    let gateway = world.gateway_of(0);
    world.peers[0].stalled = Some(VecDeque::new());
    let mut sent = 0;
    while world.links.send_to_gateway(gateway, left(sent)).is_ok() {
        sent += 1;
    }
    assert!(world.links.gauges().unsent_bytes >= UNSENT_BYTES_MAX as u64);
    let mut others = world.exchange.outgoing();
    world.turn();
    assert!(others.deliver_to_gateway(gateway, left(0)).is_err(), "the other cores know that it is full");
    for seq in sent..sent + 3 {
        // Counted when there was room.
        let remote = world.links.remotes.get(gateway).unwrap();
        assert!(remote.gauge.admit(Lane::Required, Brim { envelopes: 64, bytes: usize::MAX }));
        world.links.take_mail(gateway, left(seq));
    }
    assert_eq!((world.turn(), world.links.gauges().held), ((Pace::Steady, 0), 3));
    let token = world.peers[0].token;
    while let Some(gather) = world.peers[0].stalled.as_mut().unwrap().pop_front() {
        world.take(token, gather);
        world.turn();
    }
    assert_eq!(world.links.gauges().held, 0);
    assert!(world.peers[0].heard.iter().copied().eq(0..sent + 3), "all of it, in order");
}
