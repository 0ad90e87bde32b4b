//! Promise: what the host lacks is said in one message that names the setting and the command that mends it.

use ring::limit::Limit;
use ring::setup::SetupError;
use ring::waker::Waker;
use ring::{Ring, Settings};

fn make(settings: Settings) -> Result<Ring, SetupError> {
    Ring::new(settings, Vec::new(), Waker::new()?)
}

#[test]
fn slots_up_to_the_descriptors_are_one_bank_and_one_more_makes_two() {
    let slots = Limit::descriptors().soft.min(1 << 20) as u32;
    assert_eq!(make(Settings { slots, ..Settings::default() }).unwrap().banks(), 1);
    assert_eq!(make(Settings { slots: slots + 1, ..Settings::default() }).unwrap().banks(), 2);
}

/// As in a container whose seccomp profile leaves io_uring out.
#[test]
fn a_filter_that_forbids_io_uring_is_named() {
    let error = std::thread::spawn(|| {
        refuse_io_uring_setup(libc::EPERM);
        assert!(matches!(ring::probe::probe().ring, Err(SetupError::Forbidden)));
        make(Settings::default()).err().unwrap().to_string()
    })
    .join()
    .unwrap();
    assert!(error.contains("seccomp") && error.contains("io_uring_setup"), "{error}");
}

#[test]
fn a_kernel_without_io_uring_is_named_with_the_one_needed() {
    let error = std::thread::spawn(|| {
        refuse_io_uring_setup(libc::ENOSYS);
        make(Settings::default()).err().unwrap().to_string()
    })
    .join()
    .unwrap();
    assert!(error.contains(&ring::probe::kernel_release()) && error.contains("6.1"), "{error}");
}

#[test]
fn no_memory_to_lock_names_its_limit() {
    let error = std::thread::spawn(|| {
        refuse_io_uring_setup(libc::ENOMEM);
        make(Settings::default()).err().unwrap().to_string()
    })
    .join()
    .unwrap();
    assert!(error.contains("RLIMIT_MEMLOCK") && error.contains("ulimit -l"), "{error}");
}

#[test]
fn every_message_is_one_line_with_a_command() {
    let address = "127.0.0.1:80".parse().unwrap();
    let errors = [
        SetupError::DisabledBySysctl { value: 2 },
        SetupError::Forbidden,
        SetupError::DescriptorsExhausted { what: "an eventfd" },
        SetupError::MemoryLimit { what: "an io_uring", limit: 1 },
        SetupError::AddressInUse { address },
        SetupError::AddressNotAvailable { address },
        SetupError::AddressForbidden { address },
    ];
    for error in errors {
        let message = error.to_string();
        assert!(!message.contains('\n') && message.contains('`'), "{message}");
    }
}

/// Makes io_uring_setup(2) fail for the calling thread, for ever (seccomp(2), "Filtering").
fn refuse_io_uring_setup(error: i32) {
    let number = libc::SYS_io_uring_setup as u32;
    let statement = |code: u32, jump_true, jump_false, value| libc::sock_filter {
        code: code as u16,
        jt: jump_true,
        jf: jump_false,
        k: value,
    };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: prctl(2) reads `program` and the filter it names during the calls only.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}
