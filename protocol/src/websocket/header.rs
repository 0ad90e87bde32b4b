//! The header of a client's frame (RFC 6455, section 5.2): 6 to 14 bytes, each checked as soon as it is there.
//!
//! ```text
//!  0                   1
//!  F R R R opcode  M length7   | length 16 or 64, when length7 is 126 or 127 | mask 32
//! ```

use super::{CONTROL_BYTES_MAX, Opcode, Violation};

/// Longest header of a client's frame, in bytes.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// A client's frame, apart from its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) payload_bytes: u64,
    pub(super) mask: [u8; 4],
}

impl Header {
    /// The header at the start of `bytes` and its length; `None` when it is not all there yet.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(Violation::ReservedOpcode)?;
        let fin = first & 0x80 != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let Some((payload_bytes, rest)) = length(second & 0x7F, opcode, rest)? else { return Ok(None) };
        let Some((&mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        Ok(Some((Self { fin, opcode, payload_bytes, mask }, bytes.len() - rest.len())))
    }
}

/// The payload's length and what follows it; `None` when it is not all there yet.
fn length(length7: u8, opcode: Opcode, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    if opcode.is_control() && usize::from(length7) > CONTROL_BYTES_MAX {
        return Err(Violation::LongControl);
    }
    let (length, least, rest) = match length7 {
        126 => {
            let Some((&bytes, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(bytes)), 126, rest)
        }
        127 => {
            let Some((&bytes, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(bytes), 1 << 16, rest)
        }
        short => (u64::from(short), 0, rest),
    };
    if length < least || length >> 63 != 0 {
        return Err(Violation::Length);
    }
    Ok(Some((length, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload_bytes(bytes: &[u8]) -> Result<u64, Violation> {
        let mut whole = bytes.to_vec();
        whole.extend([1, 2, 3, 4]);
        Header::parse(&whole).map(|found| {
            let (header, length) = found.expect("a whole header");
            assert_eq!((header.mask, length), ([1, 2, 3, 4], whole.len()));
            header.payload_bytes
        })
    }

    #[test]
    fn lengths_are_minimal_on_both_sides_of_each_border() {
        assert_eq!(payload_bytes(b"\x82\xfd"), Ok(125));
        assert_eq!(payload_bytes(b"\x82\xfe\x00\x7d"), Err(Violation::Length));
        assert_eq!(payload_bytes(b"\x82\xfe\x00\x7e"), Ok(126));
        assert_eq!(payload_bytes(b"\x82\xfe\xff\xff"), Ok(65_535));
        assert_eq!(payload_bytes(b"\x82\xff\0\0\0\0\0\0\xff\xff"), Err(Violation::Length));
        assert_eq!(payload_bytes(b"\x82\xff\0\0\0\0\0\x01\0\0"), Ok(65_536));
        assert_eq!(payload_bytes(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"), Ok(u64::MAX >> 1));
        assert_eq!(payload_bytes(b"\x82\xff\x80\0\0\0\0\0\0\0"), Err(Violation::Length));
    }

    #[test]
    fn a_wrong_byte_is_found_before_the_next_one_comes() {
        assert_eq!(Header::parse(b"\xc1"), Err(Violation::ReservedBits));
        assert_eq!(Header::parse(b"\xa1"), Err(Violation::ReservedBits));
        assert_eq!(Header::parse(b"\x91"), Err(Violation::ReservedBits));
        for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
            assert_eq!(Header::parse(&[0x80 | opcode]), Err(Violation::ReservedOpcode));
        }
        for opcode in [0x8, 0x9, 0xA] {
            assert_eq!(Header::parse(&[opcode]), Err(Violation::FragmentedControl));
            assert_eq!(Header::parse(&[0x80 | opcode, 0x80 | 126]), Err(Violation::LongControl));
            assert_eq!(Header::parse(&[0x80 | opcode, 0x80 | 127]), Err(Violation::LongControl));
        }
        assert_eq!(Header::parse(b"\x81\x05"), Err(Violation::Unmasked));
    }

    #[test]
    fn a_header_that_is_not_all_there_is_waited_for() {
        for whole in [&b"\x81\x851234"[..], b"\x82\xfe\x01\x001234", b"\x02\xff\0\0\0\0\0\x01\0\x001234"] {
            for length in 0..whole.len() {
                assert_eq!(Header::parse(&whole[..length]), Ok(None));
            }
            let (_, length) = Header::parse(whole).unwrap().unwrap();
            assert_eq!(length, whole.len());
        }
    }
}
