//! An eventfd: one number in the kernel that somebody raises and somebody else waits for. What it means, its two ends know.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::setup::SetupError;

#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    /// # Errors
    /// No descriptor is left for it (eventfd(2)).
    pub(crate) fn new() -> Result<Self, SetupError> {
        // SAFETY: eventfd(2) takes two numbers and touches no memory of ours.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(SetupError::from_system("an eventfd", io::Error::last_os_error()));
        }
        // SAFETY: the line above checked that `descriptor` is open, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Adds one.
    pub(crate) fn raise(&self) {
        let one: u64 = 1;
        // SAFETY: `one` is eight readable bytes for the length of the call, as eventfd(2) wants.
        let written =
            unsafe { libc::write(self.descriptor(), std::ptr::from_ref(&one).cast(), size_of::<u64>()) };
        assert!(written == 8, "an eventfd takes 1 until it holds 2^64 - 2");
    }

    /// Makes it zero. It is non-blocking: one that is zero stays so.
    pub(crate) fn drain(&self) {
        let mut raised = 0_u64;
        // SAFETY: `raised` is eight writable bytes for the length of the call, as eventfd(2) wants.
        let read = unsafe {
            libc::read(self.descriptor(), std::ptr::from_mut(&mut raised).cast(), size_of::<u64>())
        };
        debug_assert!(read == 8 || io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock);
    }
}
