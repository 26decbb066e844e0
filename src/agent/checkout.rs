//! How a repository comes to be at a commit, built: on a builder as on a review box.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::layout::Layout;
use crate::model::{RepositoryName, Source, tail_of};

/// Clones, fetches and builds that go on at once.
pub(super) const AT_ONCE: usize = 4;

/// A repository's working tree, and the log of what is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    pub folder: PathBuf,
    log: PathBuf,
}

impl Tree {
    pub fn of(layout: &Layout, name: &RepositoryName) -> Self {
        Self { folder: layout.repository(name), log: layout.build_log(name) }
    }

    pub fn exists(&self) -> bool {
        self.folder.join(".git").exists()
    }

    /// The last lines of its log.
    pub fn tail(&self) -> Vec<String> {
        tail_of(&String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()))
    }

    /// A new log.
    pub fn open_log(&self) -> Result<(), String> {
        let folder = self.log.parent().unwrap_or(&self.folder);
        let opened = fs::create_dir_all(folder).and_then(|()| fs::write(&self.log, ""));
        opened.map_err(|error| format!("{}: {error}", self.log.display()))
    }

    /// An empty repository, whatever was there before.
    pub async fn begin(&self) -> Result<(), String> {
        let fresh = || -> io::Result<()> {
            if self.folder.exists() {
                fs::remove_dir_all(&self.folder)?;
            }
            fs::create_dir_all(&self.folder)
        };
        fresh().map_err(|error| format!("cannot make its folder: {error}"))?;
        if self.git(&["init", "--quiet"]).await? { Ok(()) } else { Err("git init failed".into()) }
    }

    /// Makes the source its origin.
    pub async fn follow(&self, source: &str) -> Result<(), String> {
        // Sets it, and the usual meaning of its branches, whether or not there was an origin before.
        let settings = [("remote.origin.url", source), ("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")];
        for (key, value) in settings {
            if !self.git(&["config", "--replace-all", key, value]).await? {
                return Err("git config failed".into());
            }
        }
        Ok(())
    }

    /// Brings one commit, with no more history than the source makes us take.
    pub async fn fetch(&self, source: &str, commit: &str) -> Result<(), String> {
        if self.git(&["fetch", "--quiet", "--depth", "1", "origin", commit]).await? {
            return Ok(());
        }
        // Not every server gives a commit by its name; every server gives its branches and tags. All of their history, also what lies
        // behind the end of a shallow one.
        let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        let whole = ["fetch", "--quiet", "--depth", "2147483647", "origin", all[0], all[1]];
        if self.git(&whole).await? { Ok(()) } else { Err(format!("git fetch from {source} failed")) }
    }

    /// True if the source has a branch of this name now.
    pub async fn is_branch(&self, name: &str) -> bool {
        let listed = self.read(&["ls-remote", "--heads", "origin", &format!("refs/heads/{name}")]).await;
        listed.is_ok_and(|listed| !listed.trim().is_empty())
    }

    /// The commit in the working tree, whatever was there; on a branch of this name, if one is given.
    pub async fn check_out(&self, source: &str, commit: &str, branch: Option<&str>) -> Result<(), String> {
        let checkout = ["-c", "advice.detachedHead=false", "checkout", "--quiet", "--force"];
        let on_branch = match branch {
            Some(branch) => self.git(&[&checkout[..], &["-B", branch, commit]].concat()).await? && self.track(branch).await?,
            None => false,
        };
        if !on_branch && !self.git(&[&checkout[..], &["--detach", commit]].concat()).await? {
            return Err(format!("{source} has no commit {commit}"));
        }
        let modules = ["submodule", "update", "--quiet", "--init", "--recursive", "--depth", "1"];
        if self.folder.join(".gitmodules").exists() && !self.git(&modules).await? {
            return Err(format!("git submodule update of {source} failed"));
        }
        Ok(())
    }

    /// What `git pull` and `git push` on the branch mean.
    async fn track(&self, branch: &str) -> Result<bool, String> {
        let merge = format!("refs/heads/{branch}");
        Ok(self.git(&["config", &format!("branch.{branch}.remote"), "origin"]).await?
            && self.git(&["config", &format!("branch.{branch}.merge"), &merge]).await?)
    }

    /// Runs the build.
    pub async fn build(&self, run: &str) -> Result<(), String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", run]).env("GIT_TERMINAL_PROMPT", "0");
        match logged(command, &self.folder, &self.log).await? {
            0 => Ok(()),
            code => Err(format!("build exited {code}")),
        }
    }

    /// The commit it is at.
    pub async fn head(&self) -> Result<String, String> {
        self.read(&["rev-parse", "--verify", "HEAD"]).await.map(|text| text.trim().to_string())
    }

    /// Files that differ from that commit or are unknown to git.
    pub async fn dirty(&self) -> Result<Vec<String>, String> {
        let text = self.read(&["status", "--porcelain", "-z", "--untracked-files=normal"]).await?;
        Ok(porcelain(&text))
    }

    /// What a git command that changes nothing prints.
    async fn read(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = git(&["--no-optional-locks"]);
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| format!("cannot run git: {error}"))?;
        if !output.status.success() {
            return Err(format!("git {} failed: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn git(&self, arguments: &[&str]) -> Result<bool, String> {
        logged(git(arguments), &self.folder, &self.log).await.map(|code| code == 0)
    }
}

/// Where git finds it.
pub(super) fn address(source: &Source) -> &str {
    let (Source::Url(address) | Source::Path(address)) = source;
    address
}

/// Git that asks nobody anything, and reads what another user checked out.
fn git(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(["-c", "safe.directory=*"]).args(arguments).env("GIT_TERMINAL_PROMPT", "0");
    for other_repository in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(other_repository);
    }
    command
}

/// The files of `git status --porcelain -z`: two letters, a space, a path; after a renamed or copied one, its old path.
fn porcelain(text: &str) -> Vec<String> {
    let mut entries = text.split('\0').filter(|entry| !entry.is_empty());
    let mut files = Vec::new();
    while let Some(entry) = entries.next() {
        let (state, path) = entry.split_at_checked(3).unwrap_or(("", entry));
        if state.contains(['R', 'C']) {
            entries.next();
        }
        files.push(path.to_string());
    }
    files
}

/// Runs a command with its output at the end of a log. The result is its exit code.
pub(super) async fn logged(mut command: Command, folder: &Path, log: &Path) -> Result<i32, String> {
    let cannot = |error: io::Error| error.to_string();
    let output = fs::OpenOptions::new().append(true).create(true).open(log).map_err(cannot)?;
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.current_dir(folder).stdin(Stdio::null()).stdout(output.try_clone().map_err(cannot)?).stderr(output).kill_on_drop(true);
    let status = command.status().await.map_err(|error| format!("cannot run {program}: {error}"))?;
    // No code means a signal ended it: as bad as any other failure.
    Ok(status.code().unwrap_or(-1))
}

#[cfg(test)]
mod tests {
    use super::porcelain;

    #[test]
    fn files_are_named_whatever_their_names() {
        assert_eq!(porcelain(" M a file\0R  new\0old\0?? notes/\0"), ["a file", "new", "notes/"]);
        assert!(porcelain("").is_empty());
    }
}
