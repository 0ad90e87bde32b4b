//! What several promises need: chance from a seed, and a client's side of the framing, written apart from the crate's.

#![allow(dead_code, reason = "each promise uses a part")]

pub(crate) mod envelopes;
pub(crate) mod golden;
pub(crate) mod samples;

/// Chance from a seed (SplitMix64): the same seed, the same test.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Random bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number() as u8).collect()
    }

    /// Random text of up to `length_max` characters, most of them awkward for somebody.
    pub(crate) fn text(&mut self, length_max: usize) -> String {
        const AWKWARD: [char; 16] = [
            '"',
            '\\',
            '/',
            '\0',
            '\u{1f}',
            '\n',
            '\t',
            '\u{7f}',
            'é',
            '\u{2028}',
            '€',
            '\u{fffd}',
            '😀',
            '\u{10ffff}',
            '\u{d7ff}',
            '\u{e000}',
        ];
        let length = self.below(length_max + 1);
        (0..length)
            .map(
                |_| {
                    if self.once_in(3) {
                        self.one_of(&AWKWARD)
                    } else {
                        (b' ' + self.below(95) as u8) as char
                    }
                },
            )
            .collect()
    }

    /// A valid id.
    pub(crate) fn id(&mut self) -> String {
        const ALPHABET: &[u8] = b"ABCXYZabcxyz0189._:@|~-";
        let length = if self.once_in(8) { 64 } else { 1 + self.below(12) };
        (0..length).map(|_| char::from(self.one_of(ALPHABET))).collect()
    }
}

/// One masked frame of a client; `first` is the byte with FIN, reserved bits and opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
