//! What is looked at before anything is opened: whether this process may open the files and start the threads that the
//! configuration asks for. What it finds is one message with the command that mends it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ring::cpu;
use ring::limit::Limit;

use super::error::ServeError;
use super::role::Role;
use super::settings;
use crate::config::Config;
use crate::host::process;

/// Raises RLIMIT_NOFILE as far as allowed and tries the rest. Returns what works and could be better, a sentence each.
///
/// # Errors
/// A limit under which `serve` can't start.
pub(super) fn check(config: &Config, role: Role) -> Result<Vec<String>, ServeError> {
    let mut warnings = Vec::new();
    let limit = Limit::raise_descriptors().unwrap_or_else(|error| {
        warnings.push(format!("RLIMIT_NOFILE can't be raised to its hard limit: {error}"));
        Limit::descriptors()
    });
    let cpus = cpu::allowed().map_err(|error| ServeError::System("the list of CPUs", error))?;
    let shards = u64::from(settings::shards(config, cpus.len()));
    let listeners = settings::listener_count(config, role);
    let connections_max = u64::from(config.core.connections_max);
    let slots = process::ring_slots(connections_max, limit.soft, shards, listeners);
    let banks = process::banks(slots, limit.soft);
    let least = process::descriptors_least(shards, banks, listeners);
    if limit.soft < least {
        return Err(ServeError::Descriptors { limit: limit.soft, least, shards, banks });
    }
    warnings.extend(few_descriptors(limit.soft, connections_max, shards, listeners));
    let threads = process::threads(shards);
    try_threads(threads).map_err(|error| ServeError::Threads { threads, shards, error })?;
    Ok(warnings)
}

/// A word when the limit is enough to start, and not for more than a trial.
fn few_descriptors(limit: u64, connections_max: u64, shards: u64, listeners: u64) -> Option<String> {
    let slots = process::ring_slots(connections_max, limit, shards, listeners);
    let capacity = process::capacity(slots, shards, listeners);
    let ease = process::descriptors_ease(shards, process::banks(slots, limit), listeners);
    let wanted = ease.max(process::slots(process::CONNECTIONS_USEFUL, shards, listeners));
    let few = connections_max == 0 && capacity < process::CONNECTIONS_USEFUL;
    let held = if connections_max == 0 { capacity } else { capacity.min(connections_max) };
    (limit < ease || few).then(|| {
        format!(
            "RLIMIT_NOFILE is {limit}: {shards} shards hold {held} connections, and the store and the HTTP API \
             share {limit} files; raise it with `ulimit -n {wanted}` (systemd: LimitNOFILE={wanted})"
        )
    })
}

/// Starts so many threads at once and ends them: the one way to know that RLIMIT_NPROC, the cgroup, the kernel and the
/// address space all allow them. About 10 µs each.
pub(crate) fn try_threads(count: u64) -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let start = |_| {
        let gate = Arc::clone(&gate);
        thread::Builder::new().spawn(move || drop(gate.lock()))
    };
    let mut threads = Vec::new();
    let started = (0..count).map(start).try_for_each(|thread| thread.map(|thread| threads.push(thread)));
    drop(closed);
    for thread in threads {
        // It has nothing to panic about.
        let _ = thread.join();
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_this_host_allows_are_no_error() {
        try_threads(20).unwrap();
    }

    #[test]
    fn a_low_limit_is_told_with_what_it_holds_and_the_command_that_raises_it() {
        let text = few_descriptors(40, 0, 2, 1).unwrap();
        assert!(text.contains("hold 48 connections") && text.contains("ulimit -n 580"), "{text}");
        assert_eq!(few_descriptors(20_000, 0, 2, 1), None);
        assert_eq!(few_descriptors(20_000, 1_000_000, 2, 1), None, "more banks hold them");
        assert_eq!(few_descriptors(20_000, 5, 2, 1), None, "as few as were asked for");
    }
}
