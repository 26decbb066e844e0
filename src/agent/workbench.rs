//! A review box's repositories: each brought to the commit asked for and built, several at once. What somebody changed on the box is never
//! thrown away: a repository is moved only if it is exactly as the agent last saw or left it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::checkout::{AT_ONCE, Tree, address};
use super::console::Console;
use super::layout::Layout;
use super::memory::{Left, Memory};
use crate::model::{Checkout, ConsoleLine, RepositoryName};

/// Files of somebody's that are named on the console.
const NAMED: usize = 5;

/// How far a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Fetching,
    Building,
    Built,
    /// Left to whoever works in it.
    Kept,
    Failed(String),
}

impl Stage {
    /// For the health answer.
    pub fn told(&self) -> Value {
        match self {
            Self::Waiting => json!({ "state": "waiting" }),
            Self::Fetching => json!({ "state": "fetching" }),
            Self::Building => json!({ "state": "building" }),
            Self::Built => json!({ "state": "built" }),
            Self::Kept => json!({ "state": "kept" }),
            Self::Failed(what) => json!({ "state": "failed", "trouble": what }),
        }
    }
}

/// How far each repository is. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Stages(Arc<Mutex<BTreeMap<RepositoryName, Stage>>>);

impl Stages {
    pub fn of(checkouts: &BTreeMap<RepositoryName, Checkout>) -> Self {
        Self(Arc::new(Mutex::new(checkouts.keys().map(|name| (name.clone(), Stage::Waiting)).collect())))
    }

    pub fn all(&self) -> BTreeMap<RepositoryName, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, name: &RepositoryName, stage: Stage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), stage);
    }
}

/// What the work needs.
#[derive(Debug, Clone)]
pub(super) struct Workbench {
    pub layout: Layout,
    pub console: Console,
    pub memory: Memory,
    pub stages: Stages,
}

impl Workbench {
    /// Brings every repository to where it shall be. False if one cannot be brought there, which the console tells.
    pub async fn set_up(&self, checkouts: &BTreeMap<RepositoryName, Checkout>) -> bool {
        // All sources are there before the first build: a build may look at its neighbours.
        self.each(checkouts, Work::Place).await && self.each(checkouts, Work::Build).await
    }

    async fn each(&self, checkouts: &BTreeMap<RepositoryName, Checkout>, work: Work) -> bool {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for (name, checkout) in checkouts.clone() {
            let (bench, turns) = (self.clone(), turns.clone());
            tasks.spawn(async move {
                let _turn = turns.acquire_owned().await;
                let tree = Tree::of(&bench.layout, &name);
                let done = match work {
                    Work::Place => bench.place(&name, &checkout, &tree).await,
                    Work::Build => bench.build(&name, &checkout, &tree).await,
                };
                done.map_err(|what| bench.failed(&name, what, &tree)).is_ok()
            });
        }
        tasks.join_all().await.into_iter().all(|done| done)
    }

    fn failed(&self, name: &RepositoryName, what: String, tree: &Tree) {
        self.stages.set(name, Stage::Failed(what.clone()));
        self.console.mark(&ConsoleLine::CheckoutFailed { repository: name.clone(), what, tail: tree.tail() });
    }

    async fn place(&self, name: &RepositoryName, checkout: &Checkout, tree: &Tree) -> Result<(), String> {
        let known = self.memory.repository(name);
        if tree.exists() {
            let now = look(tree).await?;
            match &known {
                Some(left) if left.commit.as_ref() == Some(&checkout.commit) && !left.moving => return Ok(()),
                Some(left) if left.moving || left.look == now => {}
                Some(_) => return self.keep(name, tree).await,
                // The first look at it on this instance: nobody but its image can have left anything in it.
                None => self.memory.note(name, Left { look: now, ..Left::default() })?,
            }
        }
        self.stages.set(name, Stage::Fetching);
        let (reference, commit) = (checkout.reference.clone(), checkout.commit.clone());
        self.console.mark(&ConsoleLine::Fetching { repository: name.clone(), reference, commit });
        self.fetch(name, checkout, tree).await?;
        let look = look(tree).await?;
        self.memory.note(name, Left { look, commit: Some(checkout.commit.clone()), ..Left::default() })
    }

    async fn fetch(&self, name: &RepositoryName, checkout: &Checkout, tree: &Tree) -> Result<(), String> {
        let (source, commit) = (address(&checkout.source), checkout.commit.as_str());
        tree.open_log()?;
        if !tree.exists() {
            tree.begin().await?;
        }
        tree.follow(source).await?;
        tree.fetch(source, commit).await?;
        let branch = checkout.reference.strip_prefix("refs/heads/").unwrap_or(&checkout.reference);
        let branch = if branch != commit && tree.is_branch(branch).await { Some(branch) } else { None };
        let left = self.memory.repository(name).unwrap_or_default();
        self.memory.note(name, Left { moving: true, ..left })?;
        tree.check_out(source, commit, branch).await
    }

    /// Says that somebody works in it, and leaves it.
    async fn keep(&self, name: &RepositoryName, tree: &Tree) -> Result<(), String> {
        let (commit, mut files) = (tree.head().await?, tree.dirty().await?);
        files.truncate(NAMED);
        self.stages.set(name, Stage::Kept);
        self.console.mark(&ConsoleLine::Kept { repository: name.clone(), commit, files });
        Ok(())
    }

    async fn build(&self, name: &RepositoryName, checkout: &Checkout, tree: &Tree) -> Result<(), String> {
        if self.stages.all().get(name) == Some(&Stage::Kept) {
            return Ok(());
        }
        let known = self.memory.repository(name).unwrap_or_default();
        if known.built {
            self.stages.set(name, Stage::Built);
            return Ok(());
        }
        let begun = look(tree).await?;
        if let Some(run) = &checkout.build {
            self.stages.set(name, Stage::Building);
            self.console.mark(&ConsoleLine::Building { repository: name.clone() });
            tree.build(run).await?;
        }
        // What the build left is the agent's own doing; what somebody had changed before it is not.
        let look = if begun == known.look { look(tree).await? } else { known.look };
        self.memory.note(name, Left { look, commit: known.commit, built: true, moving: false })?;
        self.stages.set(name, Stage::Built);
        self.console.mark(&ConsoleLine::Built { repository: name.clone(), commit: tree.head().await? });
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Work {
    Place,
    Build,
}

/// Commit and changes, so that any work done in between shows: of every changed file also how long it is and when it was written.
async fn look(tree: &Tree) -> Result<String, String> {
    let mut hash = Sha256::new();
    // A repository without a commit has none to lose.
    hash.update(tree.head().await.unwrap_or_default());
    for file in tree.dirty().await? {
        let found = fs::symlink_metadata(tree.folder.join(&file));
        let state = found.map_or_else(|_| "gone".into(), |found| format!("{} {} {}", found.len(), found.mtime(), found.mtime_nsec()));
        hash.update(format!("\0{file}\0{state}"));
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
