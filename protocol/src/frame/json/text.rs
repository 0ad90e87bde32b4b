//! The inside of JSON strings (RFC 8259, section 7): runs without escapes, and single escapes, read and undone.

use super::cursor::Fault;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// How many bytes at the start need no escape: neither a quote nor a backslash nor a control character.
pub(super) fn plain_bytes(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        if let Some(plain) = plain_bytes_of_word(*word) {
            return index * 8 + plain;
        }
    }
    if rest.is_empty() {
        return bytes.len();
    }
    if let Some(last) = bytes.last_chunk::<8>() {
        // Its first bytes are plain: they were in the words.
        return plain_bytes_of_word(*last).map_or(bytes.len(), |plain| bytes.len() - 8 + plain);
    }
    rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\').unwrap_or(rest.len())
}

/// How many bytes there are in front of the first that needs an escape; `None` when none does.
fn plain_bytes_of_word(word: [u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(word);
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    // A byte below n borrows in `word - n`; of several hits only the lowest is sure, and only it is asked for.
    let hits = (word.wrapping_sub(ONES * 0x20) & !word)
        | (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash);
    (hits & HIGHS != 0).then(|| (hits & HIGHS).trailing_zeros() as usize / 8)
}

/// The character of the escape at the start of `bytes`, which is a backslash, and the escape's length. A half of a
/// surrogate pair is refused: it is no character, and many a reader of what we pass on would fail at it.
pub(super) fn escape(bytes: &[u8]) -> Result<(char, usize), Fault> {
    let character = match bytes.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(bytes),
        _ => return Err(Fault::Syntax),
    };
    Ok((character, 2))
}

fn unicode(bytes: &[u8]) -> Result<(char, usize), Fault> {
    let first = code_unit(bytes)?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 6));
    }
    let second = code_unit(bytes.get(6..).unwrap_or_default())?;
    if !(0xD800..0xDC00).contains(&first) || !(0xDC00..0xE000).contains(&second) {
        return Err(Fault::Syntax);
    }
    let character = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    Ok((char::from_u32(character).expect("a surrogate pair is a character"), 12))
}

/// The number of a `\uXXXX`.
fn code_unit(bytes: &[u8]) -> Result<u32, Fault> {
    let Some([b'\\', b'u', digits @ ..]) = bytes.first_chunk::<6>() else { return Err(Fault::Syntax) };
    digits.iter().try_fold(0, |number, &digit| {
        char::from(digit).to_digit(16).map(|digit| number << 4 | digit).ok_or(Fault::Syntax)
    })
}

/// Undoes the escapes of a string's inside, which the cursor has checked, in place: no character is longer than its
/// escape. Returns how many bytes are left.
pub(super) fn unescape(bytes: &mut [u8]) -> usize {
    let (mut read, mut written) = (0, 0);
    while read < bytes.len() {
        let plain = plain_bytes(&bytes[read..]);
        bytes.copy_within(read..read + plain, written);
        read += plain;
        written += plain;
        if read < bytes.len() {
            let (character, length) = escape(&bytes[read..]).expect("checked by the cursor");
            written += character.encode_utf8(&mut bytes[written..]).len();
            read += length;
        }
    }
    written
}

/// A short string's inside without its escapes, for names and ids; `None` when it has more than `N` bytes raw.
pub(super) struct Short<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Short<N> {
    /// Copies and undoes the escapes of what the cursor has checked.
    pub(super) fn unescaped(raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; N];
        let inside = bytes.get_mut(..raw.len())?;
        inside.copy_from_slice(raw);
        let length = unescape(inside);
        Some(Self { bytes, length })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_run_ends_at_each_byte_that_needs_an_escape_wherever_it_stands() {
        for length in 0..20 {
            for special in 0..=255u8 {
                for at in 0..length {
                    let mut bytes = vec![0xC3; length];
                    bytes[at] = special;
                    let needs = special < 0x20 || special == b'"' || special == b'\\';
                    assert_eq!(plain_bytes(&bytes), if needs { at } else { length });
                }
            }
        }
    }

    #[test]
    fn surrogates_come_in_pairs_or_not_at_all() {
        assert_eq!(escape(br"\ud83d\ude00"), Ok(('😀', 12)));
        assert_eq!(escape(br"\uD800\uDC00"), Ok(('\u{10000}', 12)));
        assert_eq!(escape(br"\uDBFF\uDFFF"), Ok(('\u{10FFFF}', 12)));
        for lone in
            [r"\ud83d", r"\ud83d\n", r"\ud83dx", r"\ude00\ud83d", r"\ude00", r"\ud83d\ud83d", r"\ud83d\u"]
        {
            assert_eq!(escape(lone.as_bytes()), Err(Fault::Syntax), "{lone}");
        }
    }
}
