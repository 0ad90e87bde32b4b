//! One client's record: as small as can be, since there are millions. What only a few have at a time stands elsewhere.

use std::collections::VecDeque;

use ring::packet::Packet;
use ring::token::Token;

use crate::wire::Reader;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// Not connected. It may wait to be ([`flag::QUEUED`]).
    Away,
    /// Its dial is under way.
    Dialling,
    /// Its upgrade is.
    Upgrading,
    /// It said `hello`.
    Greeting,
    /// It heard `welcome`.
    Online,
    /// Its socket is being closed.
    Leaving,
}

impl State {
    pub(super) fn is_connecting(self) -> bool {
        matches!(self, Self::Dialling | Self::Upgrading | Self::Greeting)
    }
}

/// Bits of [`Client::flags`].
pub(super) mod flag {
    /// The script wants it online.
    pub(in super::super) const WANTED: u8 = 1;
    /// A send is in flight.
    pub(in super::super) const SENDING: u8 = 1 << 1;
    /// Stands in the list of those with something to send.
    pub(in super::super) const DIRTY: u8 = 1 << 2;
    /// Its receive is paused by the script, or by its rate.
    pub(in super::super) const PAUSED: u8 = 1 << 3;
    /// Reads at a rate of its own.
    pub(in super::super) const SLOW: u8 = 1 << 4;
    /// Waits to connect.
    pub(in super::super) const QUEUED: u8 = 1 << 5;
    /// The server said when to come back: [`Client::return_ms`](super::Client).
    pub(in super::super) const TOLD: u8 = 1 << 6;
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    /// Its socket, unless it is away.
    pub(super) token: Token,
    /// When its last dial began.
    pub(super) began_ns: u64,
    /// An unfinished message.
    pub(super) reader: Reader,
    /// What waits behind a send in flight, or for the end of the turn.
    #[expect(clippy::box_collection, reason = "eight bytes while it is empty, which it is for nearly all")]
    pub(super) outbox: Option<Box<VecDeque<Packet>>>,
    /// Dials so far: the last one's number.
    pub(super) dials: u32,
    /// When to come back after leaving, in milliseconds.
    pub(super) return_ms: u32,
    pub(super) state: State,
    pub(super) flags: u8,
    /// Failed connects since it was last online.
    pub(super) tries: u8,
}

const _: () = assert!(size_of::<Client>() <= 48);

impl Client {
    pub(super) fn new() -> Self {
        Self {
            token: Token { slot: 0, generation: 0 },
            began_ns: 0,
            reader: Reader::default(),
            outbox: None,
            dials: 0,
            return_ms: 0,
            state: State::Away,
            flags: 0,
            tries: 0,
        }
    }

    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    pub(super) fn set(&mut self, flags: u8) {
        self.flags |= flags;
    }

    pub(super) fn clear(&mut self, flags: u8) {
        self.flags &= !flags;
    }
}
