//! `adstage agent clean`: takes from a review box what must not be on an image, and leaves it with nothing running that would put it
//! back. Repeatable: what is not there is not missed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::Command;

use super::environment::Surroundings;
use super::health::Answering;
use super::inspect::trees;
use super::keys;
use super::layout::Layout;
use super::memory;
use crate::clock::Clock;
use crate::failure::{End, Failure};
use crate::model::Manifest;

/// Longer than the agent gives services, and then stores, to end.
const ENDS_WITHIN: Duration = Duration::from_secs(45);
const LOOK: Duration = Duration::from_millis(100);

/// What is nobody's business on another machine.
const OF_THE_MACHINE: &[&str] = &[
    "var/log/journal",
    "var/log/cloud-init.log",
    "var/log/cloud-init-output.log",
    "var/lib/systemd/random-seed",
    "var/lib/dbus/machine-id",
    "run/adstage/expires",
];

/// What people leave in their homes.
const OF_PEOPLE: &[&str] = &[
    ".bash_history",
    ".zsh_history",
    ".sh_history",
    ".ash_history",
    ".local/share/fish/fish_history",
    ".python_history",
    ".node_repl_history",
    ".psql_history",
    ".mysql_history",
    ".rediscli_history",
    ".sqlite_history",
    ".lesshst",
    ".viminfo",
    ".wget-hsts",
];

/// Cleans this box. The result is what was removed.
pub async fn clean(surroundings: &Surroundings, clock: &Clock) -> Result<Vec<String>, Failure> {
    let layout = Layout::new(&surroundings.root);
    // What the disk says is no proof: that may be of the box an image was made from.
    let Some(answering) = Answering::read(&layout).filter(|answering| answering.review) else {
        let refused = Failure::new(End::Refused, "this machine is no review box; nothing was removed");
        return Err(refused.because("no agent has held one here since the machine started"));
    };
    stop(surroundings, &layout, &answering, clock).await?;
    let commits = commits(&layout).await?;
    let mut sweep = Sweep { layout: &layout, removed: Vec::new() };
    let swept = sweep.all().and_then(|()| memory::forget_stores(&layout)).and_then(|()| write_down(&layout, commits));
    swept.map_err(|error| Failure::new(End::Unexpected, "this box cannot be cleaned").because(error))?;
    Ok(sweep.removed)
}

/// Ends the agent with all it runs: a store would write its data again, and a service its log.
async fn stop(surroundings: &Surroundings, layout: &Layout, answering: &Answering, clock: &Clock) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(End::Unexpected, "the box's agent and services cannot be stopped").because(why);
    if layout.units_of_this_boot().exists() {
        let units = fs::read_dir(layout.units_of_this_boot()).into_iter().flatten().flatten();
        let names = units.filter_map(|unit| unit.file_name().into_string().ok());
        let mut units: Vec<String> = names.filter(|name| name.starts_with("adstage-") && name.ends_with(".service")).collect();
        units.sort();
        let mut systemctl = Command::new("systemctl");
        systemctl.args(["stop", "adstage-agent.service"]).args(units).env("PATH", &surroundings.path).stdin(Stdio::null());
        let output = systemctl.output().await.map_err(|error| failed(format!("systemctl cannot be run: {error}")))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
        return if output.status.success() { Ok(()) } else { Err(failed(said)) };
    }
    let Some(agent) = i32::try_from(answering.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let asked = clock.moment();
    while is_agent(agent) {
        let _ = kill_process(agent, Signal::TERM);
        if clock.passed(asked) > ENDS_WITHIN {
            return Err(failed(format!("the agent, process {}, does not end", agent.as_raw_pid())));
        }
        clock.sleep(LOOK).await;
    }
    Ok(())
}

/// A number may belong to somebody else by now; and one whose parent has not noticed its end has no command line any more.
fn is_agent(pid: Pid) -> bool {
    match fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())) {
        Ok(line) => line.windows(11).any(|window| window == b"agent\0boot\0"),
        Err(_) => !Path::new("/proc/self").exists() && test_kill_process(pid).is_ok(),
    }
}

/// The manifest, with the commits that are really there: instances of the image say by it which commit they run.
async fn commits(layout: &Layout) -> Result<Option<Manifest>, Failure> {
    let Ok(text) = fs::read(layout.manifest()) else { return Ok(None) };
    let wrong = |why: String| Failure::new(End::Unexpected, "the image's manifest cannot be brought up to date").because(why);
    let mut manifest: Manifest = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    for (name, tree) in trees(layout) {
        manifest.commits.insert(name, tree.head().await.map_err(wrong)?);
    }
    Ok(Some(manifest))
}

fn write_down(layout: &Layout, manifest: Option<Manifest>) -> io::Result<()> {
    let Some(manifest) = manifest else { return Ok(()) };
    let json = serde_json::to_string_pretty(&manifest).map_err(io::Error::other)?;
    fs::write(layout.manifest(), json + "\n")
}

struct Sweep<'a> {
    layout: &'a Layout,
    removed: Vec<String>,
}

impl Sweep<'_> {
    fn all(&mut self) -> io::Result<()> {
        self.remove(&self.layout.backing_stores())?;
        self.remove(&self.layout.service_logs())?;
        for path in OF_THE_MACHINE {
            self.remove(&self.layout.of_the_machine(path))?;
        }
        for key in files(&self.layout.of_the_machine("etc/ssh"), |name| name.starts_with("ssh_host_")) {
            self.remove(&key)?;
        }
        for home in keys::homes(self.layout) {
            for path in OF_PEOPLE {
                self.remove(&home.join(path))?;
            }
        }
        // Whoever held an agent here let it remember; without that, nobody's key goes onto the image.
        for path in keys::keep_only(&memory::keys_of_image(self.layout).unwrap_or_default(), self.layout)? {
            self.note(&path);
        }
        // Emptied, not removed: an empty one means that the next boot makes a new one.
        let machine_id = self.layout.of_the_machine("etc/machine-id");
        if fs::metadata(&machine_id).is_ok_and(|found| found.len() > 0) {
            fs::write(&machine_id, "")?;
            self.note(&machine_id);
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let removed = match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => self.note(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
        Ok(())
    }

    /// As the machine calls it.
    fn note(&mut self, path: &Path) {
        self.removed.push(self.layout.on_the_machine(path));
    }
}

/// What a folder holds, in order.
pub(super) fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.filter(|entry| entry.file_name().to_str().is_some_and(&wanted)).map(|entry| entry.path()).collect();
    found.sort();
    found
}
