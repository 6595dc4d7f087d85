//! The program `resource-server`; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    resource_server::run(std::env::args_os())
}
