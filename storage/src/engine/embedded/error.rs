//! Why a data directory is not opened: which file, what is wrong with it, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A data directory that this program will not serve from.
#[derive(Debug)]
pub struct OpenError {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a data directory.
#[derive(Debug)]
pub enum Problem {
    /// The system refused; its words.
    System(io::Error),
    /// Another process has it open.
    InUse,
    /// It is not of this store: a missing or foreign file.
    Foreign(String),
    /// It was written by a newer program.
    Version(String),
    /// Bytes are not what was written; what of them.
    Damaged(String),
    /// What was acknowledged is not there.
    Lost(String),
}

impl OpenError {
    pub(super) fn new(path: &Path, problem: Problem) -> Self {
        Self { path: path.to_owned(), problem }
    }

    pub(super) fn system(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self { path, problem: Problem::System(error) }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::new(path, Problem::Damaged(what.into()))
    }

    pub(super) fn lost(path: &Path, what: impl Into<String>) -> Self {
        Self::new(path, Problem::Lost(what.into()))
    }
}

/// What helps against lost or damaged files.
const RESTORE: &str = "Nothing was changed; restore the whole data directory from a backup";

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.problem {
            Problem::System(error) => write!(f, "{error}"),
            Problem::InUse => write!(f, "another process serves from this directory. Stop it first"),
            Problem::Foreign(what) => {
                write!(f, "{what}. Name an empty directory, or restore the missing file from a backup")
            }
            Problem::Version(what) => write!(f, "{what}. Use the program that wrote it, or a newer one"),
            Problem::Damaged(what) => write!(f, "damaged: {what}. {RESTORE}"),
            Problem::Lost(what) => write!(f, "acknowledged data is missing: {what}. {RESTORE}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::System(error) => Some(error),
            _ => None,
        }
    }
}
