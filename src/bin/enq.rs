//! The command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    enq::admin::main()
}
