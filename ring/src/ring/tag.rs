//! Tags: the 64 bits that go into the kernel with an entry and come back with its completions.
//!
//! ```text
//! bits  63..56     55..32                            31..0
//!       kind       generation of the slot (low 24)   slot, or accept
//! ```

use crate::token::Token;

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Single-shot accept into a slot.
    Accept = 1,
    /// Multishot poll for what can be read, and for room to send.
    Poll,
    /// Receive of what a poll announced.
    Receive,
    /// Send of as much as there is room for.
    Send,
    Shutdown,
    Close,
    /// A cancellation: says only that it found nothing, which nobody needs.
    Cancel,
    /// Multishot poll of the waker's eventfd.
    Wake,
    /// First entry of a dial's chain: the socket.
    Socket,
    /// The others of the chain, up to the connect.
    Dial,
    /// A cancellation of a dial that found nothing.
    HangUp,
    /// An option that was refused: it changes nothing.
    Linger,
    /// Poll of the bell that tells the first bank of the others.
    Bell,
}

impl Kind {
    fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Accept,
            2 => Self::Poll,
            3 => Self::Receive,
            4 => Self::Send,
            5 => Self::Shutdown,
            6 => Self::Close,
            7 => Self::Cancel,
            8 => Self::Wake,
            9 => Self::Socket,
            10 => Self::Dial,
            11 => Self::HangUp,
            12 => Self::Linger,
            13 => Self::Bell,
            _ => unreachable!("the kernel gives back the tags it got"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) kind: Kind,
    /// The slot, or the accept's place.
    pub(crate) index: u32,
    /// Low 24 bits of the slot's generation.
    generation: u32,
}

const GENERATION_BITS: u32 = 24;

impl Tag {
    pub(crate) fn of_token(kind: Kind, token: Token) -> Self {
        Self { kind, index: token.slot, generation: token.generation & ((1 << GENERATION_BITS) - 1) }
    }

    pub(crate) fn of_index(kind: Kind, index: u32) -> Self {
        Self { kind, index, generation: 0 }
    }

    /// Whether the tag was made for this tenant of its slot.
    pub(crate) fn belongs_to(self, token: Token) -> bool {
        self == Self::of_token(self.kind, token)
    }

    pub(crate) fn to_bits(self) -> u64 {
        (self.kind as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            kind: Kind::from_bits((bits >> 56) as u8),
            index: bits as u32,
            generation: (bits >> 32) as u32 & ((1 << GENERATION_BITS) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Tag};
    use crate::token::Token;

    #[test]
    fn every_kind_survives_the_kernel() {
        let token = Token { slot: u32::MAX, generation: u32::MAX };
        for bits in 1..=13 {
            let tag = Tag::of_token(Kind::from_bits(bits), token);
            assert_eq!(Tag::from_bits(tag.to_bits()), tag);
            assert!(Tag::from_bits(tag.to_bits()).belongs_to(token));
        }
    }

    #[test]
    fn a_tag_belongs_to_one_tenant_alone() {
        let tag = Tag::of_token(Kind::Poll, Token { slot: 7, generation: 1 });
        assert!(!tag.belongs_to(Token { slot: 7, generation: 2 }));
        assert!(!tag.belongs_to(Token { slot: 8, generation: 1 }));
    }
}
