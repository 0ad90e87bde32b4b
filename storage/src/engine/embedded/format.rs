//! The data directory's first file: that it is a store, of which format, and which store. And its lock.
//!
//! ```text
//! murmuring store, format 1
//! id 9f3b6c1d2e4a5068
//! check 0c5d…            (xxh3-64 of the lines above)
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::error::{OpenError, Problem};

const NAME: &str = "format";
/// The same, while a store is being made: what lies beside it may be thrown away.
const NAME_BEFORE: &str = "format.new";
const FIRST_LINE: &str = "murmuring store, format ";
const VERSION: &str = "1";

/// Which store: part of all its files, so that the files of two stores can't be mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoreId(pub(super) u64);

/// What a directory holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A store.
    Store(StoreId),
    /// None, or one whose making was interrupted.
    Nothing,
}

/// Holds the directory for this process while it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Takes the directory for this process; the kernel lets it go when the process ends, however it ends (flock(2)).
pub(super) fn lock(directory: &Path) -> Result<Lock, OpenError> {
    let path = directory.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(OpenError::system(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(OpenError::new(directory, Problem::InUse)),
        Err(TryLockError::Error(error)) => Err(OpenError::system(&path)(error)),
    }
}

fn text(id: StoreId) -> String {
    let lines = format!("{FIRST_LINE}{VERSION}\nid {:016x}\n", id.0);
    let check = xxh3_64(lines.as_bytes());
    format!("{lines}check {check:016x}\n")
}

/// Reads what the directory holds. `others`: names of which none may be there without the file.
pub(super) fn find(directory: &Path, others: &[&str]) -> Result<Found, OpenError> {
    let path = directory.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let interrupted = directory.join(NAME_BEFORE).exists();
            let other = others.iter().find(|other| directory.join(other).exists());
            return match other {
                Some(other) if !interrupted => {
                    let what =
                        format!("there is {other:?} here, but no file \"{NAME}\" that says what it is");
                    Err(OpenError::new(directory, Problem::Foreign(what)))
                }
                _ => Ok(Found::Nothing),
            };
        }
        Err(error) => return Err(OpenError::system(&path)(error)),
    };
    parse(&bytes).map(Found::Store).map_err(|problem| OpenError::new(&path, problem))
}

fn parse(bytes: &[u8]) -> Result<StoreId, Problem> {
    let damaged = || Problem::Damaged("it is not what was written".to_owned());
    let found = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let mut lines = found.lines();
    let version = lines.next().and_then(|line| line.strip_prefix(FIRST_LINE)).ok_or_else(damaged)?;
    let id = lines.next().and_then(|line| line.strip_prefix("id ")).ok_or_else(damaged)?;
    let id = StoreId(u64::from_str_radix(id, 16).map_err(|_| damaged())?);
    if text(id) == found {
        return Ok(id);
    }
    let newer = version.parse::<u32>().is_ok_and(|version| version.to_string() != VERSION);
    if newer && checks(found) {
        return Err(Problem::Version(format!(
            "the store has format {version}, this program knows {VERSION}"
        )));
    }
    Err(damaged())
}

/// True when the last line agrees with those above it.
fn checks(text: &str) -> bool {
    let Some((lines, check)) = text.trim_end_matches('\n').rsplit_once('\n') else { return false };
    let check = check.strip_prefix("check ").and_then(|check| u64::from_str_radix(check, 16).ok());
    check == Some(xxh3_64(format!("{lines}\n").as_bytes()))
}

/// Begins to make a store: removes what an interrupted making left, and says that what follows may be removed.
pub(super) fn begin(directory: &Path, others: &[&str]) -> Result<StoreId, OpenError> {
    for other in others {
        let path = directory.join(other);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::system(&path)(error));
            }
            _ => {}
        }
    }
    let id = StoreId(RandomState::new().hash_one("store"));
    let path = directory.join(NAME_BEFORE);
    let mut file = File::create(&path).map_err(OpenError::system(&path))?;
    file.write_all(text(id).as_bytes()).and_then(|()| file.sync_all()).map_err(OpenError::system(&path))?;
    sync_directory(directory)?;
    Ok(id)
}

/// The store is made, durably.
pub(super) fn finish(directory: &Path) -> Result<(), OpenError> {
    sync_directory(directory)?;
    let path = directory.join(NAME);
    fs::rename(directory.join(NAME_BEFORE), &path).map_err(OpenError::system(&path))?;
    sync_directory(directory)
}

/// Makes the names in a directory durable (fsync(2): a file's sync says nothing of its name).
pub(super) fn sync_directory(directory: &Path) -> Result<(), OpenError> {
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(OpenError::system(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_other_byte_and_any_cut_is_noticed_and_a_newer_format_is_named() {
        let written = text(StoreId(0x1234));
        assert_eq!(parse(written.as_bytes()).unwrap(), StoreId(0x1234));
        for index in 0..written.len() {
            let mut bytes = written.clone().into_bytes();
            bytes[index] ^= 1;
            assert!(matches!(parse(&bytes), Err(Problem::Damaged(_))), "byte {index}");
            assert!(
                matches!(parse(&written.as_bytes()[..index]), Err(Problem::Damaged(_))),
                "cut at {index}"
            );
        }
        let lines = format!("{FIRST_LINE}2\nid 0000000000000001\n");
        let newer = format!("{lines}check {:016x}\n", xxh3_64(lines.as_bytes()));
        assert!(matches!(parse(newer.as_bytes()), Err(Problem::Version(_))));
    }

    #[test]
    fn two_do_not_open_one_directory() {
        let directory = tempfile::tempdir().unwrap();
        let held = lock(directory.path()).unwrap();
        assert!(matches!(lock(directory.path()).unwrap_err().problem, Problem::InUse));
        drop(held);
        lock(directory.path()).unwrap();
    }
}
