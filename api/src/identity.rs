//! Who asks: a user by its token, or a server by an API key (PROTOCOL, section 5). What either may do to a
//! conversation is the router's to decide, not this file's.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use protocol::envelope::{Actor, Authority};
use protocol::error::{ErrorCode, Refusal};
use protocol::id::{Tenant, UserId, UserKey};

use crate::context::{Context, unix_ms};
use crate::failure::Failure;

/// What a valid token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user's tenant.
    pub tenant: Tenant,
    /// Who.
    pub user: UserId,
    /// True: acts like an API key within its tenant.
    pub admin: bool,
}

/// Checks a token at a time (milliseconds since the Unix epoch). The refusal's code is `unauthorized`, or `forbidden` for
/// a user that is blocked.
pub type Authenticate = Arc<dyn Fn(&str, u64) -> Result<Claims, Refusal> + Send + Sync>;

/// The name that the server's own acts carry.
pub(crate) const SYSTEM_USER: &str = "system";
const API_KEY_HEADER: &str = "x-api-key";
const TENANT_HEADER: &str = "murmuring-tenant";

/// The hashes of the API keys: a comparison takes the same time for every wrong key.
pub(crate) struct ApiKeys(Vec<Digest>);

impl ApiKeys {
    pub(crate) fn new(keys: &[String]) -> Self {
        Self(keys.iter().filter(|key| !key.is_empty()).map(|key| digest(&SHA256, key.as_bytes())).collect())
    }

    /// True when the server has no key at all.
    pub(crate) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares with every key, however early one fits.
    fn has(&self, candidate: &str) -> bool {
        let candidate = digest(&SHA256, candidate.as_bytes());
        self.0.iter().fold(false, |found, key| {
            found | verify_slices_are_equal(key.as_ref(), candidate.as_ref()).is_ok()
        })
    }
}

/// Who asks, once it is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A user's token.
    User(UserKey),
    /// A token with `admin`.
    Admin(UserKey),
    /// An API key, for this tenant.
    Key(Tenant),
}

impl Identity {
    pub(crate) const fn tenant(&self) -> Tenant {
        match self {
            Self::User(key) | Self::Admin(key) => key.tenant,
            Self::Key(tenant) => *tenant,
        }
    }

    /// The user who asks, when membership and role decide.
    pub(crate) const fn plain_user(&self) -> Option<UserId> {
        match self {
            Self::User(key) => Some(key.user),
            Self::Admin(_) | Self::Key(_) => None,
        }
    }

    /// In whose own name it asks.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::User(key) => Actor { key: *key, authority: Authority::User },
            Self::Admin(key) => Actor { key: *key, authority: Authority::Server },
            Self::Key(tenant) => server_actor(*tenant, system_user()),
        }
    }

    /// In whose name it sends. A user sends in no other's.
    pub(crate) fn actor_as(&self, sender: Option<UserId>) -> Result<Actor, Failure> {
        match (self, sender) {
            (_, None) => Ok(self.actor()),
            (Self::User(key), Some(sender)) if key.user == sender => Ok(self.actor()),
            (Self::User(_), Some(_)) => {
                Err(Failure::new(ErrorCode::Forbidden, "`sender`: a user's token sends in its own name only"))
            }
            (Self::Admin(_) | Self::Key(_), Some(sender)) => Ok(server_actor(self.tenant(), sender)),
        }
    }

    /// True when it may see what is `user`'s own.
    pub(crate) fn may_see(&self, user: UserId) -> bool {
        self.plain_user().is_none_or(|own| own == user)
    }
}

/// An act of the server in the name of `user`.
pub(crate) const fn server_actor(tenant: Tenant, user: UserId) -> Actor {
    Actor { key: UserKey { tenant, user }, authority: Authority::Server }
}

/// The user that the server's own acts are named by.
pub(crate) fn system_user() -> UserId {
    UserId::parse(SYSTEM_USER).expect("a valid id")
}

fn unauthorized(message: &'static str) -> Failure {
    Failure::new(ErrorCode::Unauthorized, message)
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let value = value.to_str().map_err(|_| unauthorized("`Authorization` holds bytes that no token has"))?;
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(unauthorized("`Authorization` must be `Bearer` and a token or an API key")),
    }
}

fn named_tenant(headers: &HeaderMap) -> Result<Option<Tenant>, Failure> {
    let Some(value) = headers.get(TENANT_HEADER) else { return Ok(None) };
    let parsed = Tenant::parse(value.as_bytes());
    parsed
        .map(Some)
        .map_err(|invalid| Failure::bad_request(format!("`Murmuring-Tenant`: {}", invalid.message())))
}

fn identify(context: &Context, headers: &HeaderMap) -> Result<Identity, Failure> {
    let tenant = named_tenant(headers)?;
    let key = || Identity::Key(tenant.unwrap_or_else(Tenant::default_tenant));
    if let Some(value) = headers.get(API_KEY_HEADER) {
        let known = value.to_str().is_ok_and(|candidate| context.api_keys.has(candidate));
        return if known {
            Ok(key())
        } else {
            Err(unauthorized("`X-Api-Key` is none of this server's keys"))
        };
    }
    let credential =
        bearer(headers)?.ok_or_else(|| unauthorized("no token: send `Authorization: Bearer` and one"))?;
    if context.api_keys.has(credential) {
        return Ok(key());
    }
    let claims = (context.authenticate)(credential, unix_ms())?;
    if tenant.is_some_and(|tenant| tenant != claims.tenant) {
        return Err(Failure::new(
            ErrorCode::Forbidden,
            "`Murmuring-Tenant`: the token is for another tenant",
        ));
    }
    let user = UserKey { tenant: claims.tenant, user: claims.user };
    Ok(if claims.admin { Identity::Admin(user) } else { Identity::User(user) })
}

impl FromRequestParts<Arc<Context>> for Identity {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, Failure> {
        identify(context, &parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_key_in_the_configuration_opens_nothing() {
        let keys = ApiKeys::new(&[String::new(), "secret".into()]);
        assert!(!keys.has(""));
        assert!(!keys.has("secre"));
        assert!(!keys.has("secret "));
        assert!(keys.has("secret"));
    }

    #[test]
    fn a_user_sends_in_no_other_name_and_a_server_in_any() {
        let tenant = Tenant::default_tenant();
        let [alice, bob] = ["alice", "bob"].map(|name| UserId::parse(name).unwrap());
        let key = UserKey { tenant, user: alice };
        assert_eq!(Identity::User(key).actor_as(Some(bob)).unwrap_err().code(), ErrorCode::Forbidden);
        assert_eq!(Identity::User(key).actor_as(Some(alice)).unwrap().authority, Authority::User);
        assert_eq!(Identity::Admin(key).actor_as(Some(bob)).unwrap(), server_actor(tenant, bob));
        assert_eq!(Identity::Key(tenant).actor_as(None).unwrap().key.user.as_str(), "system");
    }
}
