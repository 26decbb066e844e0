//! `adstage agent provision`: puts every repository on the image at its commit, built, and the agent itself for every boot to come.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::checkout::{AT_ONCE, Tree, address};
use super::console::Console;
use super::environment::Surroundings;
use super::layout::Layout;
use super::unit;
use crate::failure::{End, Failure};
use crate::model::{ConsoleLine, Manifest, ProvisionRepository, ProvisionSpec, RepositoryName};

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
        let (tree, console, turns) = (Tree::of(layout, &name), console.clone(), turns.clone());
        tasks.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let done = match work {
                Work::Clone => clone(&name, &repository, &tree, &console).await,
                Work::Build => build(&name, &repository, &tree, &console).await,
            };
            done.map_err(|what| Trouble { repository: Some(name), what, tail: tree.tail() })
        });
    }
    // Dropping the rest kills what they started.
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| Trouble::of_machine(error.to_string()))??;
    }
    Ok(())
}

/// A checkout of exactly one commit.
async fn clone(name: &RepositoryName, repository: &ProvisionRepository, tree: &Tree, console: &Console) -> Result<(), String> {
    let (source, commit) = (address(&repository.source), repository.commit.as_str());
    console.say(&format!("cloning {name} at {commit} from {source}"));
    tree.open_log()?;
    tree.begin().await?;
    tree.follow(source).await?;
    tree.fetch(source, commit).await?;
    tree.check_out(source, commit, None).await
}

async fn build(name: &RepositoryName, repository: &ProvisionRepository, tree: &Tree, console: &Console) -> Result<(), String> {
    let Some(run) = &repository.build else { return Ok(()) };
    console.say(&format!("building {name}: {run}"));
    tree.build(run).await
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
