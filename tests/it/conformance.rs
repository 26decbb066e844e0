//! boto3 and the `aws` command line, which nobody here wrote, against the loopback server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adstage::sandbox::{Options, Sandbox};

use crate::python;

fn has_boto3(python: &Path) -> bool {
    let status = Command::new(python).args(["-c", "import boto3"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn has_aws() -> bool {
    Command::new("aws").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A Python with boto3: this machine's, or in CI one made for the occasion.
fn python() -> Option<PathBuf> {
    let own = PathBuf::from("python3");
    match (has_boto3(&own), python::in_ci()) {
        // CI never skips a part of it, so there the `aws` command must be here too.
        (true, true) if has_aws() => Some(own),
        (true, false) => Some(own),
        (false, false) => None,
        (_, true) => Some(python::with("boto3", &["boto3", "awscli"]).unwrap()),
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
fn boto3_and_the_aws_command_line_find_nothing_odd() {
    let Some(python) = python() else {
        eprintln!("\n*** SKIPPED: no python3 with boto3 here (pip install boto3 awscli); CI runs this ***\n");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let status = runtime.block_on(async {
        let sandbox = Sandbox::in_process(Options::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance.py");
        let mut command = tokio::process::Command::new(&python);
        if let Some(folder) = python.parent().filter(|folder| folder.is_absolute()) {
            // The `aws` of the same venv.
            command.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
        }
        let mut child = command.arg(script).arg(endpoint).kill_on_drop(true).spawn().unwrap();
        let (done, stop) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(async move { sandbox.serve(listener, async { drop(stop.await) }).await });
        let status = child.wait().await.unwrap();
        drop(done);
        serving.await.unwrap().unwrap();
        status
    });
    assert!(status.success(), "see above what surprised it");
}
