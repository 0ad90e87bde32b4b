//! Ids and bodies of messages. A message tells whoever hears it which of its sender's thread it is, and when it was meant
//! to be sent; nobody has to look it up.

use std::fmt::Write as _;

/// Bytes of the intended time at the start of a body.
const STAMP_BYTES: usize = 16;

/// Least bytes of a body.
pub const BODY_BYTES_MIN: usize = STAMP_BYTES;

/// Writes and reads the ids of the messages of one thread of one run.
#[derive(Clone, Debug)]
pub struct MessageIds {
    prefix: String,
}

impl MessageIds {
    /// Ids of a thread, known by the number of its first client. `run` is another one for each run, since a server
    /// that keeps its data remembers ids.
    #[must_use]
    pub fn new(run: u64, first_client: u32) -> Self {
        Self { prefix: format!("{run:x}.{first_client:x}.") }
    }

    /// The id of a message of this thread.
    pub fn write(&self, number: u64, id: &mut String) {
        id.clear();
        id.push_str(&self.prefix);
        write!(id, "{number:x}").expect("a String takes everything");
    }

    /// The number of a message, if it is one of this thread and run.
    #[must_use]
    pub fn number(&self, id: &str) -> Option<u64> {
        u64::from_str_radix(id.strip_prefix(&self.prefix)?, 16).ok()
    }
}

/// Writes a body of `bytes`, that says when it was meant to be sent.
pub fn write_body(intended_ns: u64, bytes: usize, body: &mut String) {
    body.clear();
    write!(body, "{intended_ns:016x}").expect("a String takes everything");
    body.extend(std::iter::repeat_n('.', bytes.saturating_sub(STAMP_BYTES)));
}

/// When a body was meant to be sent; `None` for one that is not ours.
#[must_use]
pub fn intended_ns(body: &str) -> Option<u64> {
    u64::from_str_radix(body.get(..STAMP_BYTES)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_their_thread_and_run() {
        let (ids, mut id) = (MessageIds::new(0x0019_abcd_ef01, 19_500), String::new());
        ids.write(4_711, &mut id);
        assert!(id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'));
        assert_eq!(ids.number(&id), Some(4_711));
        assert_eq!(MessageIds::new(0x0019_abcd_ef01, 0).number(&id), None);
        assert_eq!(MessageIds::new(0x0019_abcd_ef02, 19_500).number(&id), None);
        assert_eq!(ids.number(""), None);
    }

    #[test]
    fn bodies_say_when_and_have_their_length() {
        let mut body = String::new();
        for bytes in [0, BODY_BYTES_MIN, 200] {
            write_body(u64::MAX - 5, bytes, &mut body);
            assert_eq!((body.len(), intended_ns(&body)), (bytes.max(BODY_BYTES_MIN), Some(u64::MAX - 5)));
        }
        assert_eq!(intended_ns("short"), None);
        assert_eq!(intended_ns("not a hexadecimal number"), None);
    }
}
