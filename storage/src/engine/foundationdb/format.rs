//! The note that says what the keys behind the prefix are: it lies behind the layout's end, is written once, and keeps
//! two kinds of accident away: a prefix under which somebody else keeps data, and a store whose copying has not ended.

use std::fmt;

use super::FoundationdbEngine;
use crate::key;
use crate::kv::{EngineError, Found, Read, Write};

/// Where the note is.
pub(super) const KEY: &[u8] = b"\xfeformat";
/// What it says of a store of this layout.
const FORMAT: &[u8] = b"murmuring 1";

/// The store is not one to serve from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// Keys lie there that are not of a store of ours: the first one.
    Foreign(Vec<u8>),
    /// The note names another format.
    Format(Vec<u8>),
    /// A copy into this store has begun and not ended.
    Unfinished,
    /// The cluster did not answer.
    Engine(EngineError),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(key) => write!(
                f,
                "the cluster holds keys that are not Murmuring's, such as {}: nothing was changed; \
                 store.key_prefix gives this store a place of its own",
                key.escape_ascii()
            ),
            Self::Format(found) => write!(
                f,
                "the store in the cluster has the format {:?}, this version knows {:?}",
                String::from_utf8_lossy(found),
                String::from_utf8_lossy(FORMAT)
            ),
            Self::Unfinished => f.write_str(crate::migrate::UNFINISHED),
            Self::Engine(error) => write!(f, "the cluster does not answer: {error}"),
        }
    }
}

impl std::error::Error for FormatError {}

impl From<EngineError> for FormatError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl FoundationdbEngine {
    /// Whether there is a store of ours. Blocks.
    ///
    /// # Errors
    /// When the cluster does not answer within the limits.
    pub fn is_there(&self) -> Result<bool, EngineError> {
        match self.read(&[Read::Get { key: KEY.to_vec(), conflict: false }])?.pop() {
            Some(Found::Value(value)) => Ok(value.as_deref() == Some(FORMAT)),
            other => unreachable!("an engine answers a get with a value, not with {other:?}"),
        }
    }

    /// Makes sure that this is a store of ours, or makes an empty place one. Blocks.
    ///
    /// # Errors
    /// [`FormatError`], and nothing was changed.
    pub fn check_format(&self) -> Result<(), FormatError> {
        let first = Read::Range {
            begin: Vec::new(),
            end: vec![0xff],
            limit: 1,
            bytes_max: usize::MAX,
            reverse: false,
        };
        let reads = [
            Read::Get { key: KEY.to_vec(), conflict: false },
            Read::Get { key: crate::migrate::KEY.to_vec(), conflict: false },
            first,
        ];
        let found = self.read(&reads)?;
        let [Found::Value(format), Found::Value(migration), Found::Pairs { pairs, .. }] = found.as_slice()
        else {
            unreachable!("answers are in the order of the reads");
        };
        match (format.as_deref(), pairs.first()) {
            _ if migration.is_some() => Err(FormatError::Unfinished),
            (Some(FORMAT), _) => Ok(()),
            (Some(other), _) => Err(FormatError::Format(other.to_vec())),
            (None, Some((key, _))) => Err(FormatError::Foreign(self.outside(key))),
            (None, None) => Ok(self.commit(&[Write::Set(KEY.to_vec(), FORMAT.to_vec())])?),
        }
    }
}

const _: () = assert!(KEY[0] == key::END[0], "the note lies behind the layout's end");
