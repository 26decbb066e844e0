//! Which processes belong to a machine, and how they end. Every process of a machine inherits an environment variable that names it,
//! so that none can hide by leaving its process group or outliving its parent.
//!
//! Linux shows the environment of every process in /proc. Elsewhere the process groups noted in files under the machine's folder have
//! to do: `pids/<number>` beside its root for what init started, `run/adstage/*.pid` inside for what the agent started.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group, test_kill_process};

use super::machine::pause;

/// The variable; its value is `<sandbox id>/<instance id>`.
pub(super) const MARKER: &str = "ADSTAGE_SANDBOX_MACHINE";

/// Milliseconds of a tick in /proc: Linux shows hundredths of a second to everybody (`USER_HZ`), whatever its own clock does.
const TICK: u64 = 10;

/// How soon a dying process tree is looked at again; a long death is looked at less often.
const LOOK: Duration = Duration::from_millis(50);

/// How long the kernel may take to end what was killed.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// A machine, or every machine of a sandbox.
#[derive(Debug, Clone)]
pub(super) struct Marked {
    /// What the variable's value starts with.
    pub prefix: String,
    /// The folder in which files of process ids may lie, at most three levels down.
    pub folder: std::path::PathBuf,
}

impl Marked {
    /// Processes alive now. Never this one, and no zombies.
    pub fn alive(&self) -> Vec<Pid> {
        let found = if Path::new("/proc/self/environ").exists() { self.in_proc() } else { self.in_files() };
        found.into_iter().filter(|pid| *pid != getpid()).collect()
    }

    fn in_proc(&self) -> Vec<Pid> {
        let wanted = format!("{MARKER}={}", self.prefix);
        let marked = |environ: &[u8]| environ.split(|byte| *byte == 0).any(|variable| variable.starts_with(wanted.as_bytes()));
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            // Not readable: somebody else's process, or one that has just ended.
            .filter(|pid| fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).is_ok_and(|environ| marked(&environ)))
            .collect()
    }

    /// Processor time that processes alive now, and those they have waited for, have used, by machine. Linux only: nobody else is asked.
    pub fn worked(&self) -> BTreeMap<String, Duration> {
        let before = format!("{MARKER}={}", self.prefix);
        let machine = |environ: &[u8]| {
            let mut all = environ.split(|byte| *byte == 0).filter_map(|variable| std::str::from_utf8(variable).ok());
            all.find_map(|variable| variable.strip_prefix(&before)).map(String::from)
        };
        let mut found = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(machine) = fs::read(path.join("environ")).ok().and_then(|environ| machine(&environ)) else { continue };
            // After the name, which may hold anything: state is the first field; times are the twelfth to fifteenth.
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
            let used: u64 = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
            *found.entry(machine.trim_start_matches('/').to_string()).or_insert(Duration::ZERO) += Duration::from_millis(used * TICK);
        }
        found
    }

    fn in_files(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        collect_pid_files(&self.folder, 0, &mut found);
        found.retain(|pid| test_kill_process(*pid).is_ok());
        found
    }

    /// What init started, as far as it is alive. These end the others, each in its own way.
    fn leaders(&self, alive: &[Pid]) -> Vec<Pid> {
        let mut noted = Vec::new();
        collect_pid_files(&self.folder.join("pids"), 0, &mut noted);
        noted.retain(|pid| alive.contains(pid));
        noted
    }

    /// Ends every process: politely, and after `grace` with force. An error if one survives even that.
    pub async fn end(&self, grace: Duration) -> io::Result<()> {
        if grace.is_zero() || !self.gone_within(grace, Manner::Polite).await {
            let gone = self.gone_within(KILLED_WITHIN, Manner::Force).await;
            return if gone { Ok(()) } else { Err(io::Error::other(format!("processes of {} cannot be killed", self.prefix))) };
        }
        Ok(())
    }

    async fn gone_within(&self, span: Duration, manner: Manner) -> bool {
        let looking = async {
            let mut told = Told::default();
            for look in 0.. {
                let all = self.clone();
                let looked = tokio::task::spawn_blocking(move || all.look(manner, told)).await;
                match looked {
                    Ok(None) => return,
                    Ok(Some(now)) => told = now,
                    Err(_) => {}
                }
                pause(LOOK * (1 + look).min(5)).await;
            }
        };
        tokio::time::timeout(span, looking).await.is_ok()
    }

    /// One look at what is alive, and a signal where one is due. `None`: nobody is left.
    fn look(&self, manner: Manner, told: Told) -> Option<Told> {
        let alive = self.alive();
        if alive.is_empty() {
            return None;
        }
        let leaders = self.leaders(&alive);
        Some(match manner {
            Manner::Force => {
                signal(&alive, Signal::KILL);
                told
            }
            Manner::Polite if !leaders.is_empty() => {
                if !told.leaders {
                    signal(&leaders, Signal::TERM);
                }
                Told { leaders: true, ..told }
            }
            Manner::Polite => {
                if !told.all {
                    signal(&alive, Signal::TERM);
                }
                Told { all: true, ..told }
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// First those that init started, which end what they started; then, once, whoever is left.
    Polite,
    /// Everybody, until nobody is left.
    Force,
}

/// Who has been asked to end.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    leaders: bool,
    all: bool,
}

fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // Gone meanwhile is what was wanted.
        let _ = kill_process_group(*pid, signal);
        let _ = kill_process(*pid, signal);
    }
}

fn collect_pid_files(folder: &Path, depth: u8, found: &mut Vec<Pid>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let noted = path.extension().is_some_and(|end| end == "pid");
        if noted && let Some(pid) = fs::read_to_string(&path).ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?)) {
            found.push(pid);
        } else if depth < 4 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_pid_files(&path, depth + 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    fn sleeper(prefix: &str) -> std::process::Child {
        let script = "trap '' TERM; (sleep 60; true) & wait; sleep 60";
        let mut command = Command::new("sh");
        command.args(["-c", script]).env(MARKER, format!("{prefix}i-1")).stdin(Stdio::null()).process_group(0).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_tree_that_ignores_the_polite_signal_ends_all_the_same() {
        let prefix = format!("test-{}/", fastrand::u64(..));
        let folder = tempfile::tempdir().unwrap();
        let marked = Marked { prefix: prefix.clone(), folder: folder.path().into() };
        let mut child = sleeper(&prefix);
        while marked.alive().is_empty() {
            tokio::task::yield_now().await;
        }
        marked.end(Duration::from_millis(200)).await.unwrap();
        assert!(marked.alive().is_empty());
        child.wait().unwrap();
    }

    #[test]
    fn where_there_is_no_proc_files_tell() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = sleeper("files/");
        let pid = i32::try_from(child.id()).unwrap();
        let notes = folder.path().join("i-1/root/run/adstage");
        fs::create_dir_all(&notes).unwrap();
        fs::write(notes.join("web.pid"), format!("{pid}\n")).unwrap();
        let marked = Marked { prefix: "files/".into(), folder: folder.path().into() };
        assert_eq!(marked.in_files(), [Pid::from_raw(pid).unwrap()]);
        let _ = kill_process_group(Pid::from_raw(pid).unwrap(), Signal::KILL);
        child.wait().unwrap();
        assert!(marked.in_files().is_empty());
    }
}
