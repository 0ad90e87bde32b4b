//! What is left to do when the load generator is interrupted: the processes it started are ended, and its directories
//! removed. A run that comes to its end does the same by itself.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ring::signal::Signals;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::ServerError;

/// How long an interrupted server may take to stop in order.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

static LEFT: Mutex<Left> = Mutex::new(Left { children: Vec::new(), directories: Vec::new() });

struct Left {
    children: Vec<Pid>,
    directories: Vec<PathBuf>,
}

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn add_child(child: Pid) {
    left().children.push(child);
}

pub(super) fn remove_child(child: Pid) {
    left().children.retain(|left| *left != child);
}

pub(super) fn add_directory(directory: &Path) {
    left().directories.push(directory.to_owned());
}

pub(super) fn remove_directory(directory: &Path) {
    left().directories.retain(|left| left != directory);
}

/// From now on SIGINT, SIGTERM and SIGHUP end what was started, and then this process with code 1. Call it on the main
/// thread before any other is started.
///
/// # Errors
/// No descriptor or thread is left.
pub fn watch() -> Result<(), ServerError> {
    let of_signals = || ServerError::of_file("/proc/self/fd");
    let signals = Signals::install().map_err(of_signals())?;
    let watcher = move || {
        while let Ok(None) = signals.wait(Duration::from_secs(3_600)) {}
        end(&signals);
        process::exit(1);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watcher).map_err(of_signals())?;
    Ok(())
}

/// Ends what is left; a second signal does it at once.
fn end(signals: &Signals) {
    let Left { children, directories } = &mut *left();
    eprintln!("murmuring-bench: interrupted: stopping what it started");
    for child in &*children {
        // Gone already, at worst.
        let _ = kill_process(*child, Signal::TERM);
    }
    let begin = Instant::now();
    while children.iter().any(|child| runs(*child)) && begin.elapsed() < PATIENCE {
        if !matches!(signals.wait(PAUSE), Ok(None)) {
            break;
        }
    }
    for child in &*children {
        let _ = kill_process(*child, Signal::KILL);
    }
    for directory in &*directories {
        // What can't be removed is in the host's directory for such things.
        let _ = std::fs::remove_dir_all(directory);
    }
}

fn runs(child: Pid) -> bool {
    matches!(waitpid(Some(child), WaitOptions::NOHANG), Ok(None))
}
