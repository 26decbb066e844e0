//! Under construction.

use std::process::ExitCode;

/// Arguments in, exit code out.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
