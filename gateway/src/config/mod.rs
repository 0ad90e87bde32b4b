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
pub use section::{Auth, Config, Core, Debug, Drain, Limits, Listen, Log, Store};
pub use show::default_text;
pub use value::{EngineKind, Format, Level, Secret};

/// What every environment variable of ours begins with.
pub const VARIABLE_PREFIX: &str = "MURMURING_";

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
