//! What a review box remembers of its own boots, so that a restart redoes nothing and takes nobody's work away. It is of one instance: an
//! image captured from it may hold it, and the next instance does not believe a word of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::keys::{self, Keys};
use super::layout::Layout;
use crate::model::{BackingName, RepositoryName};

/// A repository as the agent last saw or left it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Left {
    /// Commit and uncommitted changes, as one text to compare.
    pub look: String,
    /// The commit it was brought to; none while it is as on the image.
    pub commit: Option<String>,
    /// The build for that commit has succeeded.
    pub built: bool,
    /// The agent is just changing it: what it looks like is nobody's work.
    pub moving: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Kept {
    instance: String,
    repositories: BTreeMap<RepositoryName, Left>,
    /// Stores that need not be prepared any more.
    prepared: BTreeSet<BackingName>,
    /// Who could log in when the agent first looked: what the image says, before any person was here.
    #[serde(default)]
    keys: Option<Keys>,
}

/// The memory, and the file it is in. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    kept: Arc<Mutex<Kept>>,
    layout: Layout,
}

impl Memory {
    /// What is remembered of this instance.
    pub fn of(layout: &Layout, instance: &str) -> Self {
        let kept = read(layout).filter(|kept| kept.instance == instance);
        let kept = kept.unwrap_or_else(|| Kept { instance: instance.into(), ..Kept::default() });
        Self { kept: Arc::new(Mutex::new(kept)), layout: layout.clone() }
    }

    /// Writes it down, so that it is known to be of this instance, with who may log in by its image.
    pub fn begin(&self) -> Result<(), String> {
        let layout = self.layout.clone();
        self.change(|kept| {
            kept.keys.get_or_insert_with(|| keys::found(&layout));
        })
    }

    pub fn repository(&self, name: &RepositoryName) -> Option<Left> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).repositories.get(name).cloned()
    }

    pub fn note(&self, name: &RepositoryName, left: Left) -> Result<(), String> {
        self.change(|kept| drop(kept.repositories.insert(name.clone(), left)))
    }

    pub fn is_prepared(&self, store: &BackingName) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).prepared.contains(store)
    }

    pub fn note_prepared(&self, store: &BackingName) -> Result<(), String> {
        self.change(|kept| {
            kept.prepared.insert(store.clone());
        })
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) -> Result<(), String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut kept);
        write(&self.layout, &kept).map_err(|error| format!("{}: {error}", self.layout.memory().display()))
    }
}

/// Forgets which stores were prepared: their data is gone. What the repositories looked like is kept, so that a box that goes on after
/// it was captured still takes nobody's work away.
pub(super) fn forget_stores(layout: &Layout) -> io::Result<()> {
    let Some(mut kept) = read(layout) else { return Ok(()) };
    kept.prepared.clear();
    write(layout, &kept)
}

/// Who may log in by the image this box came from, if the box remembers.
pub(super) fn keys_of_image(layout: &Layout) -> Option<Keys> {
    read(layout)?.keys
}

fn read(layout: &Layout) -> Option<Kept> {
    serde_json::from_slice(&fs::read(layout.memory()).ok()?).ok()
}

/// In one piece, so that a power cut leaves the old or the new.
fn write(layout: &Layout, kept: &Kept) -> io::Result<()> {
    let path = layout.memory();
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    let fresh = path.with_extension("new");
    fs::write(&fresh, serde_json::to_vec(kept).map_err(io::Error::other)?)?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_instance_believes_nothing_of_it() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let (site, redis) = (RepositoryName::new("site").unwrap(), BackingName::new("redis").unwrap());
        let left = Left { look: "4f2c".into(), commit: Some("4f2c".into()), built: true, moving: false };
        let first = Memory::of(&layout, "i-1");
        first.note(&site, left.clone()).unwrap();
        first.note_prepared(&redis).unwrap();

        let again = Memory::of(&layout, "i-1");
        assert_eq!((again.repository(&site), again.is_prepared(&redis)), (Some(left.clone()), true));
        let other = Memory::of(&layout, "i-2");
        assert_eq!((other.repository(&site), other.is_prepared(&redis)), (None, false));

        forget_stores(&layout).unwrap();
        let cleaned = Memory::of(&layout, "i-1");
        assert_eq!((cleaned.repository(&site), cleaned.is_prepared(&redis)), (Some(left), false));
    }
}
