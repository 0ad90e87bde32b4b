//! Two ids in about as many bytes as they have, for tables that hold many: `Copy` ids take 65 bytes each, whatever their
//! length.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;

use crate::id::{ConversationId, ConversationKey, Id, Tenant, UserId, UserKey};

/// Both texts, one behind the other; those that fit lie inline.
#[derive(Clone, PartialEq, Eq)]
enum Text<const INLINE: usize> {
    Inline { first: u8, length: u8, bytes: [u8; INLINE] },
    Boxed { first: u8, bytes: Box<[u8]> },
}

/// Two ids. Of `INLINE` bytes or less together they take `INLINE` + 3 bytes, rounded up to a multiple of 8 (at least 24);
/// longer ones take that and as many bytes of the heap as they have.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair<A, B, const INLINE: usize> {
    text: Text<INLINE>,
    ids: PhantomData<(A, B)>,
}

const _: () = assert!(size_of::<Pair<Tenant, UserId, 37>>() == 40);

impl<A: Id, B: Id, const INLINE: usize> Pair<A, B, INLINE> {
    const FITS_ITS_LENGTHS: () = assert!(INLINE <= u8::MAX as usize);

    /// Packs two ids.
    #[must_use]
    pub fn new(first: &A, second: &B) -> Self {
        let () = Self::FITS_ITS_LENGTHS;
        let (a, b) = (first.text(), second.text());
        let (first, length) = (a.len() as u8, a.len() + b.len());
        let text = if length <= INLINE {
            let mut bytes = [0; INLINE];
            bytes[..a.len()].copy_from_slice(a);
            bytes[a.len()..length].copy_from_slice(b);
            Text::Inline { first, length: length as u8, bytes }
        } else {
            Text::Boxed { first, bytes: [a, b].concat().into() }
        };
        Self { text, ids: PhantomData }
    }

    #[inline]
    fn texts(&self) -> (&[u8], &[u8]) {
        match &self.text {
            Text::Inline { first, length, bytes } => {
                bytes[..usize::from(*length)].split_at(usize::from(*first))
            }
            Text::Boxed { first, bytes } => bytes.split_at(usize::from(*first)),
        }
    }

    /// The first id.
    #[must_use]
    pub fn first(&self) -> A {
        A::of_valid(self.texts().0)
    }

    /// The second id.
    #[must_use]
    pub fn second(&self) -> B {
        B::of_valid(self.texts().1)
    }

    /// The texts of both.
    ///
    /// # Panics
    /// Never: ids are ASCII.
    #[must_use]
    pub fn as_strs(&self) -> (&str, &str) {
        let (first, second) = self.texts();
        let text = |bytes| core::str::from_utf8(bytes).expect("the alphabet of ids is ASCII");
        (text(first), text(second))
    }

    /// Whether these are the two.
    #[must_use]
    pub fn is(&self, first: &A, second: &B) -> bool {
        self.texts() == (first.text(), second.text())
    }
}

/// A [`UserKey`] packed.
pub type PackedUser<const INLINE: usize> = Pair<Tenant, UserId, INLINE>;
/// A [`ConversationKey`] packed.
pub type PackedConversation<const INLINE: usize> = Pair<Tenant, ConversationId, INLINE>;

impl<const INLINE: usize> From<&UserKey> for PackedUser<INLINE> {
    fn from(key: &UserKey) -> Self {
        Self::new(&key.tenant, &key.user)
    }
}

impl<const INLINE: usize> PackedUser<INLINE> {
    /// The key again.
    #[must_use]
    pub fn key(&self) -> UserKey {
        UserKey { tenant: self.first(), user: self.second() }
    }
}

impl<const INLINE: usize> From<&ConversationKey> for PackedConversation<INLINE> {
    fn from(key: &ConversationKey) -> Self {
        Self::new(&key.tenant, &key.conversation)
    }
}

impl<const INLINE: usize> PackedConversation<INLINE> {
    /// The key again.
    #[must_use]
    pub fn key(&self) -> ConversationKey {
        ConversationKey { tenant: self.first(), conversation: self.second() }
    }
}

/// As the two ids hash one after the other, and so as [`UserKey`] and [`ConversationKey`] do.
impl<A: Id, B: Id, const INLINE: usize> Hash for Pair<A, B, INLINE> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (first, second) = self.texts();
        for text in [first, second] {
            state.write(text);
            state.write_u8(0xff);
        }
    }
}

impl<A: Id, B: Id, const INLINE: usize> fmt::Debug for Pair<A, B, INLINE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pair").field(&self.first()).field(&self.second()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_come_back_as_they_were_on_both_sides_of_the_bound() {
        for length in [1, 2, 9, 10, 11, 64] {
            let user = UserId::parse("u".repeat(length)).unwrap();
            for tenant in [Tenant::SYSTEM, Tenant::default_tenant(), Tenant::parse("t".repeat(64)).unwrap()] {
                let key = UserKey { tenant, user };
                let packed = PackedUser::<17>::from(&key);
                assert_eq!(packed.key(), key);
                assert_eq!(packed.as_strs(), (tenant.as_str(), user.as_str()));
                assert!(packed.is(&tenant, &user));
                let inline = matches!(packed.text, Text::Inline { .. });
                assert_eq!(inline, tenant.as_str().len() + length <= 17);
            }
        }
    }

    #[test]
    fn where_one_id_ends_and_the_other_begins_counts() {
        let pair = |first: &str, second: &str| {
            Pair::<UserId, ConversationId, 8>::new(
                &UserId::parse(first).unwrap(),
                &ConversationId::parse(second).unwrap(),
            )
        };
        assert_eq!(pair("ab", "c"), pair("ab", "c"));
        assert_ne!(pair("ab", "c"), pair("a", "bc"));
        assert_ne!(pair("abcdefgh", "c"), pair("abcdefg", "hc"));
    }

    #[test]
    fn a_pair_hashes_as_its_key() {
        use core::hash::BuildHasher;
        let hasher = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
        let key = ConversationKey {
            tenant: Tenant::default_tenant(),
            conversation: ConversationId::parse("general").unwrap(),
        };
        assert_eq!(hasher.hash_one(PackedConversation::<29>::from(&key)), hasher.hash_one(key));
    }
}
