//! Tokens: a slot of a shard's descriptor table and the generation of its tenant, so that a late completion of a
//! closed socket never reaches the slot's next one.

/// Names one socket of one shard, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Index into the descriptor table: below the ring's number of slots.
    pub slot: u32,
    /// Counts the tenants of the slot, wrapping.
    pub generation: u32,
}

impl Token {
    /// The token as one number, for envelopes.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The token of its number.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}
