//! Damage: what a store says when its bytes are not what was written.

use crate::request::Failure;

/// A key or a value that does not agree with its checksum, its key or its neighbours; one sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage(pub String);

impl core::fmt::Display for Damage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Damage {}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage.0)
    }
}
