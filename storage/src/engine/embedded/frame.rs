//! The bytes of the log: a segment's header, and one frame a commit group.
//!
//! ```text
//! segment   magic 8 │ store id 8 │ first group 8 │ xxh3-64 of these 8 │ frame, frame, …
//! frame     length of the payload 4 │ group 8 │ xxh3-64 of these and the payload 8 │ payload
//! payload   (key length 4 │ value length 4, or all ones: cleared │ key │ value), …
//! ```
//!
//! A group is one frame, so it is there whole or not at all.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::format::StoreId;
use crate::kv::{Key, Value};

const MAGIC: &[u8; 8] = b"MURLOG01";
/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 32;
/// Bytes of a frame before its payload.
const FRAME_HEADER_BYTES: usize = 20;
/// Value length of a key that was cleared.
const CLEARED: u32 = u32::MAX;
/// How far behind a broken frame's group one of the same log could be.
const GROUPS_BEHIND_MAX: u64 = 1 << 20;

/// What a group did to a key: a new value, or none. The last change of a key counts.
pub(super) type Change = (Key, Option<Value>);

/// The header of a segment.
pub(super) fn header(id: StoreId, first: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&id.0.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    let check = xxh3_64(&header[..24]);
    header[24..].copy_from_slice(&check.to_le_bytes());
    header
}

fn check(start: &[u8], payload: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(start);
    hash.update(payload);
    hash.digest()
}

/// Writes a group's frame behind what `bytes` holds.
pub(super) fn encode<'a>(
    bytes: &mut Vec<u8>,
    group: u64,
    changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    for (key, value) in changes {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("keys and values have bounds");
        bytes.extend_from_slice(&length(key).to_le_bytes());
        bytes.extend_from_slice(&value.map_or(CLEARED, length).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.unwrap_or_default());
    }
    let (frame_header, payload) = bytes[start..].split_at_mut(FRAME_HEADER_BYTES);
    let length = u32::try_from(payload.len()).expect("a group has a bound");
    frame_header[..4].copy_from_slice(&length.to_le_bytes());
    frame_header[4..12].copy_from_slice(&group.to_le_bytes());
    let check = check(&frame_header[..12], payload);
    frame_header[12..].copy_from_slice(&check.to_le_bytes());
}

/// The payload of the frame that `bytes` begins with, when it is whole and of that group.
fn whole(bytes: &[u8], group: u64) -> Option<&[u8]> {
    let (start, rest) = bytes.split_first_chunk::<12>()?;
    let (found, rest) = rest.split_first_chunk::<8>()?;
    let length = u32::from_le_bytes(*start.first_chunk()?) as usize;
    let payload = rest.get(..length)?;
    let expected = u64::from_le_bytes(*start.last_chunk()?);
    (expected == group && check(start, payload) == u64::from_le_bytes(*found)).then_some(payload)
}

/// Walks the frames of a segment.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    /// Where the next frame begins.
    pub(super) offset: usize,
    /// The group that it must be.
    pub(super) group: u64,
}

impl<'a> Frames<'a> {
    /// The frames of a segment that begins with `first`; `None` when its header is not what it must be.
    pub(super) fn new(bytes: &'a [u8], id: StoreId, first: u64) -> Option<Self> {
        bytes.starts_with(&header(id, first)).then_some(Self { bytes, offset: HEADER_BYTES, group: first })
    }

    /// The next group's payload; `None` at the end, and at a frame that is not whole.
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let payload = whole(&self.bytes[self.offset..], self.group)?;
        self.offset += FRAME_HEADER_BYTES + payload.len();
        self.group += 1;
        Some(payload)
    }

    /// True when nothing lies behind the last whole frame.
    pub(super) fn at_end(&self) -> bool {
        self.offset == self.bytes.len()
    }

    /// A whole frame of a later group behind a broken one: so that one was not just the torn end of the log.
    pub(super) fn whole_behind(&self) -> Option<u64> {
        let rest = &self.bytes[self.offset..];
        (1..rest.len()).find_map(|offset| {
            let bytes = &rest[offset..];
            let group = u64::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
            let later = group > self.group && group - self.group < GROUPS_BEHIND_MAX;
            (later && whole(bytes, group).is_some()).then_some(group)
        })
    }
}

/// The changes of a payload; `None` when it does not parse, which a whole frame's always does.
pub(super) fn changes(mut payload: &[u8]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while !payload.is_empty() {
        let (key_length, rest) = payload.split_first_chunk::<4>()?;
        let (value_length, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
        let (value, rest) = match u32::from_le_bytes(*value_length) {
            CLEARED => (None, rest),
            length => {
                let (value, rest) = rest.split_at_checked(length as usize)?;
                (Some(value.to_vec()), rest)
            }
        };
        changes.push((key.to_vec(), value));
        payload = rest;
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Vec<u8> {
        let mut bytes = header(StoreId(1), 5).to_vec();
        for group in 5..8 {
            let (key, value) = (vec![group as u8; 3], vec![7; group as usize * 10]);
            let changes: [(&[u8], Option<&[u8]>); 2] = [(&key, Some(&value)), (&[9], None)];
            encode(&mut bytes, group, changes.into_iter());
        }
        bytes
    }

    fn groups(bytes: &[u8]) -> Vec<u64> {
        let Some(mut frames) = Frames::new(bytes, StoreId(1), 5) else { return Vec::new() };
        std::iter::from_fn(|| frames.next().map(|payload| (frames.group - 1, changes(payload).unwrap())))
            .map(|(group, changes)| {
                assert_eq!(changes.len(), 2);
                assert_eq!(changes[0], (vec![group as u8; 3], Some(vec![7; group as usize * 10])));
                assert_eq!(changes[1], (vec![9], None));
                group
            })
            .collect()
    }

    #[test]
    fn groups_are_read_back_and_a_cut_at_any_byte_leaves_whole_ones() {
        let bytes = segment();
        assert_eq!(groups(&bytes), [5, 6, 7]);
        for end in 0..bytes.len() {
            let found = groups(&bytes[..end]);
            assert!(found.len() < 3 && found.iter().copied().eq((5..8).take(found.len())), "cut at {end}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_log_there_and_what_is_whole_behind_it_is_found() {
        let bytes = segment();
        let second = {
            let mut frames = Frames::new(&bytes, StoreId(1), 5).unwrap();
            frames.next();
            frames.offset
        };
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 0x10;
            let found = groups(&flipped);
            assert!(found.len() < 3, "byte {index}");
            if (HEADER_BYTES..second).contains(&index) {
                let frames = Frames::new(&flipped, StoreId(1), 5).unwrap();
                assert_eq!(frames.whole_behind(), Some(6), "byte {index}");
            }
        }
        assert!(Frames::new(&bytes, StoreId(2), 5).is_none());
        assert!(Frames::new(&bytes, StoreId(1), 6).is_none());
    }
}
