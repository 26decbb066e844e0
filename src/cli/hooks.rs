//! Runs the company's own commands on this machine, in the folder of `adstage.toml`: each in a process group of its own, which never outlives
//! whoever waits for it.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use super::Global;
use crate::clock::Clock;
use crate::model::tail_of;
use crate::steps::{Commands, Finished, Job};

/// From the deadline until force is used.
const GRACE: Duration = Duration::from_secs(2);
/// What it started in the background may hold its output open; after its end that is waited for so long.
const DRAIN: Duration = Duration::from_millis(300);
/// Lines kept for the record.
const KEPT: usize = 40;

/// Where a step's commands are sent.
pub fn commands(global: &Global) -> Commands {
    let folder = global.config_path().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("."));
    let clock = global.clock.clone();
    Commands::by(move |job| {
        let (folder, clock) = (folder.clone(), clock.clone());
        async move { run(&job, &folder, &clock).await.map_err(|error| error.to_string()) }
    })
}

/// A process group, killed when nobody waits for it any more.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It may be gone already.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

async fn run(job: &Job, folder: &Path, clock: &Clock) -> io::Result<Finished> {
    let (mut child, output) = start(job, folder)?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let mut heard = Heard { output: BufReader::new(output), kept: VecDeque::new(), job };
    let ended = tokio::select! {
        status = heard.until(child.wait()) => Some(status?),
        () = clock.sleep(job.command.within.duration()) => None,
    };
    if ended.is_none() {
        group.signal(Signal::TERM);
        tokio::select! {
            _ = heard.until(child.wait()) => {}
            () = clock.sleep(GRACE) => {}
        }
    }
    tokio::select! {
        () = heard.rest() => {}
        () = clock.sleep(DRAIN) => {}
    }
    Ok(Finished { code: ended.map(code), tail: tail_of(&Vec::from(heard.kept).join("\n")) })
}

/// Both its outputs are one pipe, so that lines come in the order in which they were printed.
fn start(job: &Job, folder: &Path) -> io::Result<(Child, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &job.command.run]).current_dir(folder).envs(&job.variables).stdin(Stdio::null());
    command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = command.spawn()?;
    Ok((child, Receiver::from_owned_fd(reader.into())?))
}

/// What a command prints.
struct Heard<'j> {
    output: BufReader<Receiver>,
    kept: VecDeque<String>,
    job: &'j Job,
}

impl Heard<'_> {
    /// Listens until this is so.
    async fn until<T>(&mut self, end: impl Future<Output = T>) -> T {
        let mut end = std::pin::pin!(end);
        let mut open = true;
        loop {
            tokio::select! {
                ended = &mut end => return ended,
                more = self.line(), if open => open = more,
            }
        }
    }

    async fn rest(&mut self) {
        while self.line().await {}
    }

    /// One more line; false if there is none.
    async fn line(&mut self) -> bool {
        let mut bytes = Vec::new();
        match self.output.read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => false,
            Ok(_) => {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_string();
                (self.job.said)(&line);
                self.kept.push_back(line);
                if self.kept.len() > KEPT {
                    self.kept.pop_front();
                }
                true
            }
        }
    }
}

/// As shells count: 128 + n when signal n ended it.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::{Seconds, TimedCommand};

    async fn ran(script: &str, within: u64) -> (Finished, Vec<String>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        let job = Job {
            command: TimedCommand { run: script.into(), within: Seconds(within) },
            variables: [("ADSTAGE_RELEASE".to_string(), "r42".to_string())].into(),
            said: Arc::new(move |line| heard.lock().unwrap().push(line.to_string())),
        };
        let finished = run(&job, Path::new("/"), &Clock::real()).await.unwrap();
        let lines = lines.lock().unwrap().clone();
        (finished, lines)
    }

    #[tokio::test]
    async fn what_it_prints_is_heard_in_order_and_its_end_is_told() {
        let (finished, heard) = ran("echo \"$ADSTAGE_RELEASE in $PWD\"; echo oh >&2; echo last; exit 3", 30).await;
        assert_eq!((finished.code, finished.tail), (Some(3), vec!["r42 in /".to_string(), "oh".into(), "last".into()]));
        assert_eq!(heard, ["r42 in /", "oh", "last"]);
    }

    #[tokio::test]
    async fn at_its_deadline_it_ends_with_everything_it_started() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let (finished, _) =
            ran(&format!("trap '' TERM; echo waiting; (trap '' TERM; sleep 60; echo oh > {path}) & echo $! > {path}; wait"), 1).await;
        assert_eq!((finished.code, finished.tail), (None, vec!["waiting".to_string()]));
        let child = std::fs::read_to_string(file.path()).unwrap();
        let pid = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
        let clock = Clock::real();
        for _ in 0..100 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat", pid = pid.as_raw_pid())).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
        panic!("what it started still runs");
    }

    #[tokio::test]
    async fn one_that_is_not_waited_for_any_more_is_killed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let job = Job {
            command: TimedCommand { run: format!("echo $$ > {}; sleep 60", file.path().display()), within: Seconds(60) },
            variables: [].into(),
            said: Arc::new(|_| ()),
        };
        let clock = Clock::real();
        tokio::select! {
            _ = run(&job, Path::new("/"), &clock) => panic!("it cannot have ended"),
            () = async {
                while std::fs::read_to_string(file.path()).unwrap().is_empty() {
                    clock.sleep(Duration::from_millis(20)).await;
                }
            } => {}
        }
        let pid = std::fs::read_to_string(file.path()).unwrap();
        for _ in 0..100 {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
        panic!("it still runs");
    }

    #[tokio::test]
    async fn what_it_leaves_in_the_background_does_not_hold_it_up() {
        let (finished, _) = ran("sleep 60 & echo done", 30).await;
        assert_eq!((finished.code, finished.tail), (Some(0), vec!["done".to_string()]));
    }
}
