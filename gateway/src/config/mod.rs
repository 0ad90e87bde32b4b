//! The configuration: a TOML file, then the environment, then flags (PROTOCOL, section 6). `section` is the table of
//! all keys. Nothing here opens a socket, reads a key file or knows what a value is used for.

mod check;
mod load;
mod nearest;
mod problem;
mod section;
mod show;
mod value;

pub use check::warnings;
pub use load::{Sources, load};
pub use problem::{Problem, Problems};
pub use section::{Auth, Cluster, Config, Core, Debug, Drain, Limits, Listen, Log, Store};
pub use show::default_text;
pub use value::{EngineKind, Format, Level, Secret};

/// Bytes of a node's name at most: ids of the server's own conversations hold it.
pub const NODE_NAME_BYTES_MAX: usize = 32;

/// What every environment variable of ours begins with.
pub const VARIABLE_PREFIX: &str = "MURMURING_";

impl Cluster {
    /// True when there is a secret of the operator's.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        !self.secret.is_empty() || !self.secret_file.is_empty()
    }
}

impl Auth {
    /// True when there is something of the operator's to check tokens against.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.hs256_secret.is_empty()
            || !self.hs256_secret_file.is_empty()
            || !self.public_key_files.is_empty()
            || !self.jwks_file.is_empty()
            || !self.jwks_url.is_empty()
    }
}
