//! Bytes nobody can guess, from the kernel. For secrets and seeds; shards take theirs as arguments.

use std::io;

/// Fills `bytes` from the kernel's generator (getrandom(2)).
///
/// # Errors
/// The kernel has no such call: older than Linux 3.17, or a filter forbids it.
pub fn fill(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the kernel writes at most `bytes.len()` bytes to `bytes`, during the call only.
        let result = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        match usize::try_from(result) {
            Ok(filled) => bytes = &mut bytes[filled..],
            Err(_) => interrupted(io::Error::last_os_error())?,
        }
    }
    Ok(())
}

/// `N` bytes from the kernel's generator.
///
/// # Errors
/// As [`fill`].
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

fn interrupted(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_of_32_bytes_differ() {
        assert_ne!(super::bytes::<32>().unwrap(), super::bytes::<32>().unwrap());
    }

    #[test]
    fn more_than_one_call_can_give_is_filled_whole() {
        let mut bytes = vec![0; 1 << 16];
        super::fill(&mut bytes).unwrap();
        assert!(bytes.chunks(64).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
    }
}
