//! The `demo` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    demo::run(std::env::args_os())
}
