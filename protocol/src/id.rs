//! Ids: opaque strings of 1 to 64 bytes out of `A-Z a-z 0-9 . _ : @ | ~ -` (PROTOCOL, section 1).
//!
//! An id is held inline and is `Copy`: no heap, no sharing, no lifetime, at the price of 65 bytes.

use core::fmt;
use core::hash::{Hash, Hasher};

use crate::limits::ID_BYTES_MAX;

/// Why bytes are not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidId {
    /// No bytes at all.
    Empty,
    /// More than [`ID_BYTES_MAX`] bytes.
    TooLong,
    /// A byte outside of the alphabet.
    Alphabet,
}

impl InvalidId {
    /// One sentence for a person.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Empty => "an id has at least 1 byte",
            Self::TooLong => "an id has at most 64 bytes",
            Self::Alphabet => "an id holds only A-Z a-z 0-9 . _ : @ | ~ -",
        }
    }
}

/// For each byte, whether ids may hold it.
const ALPHABET: [bool; 256] = {
    let mut alphabet = [false; 256];
    let mut byte = 0;
    while byte < alphabet.len() {
        alphabet[byte] = matches!(
            byte as u8,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'@' | b'|' | b'~' | b'-'
        );
        byte += 1;
    }
    alphabet
};

fn are_in_alphabet(text: &[u8]) -> bool {
    text.iter().all(|&byte| ALPHABET[usize::from(byte)])
}

/// The bytes of an id, inline. Unused bytes are zero, so equality of the whole is equality of the text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Inline {
    length: u8,
    bytes: [u8; ID_BYTES_MAX],
}

impl Inline {
    const EMPTY: Self = Self { length: 0, bytes: [0; ID_BYTES_MAX] };

    fn parse(text: &[u8]) -> Result<Self, InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        if text.len() > ID_BYTES_MAX {
            return Err(InvalidId::TooLong);
        }
        if !are_in_alphabet(text) {
            return Err(InvalidId::Alphabet);
        }
        Ok(Self::of(text))
    }

    fn of(text: &[u8]) -> Self {
        let mut inline = Self::EMPTY;
        inline.length = text.len() as u8;
        inline.bytes[..text.len()].copy_from_slice(text);
        inline
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).expect("the alphabet of ids is ASCII")
    }
}

/// Any of the ids.
pub trait Id: Copy + fmt::Debug + packing::Text {}

pub(crate) mod packing {
    /// An id's bytes out of it and back into it, for those who keep ids packed.
    pub trait Text {
        fn text(&self) -> &[u8];

        /// The id whose text these bytes were: they are not checked again.
        fn of_valid(text: &[u8]) -> Self;
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name(Inline);

        impl $name {
            /// Takes an id from outside.
            ///
            /// # Errors
            /// When the bytes are not an id: their number or their alphabet.
            pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, InvalidId> {
                Inline::parse(text.as_ref()).map(Self)
            }

            /// The id's bytes, 1 to 64 of ASCII: cheaper than [`Self::as_str`], which checks them again.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// The id's text: 1 to 64 bytes of ASCII.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl Id for $name {}

        impl packing::Text for $name {
            fn text(&self) -> &[u8] {
                self.0.as_bytes()
            }

            fn of_valid(text: &[u8]) -> Self {
                debug_assert!(are_in_alphabet(text));
                Self(Inline::of(text))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;

            fn try_from(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write(self.0.as_bytes());
                state.write_u8(0xff);
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                self.0.as_bytes().cmp(other.0.as_bytes())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}

id! {
    /// A tenant: a wall; nothing inside of one is visible from another.
    Tenant
}
id! {
    /// A user of a tenant.
    UserId
}
id! {
    /// A device of a user.
    DeviceId
}
id! {
    /// A conversation of a tenant.
    ConversationId
}
id! {
    /// The id that a client gives to what it sends: stored at most once for (conversation, sender, id).
    ClientId
}

impl Tenant {
    /// The server's own tenant. Its name is empty, so no token and no request from outside can name it.
    pub const SYSTEM: Self = Self(Inline::EMPTY);

    /// The tenant of a token that names none: `default`.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self::parse("default").expect("a valid id")
    }
}

/// A user, in full: unique in the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey {
    /// Where the user lives.
    pub tenant: Tenant,
    /// Who in there.
    pub user: UserId,
}

/// A conversation, in full: unique in the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationKey {
    /// Where the conversation lives.
    pub tenant: Tenant,
    /// Which in there.
    pub conversation: ConversationId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_1_to_64_bytes_of_its_alphabet() {
        assert_eq!(UserId::parse(""), Err(InvalidId::Empty));
        assert_eq!(UserId::parse("a").unwrap().as_str(), "a");
        assert_eq!(UserId::parse("a".repeat(64)).unwrap().as_str().len(), 64);
        assert_eq!(UserId::parse("a".repeat(65)), Err(InvalidId::TooLong));
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_alphanumeric() || b"._:@|~-".contains(&byte);
            assert_eq!(UserId::parse([byte]).is_ok(), expected, "byte {byte}");
        }
    }
}
