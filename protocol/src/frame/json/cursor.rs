//! The grammar of JSON (RFC 8259), read from the front and changing nothing: every value is checked, also those that
//! nobody asked for. No recursion: a bound on depth and a bit a level.
//!
//! Stricter than the grammar in two things, as I-JSON is (RFC 7493, section 2): no half surrogates in strings, no
//! numbers beyond a double. Whether bytes are UTF-8 is not looked at here.

use super::text::{escape, plain_bytes};
use crate::limits::JSON_DEPTH_MAX;

/// Why bytes are not JSON, or none that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON.
    Syntax,
    /// Nested deeper than [`JSON_DEPTH_MAX`].
    Depth,
}

/// A part of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) const fn range(self) -> core::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One value, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// There is none.
    Absent,
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number without fraction and exponent that fits.
    Integer(i64),
    /// Any other number.
    Number,
    /// A string: what lies between its quotes.
    String {
        /// The inside.
        inside: Span,
        /// True: it has escapes.
        escaped: bool,
    },
    /// An object: from brace to brace.
    Object(Span),
    /// An array: from bracket to bracket.
    Array(Span),
}

/// A place in JSON text.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start. The text is shorter than 4 GiB.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        assert!(u32::try_from(bytes.len()).is_ok(), "frames are bounded");
        Self { bytes, at: 0 }
    }

    /// The text of a span.
    pub(super) fn text(&self, span: Span) -> &'a [u8] {
        &self.bytes[span.range()]
    }

    /// The next byte that is not white space; stays there.
    pub(super) fn peek(&mut self) -> Result<u8, Fault> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied().ok_or(Fault::Syntax)
    }

    /// True, and behind it, when the next byte that is not white space is this one.
    pub(super) fn take(&mut self, byte: u8) -> Result<bool, Fault> {
        let there = self.peek()? == byte;
        self.at += usize::from(there);
        Ok(there)
    }

    /// Behind this byte, the next that is not white space.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.take(byte)? { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// Nothing follows but white space.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        if self.peek().is_ok() { Err(Fault::Syntax) } else { Ok(()) }
    }

    /// One whole value, whose surroundings are `depth` levels deep.
    pub(super) fn value(&mut self, depth: u32) -> Result<Value, Fault> {
        match self.peek()? {
            open @ (b'{' | b'[') => self.container(open == b'{', depth),
            _ => self.scalar(),
        }
    }

    /// A string's inside and whether it has escapes, from its opening quote on.
    pub(super) fn string(&mut self) -> Result<(Span, bool), Fault> {
        self.expect(b'"')?;
        let start = self.at as u32;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.at += escape(&self.bytes[self.at..])?.1,
                _ => return Err(Fault::Syntax),
            }
            escaped = true;
        }
        let end = self.at as u32;
        self.at += 1;
        Ok((Span { start, end }, escaped))
    }

    fn scalar(&mut self) -> Result<Value, Fault> {
        match self.peek()? {
            b'"' => self.string().map(|(inside, escaped)| Value::String { inside, escaped }),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true", Value::Boolean(true)),
            b'f' => self.word(b"false", Value::Boolean(false)),
            b'n' => self.word(b"null", Value::Null),
            _ => Err(Fault::Syntax),
        }
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, Fault> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(Fault::Syntax);
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        self.take_byte(b"-");
        if !self.take_byte(b"0") {
            self.digits()?;
        }
        let mut whole = true;
        if self.take_byte(b".") {
            whole = false;
            self.digits()?;
        }
        if self.take_byte(b"eE") {
            whole = false;
            self.take_byte(b"+-");
            self.digits()?;
        }
        let text = &self.bytes[start..self.at];
        if whole && text.len() <= INTEGER_BYTES_SHORT {
            return Ok(Value::Integer(short_integer(text)));
        }
        let text = core::str::from_utf8(text).map_err(|_| Fault::Syntax)?;
        match text.parse::<i64>() {
            Ok(integer) if whole => Ok(Value::Integer(integer)),
            _ if text.parse::<f64>().is_ok_and(f64::is_finite) => Ok(Value::Number),
            _ => Err(Fault::Syntax),
        }
    }

    fn take_byte(&mut self, one_of: &[u8]) -> bool {
        let there = self.bytes.get(self.at).is_some_and(|byte| one_of.contains(byte));
        self.at += usize::from(there);
        there
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        if digits > 0 { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// An object or an array and everything in it.
    fn container(&mut self, is_object: bool, depth: u32) -> Result<Value, Fault> {
        let start = self.at as u32;
        let mut open = Open { objects: 0, depth, outside: depth };
        self.at += 1;
        open.push(is_object)?;
        let mut first = true;
        while !open.is_empty() {
            if first && self.take(open.end())? {
                open.pop();
            } else {
                if open.is_object() {
                    self.string()?;
                    self.expect(b':')?;
                }
                if let bracket @ (b'{' | b'[') = self.peek()? {
                    self.at += 1;
                    open.push(bracket == b'{')?;
                    first = true;
                    continue;
                }
                self.scalar()?;
            }
            while !open.is_empty() && self.take(open.end())? {
                open.pop();
            }
            if !open.is_empty() {
                self.expect(b',')?;
            }
            first = false;
        }
        let span = Span { start, end: self.at as u32 };
        Ok(if is_object { Value::Object(span) } else { Value::Array(span) })
    }
}

/// Longest text of an integer that fits whatever its digits are.
const INTEGER_BYTES_SHORT: usize = 18;

/// The integer of a sign and digits that the cursor has checked.
fn short_integer(text: &[u8]) -> i64 {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    sign * digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'))
}

/// The containers around a place: a bit each, set for an object.
struct Open {
    objects: u64,
    depth: u32,
    outside: u32,
}

const _: () = assert!(JSON_DEPTH_MAX <= u64::BITS);

impl Open {
    fn push(&mut self, is_object: bool) -> Result<(), Fault> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(Fault::Depth);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(is_object);
        Ok(())
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    fn is_empty(&self) -> bool {
        self.depth == self.outside
    }

    fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn end(&self) -> u8 {
        if self.is_object() { b'}' } else { b']' }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length_are_read_as_the_standard_library_reads_them() {
        for digits in 1..=20u32 {
            let most = "9".repeat(digits as usize);
            for text in [most.clone(), format!("-{most}"), format!("1{most}"), format!("-1{most}")] {
                let read = Cursor::new(text.as_bytes()).value(1);
                let expected = text.parse().map_or(Value::Number, Value::Integer);
                assert_eq!(read, Ok(expected), "{text}");
            }
        }
        assert_eq!(Cursor::new(b"-0").value(1), Ok(Value::Integer(0)));
    }
}
