//! Control frames: what two ends of a link say to one another beside envelopes. Who says what when, and whether a proof
//! holds, is the link's own affair, elsewhere.
//!
//! ```text
//! kind  80 hello      nonce 32
//!       81 challenge  nonce 32
//!       82 proof      mac 32 · greeting
//!       83 ping
//!       84 table      epoch 8 · a table's bytes
//!       85 routing    epoch 8
//!       86 taken      count 8
//!
//! greeting  oldest 1 · newest 1 · node 2 · core 2 · cores 2 · incarnation 8 · name length 1 · name
//! ```
//! All numbers are little-endian. These layouts are in every version: whoever has more to say says it behind them, where an
//! older reader passes over it, or in a kind that an older reader does not know. The version in a frame's head is 0.

use super::write::write_parts;
use super::{CONTROL, Malformed, TooLarge};
use crate::placement::{Epoch, NAME_BYTES_MAX, NodeId};

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;
/// Bytes of a proof's message authentication code.
pub const MAC_BYTES: usize = 32;
/// Longest frame, in bytes, that is read of a peer that has not proved itself: a proof with room for what a later version
/// says in its greeting.
pub const HANDSHAKE_FRAME_BYTES_MAX: usize = 512;

const GREETING_FIXED_BYTES: usize = 17;
const _: () = assert!(
    super::HEAD_BYTES + MAC_BYTES + GREETING_FIXED_BYTES + NAME_BYTES_MAX <= HANDSHAKE_FRAME_BYTES_MAX
);

const HELLO: u8 = CONTROL;
const CHALLENGE: u8 = CONTROL + 1;
const PROOF: u8 = CONTROL + 2;
const PING: u8 = CONTROL + 3;
const TABLE: u8 = CONTROL + 4;
const ROUTING: u8 = CONTROL + 5;
const TAKEN: u8 = CONTROL + 6;

/// A control frame, its bytes as they lie in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// The dialler's first word.
    Hello {
        /// Random, of this link alone.
        nonce: &'a [u8; NONCE_BYTES],
    },
    /// The acceptor's answer to a hello, and all that it says to whoever has not proved itself.
    Challenge {
        /// Random, of this link alone.
        nonce: &'a [u8; NONCE_BYTES],
    },
    /// That the sender knows the cluster's secret.
    Proof {
        /// Over what both have said.
        mac: &'a [u8; MAC_BYTES],
        /// The sender's [`Greeting`], not looked at yet: the code is over these bytes.
        greeting: &'a [u8],
    },
    /// The sender is there.
    Ping,
    /// Acceptor to dialler: slots have these owners. Before anything that was decided by it.
    Table {
        /// The table's number: an older one needs not be looked at.
        epoch: Epoch,
        /// The [`Table`](crate::placement::Table), not looked at yet.
        bytes: &'a [u8],
    },
    /// Dialler to acceptor: the envelopes behind this go where this table says.
    Routing {
        /// The table's number.
        epoch: Epoch,
    },
    /// Acceptor to dialler: so many words (envelopes that nobody answers and somebody would miss) have been taken since the
    /// link began.
    Taken {
        /// How many.
        count: u64,
    },
}

impl<'a> Control<'a> {
    /// The frame of a kind and its bytes; `None` for a kind that a later version has.
    ///
    /// # Errors
    /// [`Malformed::Control`] when the bytes are too few for the kind.
    pub fn read(kind: u8, bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let nonce = || bytes.first_chunk().ok_or(Malformed::Control);
        Ok(Some(match kind {
            HELLO => Self::Hello { nonce: nonce()? },
            CHALLENGE => Self::Challenge { nonce: nonce()? },
            PROOF => {
                let (mac, greeting) = bytes.split_first_chunk().ok_or(Malformed::Control)?;
                Self::Proof { mac, greeting }
            }
            PING => Self::Ping,
            TABLE => {
                let (epoch, bytes) = epoch(bytes)?;
                Self::Table { epoch, bytes }
            }
            ROUTING => Self::Routing { epoch: epoch(bytes)?.0 },
            TAKEN => Self::Taken { count: epoch(bytes)?.0.0 },
            _ => return Ok(None),
        }))
    }

    /// Appends the frame.
    ///
    /// # Errors
    /// [`TooLarge`] for a table that is none.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let mut write = |kind, parts: [&[u8]; 2]| write_parts(kind, 0, parts, out);
        match self {
            Self::Hello { nonce } => write(HELLO, [*nonce, &[]]),
            Self::Challenge { nonce } => write(CHALLENGE, [*nonce, &[]]),
            Self::Proof { mac, greeting } => write(PROOF, [*mac, greeting]),
            Self::Ping => write(PING, [&[], &[]]),
            Self::Table { epoch, bytes } => write(TABLE, [&epoch.0.to_le_bytes(), bytes]),
            Self::Routing { epoch } => write(ROUTING, [&epoch.0.to_le_bytes(), &[]]),
            Self::Taken { count } => write(TAKEN, [&count.to_le_bytes(), &[]]),
        }
    }
}

fn epoch(bytes: &[u8]) -> Result<(Epoch, &[u8]), Malformed> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Malformed::Control)?;
    Ok((Epoch(u64::from_le_bytes(*number)), rest))
}

/// Who one end of a link is, told under a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The oldest version of envelopes that it reads.
    pub oldest: u8,
    /// The newest version of envelopes that it reads and writes.
    pub newest: u8,
    /// Its node's number; [`NodeId::NONE`] for a node without router shards.
    pub node: NodeId,
    /// The core that has this end.
    pub core: u16,
    /// How many cores the node has, above `core`.
    pub cores: u16,
    /// Tells one life of the node from another.
    pub incarnation: u64,
    /// The node's name in the configuration: 1 to [`NAME_BYTES_MAX`] bytes.
    pub name: Box<str>,
}

impl Greeting {
    /// Appends the greeting's bytes.
    ///
    /// # Panics
    /// When the name is longer than [`NAME_BYTES_MAX`].
    pub fn write(&self, out: &mut Vec<u8>) {
        assert!(self.name.len() <= NAME_BYTES_MAX, "a node's name has a bound");
        out.extend_from_slice(&[self.oldest, self.newest]);
        for number in [self.node.0, self.core, self.cores] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.push(self.name.len() as u8);
        out.extend_from_slice(self.name.as_bytes());
    }

    /// The greeting of these bytes. What lies behind is of a later version, and passed over.
    ///
    /// # Errors
    /// [`Malformed::Control`] when they are none.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::parse(bytes).ok_or(Malformed::Control)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<GREETING_FIXED_BYTES>()?;
        let [oldest, newest, numbers @ .., name_bytes] = *head;
        let number = |at: usize| u16::from_le_bytes([numbers[at], numbers[at + 1]]);
        let (node, core, cores) = (NodeId(number(0)), number(2), number(4));
        let incarnation = u64::from_le_bytes(*numbers.last_chunk()?);
        let name = core::str::from_utf8(rest.get(..usize::from(name_bytes))?).ok()?;
        let sound = oldest <= newest && core < cores && (1..=NAME_BYTES_MAX).contains(&name.len());
        sound.then(|| Self { oldest, newest, node, core, cores, incarnation, name: name.into() })
    }

    /// The version that both ends write: the newest that both read. `None` when there is none.
    #[must_use]
    pub fn version_with(&self, peer: &Self) -> Option<u8> {
        let version = self.newest.min(peer.newest);
        (version >= self.oldest.max(peer.oldest)).then_some(version)
    }
}
