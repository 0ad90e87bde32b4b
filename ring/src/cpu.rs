//! Which CPUs this process may use, and pinning a thread to one (sched_setaffinity(2)).

use std::io;

/// The CPUs that the calling thread may run on, ascending. Never empty.
///
/// # Errors
/// The host has more CPUs than a `cpu_set_t` can name (1,024).
pub fn allowed() -> io::Result<Vec<usize>> {
    let mut set = empty();
    // SAFETY: the kernel writes at most `size_of_val(&set)` bytes to `set`, during the call only; 0 is this thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: CPU_ISSET reads one bit of `set`, and `cpu` is below the bits there are.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect())
}

/// Keeps the calling thread on one CPU.
///
/// # Errors
/// There is no such CPU, or this process may not use it.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = empty();
    // SAFETY: CPU_SET writes one bit of `set`, and the check above keeps it inside.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the kernel reads `size_of_val(&set)` bytes of `set`, during the call only; 0 is this thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty() -> libc::cpu_set_t {
    // SAFETY: a `cpu_set_t` is an array of integers, and all zeroes is the empty set (CPU_SET(3)).
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::{allowed, pin};

    #[test]
    fn a_pinned_thread_may_run_on_its_cpu_alone() {
        std::thread::spawn(|| {
            let last = *allowed().unwrap().last().unwrap();
            pin(last).unwrap();
            assert_eq!(allowed().unwrap(), [last]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error() {
        assert!(pin(usize::MAX).is_err());
        assert!(pin(1_023).is_err() || allowed().unwrap().contains(&1_023));
    }
}
