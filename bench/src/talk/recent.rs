//! Events heard lately, by their bytes. All members of a conversation hear the same bytes, and comparing them costs a
//! fraction of decoding them: the generator shares its CPUs with the server it measures.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

/// Places, each for the bytes that hash there.
const PLACES: usize = 1_024;
/// Longer payloads are not kept.
const PAYLOAD_BYTES_MAX: usize = 1_024;

/// What matters of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// By its number in the population.
    pub(super) conversation: u32,
    pub(super) seq: u64,
    pub(super) digest: u32,
    /// When its message was meant to be sent, if it is one of ours.
    pub(super) intended_ns: Option<u64>,
    /// Its number, if it is a message of this thread.
    pub(super) number: Option<u64>,
}

/// Events heard lately.
#[derive(Debug)]
pub(super) struct Recent {
    places: Vec<Option<(Vec<u8>, Heard)>>,
}

/// Where the bytes of an event belong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot(usize);

impl Recent {
    pub(super) fn new() -> Self {
        Self { places: (0..PLACES).map(|_| None).collect() }
    }

    /// What these bytes say, or where to remember it.
    pub(super) fn find(&self, payload: &[u8]) -> Result<Heard, Spot> {
        let spot = FixedState::with_seed(0).hash_one(payload) as usize % PLACES;
        match &self.places[spot] {
            Some((bytes, heard)) if bytes == payload => Ok(*heard),
            _ => Err(Spot(spot)),
        }
    }

    pub(super) fn remember(&mut self, Spot(spot): Spot, payload: &[u8], heard: Heard) {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return;
        }
        let (bytes, known) = self.places[spot].get_or_insert_with(|| (Vec::new(), heard));
        bytes.clear();
        bytes.extend_from_slice(payload);
        *known = heard;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_bytes_are_found() {
        let mut recent = Recent::new();
        let heard = |seq| Heard { conversation: 0, seq, digest: 0, intended_ns: None, number: None };
        for seq in 0..5_000_u64 {
            let payload = seq.to_le_bytes();
            let spot = recent.find(&payload).unwrap_err();
            recent.remember(spot, &payload, heard(seq));
            assert_eq!(recent.find(&payload).unwrap(), heard(seq));
        }
        let long = [7; PAYLOAD_BYTES_MAX + 1];
        let spot = recent.find(&long).unwrap_err();
        recent.remember(spot, &long, heard(1));
        assert!(recent.find(&long).is_err());
    }
}
