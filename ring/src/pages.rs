//! The size of the pages that the kernel gives this process memory in.

use std::io;

/// From now on the process gets small pages only (PR_SET_THP_DISABLE, prctl(2)). An allocator that asks for huge ones
/// (mimalloc does, with madvise(2)) gets 2 MiB for whatever it touches first, and `khugepaged` goes on to fill them up behind
/// its back: 100 MB for 15,000 sessions that need 24.
///
/// # Errors
/// The kernel knows no huge pages; there are none then.
pub fn keep_small() -> io::Result<()> {
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: the call takes numbers and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::keep_small;

    #[test]
    fn the_kernel_notes_that_pages_stay_small() {
        keep_small().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(
            status.lines().any(|line| line.starts_with("THP_enabled:") && line.ends_with('0')),
            "{status}"
        );
    }
}
