//! A Python with packages from PyPI, in an environment of its own below `target/tmp`: made once per list of packages, never on the machine's
//! own installation.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// PyPI usually needs ten seconds.
const PATIENCE: Duration = Duration::from_secs(240);

/// CI never skips anything.
#[allow(clippy::disallowed_methods, reason = "CI says so in an environment variable")]
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// The Python of an environment that has these packages; or why there is none.
pub fn with(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{name}"));
    let (python, made) = (folder.join("bin/python3"), folder.join("made"));
    let list = packages.join("\n");
    // Another test process may be making the same one.
    let lock = std::fs::File::create(format!("{}.lock", folder.display())).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if std::fs::read_to_string(&made).is_ok_and(|found| found == list) && runs(&python) {
        return Ok(python);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    }
    run(Path::new("python3"), &["-m", "venv", &folder.display().to_string()])?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "15", "--retries", "2"];
    run(&python, &[&pip, packages].concat())?;
    std::fs::write(&made, list).map_err(|error| error.to_string())?;
    Ok(python)
}

/// A machine's Python may have been replaced under its environments.
fn runs(python: &Path) -> bool {
    run(python, &["-c", ""]).is_ok()
}

fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let shown = format!("{} {}", program.display(), arguments.join(" "));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut command = tokio::process::Command::new(program);
        let child = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).output();
        match tokio::time::timeout(PATIENCE, child).await {
            Ok(Ok(done)) if done.status.success() => Ok(()),
            Ok(Ok(done)) => Err(format!("{shown}: {}", String::from_utf8_lossy(&done.stderr).trim())),
            Ok(Err(error)) => Err(format!("{shown}: {error}")),
            Err(_) => Err(format!("{shown}: not done after {} s", PATIENCE.as_secs())),
        }
    })
}
