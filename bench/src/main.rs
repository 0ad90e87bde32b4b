//! The binary. Everything it does is `bench::command`'s.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::command::main()
}
