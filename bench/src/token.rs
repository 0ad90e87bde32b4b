//! Tokens: HS256 ones that the measured server takes, signed with its secret. Verifies nothing.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
}

/// Signs tokens for users of the default tenant.
pub struct TokenSigner {
    key: EncodingKey,
    header: Header,
    expires_s: u64,
}

impl TokenSigner {
    /// A signer with the server's `auth.hs256_secret`; its tokens hold until `expires_s`, in seconds since the Unix epoch.
    #[must_use]
    pub fn new(secret: &[u8], expires_s: u64) -> Self {
        Self { key: EncodingKey::from_secret(secret), header: Header::new(Algorithm::HS256), expires_s }
    }

    /// A token of a user (RFC 7519).
    ///
    /// # Panics
    /// Never: plain claims and an HMAC key of any length encode.
    #[must_use]
    pub fn sign(&self, user: &str) -> String {
        let claims = Claims { sub: user, exp: self.expires_s };
        jsonwebtoken::encode(&self.header, &claims, &self.key).expect("plain claims and an HMAC key encode")
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};

    use super::TokenSigner;

    #[test]
    fn a_token_names_its_user_to_whoever_has_the_secret() {
        let token = TokenSigner::new(b"secret of the server", 4_000_000_000).sign("u1");
        let read = |secret: &[u8]| {
            let validation = Validation::new(Algorithm::HS256);
            jsonwebtoken::decode::<serde_json::Value>(&token, &DecodingKey::from_secret(secret), &validation)
        };
        assert_eq!(read(b"secret of the server").unwrap().claims["sub"], "u1");
        assert!(read(b"another").is_err());
    }
}
