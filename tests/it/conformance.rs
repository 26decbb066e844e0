//! boto3 and the `aws` command line, which nobody here wrote, against the loopback server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adstage::sandbox::{Options, Sandbox};

fn has_boto3(python: &Path) -> bool {
    let status = Command::new(python).args(["-c", "import boto3"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn has_aws() -> bool {
    Command::new("aws").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A Python with boto3: this machine's, or in CI one made for the occasion.
#[allow(clippy::disallowed_methods, reason = "CI says so in an environment variable")]
fn python() -> Option<(PathBuf, Option<tempfile::TempDir>)> {
    let own = PathBuf::from("python3");
    let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    match (has_boto3(&own), in_ci) {
        // CI never skips a part of it, so there the `aws` command must be here too.
        (true, true) if has_aws() => return Some((own, None)),
        (true, false) => return Some((own, None)),
        (false, false) => return None,
        (_, true) => {}
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &Path, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).status().unwrap();
        assert!(status.success(), "{} {arguments:?}", program.display());
    };
    run(&own, &["-m", "venv", folder.path().to_str().unwrap()]);
    let python = folder.path().join("bin/python3");
    run(&python, &["-m", "pip", "install", "--quiet", "boto3", "awscli"]);
    Some((python, Some(folder)))
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
fn boto3_and_the_aws_command_line_find_nothing_odd() {
    let Some((python, _folder)) = python() else {
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
