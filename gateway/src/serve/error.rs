//! Why a server could not start, and whose fault that is: the configuration's and the host's setup (exit code 2), or
//! anything else's (exit code 1).

use core::fmt;
use std::io;
use std::net::SocketAddr;

use ring::setup::SetupError;
use storage::engine::embedded;
use storage::request::Failure;

use crate::credentials::CredentialsError;
use crate::secret::SecretError;

/// Why a server could not start.
#[derive(Debug)]
pub enum ServeError {
    /// Keys, secrets or their files.
    Credentials(CredentialsError),
    /// The secret of resume tickets could not be kept.
    Ticket(SecretError),
    /// The kernel, a limit or an address.
    Setup(SetupError),
    /// The store refused to open or to be claimed.
    Store(embedded::OpenError),
    /// The store did not take the claim.
    Claim(Failure),
    /// The HTTP API could not listen.
    Api(SocketAddr, io::Error),
    /// The system gave no thread, descriptor or randomness.
    System(&'static str, io::Error),
    /// A signal came before the server was ready.
    Interrupted,
}

impl ServeError {
    /// True when the configuration or the host's setup is to be mended.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Credentials(error) => error.is_configuration(),
            Self::Setup(error) => {
                !matches!(error, SetupError::AddressInUse { .. } | SetupError::System { .. })
            }
            Self::Ticket(_)
            | Self::Store(_)
            | Self::Claim(_)
            | Self::Api(..)
            | Self::System(..)
            | Self::Interrupted => false,
        }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(error) => error.fmt(f),
            Self::Ticket(error) => write!(f, "the secret of resume tickets: {error}"),
            Self::Setup(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Claim(error) => write!(f, "the store can't be claimed: {}", claim_words(error)),
            Self::Api(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "listen.api: {address} is in use by another process: `ss -ltnp 'sport = :{}'` names it; stop it or \
                 listen elsewhere",
                address.port()
            ),
            Self::Api(address, error) => write!(f, "listen.api: {address}: {error}"),
            Self::System(what, error) => write!(f, "{what}: {error}"),
            Self::Interrupted => f.write_str("a signal came before the server was ready"),
        }
    }
}

fn claim_words(failure: &Failure) -> &str {
    match failure {
        Failure::Poisoned(why) | Failure::Damaged(why) => why,
        Failure::Fenced => "another server has taken it over",
        Failure::Unavailable | Failure::Unknown => "it does not answer",
    }
}

impl core::error::Error for ServeError {}

impl From<CredentialsError> for ServeError {
    fn from(error: CredentialsError) -> Self {
        Self::Credentials(error)
    }
}

impl From<SetupError> for ServeError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}
