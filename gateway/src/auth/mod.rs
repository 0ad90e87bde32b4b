//! Who somebody is: tokens, resume tickets and API keys, checked without a clock, a store or a network.
//!
//! What a user may do is not decided here: membership and roles are the router's.

mod api_keys;
mod authenticator;
mod claims;
mod keys;
mod ticket;

use protocol::id::{Tenant, UserId};

pub use api_keys::ApiKeys;
pub use authenticator::Authenticator;
pub use keys::{Keys, KeysError};
pub use ticket::{TICKET_BYTES_MAX, Ticket};

pub use claims::{Rules, TokenRequest, sign_hs256};

/// Whom a token names, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Where the user lives.
    pub tenant: Tenant,
    /// Who in there.
    pub user: UserId,
    /// True: neither membership nor role is asked for within the tenant.
    pub admin: bool,
    /// When the token ends, milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// Why a token or a ticket was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthError {
    /// Longer than `protocol::limits::TOKEN_BYTES_MAX`, or not three parts of base64url and JSON.
    Malformed,
    /// An algorithm that no key is for: `none` and all but HS256, ES256, RS256 and EdDSA among them.
    Algorithm,
    /// No key has the token's `kid`.
    UnknownKey,
    /// The signature is not of any key.
    Signature,
    /// `exp` is over, or the ticket is.
    Expired,
    /// `nbf` is to come.
    NotYet,
    /// `aud` is not the configured one.
    Audience,
    /// `iss` is not the configured one.
    Issuer,
    /// `exp` is not there or no number.
    NoExpiry,
    /// `sub` is not there or no user id.
    Subject,
    /// `tenant` is no id.
    Tenant,
    /// `admin` is not a boolean, or `nbf` is not a number.
    Claim,
    /// The ticket is another device's.
    Device,
}

impl AuthError {
    /// One sentence for a person; it holds nothing of the token.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Malformed => "the token is malformed",
            Self::Algorithm => "the token's algorithm is not accepted",
            Self::UnknownKey => "no key has the token's kid",
            Self::Signature => "the token's signature does not match",
            Self::Expired => "the token is expired",
            Self::NotYet => "the token is not valid yet",
            Self::Audience => "the token is for another audience",
            Self::Issuer => "the token is from another issuer",
            Self::NoExpiry => "the token has no exp",
            Self::Subject => "the token's sub is not a user id",
            Self::Tenant => "the token's tenant is not an id",
            Self::Claim => "a claim of the token has the wrong type",
            Self::Device => "the resume ticket is another device's",
        }
    }
}

impl core::fmt::Display for AuthError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for AuthError {}
