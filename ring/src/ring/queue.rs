//! The two queues shared with the kernel, and the one system call between them. Knows entries, not what they are for.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::Timespec;
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

use crate::setup::SetupError;

/// `IORING_REGISTER_RING_FDS` (io_uring_register(2)), which the crate remembers in a borrowed value only.
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// A ring of the given sizes with all that is needed; without the indirection array where the kernel can.
pub(crate) fn build(submissions: u32, completions: u32) -> io::Result<IoUring> {
    build_from(&builder(completions), submissions)
}

fn build_from(builder: &io_uring::Builder, submissions: u32) -> io::Result<IoUring> {
    match builder.clone().setup_no_sqarray().build(submissions) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder.build(submissions),
        result => result,
    }
}

/// Whether the kernel makes rings without the indirection array (6.6).
pub(crate) fn builds_without_array() -> bool {
    builder(8).setup_no_sqarray().build(4).is_ok()
}

fn builder(completions: u32) -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(completions)
        .dontfork();
    builder
}

/// `struct io_uring_getevents_arg` (io_uring_enter(2)).
#[repr(C)]
struct WaitArgument {
    signal_mask: u64,
    signal_mask_bytes: u32,
    wait_min_us: u32,
    timeout: u64,
}

/// `struct io_uring_rsrc_update` (io_uring_register(2)).
#[repr(C)]
struct RingRegistration {
    offset: u32,
    reserved: u32,
    descriptor: u64,
}

/// One ring's queues. Stays on the thread that made it: the kernel allows no other (SINGLE_ISSUER), and the registered
/// descriptor is the thread's own.
pub(crate) struct Queue {
    ring: IoUring,
    /// The ring's index among those registered with this thread, or its descriptor: `call_flags` says which.
    target: RawFd,
    call_flags: EnterFlags,
    wait_flags: EnterFlags,
    /// Entries the kernel had no room for, in order: empty but for a kernel short of memory.
    backlog: VecDeque<squeue::Entry>,
    /// System calls made.
    enters: u64,
    one_thread: PhantomData<*mut ()>,
}

impl Queue {
    /// One that is `flagged` can be asked whether it [is due](Queue::is_due), which costs the kernel an atomic operation a
    /// batch of completions.
    ///
    /// # Errors
    /// io_uring is missing, forbidden, or short of memory.
    pub(crate) fn new(submissions: u32, completions: u32, flagged: bool) -> Result<Self, SetupError> {
        let mut builder = builder(completions);
        if flagged {
            builder.setup_taskrun_flag();
        }
        let ring = build_from(&builder, submissions).map_err(SetupError::from_ring)?;
        let parameters = ring.params();
        if !parameters.is_feature_nodrop() || !parameters.is_feature_ext_arg() {
            return Err(SetupError::KernelTooOld { release: crate::probe::kernel_release() });
        }
        // A thread may register 16 rings (IO_RINGFD_REG_MAX); one more works by its descriptor.
        let (target, call_flags) = match register(ring.as_raw_fd()) {
            Ok(index) => (index, EnterFlags::REGISTERED_RING),
            Err(_) => (ring.as_raw_fd(), EnterFlags::empty()),
        };
        // Only shutdowns go to workers. One is enough, and a storm of them must not become one of threads.
        ring.submitter()
            .register_iowq_max_workers(&mut [1, 1])
            .map_err(|error| SetupError::from_system("the bound of an io_uring's workers", error))?;
        let mut wait_flags = call_flags | EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if parameters.is_feature_no_iowait() {
            wait_flags |= EnterFlags::NO_IOWAIT;
        }
        let backlog = VecDeque::new();
        Ok(Self { ring, target, call_flags, wait_flags, backlog, enters: 0, one_thread: PhantomData })
    }

    pub(crate) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    pub(crate) fn enters(&self) -> u64 {
        self.enters
    }

    /// Queues an entry for the next system call; when the queue is full, that call is now. Never loses one.
    ///
    /// # Safety
    /// All memory that `entry` names must stay valid, and not be touched otherwise, until its last completion.
    pub(crate) unsafe fn push(&mut self, entry: squeue::Entry) {
        if self.ring.submission().is_full() {
            self.flush();
        }
        // SAFETY: the caller's promise is this call's.
        let pushed = self.backlog.is_empty() && unsafe { self.ring.submission().push(&entry) }.is_ok();
        if !pushed {
            self.backlog.push_back(entry);
        }
    }

    /// Queues linked entries, the last of which ends the chain: all for the same system call, since a chain can't span
    /// two. False, and nothing is queued, when there is no room even after a call now.
    ///
    /// # Safety
    /// As [`Queue::push`], for each entry.
    pub(crate) unsafe fn push_chain(&mut self, entries: &[squeue::Entry]) -> bool {
        if self.room() < entries.len() {
            self.flush();
        }
        if self.room() < entries.len() || !self.backlog.is_empty() {
            return false;
        }
        // SAFETY: the caller's promise is this call's.
        unsafe { self.ring.submission().push_multiple(entries) }.is_ok()
    }

    fn room(&mut self) -> usize {
        let submission = self.ring.submission();
        submission.capacity() - submission.len()
    }

    /// Whether the kernel knows all that a dial is made of: its newest part is the bind (6.11).
    pub(crate) fn can_dial(&self) -> bool {
        let mut probe = io_uring::Probe::new();
        self.ring.submitter().register_probe(&mut probe).is_ok() && probe.is_supported(opcode::Bind::CODE)
    }

    /// Whether a system call would do anything: there are entries to submit, or the kernel has completions to finish. Only
    /// a flagged queue can tell.
    pub(crate) fn is_due(&mut self) -> bool {
        let submission = self.ring.submission();
        !submission.is_empty() || submission.taskrun() || submission.cq_overflow() || !self.backlog.is_empty()
    }

    /// Entries that wait for the next system call.
    pub(crate) fn unsubmitted(&mut self) -> usize {
        self.ring.submission().len() + self.backlog.len()
    }

    /// Completions to take, as far as the kernel has written them.
    pub(crate) fn ready(&mut self) -> usize {
        self.ring.completion().len()
    }

    /// Takes the oldest completion.
    pub(crate) fn pop(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Submits all that is queued, lets the kernel finish what it can, and sleeps until there is a completion or
    /// `timeout` has passed; zero never sleeps.
    ///
    /// # Errors
    /// Completions were lost for want of memory, or the ring itself is broken: it can't be used on. A full queue, an
    /// interruption or the timeout is no error.
    pub(crate) fn enter(&mut self, timeout: Duration) -> io::Result<()> {
        self.refill();
        let sleeps = !timeout.is_zero() && self.backlog.is_empty();
        let time = Timespec::from(timeout);
        let argument = WaitArgument {
            signal_mask: 0,
            signal_mask_bytes: 0,
            wait_min_us: 0,
            timeout: std::ptr::from_ref(&time).expose_provenance() as u64,
        };
        let submissions = self.ring.submission().len() as u32;
        // SAFETY: `argument` and the `time` it names live to the end of this function, and the kernel reads them
        // during the call only. What the queued entries name is valid by the promise of `push`.
        let result = unsafe {
            self.call(submissions, u32::from(sleeps), self.wait_flags, (&raw const argument).cast())
        };
        match result {
            // ETIME: the timeout. EINTR: a signal. EBUSY, EAGAIN: completions must be taken, or memory found, first.
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
            Ok(_) => Ok(()),
        }
    }

    /// Submits what is queued, without running anything's completion. What the kernel does not take, stays.
    fn flush(&mut self) {
        let submissions = self.ring.submission().len() as u32;
        // SAFETY: no argument is named; what the queued entries name is valid by the promise of `push`.
        let result = unsafe { self.call(submissions, 0, self.call_flags, std::ptr::null()) };
        // A refusal leaves the entries where they are: the next `enter` tries again and tells what is wrong.
        drop(result);
        self.refill();
    }

    /// Moves what had no room into the room there is now.
    fn refill(&mut self) {
        let mut submission = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: the promise under which the entry was given to `push`.
            if unsafe { submission.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// # Safety
    /// `argument` is null without EXT_ARG, and else a [`WaitArgument`] that lives as long as the call.
    unsafe fn call(
        &mut self,
        submissions: u32,
        completions_min: u32,
        flags: EnterFlags,
        argument: *const libc::c_void,
    ) -> io::Result<i64> {
        self.enters += 1;
        let argument_bytes = if argument.is_null() { 0 } else { size_of::<WaitArgument>() };
        // SAFETY: the caller's promise about `argument`; `target` is open or registered as long as `self` lives.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.target,
                submissions,
                completions_min,
                flags.bits(),
                argument,
                argument_bytes,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.call_flags.contains(EnterFlags::REGISTERED_RING) {
            unregister(self.ring.as_raw_fd(), self.target);
        }
    }
}

/// Registers the ring with this thread, which saves looking its descriptor up at each call.
fn register(ring: RawFd) -> io::Result<RawFd> {
    let mut registration =
        RingRegistration { offset: u32::MAX, reserved: 0, descriptor: u64::from(ring.unsigned_abs()) };
    // SAFETY: one whole registration, read and written during the call only.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_RING_FDS, &raw mut registration, 1)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(registration.offset as RawFd) }
}

/// Gives the index back, so that the thread may register another ring.
fn unregister(ring: RawFd, index: RawFd) {
    let registration = RingRegistration { offset: index.unsigned_abs(), reserved: 0, descriptor: 0 };
    // SAFETY: one whole registration, read during the call only.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, UNREGISTER_RING_FDS, &raw const registration, 1)
    };
    debug_assert_eq!(result, 1, "the index is this ring's");
}
