//! One line on the terminal that says how far a run is. Says nothing where stderr is no terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the line is written at most.
const PERIOD: Duration = Duration::from_millis(200);

/// The line; it goes when this is dropped.
#[derive(Debug)]
pub struct Progress {
    is_shown: bool,
    due: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Nothing is shown yet.
    #[must_use]
    pub fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), due: Instant::now() }
    }

    /// Shows `line` in place of the last one, if that has stood long enough to be read; else it is not even made.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.is_shown && now >= self.due {
            self.due = now + PERIOD;
            write(&format!("\r\x1b[2K{}", line()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            write("\r\x1b[2K");
        }
    }
}

fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    // Nobody looks, at worst.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
