//! Secrets that `serve` makes for itself and keeps in the data directory: the development secret for tokens, and the
//! secret of resume tickets. Configured secrets are `config`'s.

use core::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::Secret;

/// File of the secret that tokens are signed with while none is configured.
pub const DEVELOPMENT_SECRET: &str = "development-secret";
/// File of the secret of resume tickets while none is configured.
pub const TICKET_SECRET: &str = "ticket-secret";

/// File of the secret that nodes prove themselves with while none is configured.
pub const CLUSTER_SECRET: &str = "cluster-secret";

/// Random bytes of a kept secret; its text has two hexadecimal digits for each.
const SECRET_BYTES: usize = 32;

/// A secret that could not be kept or found again.
#[derive(Debug)]
pub enum SecretError {
    /// The data directory or a file in it can't be read or written.
    File(PathBuf, io::Error),
    /// The file does not hold what was put into it.
    Damaged(PathBuf),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Damaged(path) => {
                let path = path.display();
                write!(
                    f,
                    "{path}: does not hold a secret any more; remove it and a new one is made, which ends all tokens of the old"
                )
            }
        }
    }
}

impl core::error::Error for SecretError {}

/// A kept secret.
#[derive(Debug)]
pub struct Kept {
    /// The secret: its text is what tokens are signed with, so that the file can be given to other tools.
    pub secret: Secret,
    /// Where it is.
    pub path: PathBuf,
    /// True: made by this call.
    pub made: bool,
}

/// Reads the secret `name` of a data directory; makes the directory and the secret when there is none.
///
/// # Errors
/// When the directory can't be made or written, or the file is damaged.
pub fn keep(directory: &Path, name: &str) -> Result<Kept, SecretError> {
    let path = directory.join(name);
    match read(&path) {
        Ok(secret) => return Ok(Kept { secret, path, made: false }),
        Err(SecretError::File(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| SecretError::File(path, error)
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
    let made = make(directory, name).map_err(at(&path))?;
    // Read back: when two processes began at once, one of them found the other's.
    let secret = read(&path)?;
    Ok(Kept { secret, path, made })
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let text = fs::read_to_string(path).map_err(|error| SecretError::File(path.to_owned(), error))?;
    let text = text.trim();
    let whole = text.len() == 2 * SECRET_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if whole { Ok(Secret::new(text.to_owned())) } else { Err(SecretError::Damaged(path.to_owned())) }
}

/// Writes a new secret whole under another name, then gives it its own if nobody else did; true when it was this one.
fn make(directory: &Path, name: &str) -> io::Result<bool> {
    let bytes = ring::random::bytes::<SECRET_BYTES>()?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    let unfinished = directory.join(format!("{name}.{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, directory.join(name));
    fs::remove_file(&unfinished)?;
    fs::File::open(directory)?.sync_all()?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_kept_secret_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("new/data");
        let first = keep(&data, DEVELOPMENT_SECRET).unwrap();
        let second = keep(&data, DEVELOPMENT_SECRET).unwrap();
        assert!(first.made && !second.made);
        assert_eq!(first.secret, second.secret);
        assert_eq!(first.secret.reveal().len(), 64);
        let mode = fs::metadata(&first.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(keep(&data, TICKET_SECRET).unwrap().secret, first.secret);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 2);
    }

    #[test]
    fn a_damaged_secret_is_refused_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for damaged in ["", "abc", &"g".repeat(64), &"0".repeat(63)] {
            fs::write(directory.path().join(TICKET_SECRET), damaged).unwrap();
            assert!(matches!(keep(directory.path(), TICKET_SECRET), Err(SecretError::Damaged(_))));
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = keep(Path::new("/proc/none"), TICKET_SECRET).unwrap_err();
        assert!(error.to_string().starts_with("/proc/none"), "{error}");
    }
}
