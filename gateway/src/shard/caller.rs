//! Callers: how a request's answer finds its connection, and what kind of request it was, without remembering any.

use protocol::envelope::{Actor, Authority, Caller};
use protocol::id::{ConversationId, ConversationKey, UserKey};
use ring::token::Token;

use super::GatewayShard;
use super::connection::Flag;

/// Slots that a caller's name has room for: 2^24, sixteen times what one ring can register.
pub(super) const SLOTS_MAX: u32 = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 24;

/// What a request asks for: in the slot's upper bits of [`Caller::connection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Asks {
    /// Something of the session itself: opening, attaching, what a lagging connection missed. The session's own name.
    Session = 0,
    /// One answer to the client.
    Request = 1,
    /// A piece of a `sync`.
    Sync = 2,
    /// One answer to the client, which may be as large as many others.
    Page = 3,
}

impl Asks {
    /// How many of the requests that a connection may have under way it counts for: those that ask for pages without
    /// reading them must not make the server hold hundreds.
    pub(super) const fn weight(self) -> u16 {
        match self {
            Self::Session | Self::Request | Self::Sync => 1,
            Self::Page => PAGE_WEIGHT,
        }
    }
}

const PAGE_WEIGHT: u16 = 32;

/// `reference` of the attaches of an opening session; those of a later `Joined` carry the seq to begin after.
pub(super) const OPENING: i64 = -1;
/// `reference` of a session that is told of again.
pub(super) const AGAIN: i64 = -2;
/// `reference` of rooms that are told of again: their caller's connection says nothing.
pub(super) const ANNOUNCED: i64 = -3;
/// `reference` of a room's own pull; those of a connection carry the attachment.
pub(super) const ROOM: i64 = -1;

/// The connection and the kind of request of a name; `None` for a name that this shard never gave.
pub(super) fn parse(connection: u64) -> Option<(Token, Asks)> {
    let token = Token::from_bits(connection);
    let asks = match token.slot >> SLOT_BITS {
        0 => Asks::Session,
        1 => Asks::Request,
        2 => Asks::Sync,
        3 => Asks::Page,
        _ => return None,
    };
    Some((Token { slot: token.slot & (SLOTS_MAX - 1), ..token }, asks))
}

impl GatewayShard {
    pub(super) fn caller(&self, slot: u32, asks: Asks, reference: i64) -> Caller {
        let mut token = self.slab[slot].token(slot);
        token.slot |= (asks as u32) << SLOT_BITS;
        Caller { gateway: self.id, connection: token.to_bits(), reference }
    }

    /// The caller of a request that the client waits for: one more in flight.
    pub(super) fn client_caller(&mut self, slot: u32, asks: Asks, reference: i64) -> Caller {
        self.slab[slot].requests += asks.weight();
        self.caller(slot, asks, reference)
    }

    /// The live connection behind an answer's caller.
    pub(super) fn answered(&self, caller: &Caller) -> Option<(u32, Asks)> {
        let (token, asks) = parse(caller.connection)?;
        Some((self.slab.slot(token)?, asks))
    }

    pub(super) fn user_key(&self, slot: u32) -> UserKey {
        let connection = &self.slab[slot];
        UserKey { tenant: self.tenants.get(connection.tenant), user: connection.user() }
    }

    pub(super) fn conversation_key(&self, slot: u32, conversation: ConversationId) -> ConversationKey {
        ConversationKey { tenant: self.tenants.get(self.slab[slot].tenant), conversation }
    }

    pub(super) fn actor(&self, slot: u32) -> Actor {
        let admin = self.slab[slot].flags.has(Flag::Admin);
        let authority = if admin { Authority::Server } else { Authority::User };
        Actor { key: self.user_key(slot), authority }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_connection_and_its_kind() {
        for slot in [0, 1, SLOTS_MAX - 1] {
            for (bits, asks) in [(0, Asks::Session), (1, Asks::Request), (2, Asks::Sync), (3, Asks::Page)] {
                let token = Token { slot, generation: 0xdead_beef };
                let named = Token { slot: slot | bits << SLOT_BITS, ..token };
                assert_eq!(parse(named.to_bits()), Some((token, asks)));
            }
            assert_eq!(parse(u64::from(slot | 4 << SLOT_BITS)), None);
        }
    }
}
