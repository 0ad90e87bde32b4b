//! What is wrong with a configuration, in words for who wrote it.

use core::fmt;

/// One thing that is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A file and line, a variable or a flag.
    pub place: String,
    /// One sentence.
    pub message: String,
}

/// Everything that is wrong, in the order found; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { place, message }) in self.0.iter().enumerate() {
            let end = if index + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "{place}: {message}{end}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Problems {}
