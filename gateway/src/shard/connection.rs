//! The connection record: everything that is kept of a socket, in at most 176 bytes. An idle connection is this record
//! and its attachments to rooms, and nothing else.

use protocol::frame::Subprotocol;
use protocol::id::{DeviceId, UserId};
use protocol::pair::Pair;
use protocol::rate::Bucket;
use protocol::websocket::Reader;
use ring::token::Token;

use super::settings::ListenerKind;
use super::wheel::Timer;

/// No link: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// No connection in this slot.
    Free,
    /// The head of the upgrade request is not all there.
    Upgrading,
    /// A WebSocket, but no `hello` yet.
    AwaitHello,
    /// The user is known; its owner and its conversations' owners have not all answered.
    Opening,
    /// Welcomed.
    Open,
    /// A WebSocket that echoes.
    Echo,
    /// Nothing is taken any more; what is to be sent is sent, then the stream ends.
    Closing,
    /// The ring was told to close the socket.
    Closed,
}

/// What is true of a connection just now, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

/// One bit of [`Flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Flag {
    /// The socket is armed.
    Receiving = 1 << 0,
    /// A gather is in flight.
    Sending = 1 << 1,
    /// In the list of those with something new to send.
    Dirty = 1 << 2,
    /// Input was put aside, or the socket paused: to be taken up again.
    Stalled = 1 << 3,
    /// In the list of those to be taken up again.
    Ready = 1 << 4,
    /// In the list of those that wait for room in a router's queue, or for their turn to open.
    Parked = 1 << 5,
    /// The side table of inputs has an entry.
    Input = 1 << 6,
    /// The peer's end of the stream came.
    PeerEnded = 1 << 7,
    /// Shutdown was asked for.
    ShutDown = 1 << 8,
    /// The router was told that the session is silent.
    Silent = 1 << 9,
    /// A backlog pull is in flight, or waits to be tried again.
    Pulling = 1 << 10,
    /// The user's owner knows the session: it must be told of the end.
    Registered = 1 << 11,
    /// The token says `admin`.
    Admin = 1 << 12,
    /// The client closed in order.
    NormalEnd = 1 << 13,
    /// The client was sent its `welcome`.
    Welcomed = 1 << 14,
    /// It holds one of the node's seats.
    Seated = 1 << 15,
}

impl Flags {
    pub(super) const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u16 != 0
    }

    pub(super) const fn set(&mut self, flag: Flag) {
        self.0 |= flag as u16;
    }

    pub(super) const fn clear(&mut self, flag: Flag) {
        self.0 &= !(flag as u16);
    }

    /// Clears a bit and tells whether it was set.
    pub(super) const fn take(&mut self, flag: Flag) -> bool {
        let was = self.has(flag);
        self.clear(flag);
        was
    }
}

/// A queue of packets to one client, its entries in the shard's one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outbox {
    pub(super) head: u32,
    pub(super) tail: u32,
    /// Unsent bytes, those in flight included.
    pub(super) bytes: u32,
    /// Packets that are not in flight.
    pub(super) packets: u32,
}

/// Bytes of the ids of a user and a device together that lie in the record; longer ones take memory of their own.
const NAMES_BYTES_INLINE: usize = 45;

/// One connection. Larger fields come first, so that nothing is lost between them.
#[derive(Debug)]
pub(super) struct Connection {
    /// The user and the device.
    names: Pair<UserId, DeviceId, NAMES_BYTES_INLINE>,
    pub(super) sends: Bucket,
    pub(super) frames: Bucket,
    pub(super) outbox: Outbox,
    pub(super) timer: Timer,
    /// Which tenant of the slot.
    pub(super) generation: u32,
    /// Which tenant of the cluster, interned.
    pub(super) tenant: u32,
    /// When the client was last heard, in ticks of the wheel.
    pub(super) heard_tick: u32,
    /// When the state's own time is over (upgrade, hello, close), in ticks of the wheel.
    pub(super) state_tick: u32,
    /// When the token ends, seconds since the Unix epoch.
    pub(super) expires_s: u32,
    /// Attachments that take events as they are published.
    pub(super) live: u32,
    /// Attachments that lag, a ring of links: the head is pulled next.
    pub(super) lagging: u32,
    /// Watched users.
    pub(super) watches: u32,
    pub(super) reader: Reader,
    /// Requests that wait for a router, by their weight.
    pub(super) requests: u16,
    /// Frames over the rate since the bucket was last full.
    pub(super) strikes: u16,
    pub(super) attachments: u16,
    pub(super) watched: u16,
    pub(super) flags: Flags,
    pub(super) state: State,
    pub(super) listener: ListenerKind,
    pub(super) subprotocol: Subprotocol,
    /// Pings without any frame since.
    pub(super) pings: u8,
}

const _: () = assert!(size_of::<Connection>() <= 176, "a million idle connections hold one record each");

impl Connection {
    /// The record of a slot without a connection.
    pub(super) fn free() -> Self {
        let nobody = (UserId::parse("-").expect("a valid id"), DeviceId::parse("-").expect("a valid id"));
        Self {
            names: Pair::new(&nobody.0, &nobody.1),
            sends: Bucket::full(),
            frames: Bucket::full(),
            outbox: Outbox { head: NONE, tail: NONE, bytes: 0, packets: 0 },
            timer: Timer::IDLE,
            generation: 0,
            tenant: NONE,
            heard_tick: 0,
            state_tick: 0,
            expires_s: u32::MAX,
            live: NONE,
            lagging: NONE,
            watches: NONE,
            reader: Reader::new(),
            requests: 0,
            strikes: 0,
            attachments: 0,
            watched: 0,
            flags: Flags::default(),
            state: State::Free,
            listener: ListenerKind::Client,
            subprotocol: Subprotocol::Json,
            pings: 0,
        }
    }

    /// The user, once it is known.
    pub(super) fn user(&self) -> UserId {
        self.names.first()
    }

    /// The device, once it is known.
    pub(super) fn device(&self) -> DeviceId {
        self.names.second()
    }

    /// Whether this is the user.
    pub(super) fn is_user(&self, user: &str) -> bool {
        self.names.as_strs().0 == user
    }

    /// The user and the device, as events name them.
    pub(super) fn names(&self) -> (&str, &str) {
        self.names.as_strs()
    }

    /// Notes who is at the other end, and on what device, as far as it is known.
    pub(super) fn name(&mut self, user: &UserId, device: Option<&DeviceId>) {
        self.names = match device {
            Some(device) => Pair::new(user, device),
            None => Pair::new(user, &self.device()),
        };
    }

    /// The connection's name, for the ring.
    pub(super) const fn token(&self, slot: u32) -> Token {
        Token { slot, generation: self.generation }
    }

    /// True while WebSocket messages are taken from the client.
    pub(super) const fn is_reading(&self) -> bool {
        matches!(self.state, State::AwaitHello | State::Open | State::Echo)
    }

    /// True while the connection may be sent frames.
    pub(super) const fn is_websocket(&self) -> bool {
        matches!(self.state, State::AwaitHello | State::Opening | State::Open | State::Echo)
    }
}
