//! Claims: what a token's payload says (RFC 7519, section 4), and the tokens that we sign ourselves.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use protocol::id::{Tenant, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AuthError, Identity};

/// How far the issuer's clock may be ahead of ours, in milliseconds: a token is often used in the second of its `nbf`.
/// `exp` has no leeway: nobody needs a token's last second.
const NOT_BEFORE_LEEWAY_MS: u64 = 2_000;

/// What a token must name besides its user.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `aud` must be or hold this.
    pub audience: Option<String>,
    /// `iss` must be this.
    pub issuer: Option<String>,
}

/// The claims that matter here; others are ignored. Loose types, so that each wrong one has its own refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    aud: Option<Value>,
    iss: Option<Value>,
    tenant: Option<Value>,
    admin: Option<Value>,
}

/// A `NumericDate` (RFC 7519, section 2), in milliseconds; one before 1970 is 1970.
fn date_ms(value: &Value) -> Option<u64> {
    let seconds = value.as_f64()?;
    // A float cast saturates: a date past the end of time is the end of time.
    Some((seconds * 1_000.0) as u64)
}

fn given(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn names(value: Option<&Value>, wanted: &str) -> bool {
    match value {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(many)) => many.iter().any(|one| one == wanted),
        _ => false,
    }
}

impl Claims {
    /// Whom the claims name, when they hold at `unix_ms`.
    pub(super) fn identity(&self, rules: &Rules, unix_ms: u64) -> Result<Identity, AuthError> {
        let expires_ms = given(self.exp.as_ref()).and_then(date_ms).ok_or(AuthError::NoExpiry)?;
        if unix_ms >= expires_ms {
            return Err(AuthError::Expired);
        }
        if let Some(not_before) = given(self.nbf.as_ref()) {
            let not_before_ms = date_ms(not_before).ok_or(AuthError::Claim)?;
            if unix_ms.saturating_add(NOT_BEFORE_LEEWAY_MS) < not_before_ms {
                return Err(AuthError::NotYet);
            }
        }
        if rules.audience.as_ref().is_some_and(|wanted| !names(self.aud.as_ref(), wanted)) {
            return Err(AuthError::Audience);
        }
        if rules.issuer.as_ref().is_some_and(|wanted| self.iss.as_ref().is_none_or(|iss| iss != wanted)) {
            return Err(AuthError::Issuer);
        }
        Ok(Identity { tenant: self.tenant()?, user: self.user()?, admin: self.admin()?, expires_ms })
    }

    fn user(&self) -> Result<UserId, AuthError> {
        let text = self.sub.as_ref().and_then(Value::as_str).ok_or(AuthError::Subject)?;
        UserId::parse(text).map_err(|_| AuthError::Subject)
    }

    fn tenant(&self) -> Result<Tenant, AuthError> {
        match given(self.tenant.as_ref()) {
            None => Ok(Tenant::default_tenant()),
            Some(Value::String(text)) => Tenant::parse(text).map_err(|_| AuthError::Tenant),
            Some(_) => Err(AuthError::Tenant),
        }
    }

    fn admin(&self) -> Result<bool, AuthError> {
        given(self.admin.as_ref()).map_or(Some(false), Value::as_bool).ok_or(AuthError::Claim)
    }
}

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// `sub`.
    pub user: UserId,
    /// `tenant`.
    pub tenant: Tenant,
    /// `admin`; left out when false.
    pub admin: bool,
    /// `exp`, seconds since the Unix epoch.
    pub expires_s: u64,
    /// `aud`, for a server that asks for one.
    pub audience: Option<String>,
    /// `iss`, for a server that asks for one.
    pub issuer: Option<String>,
}

#[derive(Serialize)]
struct SignedClaims<'a> {
    sub: &'a str,
    tenant: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// Signs a token with HS256, for the command line and for tests.
#[must_use]
pub fn sign_hs256(secret: &[u8], request: &TokenRequest) -> String {
    let claims = SignedClaims {
        sub: request.user.as_str(),
        tenant: request.tenant.as_str(),
        exp: request.expires_s,
        admin: request.admin.then_some(true),
        aud: request.audience.as_deref(),
        iss: request.issuer.as_deref(),
    };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
        .expect("plain claims and an HMAC key of any length encode")
}
