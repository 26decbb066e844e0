//! `adstage agent boot`: learn what to be, be it, and tell.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::console::Console;
use super::environment::Surroundings;
use super::fuse;
use super::health::Health;
use super::imds::{Imds, ImdsError};
use super::layout::Layout;
use super::service::{Board, Service};
use super::supervisor::{Shift, Supervisor, told_to_stop};
use crate::clock::Clock;
use crate::failure::{End, Failure};
use crate::model::{ConsoleLine, Manifest, RepositoryName, ServiceName, UserData, UserDataError, UserService, tag};

/// What this instance is.
#[derive(Debug)]
struct Identity {
    host: IpAddr,
    services: Vec<Service>,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error(transparent)]
    Imds(#[from] ImdsError),
    #[error(transparent)]
    UserData(#[from] UserDataError),
    #[error("the instance has no tag {0}, or the launch did not enable tags in the instance metadata")]
    NoTag(&'static str),
    #[error("the instance metadata has no {0}")]
    NoValue(&'static str),
    #[error("the instance's tags name {0:?}, which cannot be the name of a service")]
    NotAService(String),
    #[error("the instance's tags name {0}, of which its user data says nothing")]
    UnknownService(ServiceName),
    #[error("the image cannot be used: {0}")]
    Image(String),
    #[error("the image does not hold the repository {0}, which {1} runs in")]
    NoRepository(RepositoryName, ServiceName),
    #[error("{0}")]
    Start(String),
}

/// Runs this instance's services until it is told to stop.
pub async fn boot(surroundings: &Surroundings, clock: &Clock) -> Result<(), Failure> {
    let layout = Layout::new(&surroundings.root);
    let console = Console::of(&layout);
    let stop = stop_signal().map_err(|error| Failure::new(End::Unexpected, "cannot listen for signals").because(error))?;
    let ended = hold(surroundings, &layout, &console, clock, stop).await;
    ended.map_err(|error| {
        console.mark(&ConsoleLine::BootFailed { what: error.to_string() });
        Failure::new(End::Unexpected, error.to_string())
    })
}

async fn hold(
    surroundings: &Surroundings,
    layout: &Layout,
    console: &Console,
    clock: &Clock,
    mut stop: watch::Receiver<bool>,
) -> Result<(), BootError> {
    let identity = tokio::select! {
        identity = identity(surroundings, layout, console, clock) => identity?,
        () = told_to_stop(&mut stop) => return Ok(()),
    };
    let Some(Identity { host, services }) = identity else {
        console.say("this instance is a builder: no services to run");
        return Ok(());
    };
    let board = Board::of(&services);
    let health = Arc::new(Health { services: services.clone(), board: board.clone(), host });
    let answering = health.listen().await.map_err(BootError::Start)?;
    console.mark(&ConsoleLine::Booted { services: services.iter().map(|service| service.name.clone()).collect() });
    let shift =
        Shift { services, board, layout: layout.clone(), console: console.clone(), clock: clock.clone(), path: surroundings.path.clone() };
    let mut beside = JoinSet::new();
    beside.spawn(answering);
    let (supervisor, announced) = (Supervisor::here(layout), shift.clone());
    beside.spawn(async move { health.announce(&announced, supervisor).await });
    supervisor.hold(&shift, stop).await.map_err(BootError::Start)
}

/// Asks the metadata service. `None`: a builder, which has nothing to run.
async fn identity(surroundings: &Surroundings, layout: &Layout, console: &Console, clock: &Clock) -> Result<Option<Identity>, BootError> {
    let imds = Imds::open(&surroundings.metadata_endpoint, clock).await?;
    fuse::light(&imds, surroundings, console).await?;
    let mode = imds.tag(tag::MODE).await?.ok_or(BootError::NoTag(tag::MODE))?;
    if mode == "builder" {
        return Ok(None);
    }
    let names = imds.tag(tag::SERVICES).await?.filter(|names| !names.is_empty()).ok_or(BootError::NoTag(tag::SERVICES))?;
    let host = imds.text("meta-data/local-ipv4").await?.and_then(|text| text.parse().ok()).ok_or(BootError::NoValue("local-ipv4"))?;
    let user_data = UserData::parse(&imds.get("user-data").await?.unwrap_or_default())?;
    let manifest = read_manifest(layout)?;
    let services: Vec<Service> = names
        .split_whitespace()
        .map(|name| {
            let name = ServiceName::new(name).map_err(|_| BootError::NotAService(name.to_string()))?;
            let told = user_data.services.get(&name).ok_or_else(|| BootError::UnknownService(name.clone()))?;
            service(name, told, &user_data, &manifest, host, surroundings, layout)
        })
        .collect::<Result<_, _>>()?;
    Ok(Some(Identity { host, services }))
}

fn read_manifest(layout: &Layout) -> Result<Manifest, BootError> {
    let path = layout.manifest();
    let text = std::fs::read(&path).map_err(|error| BootError::Image(format!("{}: {error}", path.display())))?;
    serde_json::from_slice(&text).map_err(|error| BootError::Image(format!("{}: {error}", path.display())))
}

fn service(
    name: ServiceName,
    told: &UserService,
    user_data: &UserData,
    manifest: &Manifest,
    host: IpAddr,
    surroundings: &Surroundings,
    layout: &Layout,
) -> Result<Service, BootError> {
    let folder = layout.repository(&told.repository);
    let commit = manifest.commits.get(&told.repository).filter(|_| folder.is_dir());
    let commit = commit.ok_or_else(|| BootError::NoRepository(told.repository.clone(), name.clone()))?;

    let folders = std::iter::once(layout.programs()).chain(std::env::split_paths(&surroundings.path));
    let path = std::env::join_paths(folders).map_err(|error| BootError::Start(format!("PATH: {error}")))?;
    let mut variables: BTreeMap<String, OsString> = BTreeMap::from([("PATH".to_string(), path)]);
    variables.extend(told.variables.iter().map(|(name, value)| (name.clone(), value.into())));
    // What the agent knows better comes last.
    let own = [
        ("HOST", Some(host.to_string())),
        ("PORT", told.port.map(|port| port.to_string())),
        ("ADSTAGE_SERVICE", Some(name.to_string())),
        ("ADSTAGE_ENVIRONMENT", Some(user_data.environment.to_string())),
        ("ADSTAGE_RELEASE", user_data.release.map(|release| release.to_string())),
        ("ADSTAGE_COMMIT", Some(commit.clone())),
    ];
    variables.extend(own.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?.into()))));
    Ok(Service { name, run: told.run.clone(), folder, port: told.port, health_path: told.health_path.clone(), variables })
}

/// Turns true at SIGTERM or SIGINT, or when the pipe on stdin ends: whoever held its other end is gone.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (tell, told) = watch::channel(false);
    let (pipe_ended, pipe) = oneshot::channel::<()>();
    let held = stdin_is_held();
    if held {
        // A thread of its own, since nothing can interrupt the reading; it ends with the process.
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut buffer = [0; 64];
            while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
            let _ = pipe_ended.send(());
        })?;
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = pipe, if held => {}
        }
        let _ = tell.send(true);
    });
    Ok(told)
}

fn stdin_is_held() -> bool {
    rustix::fs::fstat(std::io::stdin().as_fd()).is_ok_and(|stat| {
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        kind == rustix::fs::FileType::Fifo || kind == rustix::fs::FileType::Socket
    })
}
