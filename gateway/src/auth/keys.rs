//! Keys: what tokens may be signed with. Each key is for one algorithm, so that a token can't choose how it is checked.

use core::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// Most keys of one set: a token without a `kid` is checked against each of its algorithm.
const KEYS_MAX: usize = 64;

/// One key, its name, and the one algorithm that it is for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// The keys that tokens are checked with.
#[derive(Clone, Default)]
pub struct Keys {
    pub(super) keys: Vec<Key>,
}

/// Why a key was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysError {
    /// An HS256 secret without a byte.
    EmptySecret,
    /// No PEM block of a public key in it.
    NoPublicKey,
    /// A private key where a public one belongs.
    PrivateKey,
    /// A PEM block that is no RSA, P-256 or Ed25519 public key.
    UnsupportedPem,
    /// Not the JSON of a JWKS (RFC 7517, section 5).
    Jwks(String),
    /// A JWKS in which no key is an RSA, P-256 or Ed25519 one for signatures.
    NoUsableKey,
    /// More than 64 keys.
    TooMany,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptySecret => f.write_str("the HS256 secret is empty"),
            Self::NoPublicKey => f.write_str("no PEM block `PUBLIC KEY` or `RSA PUBLIC KEY` in it"),
            Self::PrivateKey => {
                f.write_str("a private key: give the public one (`openssl pkey -in KEY -pubout`)")
            }
            Self::UnsupportedPem => f.write_str("a PEM block is no RSA, P-256 or Ed25519 public key"),
            Self::Jwks(reason) => write!(f, "not a JSON Web Key Set: {reason}"),
            Self::NoUsableKey => {
                f.write_str("no key of the JSON Web Key Set is for RS256, ES256 or EdDSA signatures")
            }
            Self::TooMany => write!(f, "more than {KEYS_MAX} keys"),
        }
    }
}

impl core::error::Error for KeysError {}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| (key.algorithm, &key.id))).finish()
    }
}

impl Keys {
    /// No keys: every token is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True: every token is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn push(&mut self, key: Key) -> Result<(), KeysError> {
        if self.keys.len() == KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        self.keys.push(key);
        Ok(())
    }

    /// Adds a secret for HS256.
    ///
    /// # Errors
    /// [`KeysError::EmptySecret`], [`KeysError::TooMany`].
    pub fn add_hs256_secret(&mut self, secret: &[u8]) -> Result<(), KeysError> {
        if secret.is_empty() {
            return Err(KeysError::EmptySecret);
        }
        let decoding = DecodingKey::from_secret(secret);
        self.push(Key { id: None, algorithm: Algorithm::HS256, decoding })
    }

    /// Adds every public key of a PEM text: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA.
    ///
    /// # Errors
    /// When there is none, or one is private or of another sort; see [`KeysError`].
    pub fn add_public_pem(&mut self, text: &str) -> Result<(), KeysError> {
        let mut blocks = text.match_indices("-----BEGIN ").map(|(at, _)| &text[at..]).peekable();
        if blocks.peek().is_none() {
            return Err(KeysError::NoPublicKey);
        }
        for block in blocks {
            self.push(public_key(block)?)?;
        }
        Ok(())
    }

    /// Adds the keys of a JWKS that are for RS256, ES256 or EdDSA signatures; others are left out.
    ///
    /// # Errors
    /// [`KeysError::Jwks`], [`KeysError::NoUsableKey`], [`KeysError::TooMany`].
    pub fn add_jwks(&mut self, json: &[u8]) -> Result<(), KeysError> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|error| KeysError::Jwks(error.to_string()))?;
        let before = self.len();
        for jwk in &set.keys {
            if let Some(key) = key_of_jwk(jwk) {
                self.push(key)?;
            }
        }
        if self.len() == before { Err(KeysError::NoUsableKey) } else { Ok(()) }
    }
}

/// Uncompressed point of P-256: a tag and two coordinates (SEC 1, section 2.3.3).
const P256_POINT_BYTES: usize = 65;

fn public_key(block: &str) -> Result<Key, KeysError> {
    let label = block.strip_prefix("-----BEGIN ").and_then(|rest| rest.split("-----").next()).unwrap_or("");
    if label.contains("PRIVATE") {
        return Err(KeysError::PrivateKey);
    }
    if label != "PUBLIC KEY" && label != "RSA PUBLIC KEY" {
        return Err(KeysError::NoPublicKey);
    }
    let pem = block.as_bytes();
    if let Ok(decoding) = DecodingKey::from_ed_pem(pem) {
        return Ok(Key { id: None, algorithm: Algorithm::EdDSA, decoding });
    }
    if let Ok(decoding) = DecodingKey::from_ec_pem(pem) {
        let p256 = decoding.try_get_as_bytes().is_ok_and(|point| point.len() == P256_POINT_BYTES);
        let key = Key { id: None, algorithm: Algorithm::ES256, decoding };
        return if p256 { Ok(key) } else { Err(KeysError::UnsupportedPem) };
    }
    match DecodingKey::from_rsa_pem(pem) {
        Ok(decoding) => Ok(Key { id: None, algorithm: Algorithm::RS256, decoding }),
        Err(_) => Err(KeysError::UnsupportedPem),
    }
}

/// `None` for keys of other sorts or uses. Symmetric keys have no place in a published set.
fn key_of_jwk(jwk: &Jwk) -> Option<Key> {
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|named| named != KeyAlgorithm::from(algorithm)) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { id: jwk.common.key_id.clone(), algorithm, decoding })
}
