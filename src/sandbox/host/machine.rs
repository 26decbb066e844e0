//! One machine: its disk, its metadata service, its first processes, its end. All of its life is one task, which takes orders.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::init::{self, Start};
use super::orphans::{MARKER, Marked};
use super::{Entrance, Machine, MetadataSource, imds, roots};

/// Where the metadata service listens, unless something has that port.
const IMDS_PORT: u16 = 1338;

/// How often the power switch is looked at.
const SWITCH: Duration = Duration::from_millis(250);

/// How long the processes of a machine that shuts down may take; an agent gives its services 20 seconds.
const GRACE: Duration = Duration::from_secs(25);

/// The same when the whole sandbox ends: nobody's visitors depend on it.
const GRACE_AT_CLOSE: Duration = Duration::from_secs(3);

/// A service manager's pause before it starts a failed unit again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// EC2 keeps this much of a console.
const CONSOLE_KEPT: u64 = 64 * 1024;

/// What all machines of a sandbox share.
#[derive(Debug)]
pub(super) struct Site {
    /// `machines/` and `images/` lie in it.
    pub home: PathBuf,
    /// What every process's marker starts with: the sandbox's id.
    pub id: String,
    /// Where `adstage` is.
    pub programs: PathBuf,
    /// The environment machines' processes start with.
    pub environment: Vec<(OsString, OsString)>,
}

impl Site {
    pub fn image(&self, image: &str) -> PathBuf {
        self.home.join("images").join(image)
    }

    pub fn machine(&self, id: &str) -> PathBuf {
        self.home.join("machines").join(id)
    }

    /// What every process of a machine starts with, whoever starts it.
    fn variables(&self, machine: &Machine, root: &Path, endpoint: &str) -> io::Result<Vec<(OsString, OsString)>> {
        let mut folders = vec![root.join("usr/sbin"), root.join("opt/adstage/bin"), self.programs.clone()];
        let (_, path) = self.environment.iter().find(|(name, _)| name == "PATH").cloned().unwrap_or_default();
        folders.extend(std::env::split_paths(&path));
        let own = [
            ("PATH", std::env::join_paths(folders).map_err(io::Error::other)?),
            ("ADSTAGE_ROOT", root.into()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.into()),
            (MARKER, format!("{}/{}", self.id, machine.id).into()),
        ];
        Ok(own.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// The processes of one machine, or of all.
    pub fn marked(&self, machine: &str) -> Marked {
        Marked { prefix: format!("{}/{machine}", self.id), folder: self.machine(machine) }
    }
}

/// What a machine is asked to do; later ones outrank earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Run,
    Stop,
    Terminate,
    Close,
}

/// A machine as the host keeps it.
#[derive(Debug)]
pub(super) struct Running {
    orders: watch::Sender<Order>,
    on: watch::Receiver<bool>,
    pid: Arc<AtomicU32>,
    entrance: Arc<Mutex<Option<Entrance>>>,
    /// The console of a machine whose disk is gone.
    last_console: Arc<Mutex<Vec<u8>>>,
    console: PathBuf,
}

impl Running {
    /// Switches the machine on. `removed` is called once it is terminated and nothing of it is left.
    pub fn start(site: Arc<Site>, machine: Machine, source: Weak<dyn MetadataSource>, removed: impl FnOnce() + Send + 'static) -> Self {
        let (orders, taken) = watch::channel(Order::Run);
        let (switch, on) = watch::channel(true);
        let (pid, entrance, last_console) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::default()), Arc::new(Mutex::default()));
        let folder = site.machine(&machine.id);
        let root = folder.join("root");
        let console = root.join("dev/console");
        let life = Life { site, machine, source, folder, root, orders: taken, pid: pid.clone(), entrance: entrance.clone() };
        let (at_end, log) = (last_console.clone(), console.clone());
        tokio::spawn(async move {
            let order = life.live(&switch).await;
            if order >= Order::Terminate {
                *at_end.lock().unwrap_or_else(PoisonError::into_inner) = read_console(&log);
                let folder = life.folder.clone();
                let _ = tokio::task::spawn_blocking(move || roots::remove(&folder)).await;
                removed();
            }
        });
        Self { orders, on, pid, entrance, last_console, console }
    }

    pub fn order(&self, order: Order) {
        self.orders.send_if_modified(|now| {
            let outranks = order > *now;
            *now = order.max(*now);
            outranks
        });
    }

    pub fn is_on(&self) -> bool {
        *self.on.borrow()
    }

    /// Ready once the machine is off.
    pub fn wait_off(&self) -> impl Future<Output = ()> + use<> {
        let mut on = self.on.clone();
        // An error means the task is gone, which is as off as can be.
        async move { drop(on.wait_for(|on| !on).await) }
    }

    pub fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid > 0 && self.is_on())
    }

    /// How a process gets into it, while it is on.
    pub fn entrance(&self) -> Option<Entrance> {
        self.entrance.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|_| self.is_on())
    }

    pub fn console(&self) -> Vec<u8> {
        let kept = self.last_console.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if kept.is_empty() { read_console(&self.console) } else { kept }
    }
}

fn read_console(path: &Path) -> Vec<u8> {
    let Ok(whole) = fs::read(path) else { return Vec::new() };
    let from = whole.len().saturating_sub(CONSOLE_KEPT as usize);
    whole[from..].to_vec()
}

struct Life {
    site: Arc<Site>,
    machine: Machine,
    source: Weak<dyn MetadataSource>,
    folder: PathBuf,
    root: PathBuf,
    orders: watch::Receiver<Order>,
    pid: Arc<AtomicU32>,
    entrance: Arc<Mutex<Option<Entrance>>>,
}

impl Life {
    /// From power on until the machine is terminated or, stopped, forgotten by the host. Returns the last order.
    async fn live(&self, switch: &watch::Sender<bool>) -> Order {
        let mut orders = self.orders.clone();
        if let Err(error) = self.run(&mut orders).await {
            self.say(&format!("sandbox: the machine failed: {error}"));
        }
        let _ = switch.send(false);
        // Off. A stopped machine may yet be terminated; one that is started again gets a new life, and this one's orders end.
        let last = orders.wait_for(|order| *order >= Order::Terminate).await.map(|order| *order);
        last.unwrap_or(Order::Stop)
    }

    async fn run(&self, orders: &mut watch::Receiver<Order>) -> io::Result<()> {
        if self.machine.address.is_unspecified() {
            return Err(io::Error::other("no loopback address is free for it"));
        }
        let (root, image) = (self.root.clone(), self.site.image(&self.machine.image));
        let first_boot = self.machine.first_boot;
        tokio::task::spawn_blocking(move || prepare(&root, &image, first_boot)).await.map_err(io::Error::other)??;

        let listener = match TcpListener::bind((self.machine.address, IMDS_PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((self.machine.address, 0)).await?,
        };
        let endpoint = format!("http://{}", listener.local_addr()?);
        let variables = self.site.variables(&self.machine, &self.root, &endpoint)?;
        let entrance = Entrance { root: self.root.clone(), address: self.machine.address, variables: variables.clone() };
        *self.entrance.lock().unwrap_or_else(PoisonError::into_inner) = Some(entrance);
        let mut metadata = JoinSet::new();
        metadata.spawn(imds::serve(listener, self.machine.clone(), self.source.clone()));

        let ended = self.watch_over(&variables, orders).await;
        let grace = if *orders.borrow() == Order::Close { GRACE_AT_CLOSE } else { GRACE };
        let killed = self.site.marked(&self.machine.id).end(grace).await;
        ended.and(killed)
    }

    /// Starts what init starts and keeps it going until an order or the power switch ends it. Dropping the children closes their stdin.
    async fn watch_over(&self, variables: &[(OsString, OsString)], orders: &mut watch::Receiver<Order>) -> io::Result<()> {
        let mut starts = init::units(&self.root)?;
        if self.machine.first_boot {
            starts.extend(init::user_data_script(&self.root, &self.machine.user_data)?);
        }
        let mut children = JoinSet::new();
        for start in starts {
            match self.spawn(&start, variables) {
                Ok(child) => drop(children.spawn(waited(start, child))),
                Err(error) => self.say(&format!("init: {}: {error}", start.name)),
            }
        }
        let mut switch = tokio::time::interval(SWITCH);
        loop {
            tokio::select! {
                _ = orders.wait_for(|order| *order > Order::Run) => return Ok(()),
                _ = switch.tick() => if init::power_off_is_due(&self.root) {
                    self.say("init: power off");
                    return Ok(());
                },
                Some(Ok((start, failed))) = children.join_next() => {
                    self.say(&format!("init: {} ended{}", start.name, failed.as_deref().unwrap_or_default()));
                    if start.restart && failed.is_some() {
                        let child = self.spawn(&start, variables)?;
                        children.spawn(waited(start, child));
                    }
                }
            }
        }
    }

    fn spawn(&self, start: &Start, variables: &[(OsString, OsString)]) -> io::Result<Child> {
        let console = || fs::OpenOptions::new().append(true).create(true).open(self.root.join("dev/console"));
        let child = Command::new(&start.program)
            .args(&start.arguments)
            .env_clear()
            .envs(self.site.environment.iter().map(|(name, value)| (name, value)))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.root)
            .stdin(Stdio::piped())
            .stdout(console()?)
            .stderr(console()?)
            .process_group(0)
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        self.pid.store(pid, Ordering::Relaxed);
        let notes = self.folder.join("pids");
        fs::create_dir_all(&notes)?;
        fs::write(notes.join(format!("{pid}.pid")), pid.to_string())?;
        Ok(child)
    }

    /// Writes to the console.
    fn say(&self, line: &str) {
        let console = self.root.join("dev/console");
        let opened =
            console.parent().map(fs::create_dir_all).and_then(|_| fs::OpenOptions::new().append(true).create(true).open(&console).ok());
        // A machine that cannot even write to its console has nobody left to tell.
        let _ = opened.map(|mut file| writeln!(file, "{line}"));
    }
}

/// The disk: a copy of the image, or the one from the last boot.
fn prepare(root: &Path, image: &Path, first_boot: bool) -> io::Result<()> {
    if first_boot || !root.exists() {
        if !image.exists() {
            return Err(io::Error::other(format!("its image has no folder {}", image.display())));
        }
        roots::remove(root)?;
        roots::copy(image, root)?;
    }
    roots::remove(&root.join("run"))?;
    fs::create_dir_all(root.join("run"))
}

/// Waits for a child; stdin stays open exactly as long as this is not dropped.
async fn waited(start: Start, mut child: Child) -> (Start, Option<String>) {
    let stdin = child.stdin.take();
    let failed = match child.wait().await {
        Ok(status) if status.success() => None,
        Ok(status) => Some(match (status.code(), status.signal()) {
            (Some(code), _) => format!(" with {code}"),
            (None, signal) => format!(" by signal {}", signal.unwrap_or_default()),
        }),
        Err(error) => Some(format!(": {error}")),
    };
    drop(stdin);
    if start.restart && failed.is_some() {
        pause(RESTART_PAUSE).await;
    }
    (start, failed)
}

/// Machines of real processes live in real time.
#[allow(clippy::disallowed_methods, reason = "this is the door for machines")]
pub(super) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}
