//! The log: structured lines on stderr, written by a thread of its own from a bounded queue, so that no core ever
//! waits for a terminal or a disk. What does not fit is counted and the count is logged. Never given a token, a
//! secret or a message's body.

use core::fmt::{Display, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};

use crossbeam_queue::ArrayQueue;

use crate::config::{Format, Level};

/// Lines that wait at most; past it they are dropped and counted.
const LINES_WAITING_MAX: usize = 4_096;

/// Named values of a line.
pub type Fields<'a> = &'a [(&'static str, &'a dyn Display)];

/// Where lines go in; cheap to clone.
#[derive(Clone, Debug)]
pub struct Logger {
    shared: Arc<Shared>,
    writer: Thread,
}

/// The writing thread; finishes what waits when it is dropped.
#[derive(Debug)]
pub struct LogThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    lines: ArrayQueue<String>,
    dropped: AtomicU64,
    stop: AtomicBool,
    level: Level,
    format: Format,
}

/// Starts the log.
///
/// # Errors
/// When the system gives no thread.
pub fn start(level: Level, format: Format) -> std::io::Result<(Logger, LogThread)> {
    let shared = Arc::new(Shared {
        lines: ArrayQueue::new(LINES_WAITING_MAX),
        dropped: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        level,
        format,
    });
    let of_thread = Arc::clone(&shared);
    let thread = thread::Builder::new().name("log".into()).spawn(move || of_thread.write_all())?;
    let logger = Logger { shared: Arc::clone(&shared), writer: thread.thread().clone() };
    Ok((logger, LogThread { shared, thread: Some(thread) }))
}

impl Logger {
    /// What needs a person.
    pub fn error(&self, message: &str, fields: Fields<'_>) {
        self.line(Level::Error, message, fields);
    }

    /// What may need one.
    pub fn warn(&self, message: &str, fields: Fields<'_>) {
        self.line(Level::Warn, message, fields);
    }

    /// Start, stop, changes of state.
    pub fn info(&self, message: &str, fields: Fields<'_>) {
        self.line(Level::Info, message, fields);
    }

    /// Single connections and turns.
    pub fn debug(&self, message: &str, fields: Fields<'_>) {
        self.line(Level::Debug, message, fields);
    }

    /// Lines that did not fit so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    fn line(&self, level: Level, message: &str, fields: Fields<'_>) {
        if level > self.shared.level {
            return;
        }
        let line = render(self.shared.format, ring::clock::realtime_ms(), level, message, fields);
        if self.shared.lines.push(line).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.writer.unpark();
    }
}

impl Shared {
    fn write_all(&self) {
        let mut told = 0;
        loop {
            // Read before the queue is emptied: what was logged before the stop is written.
            let stop = self.stop.load(Ordering::Acquire);
            while let Some(line) = self.lines.pop() {
                write_line(&line);
            }
            let dropped = self.dropped.load(Ordering::Relaxed);
            if dropped > told {
                let fields: Fields<'_> = &[("lines", &(dropped - told))];
                let now = ring::clock::realtime_ms();
                write_line(&render(self.format, now, Level::Warn, "log lines dropped", fields));
                told = dropped;
            }
            if stop {
                return;
            }
            thread::park();
        }
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the log's thread has aborted the process already.
            let _ = thread.join();
        }
    }
}

/// A log that nobody reads any more is no reason to stop serving: a failed write is forgotten.
fn write_line(line: &str) {
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// One line with its line feed.
fn render(format: Format, unix_ms: u64, level: Level, message: &str, fields: Fields<'_>) -> String {
    let time = Timestamp { unix_ms };
    match format {
        Format::Text => render_text(&time, level, message, fields),
        Format::Json => render_json(&time, level, message, fields),
    }
}

fn render_text(time: &Timestamp, level: Level, message: &str, fields: Fields<'_>) -> String {
    let mut line = String::with_capacity(160);
    // Writing into a String cannot fail.
    let _ = write!(line, "{time} {:5} {message}", level.name());
    for (name, value) in fields {
        let value = value.to_string();
        let plain = !value.is_empty() && !value.contains(|sign: char| sign.is_whitespace() || sign == '"');
        let _ = if plain { write!(line, " {name}={value}") } else { write!(line, " {name}={value:?}") };
    }
    // A value from outside must not be able to begin a line of its own.
    line.retain(|sign| !sign.is_control());
    line.push('\n');
    line
}

fn render_json(time: &Timestamp, level: Level, message: &str, fields: Fields<'_>) -> String {
    let mut object = serde_json::Map::new();
    object.insert("time".into(), time.to_string().into());
    object.insert("level".into(), level.name().into());
    object.insert("message".into(), message.into());
    for (name, value) in fields {
        object.insert((*name).into(), value.to_string().into());
    }
    let mut line = serde_json::Value::Object(object).to_string();
    line.push('\n');
    line
}

/// A time as RFC 3339 has it, in UTC with milliseconds.
pub(crate) struct Timestamp {
    /// Milliseconds since the Unix epoch.
    pub(crate) unix_ms: u64,
}

impl Display for Timestamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let seconds = self.unix_ms / 1_000;
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        let millisecond = self.unix_ms % 1_000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
    }
}

/// Year, month and day of a day since 1970-01-01, counted in eras of 400 years that begin on the first of March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates_also_around_leap_days() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_779, (2026, 11, 22)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "day {days}");
        }
    }

    #[test]
    fn a_value_from_outside_cannot_begin_a_line_of_its_own() {
        let line = render(Format::Text, 0, Level::Info, "hello", &[("who", &"a\nb\u{1b}[2J"), ("n", &7)]);
        assert_eq!(line, "1970-01-01T00:00:00.000Z info  hello who=\"a\\nb\\u{1b}[2J\" n=7\n");
        let line = render(Format::Text, 0, Level::Info, "hello\u{7}", &[("who", &"\u{1b}x")]);
        assert!(!line[..line.len() - 1].contains(char::is_control), "{line:?}");
    }

    #[test]
    fn a_json_line_is_one_object() {
        let line = render(Format::Json, 1_000, Level::Error, "a \"b\"\n", &[("peer", &"127.0.0.1:1")]);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["message"], "a \"b\"\n");
        assert_eq!(object["peer"], "127.0.0.1:1");
        assert_eq!(line.matches('\n').count(), 1);
    }
}
