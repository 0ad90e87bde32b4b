//! Writing JSON (RFC 8259): strings with their escapes, numbers, and objects member by member.

use super::text::plain_bytes;

/// A member's name as it stands in front of its value: with its comma, its quotes and its colon, one constant.
macro_rules! name {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use name;

/// An object that is being written, never an empty one; [`Object::end`] closes it. Takes names made by [`name`].
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// A frame of the server: an object that begins with its `op`.
    pub(super) fn frame(out: &'a mut Vec<u8>, op: &str) -> Self {
        let mut object = Self::begin(out);
        object.plain(name!("op"), op);
        object
    }

    /// The comma of the first member becomes the brace.
    pub(super) fn end(self) {
        self.out[self.start] = b'{';
        self.out.push(b'}');
    }

    /// The name of a member, whose value is to be written behind it.
    pub(super) fn member(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.out.extend_from_slice(name.as_bytes());
        self.out
    }

    pub(super) fn string(&mut self, name: &'static str, value: &str) {
        string(value, self.member(name));
    }

    /// A string that needs no escape: an id, one of our own words.
    pub(super) fn plain(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        debug_assert_eq!(plain_bytes(value), value.len());
        let out = self.member(name);
        out.push(b'"');
        out.extend_from_slice(value);
        out.push(b'"');
    }

    pub(super) fn unsigned(&mut self, name: &'static str, value: u64) {
        self.integer(name, value);
    }

    pub(super) fn optional(&mut self, name: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.unsigned(name, value);
        }
    }

    pub(super) fn integer(&mut self, name: &'static str, value: impl itoa::Integer) {
        self.member(name).extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    pub(super) fn boolean(&mut self, name: &'static str, value: bool) {
        self.member(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Text that is JSON already.
    pub(super) fn json(&mut self, name: &'static str, value: &str) {
        self.member(name).extend_from_slice(value.as_bytes());
    }

    pub(super) fn array<T>(
        &mut self,
        name: &'static str,
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
    fn members_are_written_behind_a_brace_and_commas() {
        let mut out = b"[".to_vec();
        let mut object = Object::begin(&mut out);
        object.unsigned(name!("a"), u64::MAX);
        object.integer(name!("b"), i64::MIN);
        object.boolean(name!("c"), true);
        object.end();
        assert_eq!(out, br#"[{"a":18446744073709551615,"b":-9223372036854775808,"c":true}"#);
    }
}
