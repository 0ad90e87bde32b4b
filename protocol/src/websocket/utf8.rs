//! UTF-8 that comes in pieces: one byte of state, and the first wrong byte is found when it comes, not at the end
//! (RFC 3629; the table of well-formed sequences is Unicode 3-7).

/// What the bytes so far ask of the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Utf8 {
    /// A new character.
    #[default]
    Border,
    /// One more continuation byte.
    One,
    /// Two more.
    Two,
    /// Three more.
    Three,
    /// After E0: not below A0, which were an overlong form; then one more.
    AfterE0,
    /// After ED: not above 9F, which were a surrogate; then one more.
    AfterEd,
    /// After F0: not below 90, which were an overlong form; then two more.
    AfterF0,
    /// After F4: not above 8F, which were beyond U+10FFFF; then two more.
    AfterF4,
}

impl Utf8 {
    /// Takes the next bytes of a text; `None` when they can't go on what came before.
    pub(super) fn feed(self, mut bytes: &[u8]) -> Option<Self> {
        let mut state = self;
        while state != Self::Border {
            let Some((&byte, rest)) = bytes.split_first() else { return Some(state) };
            state = state.step(byte)?;
            bytes = rest;
        }
        match core::str::from_utf8(bytes) {
            Ok(_) => Some(Self::Border),
            Err(error) => {
                bytes[error.valid_up_to()..].iter().try_fold(state, |state, &byte| state.step(byte))
            }
        }
    }

    const fn step(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Border, 0x00..=0x7F) | (Self::One, 0x80..=0xBF) => Some(Self::Border),
            (Self::Border, 0xC2..=0xDF)
            | (Self::Two, 0x80..=0xBF)
            | (Self::AfterE0, 0xA0..=0xBF)
            | (Self::AfterEd, 0x80..=0x9F) => Some(Self::One),
            (Self::Border, 0xE1..=0xEC | 0xEE..=0xEF)
            | (Self::Three, 0x80..=0xBF)
            | (Self::AfterF0, 0x90..=0xBF)
            | (Self::AfterF4, 0x80..=0x8F) => Some(Self::Two),
            (Self::Border, 0xF1..=0xF3) => Some(Self::Three),
            (Self::Border, 0xE0) => Some(Self::AfterE0),
            (Self::Border, 0xED) => Some(Self::AfterEd),
            (Self::Border, 0xF0) => Some(Self::AfterF0),
            (Self::Border, 0xF4) => Some(Self::AfterF4),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state after the bytes came one by one, and how many had come when they failed.
    fn one_by_one(bytes: &[u8]) -> Result<Utf8, usize> {
        bytes
            .iter()
            .enumerate()
            .try_fold(Utf8::Border, |state, (index, &byte)| state.feed(&[byte]).ok_or(index + 1))
    }

    #[test]
    fn every_character_passes_in_every_split() {
        for character in ('\0'..=char::MAX).step_by(61).chain(['\u{7FF}', '\u{800}', '\u{FFFF}', char::MAX]) {
            let text = format!("a{character}b");
            for split in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(split);
                let end = Utf8::Border.feed(head).and_then(|state| state.feed(tail));
                assert_eq!(end, Some(Utf8::Border), "{character:?} split at {split}");
            }
        }
    }

    #[test]
    fn every_pair_and_lead_of_four_fails_where_the_standard_library_fails() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                for tail in [&[][..], &[0x80], &[0x80, 0x80], &[0x41]] {
                    let mut bytes = vec![first, second];
                    bytes.extend_from_slice(tail);
                    let whole = Utf8::Border.feed(&bytes);
                    match core::str::from_utf8(&bytes) {
                        Ok(_) => assert_eq!(whole, Some(Utf8::Border)),
                        Err(error) if error.error_len().is_some() => assert_eq!(whole, None, "{bytes:x?}"),
                        Err(_) => assert!(whole.is_some_and(|end| end != Utf8::Border), "{bytes:x?}"),
                    }
                    assert_eq!(one_by_one(&bytes).ok(), whole, "{bytes:x?}");
                }
            }
        }
    }

    #[test]
    fn a_wrong_byte_is_found_when_it_comes() {
        assert_eq!(one_by_one(b"\xf4\x90\x80\x80"), Err(2));
        assert_eq!(one_by_one(b"\xed\xa0\x80"), Err(2));
        assert_eq!(one_by_one(b"\xce\xba\xf0\x80"), Err(4));
        assert_eq!(one_by_one(b"\xc0"), Err(1));
    }
}
