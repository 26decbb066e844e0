//! Whatever runs the machines behind EC2's instances: real process trees, or scripts in virtual time.

mod addresses;
mod imds;
mod init;
mod machine;
mod orphans;
mod probe;
mod processes;
mod roots;
pub(super) mod scripted;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Weak;
use std::time::Duration;

use super::engine::Engine;

pub use processes::MachineOptions;
pub(super) use processes::{Processes, sweep};

/// What a machine is started from.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// Instance id.
    pub id: String,
    /// Account and Region, for its metadata.
    pub account: String,
    pub region: String,
    /// The image whose root folder it gets a copy of.
    pub image: String,
    /// Its own loopback address (given by [`Host::address`]).
    pub address: IpAddr,
    /// User data, decoded.
    pub user_data: Vec<u8>,
    /// Its tags as its metadata service shows them; None if the launch did not ask for tags there.
    pub tags: Option<BTreeMap<String, String>>,
    /// First boot: cloud-init runs user data scripts once per instance.
    pub first_boot: bool,
}

/// How a process gets into a machine that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entrance {
    /// What is `/` to it.
    pub root: PathBuf,
    pub address: IpAddr,
    /// What a process of the machine starts with, on top of this computer's own variables.
    pub variables: Vec<(OsString, OsString)>,
}

/// Why a probe got no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeError {
    Timeout,
    Refused,
}

pub(super) type ProbeFuture = Pin<Box<dyn Future<Output = Result<u16, ProbeError>> + Send>>;

/// What a machine's metadata service answers beyond what the machine was started with. Asked for at every request: tags change live.
#[derive(Debug, Clone, Default)]
pub(super) struct Metadata {
    pub instance_type: String,
    pub availability_zone: String,
    /// Keys and values; `None` unless the launch set InstanceMetadataTags to enabled.
    pub tags: Option<BTreeMap<String, String>>,
}

/// Who knows it: the engine, or a test. The host holds it weakly, since the engine holds the host.
pub(super) trait MetadataSource: Send + Sync + 'static {
    /// Metadata of one instance; `None` if there is no such instance (any more).
    fn metadata(&self, instance: &str) -> Option<Metadata>;
}

impl MetadataSource for Engine {
    fn metadata(&self, instance: &str) -> Option<Metadata> {
        let known = Engine::metadata(self, instance)?;
        let tags = known.instance.request.metadata.tags.then_some(known.tags);
        Some(Metadata { instance_type: known.instance.request.kind, availability_zone: known.instance.zone, tags })
    }
}

/// The engine's only way to machines. Nothing here blocks or waits: long work goes on in the background, and later questions
/// (`running`, `captured`) tell how far it is.
pub(super) trait Host: Send + Sync + 'static {
    /// Called once, when the engine exists: the metadata services ask it (`Engine::metadata`) for what may change while a machine runs.
    fn attach(&self, _engine: Weak<Engine>) {}
    /// True if machines are real processes at addresses one can connect to; a load balancer then opens its sockets.
    fn real(&self) -> bool;
    /// An address for a new machine or load balancer; never given twice while in use.
    fn address(&self) -> IpAddr;
    /// Copy an image's root folder, as the image of another Region.
    fn copy_image(&self, from: &str, to: &str);
    /// Create a root folder for a base image that a seed names.
    fn seed_image(&self, image: &str);
    /// Boot: root folder from the image (kept from before if this is no first boot), metadata service, init.
    fn start(&self, machine: Machine);
    /// The machine's tags are these now, at this time of the wall clock. Its metadata service shows them anyway.
    fn tagged(&self, _id: &str, _tags: &BTreeMap<String, String>, _wall: jiff::Timestamp) {}
    /// Shut down: polite signal to the process tree, then kill. The root folder stays.
    fn stop(&self, id: &str);
    /// Kill the process tree and remove the root folder.
    fn terminate(&self, id: &str);
    /// True while the machine has not shut down (by itself or by `stop`).
    fn running(&self, id: &str) -> bool;
    /// What the machine wrote to its console so far (the last 64 KiB, as EC2 keeps).
    fn console(&self, id: &str) -> Vec<u8>;
    /// Copy a machine's root folder into a new image.
    fn capture(&self, id: &str, image: &str);
    /// None: still copying. Some(Err): failed, and why.
    fn captured(&self, image: &str) -> Option<Result<(), String>>;
    /// Remove an image's root folder.
    fn delete_image(&self, image: &str);
    /// Processor time each machine has used so far; nothing of a machine where nobody knows.
    fn worked(&self) -> BTreeMap<String, Duration> {
        BTreeMap::new()
    }
    /// Process id of the machine's first process, where machines are processes.
    fn pid(&self, _id: &str) -> Option<u32> {
        None
    }
    /// The way into a machine, where machines are processes and this one is on.
    fn entrance(&self, _id: &str) -> Option<Entrance> {
        None
    }
    /// One HTTP GET of a health check against a machine.
    fn probe(&self, id: &str, port: u16, path: &str, timeout: Duration) -> ProbeFuture;
}
