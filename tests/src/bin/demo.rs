//! The tour as a process of its own, built together with the cases.

use std::process::ExitCode;

fn main() -> ExitCode {
    demo::run(std::env::args_os())
}
