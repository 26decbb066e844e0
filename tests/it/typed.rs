//! A command as a person types it, and everything it says: a snapshot of this can leave out neither stream nor the exit code.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

pub struct Typed {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs adstage in a folder, with no variable of the test's own environment but the ones a program needs.
#[allow(clippy::disallowed_methods, reason = "a test passes its own PATH on")]
pub fn typed(folder: &Path, line: &str) -> Typed {
    let output = Command::new(env!("CARGO_BIN_EXE_adstage"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("ADSTAGE_SANDBOX_HOME", folder.join("sandbox"))
        // No test may reach AWS, whatever the machine's own credentials are.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .output()
        .expect("adstage runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace(&folder.display().to_string(), "[FOLDER]");
    Typed { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}
