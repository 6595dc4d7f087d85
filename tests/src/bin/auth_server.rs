//! The authorization server as a process of its own, built together with the cases.

use std::process::ExitCode;

fn main() -> ExitCode {
    auth_server::run(std::env::args_os())
}
