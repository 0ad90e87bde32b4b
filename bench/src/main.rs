//! The binary. Everything it does is `bench::command`'s.

use std::process::ExitCode;

/// The server's, since `floor store` runs its engine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bench::command::main()
}
