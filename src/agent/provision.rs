//! `adstage agent provision`: puts every repository on the image at its commit, built, and the agent itself for every boot to come.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::console::Console;
use super::environment::Surroundings;
use super::layout::Layout;
use super::unit;
use crate::failure::{End, Failure};
use crate::model::{ConsoleLine, Manifest, ProvisionRepository, ProvisionSpec, RepositoryName, Source, tail_of};

/// Clones, and then builds, that go on at once.
const AT_ONCE: usize = 4;

/// What went wrong, with which repository.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    repository: Option<RepositoryName>,
    what: String,
    tail: Vec<String>,
}

impl Trouble {
    fn of_machine(what: impl Into<String>) -> Self {
        Self { repository: None, what: what.into(), tail: Vec::new() }
    }
}

/// Provisions this machine, and says on its console how that ended.
pub async fn provision(surroundings: &Surroundings) -> Result<(), Failure> {
    let layout = Layout::new(&surroundings.root);
    let console = Console::of(&layout);
    match run(&layout, &console).await {
        Ok(manifest) => {
            console.mark(&ConsoleLine::Provisioned { commits: manifest.commits });
            Ok(())
        }
        Err(Trouble { repository, what, tail }) => {
            let line = ConsoleLine::ProvisionFailed { repository, what, tail: tail.clone() };
            console.mark(&line);
            Err(tail.iter().fold(Failure::new(End::Unexpected, line.describe()), Failure::evidence))
        }
    }
}

async fn run(layout: &Layout, console: &Console) -> Result<Manifest, Trouble> {
    let spec = read_spec(layout)?;
    // All sources are there before the first build: a build may look at its neighbours.
    each(&spec, layout, console, Work::Clone).await?;
    each(&spec, layout, console, Work::Build).await?;
    let commits = spec.repositories.iter().map(|(name, repository)| (name.clone(), repository.commit.clone())).collect();
    let manifest = Manifest { adstage: env!("CARGO_PKG_VERSION").into(), commits };
    install(layout, &manifest).map_err(|error| Trouble::of_machine(format!("cannot install the agent: {error}")))?;
    Ok(manifest)
}

fn read_spec(layout: &Layout) -> Result<ProvisionSpec, Trouble> {
    let path = layout.spec();
    let wrong = |error: &dyn std::fmt::Display| Trouble::of_machine(format!("{}: {error}", path.display()));
    let text = fs::read(&path).map_err(|error| wrong(&error))?;
    serde_json::from_slice(&text).map_err(|error| wrong(&error))
}

#[derive(Debug, Clone, Copy)]
enum Work {
    Clone,
    Build,
}

/// Does one kind of work for every repository, a few at a time. The first failure ends it all.
async fn each(spec: &ProvisionSpec, layout: &Layout, console: &Console, work: Work) -> Result<(), Trouble> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (name, repository) in spec.repositories.clone() {
        let (layout, console, turns) = (layout.clone(), console.clone(), turns.clone());
        tasks.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let done = match work {
                Work::Clone => clone(&name, &repository, &layout, &console).await,
                Work::Build => build(&name, &repository, &layout, &console).await,
            };
            done.map_err(|what| {
                let log = fs::read(layout.build_log(&name)).unwrap_or_default();
                Trouble { repository: Some(name), what, tail: tail_of(&String::from_utf8_lossy(&log)) }
            })
        });
    }
    // Dropping the rest kills what they started.
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| Trouble::of_machine(error.to_string()))??;
    }
    Ok(())
}

/// A checkout of exactly one commit, with no more history than the source makes us take.
async fn clone(name: &RepositoryName, repository: &ProvisionRepository, layout: &Layout, console: &Console) -> Result<(), String> {
    let (folder, log) = (layout.repository(name), layout.build_log(name));
    let fresh = || -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(log.parent().unwrap_or(&folder))?;
        fs::write(&log, "")
    };
    fresh().map_err(|error| format!("cannot make its folder: {error}"))?;
    let (Source::Url(source) | Source::Path(source)) = &repository.source;
    let commit = repository.commit.as_str();
    console.say(&format!("cloning {name} at {commit} from {source}"));

    let git = |arguments: Vec<&str>| git(arguments.iter().map(ToString::to_string).collect(), &folder, &log);
    let failed = |what: &str| format!("{what} {source} failed");
    if !git(vec!["init", "--quiet"]).await? || !git(vec!["remote", "add", "origin", source]).await? {
        return Err("git init failed".into());
    }
    // Not every server gives a commit by its name; every server gives its branches and tags.
    if !git(vec!["fetch", "--quiet", "--depth", "1", "origin", commit]).await? {
        let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        if !git(vec!["fetch", "--quiet", "origin", all[0], all[1]]).await? {
            return Err(failed("git fetch from"));
        }
    }
    if !git(vec!["-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", commit]).await? {
        return Err(format!("{source} has no commit {commit}"));
    }
    if folder.join(".gitmodules").exists() && !git(vec!["submodule", "update", "--quiet", "--init", "--recursive", "--depth", "1"]).await? {
        return Err(failed("git submodule update of"));
    }
    Ok(())
}

async fn git(arguments: Vec<String>, folder: &Path, log: &Path) -> Result<bool, String> {
    let mut command = Command::new("git");
    command.args(&arguments).env("GIT_TERMINAL_PROMPT", "0");
    for other_repository in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(other_repository);
    }
    logged(command, folder, log).await.map(|code| code == 0)
}

async fn build(name: &RepositoryName, repository: &ProvisionRepository, layout: &Layout, console: &Console) -> Result<(), String> {
    let Some(run) = &repository.build else { return Ok(()) };
    console.say(&format!("building {name}: {run}"));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", run]);
    match logged(command, &layout.repository(name), &layout.build_log(name)).await? {
        0 => Ok(()),
        code => Err(format!("build exited {code}")),
    }
}

/// Runs a command with its output at the end of a log. The result is its exit code.
async fn logged(mut command: Command, folder: &Path, log: &Path) -> Result<i32, String> {
    let cannot = |error: io::Error| error.to_string();
    let output = fs::OpenOptions::new().append(true).create(true).open(log).map_err(cannot)?;
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.current_dir(folder).stdin(Stdio::null()).stdout(output.try_clone().map_err(cannot)?).stderr(output).kill_on_drop(true);
    let status = command.status().await.map_err(|error| format!("cannot run {program}: {error}"))?;
    // No code means a signal ended it: as bad as any other failure.
    Ok(status.code().unwrap_or(-1))
}

/// The agent, for every boot of the image.
fn install(layout: &Layout, manifest: &Manifest) -> io::Result<()> {
    let wants = layout.units().join("multi-user.target.wants");
    for folder in [layout.programs(), wants.clone()] {
        fs::create_dir_all(folder)?;
    }
    let program = layout.programs().join("adstage");
    let fresh = layout.programs().join("adstage.new");
    let running = std::env::current_exe()?;
    remove_if_there(&fresh)?;
    // Debug builds are large; a second name costs nothing. It is not possible across file systems.
    fs::hard_link(&running, &fresh).or_else(|_| fs::copy(&running, &fresh).map(drop))?;
    fs::rename(&fresh, &program)?;

    fs::write(layout.units().join("adstage-agent.service"), unit::AGENT)?;
    let link = wants.join("adstage-agent.service");
    remove_if_there(&link)?;
    symlink("../adstage-agent.service", link)?;

    let json = serde_json::to_string_pretty(manifest).map_err(io::Error::other)?;
    fs::write(layout.manifest(), json + "\n")
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
