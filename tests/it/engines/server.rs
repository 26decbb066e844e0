//! DynamoDBs to test against: two that nobody here wrote, as processes on loopback, and the sandbox's own loopback door.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use adstage::sandbox::{Options, Sandbox};

use crate::python;

/// Pinned, so that a finding is ours or theirs and not yesterday's release.
pub const MINISTACK: [&str; 3] = ["ministack==1.5.33", "cbor2==6.3.0", "hypercorn==0.18.0"];

/// A server starts in a second or two; this machine may be busy.
const START: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// ministack, from PyPI: one loop, so one request at a time.
    Ministack,
    /// dynoxide's own server, where a program of that name is installed.
    Dynoxide,
    /// The sandbox's loopback door: dynoxide's engine behind our own server.
    Sandbox,
}

/// A server that answers. Dropped, it is gone; if this process dies without dropping anything, its standard input ends and it goes, too.
#[derive(Debug)]
pub struct Server {
    /// Where.
    pub endpoint: String,
    process: Option<Child>,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// One ministack for all tests: they work in accounts of their own. Never dropped: its standard input ends with this process.
static SHARED: OnceLock<Result<Arc<Server>, String>> = OnceLock::new();

impl Engine {
    /// What is needed is here; else why not. Not to be called in a runtime: it may install things.
    pub fn ready(self) -> Result<(), String> {
        match self {
            Self::Ministack => SHARED.get_or_init(|| start_ministack().map(Arc::new)).as_ref().map(|_| ()).map_err(Clone::clone),
            Self::Dynoxide => installed("dynoxide"),
            Self::Sandbox => Ok(()),
        }
    }

    /// A server of this kind with nothing in the account.
    pub async fn server(self) -> Arc<Server> {
        match self {
            Self::Ministack => SHARED.get().unwrap().clone().unwrap(),
            Self::Dynoxide => Arc::new(launch(Path::new("python3"), &["dynoxide", "dynoxide"]).unwrap()),
            Self::Sandbox => {
                let sandbox = Sandbox::in_process(Options::default());
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = format!("http://{}", listener.local_addr().unwrap());
                let serving = tokio::spawn(async move { sandbox.serve(listener, std::future::pending()).await.unwrap() });
                Arc::new(Server { endpoint, process: None, serving: Some(serving) })
            }
        }
    }
}

fn installed(program: &str) -> Result<(), String> {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    found.map(|_| ()).map_err(|error| format!("{program}: {error}"))
}

fn start_ministack() -> Result<Server, String> {
    let python = python::with(&MINISTACK[0].replace("==", "-"), &MINISTACK)?;
    launch(&python, &["ministack"])
}

/// Starts `engines.py` and waits for the port it says.
fn launch(python: &Path, arguments: &[&str]) -> Result<Server, String> {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("engines");
    std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/engines.py")).args(arguments);
    // Nothing this machine is logged in to or configured for.
    for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL", "SERVICES", "AUTH", "PERSIST_STATE", "USE_SSL", "LOCALSTACK_PERSISTENCE"] {
        command.env_remove(name);
    }
    command.env("HOME", &home).env("TMPDIR", &home).env("DOCKER_HOST", "unix:///nonexistent").current_dir(&home);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let output = process.stdout.take().ok_or("no output")?;
    // From here on, an early return ends it.
    let mut server = Server { endpoint: String::new(), process: Some(process), serving: None };
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output).lines();
        let _first = tell.send(lines.next());
        // Read on, so that it never waits for a reader.
        lines.for_each(drop);
    });
    match told.recv_timeout(START) {
        Ok(Some(Ok(port))) => server.endpoint = format!("http://127.0.0.1:{}", port.trim()),
        other => return Err(format!("{arguments:?} did not start: {other:?}")),
    }
    Ok(server)
}
