//! Writing JSON (RFC 8259): strings with their escapes, numbers, and objects member by member.

use super::text::plain_bytes;

/// An object that is being written; [`Object::end`] closes it.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// A frame of the server: an object that begins with its `op`.
    pub(super) fn frame(out: &'a mut Vec<u8>, op: &str) -> Self {
        let mut object = Self::begin(out);
        object.plain("op", op);
        object
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// The name of a member, whose value is to be written behind it. Names need no escape.
    pub(super) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        self.out.extend_from_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(super) fn string(&mut self, name: &str, value: &str) {
        string(value, self.member(name));
    }

    /// A string that needs no escape: an id, one of our own words.
    pub(super) fn plain(&mut self, name: &str, value: &str) {
        debug_assert_eq!(plain_bytes(value.as_bytes()), value.len());
        let out = self.member(name);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }

    pub(super) fn unsigned(&mut self, name: &str, value: u64) {
        unsigned(value, self.member(name));
    }

    pub(super) fn optional(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.unsigned(name, value);
        }
    }

    pub(super) fn integer(&mut self, name: &str, value: i64) {
        let out = self.member(name);
        if value < 0 {
            out.push(b'-');
        }
        unsigned(value.unsigned_abs(), out);
    }

    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        self.member(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Text that is JSON already.
    pub(super) fn json(&mut self, name: &str, value: &str) {
        self.member(name).extend_from_slice(value.as_bytes());
    }

    pub(super) fn array<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut Vec<u8>),
    ) {
        let out = self.member(name);
        out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(item, out);
        }
        out.push(b']');
    }
}

/// A string between quotes.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some((&special, tail)) = tail.split_first() else { break };
        escape(special, out);
        rest = tail;
    }
    out.push(b'"');
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        control => {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 0xF)];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(control >> 4), digit(control)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

fn unsigned(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_up_to_the_first_plane_is_read_back_by_an_independent_reader() {
        for character in ('\0'..='\u{FFFF}').chain(['\u{10000}', char::MAX]) {
            let text = format!("0123456{character}{character}7");
            let mut out = Vec::new();
            string(&text, &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn numbers_are_written_as_their_digits() {
        for value in [0, 9, 10, 99, 100, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            unsigned(value, &mut out);
            assert_eq!(out, value.to_string().as_bytes());
        }
        for value in [i64::MIN, -1, 0, i64::MAX] {
            let mut out = Vec::new();
            Object { out: &mut out, first: true }.integer("n", value);
            assert_eq!(out, format!("\"n\":{value}").as_bytes());
        }
    }
}
