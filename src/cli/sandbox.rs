//! `adstage sandbox`: AWS on this computer.

mod misfortune;
mod shell;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{Global, demo, environment, shop};
use crate::config::Config;
use crate::failure::{End, Failure};
use crate::model::Environment;
use crate::report::Table;
use crate::sandbox::{Home, Loopback, MachineOptions, Occupied, Options, Record, Seed, Speed, control};

/// How long a sandbox may take to answer for the first time, and another to make room.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// How long a sandbox may take to end its machines before it is killed itself.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

const LOOK: Duration = Duration::from_millis(50);

/// A loopback AWS on this computer, with real processes as instances, to practise on
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    Start(Start),
    /// End the sandbox, every process of it, and whatever one that was killed left behind
    Stop(Place),
    /// Show where it answers, the addresses of its load balancers and review boxes, and every instance
    Status(Place),
    Shell(shell::Args),
    Shortage(misfortune::Shortage),
    Reclaim(misfortune::Reclaim),
    Demo(demo::Args),
    #[command(hide = true)]
    Shop(shop::Args),
}

/// Start a sandbox; if one runs already, say where
///
///   adstage sandbox start --detach
///   adstage --sandbox setup staging
///
/// It has the network, base image and certificates that the nearest adstage.toml names. Everything in it is gone when it stops.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Start {
    #[command(flatten)]
    place: Place,
    /// Run in the background; return once it answers
    #[arg(long)]
    detach: bool,
    /// How fast AWS's side moves
    #[arg(long, value_enum, default_value_t = Pace::Quick)]
    speed: Pace,
    /// Port to answer on [default: any free one]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Leave the terminal: what `--detach` starts.
    #[arg(long, hide = true)]
    background: bool,
}

// Which sandbox.
#[derive(Debug, Clone, clap::Args)]
struct Place {
    /// The sandbox's folder [default: ADSTAGE_SANDBOX_HOME, then adstage/sandbox in the user's state folder]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pace {
    /// An instance boots in about a second
    Quick,
    /// As AWS does
    Lifelike,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match args.act {
        Act::Start(args) => start(&args, global).await,
        Act::Stop(place) => stop(&place.home(global)?, global).await,
        Act::Status(place) => status(&place.home(global)?, global).await,
        Act::Shell(args) => shell::run(args, global).await,
        Act::Shortage(args) => misfortune::shortage(&args, global).await,
        Act::Reclaim(args) => misfortune::reclaim(&args, global).await,
        Act::Demo(args) => demo::run(args, global).await,
        Act::Shop(args) => shop::run(args, global).await,
    }
}

impl Place {
    fn home(&self, global: &Global) -> Result<Home, Failure> {
        let folder = self.home.clone().or_else(|| global.surroundings.sandbox_home.clone());
        let folder = folder.context("there is no folder for the sandbox: set ADSTAGE_SANDBOX_HOME or HOME")?;
        Ok(Home::new(std::path::absolute(folder).context("the current folder cannot be read")?))
    }
}

async fn start(args: &Start, global: &Global) -> Result<(), Failure> {
    let home = args.place.home(global)?;
    if args.background {
        // Fails only if this is a session of its own already.
        let _ = rustix::process::setsid();
    }
    match tenancy(&home, global).await? {
        Tenancy::Running(record) => say_started(&record, "The sandbox was running already", global),
        Tenancy::Free(occupied) if args.detach => {
            drop(occupied);
            let record = detach(args, &home, global).await?;
            say_started(&record, "The sandbox runs in the background", global)
        }
        Tenancy::Free(occupied) => serve(args, occupied, global).await,
    }
}

enum Tenancy {
    Running(Record),
    Free(Occupied),
}

/// Waits out whoever is just starting or stopping.
async fn tenancy(home: &Home, global: &Global) -> Result<Tenancy, Failure> {
    let began = global.clock.moment();
    loop {
        if let Some(occupied) = home.occupy().with_context(|| unusable(home))? {
            return Ok(Tenancy::Free(occupied));
        }
        if let Some(record) = home.record().with_context(|| unusable(home))?
            && control(&record.endpoint, http::Method::GET, "/_sandbox/status").await.is_ok()
        {
            return Ok(Tenancy::Running(record));
        }
        if global.clock.since(began) > ANSWERS_WITHIN {
            let what = format!("another sandbox holds {} and does not answer", home.path().display());
            return Err(Failure::new(End::Refused, what).next("adstage sandbox stop"));
        }
        global.clock.sleep(LOOK).await;
    }
}

fn unusable(home: &Home) -> String {
    format!("the sandbox's folder {} cannot be used", home.path().display())
}

/// Runs the sandbox until it is told to stop.
async fn serve(args: &Start, occupied: Occupied, global: &Global) -> Result<(), Failure> {
    let program = std::env::current_exe().context("cannot tell where adstage itself is")?;
    let machines = MachineOptions {
        home: occupied.home().path().to_path_buf(),
        programs: program.parent().map(PathBuf::from).unwrap_or_default(),
        environment: environment::for_machines(),
    };
    let speed = match args.speed {
        Pace::Quick => Speed::Quick,
        Pace::Lifelike => Speed::Lifelike,
    };
    let options = Options { speed, seed: fastrand::u64(..), seeds: seeds(global)? };
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let loopback = Loopback::open(options, machines, args.port).await.context("the sandbox cannot start")?;
    let endpoint = loopback.endpoint().context("the sandbox has no address")?;
    let record = Record { pid: std::process::id(), started: global.clock.wall().to_string(), endpoint, id: loopback.id().to_string() };
    occupied.announce(&record).with_context(|| unusable(occupied.home()))?;
    say_started(&record, if args.background { "Started" } else { "The sandbox runs until Ctrl-C" }, global)?;
    let told_to_stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let served = loopback.serve(told_to_stop).await;
    drop(occupied);
    Ok(served.context("the sandbox did not end cleanly")?)
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    Ok(signal(kind).context("cannot listen for signals")?)
}

/// Starts this program again, in a session of its own, and waits until that one answers.
async fn detach(args: &Start, home: &Home, global: &Global) -> Result<Record, Failure> {
    let log = fs::File::create(home.log()).with_context(|| unusable(home))?;
    let mut command = Process::new(std::env::current_exe().context("cannot tell where adstage itself is")?);
    command.args(["sandbox", "start", "--background", "--port", &args.port.to_string(), "--home"]).arg(home.path());
    command.args(["--speed", if args.speed == Pace::Quick { "quick" } else { "lifelike" }]);
    if let Some(config) = &global.options.config {
        command.arg("--config").arg(config);
    }
    let also = log.try_clone().with_context(|| unusable(home))?;
    let mut child = command.stdin(Stdio::null()).stdout(log).stderr(also).spawn().context("cannot start adstage again")?;
    let began = global.clock.moment();
    loop {
        if let Some(record) = home.record().with_context(|| unusable(home))?
            && control(&record.endpoint, http::Method::GET, "/_sandbox/status").await.is_ok()
        {
            return Ok(record);
        }
        let ended = child.try_wait().context("cannot watch the sandbox")?;
        if ended.is_some() || global.clock.since(began) > ANSWERS_WITHIN {
            return Err(did_not_start(home, &mut child));
        }
        global.clock.sleep(LOOK).await;
    }
}

fn did_not_start(home: &Home, child: &mut Child) -> Failure {
    // A sandbox that does not answer is of no use to anybody.
    let _ = child.kill();
    let _ = child.wait();
    let log = fs::read_to_string(home.log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let failure = Failure::new(End::Unexpected, "the sandbox did not start").because(format!("it printed, in {}:", home.log().display()));
    lines.iter().skip(lines.len().saturating_sub(10)).fold(failure, Failure::evidence)
}

fn say_started(record: &Record, how: &str, global: &Global) -> Result<(), Failure> {
    global.report.result(record, || {
        format!(
            "{how}: {endpoint}\n\n  \
             adstage --sandbox …                 any command of adstage's\n  \
             adstage sandbox status              load balancers and instances\n  \
             adstage sandbox stop                end it\n  \
             AWS_ENDPOINT_URL={endpoint} AWS_REGION=… AWS_ACCESS_KEY_ID=<the account> AWS_SECRET_ACCESS_KEY=sandbox aws …",
            endpoint = record.endpoint
        )
    })
}

/// Ends whatever is left of a sandbox in this folder, however it ended.
async fn stop(home: &Home, global: &Global) -> Result<(), Failure> {
    let ran = home.is_occupied().with_context(|| unusable(home))?;
    if ran && let Some(record) = home.record().with_context(|| unusable(home))? {
        // Not answering is dealt with below.
        let _ = control(&record.endpoint, http::Method::POST, "/_sandbox/stop").await;
    }
    let began = global.clock.moment();
    let occupied = loop {
        if let Some(occupied) = home.occupy().with_context(|| unusable(home))? {
            break occupied;
        }
        if global.clock.since(began) > STOPS_WITHIN {
            kill(home)?;
        }
        if global.clock.since(began) > STOPS_WITHIN * 2 {
            let what = format!("another process holds {} and cannot be ended", home.path().display());
            return Err(Failure::new(End::Unexpected, what));
        }
        global.clock.sleep(LOOK).await;
    };
    occupied.sweep().await.context("what a sandbox left behind cannot be removed")?;
    let text = if ran { "The sandbox has stopped" } else { "No sandbox was running" };
    global.report.result(&json!({ "stopped": ran }), || text.to_string())
}

/// Whoever holds the lock is the one the record names: nobody else can be killed by mistake.
fn kill(home: &Home) -> Result<(), Failure> {
    let record = home.record().with_context(|| unusable(home))?;
    if let Some(pid) = record.and_then(|record| rustix::process::Pid::from_raw(i32::try_from(record.pid).ok()?)) {
        // Gone meanwhile is as good.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    Ok(())
}

/// The sandbox that runs in a folder.
fn running(home: &Home) -> Result<Record, Failure> {
    let none = || Failure::new(End::Refused, "no sandbox is running here").next("adstage sandbox start --detach");
    home.record().with_context(|| unusable(home))?.ok_or_else(none)
}

async fn status(home: &Home, global: &Global) -> Result<(), Failure> {
    let record = running(home)?;
    let mut status = control(&record.endpoint, http::Method::GET, "/_sandbox/status").await.context("the sandbox does not answer")?;
    for (key, value) in
        [("id", json!(record.id)), ("pid", json!(record.pid)), ("started", json!(record.started)), ("home", json!(home.path()))]
    {
        status[key] = value;
    }
    global.report.result(&status, || {
        let heading = format!("{} since {}, process {}\n", record.endpoint, record.started, record.pid);
        let balancers = table(&status["load_balancers"], &["name", "url"]);
        let boxes = table(&status["boxes"], &["name", "url"]);
        let instances = table(&status["instances"], &["id", "address", "environment", "mode", "services", "release", "state", "pid"]);
        let shortages = table(&status["shortages"], &["market", "type", "left", "ends_in_seconds"]);
        [heading, balancers, boxes, shortages, instances].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    })
}

/// A list of JSON objects as a table; nothing if it is empty.
fn table(list: &Value, columns: &[&'static str]) -> String {
    let mut table = Table::new(columns);
    for entry in list.as_array().into_iter().flatten() {
        table.row(columns.iter().map(|column| cell(&entry[*column])));
    }
    if table.is_empty() { String::new() } else { table.columns(WIDTH) }
}

/// Ids and addresses are long, and copied.
const WIDTH: usize = 160;

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// What the nearest adstage.toml names exists from the start. A folder without one is a fine place for a sandbox; a broken one is not.
fn seeds(global: &Global) -> Result<Vec<Seed>, Failure> {
    match global.config_path() {
        Ok(_) => Ok(seed_from(global.config()?)),
        Err(_) => Ok(Vec::new()),
    }
}

/// The network, base image, instance profiles and certificates that a company has before it has adstage.
fn seed_from(config: &Config) -> Vec<Seed> {
    let seed = |environment: &Environment| {
        let balancer = &environment.load_balancer;
        Seed {
            account: environment.account.clone(),
            region: environment.region.clone(),
            subnets: both(&environment.subnets, &balancer.subnets),
            security_groups: both(&environment.security_groups, &balancer.security_groups),
            images: vec![config.builder.base.clone()],
            instance_profiles: environment.instance_profile.iter().cloned().collect(),
            certificates: balancer.listener.certificate.iter().cloned().collect(),
        }
    };
    let review = config.review.iter().map(|review| &review.environment);
    config.environments.values().chain(review).map(seed).collect()
}

fn both(one: &[String], other: &[String]) -> Vec<String> {
    let mut all = one.to_vec();
    all.extend(other.iter().filter(|id| !one.contains(id)).cloned());
    all
}
