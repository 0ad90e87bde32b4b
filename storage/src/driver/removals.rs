//! Removals that have begun and not ended, as the store notes them: whoever starts the store takes them up again, and so
//! does a store whose cluster was away meanwhile.

use protocol::id::ConversationKey;

use crate::key::{self, StoreKey};
use crate::kv::{EngineError, Found, Key, Read};

/// Removals that are listed in one go.
const PIECE: usize = 1_000;

/// Where the list begins.
pub(super) fn first() -> Key {
    key::removals().0
}

/// Reads a piece of the list.
pub(super) fn read(begin: Key) -> Read {
    let (_, end) = key::removals();
    Read::Range { begin, end, limit: PIECE, bytes_max: usize::MAX, reverse: false }
}

/// What a piece holds, and where the next begins, if there is one.
///
/// # Errors
/// [`EngineError::Poisoned`]: a note is damaged.
pub(super) fn open(found: Option<Found>) -> Result<(Vec<ConversationKey>, Option<Key>), EngineError> {
    let Some(Found::Pairs { mut pairs, more }) = found else {
        unreachable!("an engine answers a range with pairs");
    };
    let removals = pairs.iter().map(|(key, _)| match StoreKey::decode(key) {
        Ok(StoreKey::Removal(of)) => Ok(of),
        _ => Err(EngineError::Poisoned("a note of a removal is damaged".to_owned())),
    });
    let removals = removals.collect::<Result<_, _>>()?;
    let next = pairs.pop().filter(|_| more).map(|(last, _)| key::behind(last));
    Ok((removals, next))
}
