//! DynamoDBs to test against: two that nobody here wrote, as processes on loopback, and the sandbox's own loopback door.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use adstage::sandbox::{Options, Sandbox};

use crate::python;

/// Pinned, so that a finding is ours or theirs and not yesterday's release.
pub const MINISTACK: [&str; 3] = ["ministack==1.5.33", "cbor2==6.3.0", "hypercorn==0.18.0"];

/// A server starts in a second or two; this machine may be busy.
const START: Duration = Duration::from_secs(180);

/// A server ends at once.
const END: Duration = Duration::from_secs(5);

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
    process: Option<Running>,
    serving: Option<tokio::task::JoinHandle<()>>,
}

/// A process, and the lines it says; the channel closes when it ends.
#[derive(Debug)]
struct Running {
    process: Child,
    said: Mutex<mpsc::Receiver<std::io::Result<String>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(Running { mut process, said }) = self.process.take() {
            // Its standard input ends, so it ends what it started and then itself; killed at once, it would leave that behind.
            drop(process.stdin.take());
            while said.lock().is_ok_and(|said| said.recv_timeout(END).is_ok()) {}
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
    let (tell, said) = mpsc::channel();
    // Reads on to the end, so that the server never waits for a reader.
    std::thread::spawn(move || BufReader::new(output).lines().for_each(|line| drop(tell.send(line))));
    let mut server = Server { endpoint: String::new(), process: None, serving: None };
    let first = said.recv_timeout(START);
    // From here on, an early return ends it.
    server.process = Some(Running { process, said: Mutex::new(said) });
    match first {
        Ok(Ok(port)) => server.endpoint = format!("http://127.0.0.1:{}", port.trim()),
        other => return Err(format!("{arguments:?} did not start: {other:?}")),
    }
    Ok(server)
}
