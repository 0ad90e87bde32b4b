//! What tokens are checked with, read from where the configuration says: secrets, PEM files, JWKS files and addresses.
//! How a token is checked is `auth`'s.

use core::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::auth::{Keys, KeysError};
use crate::config::{Auth, Config, Secret};
use crate::secret::{self, DEVELOPMENT_SECRET, SecretError};

/// Longest key file or JWKS document, in bytes.
const KEYS_BYTES_MAX: u64 = 1 << 20;
/// How long a JWKS address may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there are no keys.
#[derive(Debug)]
pub enum CredentialsError {
    /// A configured file can't be read.
    File {
        /// The key of the configuration.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A configured file or secret holds no keys that can be used.
    Keys {
        /// The key of the configuration.
        key: &'static str,
        /// Which file or address; empty for a value in the configuration itself.
        place: String,
        /// Why.
        error: KeysError,
    },
    /// `auth.jwks_url` did not answer.
    Fetch {
        /// The address.
        url: String,
        /// Why, in the HTTP client's words.
        error: Box<ureq::Error>,
    },
    /// The development secret could not be kept.
    Development(SecretError),
    /// The configuration has public keys only: nothing to sign with.
    NothingToSignWith,
}

impl CredentialsError {
    /// True when the configuration is to blame, not the host or somebody else's server.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Keys { .. } | Self::NothingToSignWith)
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { key, path, error } => write!(f, "{key}: {}: {error}", path.display()),
            Self::Keys { key, place, error } if place.is_empty() => write!(f, "{key}: {error}"),
            Self::Keys { key, place, error } => write!(f, "{key}: {place}: {error}"),
            Self::Fetch { url, error } => write!(f, "auth.jwks_url: {url}: {error}"),
            Self::Development(error) => write!(f, "the development secret: {error}"),
            Self::NothingToSignWith => f.write_str(
                "auth: there are public keys only, and nothing to sign a token with; set auth.hs256_secret, or sign \
                 where the private key is and give it with --token",
            ),
        }
    }
}

impl core::error::Error for CredentialsError {}

/// The secret to sign with, and where a generated one is kept.
#[derive(Debug)]
pub struct Signing {
    /// For HS256.
    pub secret: Secret,
    /// Set when it is the development secret: where it is kept, and whether this call made it.
    pub development: Option<(PathBuf, bool)>,
}

/// The secret that tokens are signed with: configured, or the development secret of the data directory. `None` when
/// there are only public keys.
///
/// # Errors
/// When a file can't be read, is empty, or the development secret can't be kept.
pub fn signing(config: &Config) -> Result<Option<Signing>, CredentialsError> {
    if config.auth.is_configured() {
        let secret = configured_secret(&config.auth)?;
        return Ok(secret.map(|secret| Signing { secret, development: None }));
    }
    let kept = secret::keep(Path::new(&config.store.path), DEVELOPMENT_SECRET)
        .map_err(CredentialsError::Development)?;
    Ok(Some(Signing { secret: kept.secret, development: Some((kept.path, kept.made)) }))
}

/// Everything that tokens may be signed with; `signing` comes from [`signing`].
///
/// # Errors
/// When a file, a key or the JWKS address is at fault.
pub fn keys(auth: &Auth, signing: Option<&Signing>) -> Result<Keys, CredentialsError> {
    let mut keys = local_keys(auth)?;
    if let Some(signing) = signing {
        let added = keys.add_hs256_secret(signing.secret.reveal().as_bytes());
        added.map_err(|error| of("auth.hs256_secret", "", error))?;
    }
    if !auth.jwks_url.is_empty() {
        let document = fetch(&auth.jwks_url)?;
        keys.add_jwks(&document).map_err(|error| of("auth.jwks_url", &auth.jwks_url, error))?;
    }
    Ok(keys)
}

/// Reads what is configured as files and holds it against its form; asks no network and makes no secret.
///
/// # Errors
/// When a file or a key is at fault.
pub fn check_files(auth: &Auth) -> Result<(), CredentialsError> {
    configured_secret(auth)?;
    local_keys(auth).map(drop)
}

fn local_keys(auth: &Auth) -> Result<Keys, CredentialsError> {
    let mut keys = Keys::new();
    for path in &auth.public_key_files {
        let text = read("auth.public_key_files", path)?;
        keys.add_public_pem(&text).map_err(|error| of("auth.public_key_files", path, error))?;
    }
    if !auth.jwks_file.is_empty() {
        let text = read("auth.jwks_file", &auth.jwks_file)?;
        keys.add_jwks(text.as_bytes()).map_err(|error| of("auth.jwks_file", &auth.jwks_file, error))?;
    }
    Ok(keys)
}

fn configured_secret(auth: &Auth) -> Result<Option<Secret>, CredentialsError> {
    if auth.hs256_secret_file.is_empty() {
        return Ok(Some(auth.hs256_secret.clone()).filter(|secret| !secret.is_empty()));
    }
    let text = read("auth.hs256_secret_file", &auth.hs256_secret_file)?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(of("auth.hs256_secret_file", &auth.hs256_secret_file, KeysError::EmptySecret));
    }
    Ok(Some(Secret::new(secret.to_owned())))
}

fn of(key: &'static str, place: &str, error: KeysError) -> CredentialsError {
    CredentialsError::Keys { key, place: place.to_owned(), error }
}

fn read(key: &'static str, path: &str) -> Result<String, CredentialsError> {
    let result = fs::metadata(path).and_then(|metadata| {
        if metadata.len() > KEYS_BYTES_MAX {
            return Err(io::Error::other(format!("it is larger than {KEYS_BYTES_MAX} bytes")));
        }
        fs::read_to_string(path)
    });
    result.map_err(|error| CredentialsError::File { key, path: path.into(), error })
}

fn fetch(url: &str) -> Result<Vec<u8>, CredentialsError> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(FETCH_TIMEOUT)).build().into();
    agent
        .get(url)
        .call()
        .and_then(|mut answer| answer.body_mut().with_config().limit(KEYS_BYTES_MAX).read_to_vec())
        .map_err(|error| CredentialsError::Fetch { url: url.to_owned(), error: Box::new(error) })
}
