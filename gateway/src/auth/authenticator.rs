//! The authenticator: tokens in, identities out. Shared by all shards and the API; its keys can be replaced while it runs.

use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use protocol::id::DeviceId;
use protocol::limits::TOKEN_BYTES_MAX;

use super::claims::{Claims, Rules};
use super::keys::{Key, Keys};
use super::ticket::{Ticket, TicketKey};
use super::{AuthError, Identity};

/// Checks tokens and tickets, makes tickets.
pub struct Authenticator {
    keys: RwLock<Arc<Keys>>,
    rules: Rules,
    tickets: TicketKey,
}

impl core::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Authenticator").field("keys", &self.keys()).field("rules", &self.rules).finish()
    }
}

impl Authenticator {
    /// `ticket_secret` makes the MAC of resume tickets: the same on every node of a cluster, and over restarts for
    /// tickets to outlive them; at least 16 bytes of it random.
    #[must_use]
    pub fn new(keys: Keys, rules: Rules, ticket_secret: &[u8]) -> Self {
        Self { keys: RwLock::new(Arc::new(keys)), rules, tickets: TicketKey::new(ticket_secret) }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other keys in the place of all: a JWKS was read again. Tokens checked from now on go by them.
    pub fn replace_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Whom a token names, when its signature is right and its claims hold at `unix_ms`.
    ///
    /// # Errors
    /// The first thing that is wrong with it: see [`AuthError`].
    pub fn verify(&self, token: &str, unix_ms: u64) -> Result<Identity, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Malformed);
        }
        let header = decode_header(token).map_err(|error| header_error(error.kind()))?;
        // Extensions that must be understood (RFC 7515, section 4.1.11): we understand none.
        if header.crit.is_some() {
            return Err(AuthError::Malformed);
        }
        let keys = self.keys();
        let mut of_algorithm = keys.keys.iter().filter(|key| key.algorithm == header.alg).peekable();
        if of_algorithm.peek().is_none() {
            return Err(AuthError::Algorithm);
        }
        let mut failure = AuthError::UnknownKey;
        for key in of_algorithm.filter(|key| fits(key, header.kid.as_deref())) {
            match claims(token, key) {
                Ok(claims) => return claims.identity(&self.rules, unix_ms),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A resume ticket for a session; it ends with the session's token, or after `ttl_ms`.
    #[must_use]
    pub fn issue_ticket(&self, identity: &Identity, device: &DeviceId, unix_ms: u64, ttl_ms: u64) -> Ticket {
        self.tickets.issue(identity, device, unix_ms.saturating_add(ttl_ms))
    }

    /// Whom a resume ticket names, with the expiry of the token that it stands for.
    ///
    /// # Errors
    /// [`AuthError::Malformed`], [`AuthError::Signature`], [`AuthError::Expired`], or [`AuthError::Device`] when it
    /// was issued to another device.
    pub fn verify_ticket(
        &self,
        ticket: &str,
        device: &DeviceId,
        unix_ms: u64,
    ) -> Result<Identity, AuthError> {
        self.tickets.verify(ticket, device, unix_ms)
    }
}

/// A key without a name fits every token, a token without one every key.
fn fits(key: &Key, kid: Option<&str>) -> bool {
    match (key.id.as_deref(), kid) {
        (Some(id), Some(kid)) => id == kid,
        _ => true,
    }
}

/// Checks the signature alone: time is an argument here, and the library would ask a clock.
fn claims(token: &str, key: &Key) -> Result<Claims, AuthError> {
    let mut validation = Validation::new(key.algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    match decode::<Claims>(token, &key.decoding, &validation) {
        Ok(data) => Ok(data.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature => AuthError::Signature,
            ErrorKind::InvalidAlgorithm => AuthError::Algorithm,
            _ => AuthError::Malformed,
        }),
    }
}

/// An algorithm that the library has no name for (`none`) is an error of its JSON.
fn header_error(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::Json(error) if error.to_string().contains("variant") => AuthError::Algorithm,
        ErrorKind::InvalidAlgorithmName | ErrorKind::InvalidAlgorithm => AuthError::Algorithm,
        _ => AuthError::Malformed,
    }
}
