//! The practice app's folder: `adstage.toml` and three small git repositories, made on the spot.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const FILES: [(&str, &str); 10] = [
    ("adstage.toml", include_str!("../../../examples/shop/adstage.toml")),
    ("repositories/storefront/page.txt", include_str!("../../../examples/shop/storefront/page.txt")),
    ("repositories/storefront/build.sh", include_str!("../../../examples/shop/storefront/build.sh")),
    ("repositories/storefront/.gitignore", include_str!("../../../examples/shop/storefront/.gitignore")),
    ("repositories/storefront/run.sh", include_str!("../../../examples/shop/storefront/run.sh")),
    ("repositories/backoffice/page.txt", include_str!("../../../examples/shop/backoffice/page.txt")),
    ("repositories/backoffice/build.sh", include_str!("../../../examples/shop/backoffice/build.sh")),
    ("repositories/backoffice/.gitignore", include_str!("../../../examples/shop/backoffice/.gitignore")),
    ("repositories/backoffice/run.sh", include_str!("../../../examples/shop/backoffice/run.sh")),
    ("repositories/courier/run.sh", include_str!("../../../examples/shop/courier/run.sh")),
];

/// A folder with the practice app in it.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Writes the app into `path`, which must not exist yet, and commits each repository.
    pub(super) fn create(path: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let folder = Self { path };
        for (name, text) in FILES {
            folder.write(name, text)?;
        }
        for repository in ["storefront", "backoffice", "courier"] {
            folder.git(repository, &["init", "--quiet", "--initial-branch=main"])?;
            folder.commit(repository, "first version")?;
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces one text in a file; an error if it is not there exactly once, so that the story cannot silently change nothing.
    pub(super) fn replace(&self, name: &str, from: &str, to: &str) -> Result<()> {
        let path = self.path.join(name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if text.matches(from).count() != 1 {
            bail!("{name} does not hold {from:?} exactly once");
        }
        self.write(name, &text.replace(from, to))
    }

    /// Commits everything in a repository.
    pub(super) fn commit(&self, repository: &str, message: &str) -> Result<()> {
        self.git(repository, &["add", "--all"])?;
        self.git(repository, &["commit", "--quiet", "--message", message])
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Git with an author of its own: the person at the keyboard may not have set one.
    fn git(&self, repository: &str, args: &[&str]) -> Result<()> {
        let output = Command::new("git")
            .current_dir(self.path.join("repositories").join(repository))
            .args(["-c", "user.name=shop", "-c", "user.email=shop@example.com", "-c", "commit.gpgsign=false"])
            .args(args)
            .output()
            .context("cannot run git; the demo's repositories need it")?;
        if !output.status.success() {
            bail!("git {} failed in {repository}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}
