//! The binary. Everything it does is `gateway::command`'s.

use std::process::ExitCode;

/// Smaller and faster than the system's under many small, short-lived allocations of several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gateway::command::main()
}
