//! A company on this machine: a folder with `adstage.toml` and git repositories, and a loopback sandbox of its own. Dropping it stops
//! the sandbox.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::inventory::Account;

/// What a command said and how it ended.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The command must have ended like this.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// stdout is JSON and nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }
}

pub struct Workshop {
    folder: tempfile::TempDir,
    /// Before all others in the PATH.
    programs: Vec<PathBuf>,
}

impl Workshop {
    /// A folder with this `adstage.toml`, and a running sandbox.
    pub fn open(config: &str) -> Self {
        Self::with_programs(config, Vec::new())
    }

    /// The same on a machine that has the programs in these folders too.
    pub fn with_programs(config: &str, programs: Vec<PathBuf>) -> Self {
        let shop = Self { folder: tempfile::tempdir().unwrap(), programs };
        shop.write("adstage.toml", config);
        shop.adstage(&["sandbox", "start", "--detach"]).ends(0);
        shop
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("sandbox-home")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits everything in `repositories/<name>`, a git repository from now on.
    pub fn commit(&self, repository: &str) {
        let folder = self.path().join("repositories").join(repository);
        for args in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "next"]] {
            let git =
                Command::new("git").current_dir(&folder).args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(args).output();
            assert!(git.unwrap().status.success());
        }
    }

    /// One command as a person types it, in the folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adstage"));
        command.args(args).current_dir(self.path()).env("ADSTAGE_SANDBOX_HOME", self.home()).stdin(Stdio::null());
        // Whatever the machine is logged in to must not leak into a test.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        if !self.programs.is_empty() {
            let usual = std::env::var_os("PATH").unwrap_or_default();
            command.env("PATH", std::env::join_paths(self.programs.iter().cloned().chain(std::env::split_paths(&usual))).unwrap());
        }
        command.env_remove("CI").env_remove("GITHUB_ACTIONS");
        command
    }

    pub fn adstage(&self, args: &[&str]) -> Said {
        Said::from(self.command(args).output().unwrap())
    }

    /// The same with `--sandbox`.
    pub fn sandbox(&self, args: &[&str]) -> Said {
        self.adstage(&[&["--sandbox"], args].concat())
    }

    /// `sandbox status` as JSON.
    pub fn status(&self) -> Value {
        self.adstage(&["sandbox", "status", "--output", "json"]).ends(0).json()
    }

    /// The account, for a test that looks or meddles by hand.
    pub fn by_hand<T>(&self, act: impl AsyncFnOnce(Account) -> T) -> T {
        let account = Account::at(self.status()["endpoint"].as_str().unwrap());
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(act(account))
    }

    /// A load balancer's URL.
    pub fn url(&self, balancer: &str) -> String {
        let status = self.status();
        let balancers = status["load_balancers"].as_array().unwrap();
        balancers.iter().find(|lb| lb["name"] == balancer).and_then(|lb| lb["url"].as_str()).unwrap().to_string()
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = self.command(&["sandbox", "stop"]).output();
    }
}

/// Processes of this machine that belong to a sandbox at `home`, by the marker every one of them carries.
pub fn processes_of(sandbox_id: &str) -> Vec<u32> {
    let marker = format!("ADSTAGE_SANDBOX_MACHINE={sandbox_id}/");
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let carries = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.split(|b| *b == 0).any(|var| var.starts_with(marker.as_bytes())))
    };
    pids.filter(carries).collect()
}
