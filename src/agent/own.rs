//! The agent as the parent of its services: each in its own process group, so that it ends with everything it started.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::account::Account;
use super::crash::Crashes;
use super::duty::relieved;
use super::service::Service;
use super::supervisor::{Shift, told_to_stop};
use crate::clock::Clock;
use crate::model::tail_of;

const LOOK: Duration = Duration::from_millis(50);

/// What shells answer for a command that cannot be started.
const CANNOT_START: i32 = 126;

/// The end of a log is read back this far.
const TAIL_BYTES: u64 = 16 * 1024;

/// Every service at once, as far as what it needs is up, until `stop`; returns when all are down: the stores last.
pub(super) async fn hold(shift: &Shift, stop: watch::Receiver<bool>) -> Result<(), String> {
    let (end_stores, stores_end) = watch::channel(false);
    let (mut services, mut stores) = (JoinSet::new(), JoinSet::new());
    for service in shift.services.clone() {
        let (tasks, stop) = if service.store.is_some() { (&mut stores, &stores_end) } else { (&mut services, &stop) };
        let (shift, stop) = (shift.clone(), stop.clone());
        tasks.spawn(async move { hold_one(&shift, &service, stop).await });
    }
    while services.join_next().await.is_some() {}
    told_to_stop(&mut stop.clone()).await;
    let _ = end_stores.send(true);
    while stores.join_next().await.is_some() {}
    Ok(())
}

/// Until all it needs is up, or it is not to start any more.
async fn wait_for_needs(shift: &Shift, service: &Service, stop: &mut watch::Receiver<bool>) {
    let mut changes = shift.board.changes();
    while !shift.board.missing(service).is_empty() {
        tokio::select! {
            _ = changes.changed() => {}
            () = told_to_stop(stop) => return,
        }
    }
}

async fn hold_one(shift: &Shift, service: &Service, mut stop: watch::Receiver<bool>) {
    end_leftover(shift, service);
    wait_for_needs(shift, service, &mut stop).await;
    let log = shift.layout.service_log(&service.name);
    let mut crashes = Crashes::default();
    while !*stop.borrow() {
        if !shift.duty.is_active() {
            // It is another life: what crashed before is forgotten.
            crashes = Crashes::default();
            tokio::select! {
                () = shift.duty.begins() => {}
                () = told_to_stop(&mut stop) => return,
            }
        }
        let from = fs::metadata(&log).map_or(0, |found| found.len());
        let begun = shift.clock.moment();
        let secrets = tokio::select! {
            secrets = shift.secrets.variables(&service.secrets) => secrets,
            () = told_to_stop(&mut stop) => return,
        };
        let code = match secrets.and_then(|secrets| start(shift, service, &secrets, &log).map_err(|error| error.to_string())) {
            Ok((mut child, group)) => {
                shift.board.update(&service.name, |status| status.pid = child.id());
                tokio::select! {
                    ended = child.wait() => {
                        let _ = kill_process_group(group, Signal::TERM);
                        ended.map_or(CANNOT_START, code)
                    }
                    () = relieved(&mut stop, &shift.duty) => {
                        end(&mut child, group, service.grace, &shift.clock).await;
                        shift.board.update(&service.name, |status| (status.pid, status.up, status.last_exit) = (None, false, None));
                        let _ = fs::remove_file(shift.layout.service_pid(&service.name));
                        continue;
                    }
                }
            }
            Err(error) => {
                note(&log, &format!("adstage: cannot start: {error}"));
                CANNOT_START
            }
        };
        let looping = crashes.note(shift.clock.since(begun));
        shift.exited(&service.name, code, looping, tail(&log, from));
        tokio::select! {
            () = shift.clock.sleep(crashes.pause()) => {}
            () = relieved(&mut stop, &shift.duty) => {}
        }
        // What the dead one started must not keep its port.
        end_leftover(shift, service);
    }
}

fn start(shift: &Shift, service: &Service, secrets: &BTreeMap<String, OsString>, log: &Path) -> io::Result<(Child, Pid)> {
    let pid_file = shift.layout.service_pid(&service.name);
    if let Some(folder) = pid_file.parent() {
        fs::create_dir_all(folder)?;
    }
    let (child, group) = spawn(service, &service.run, secrets, log)?;
    fs::write(pid_file, group.as_raw_pid().to_string())?;
    Ok((child, group))
}

/// A command where the service runs, with all that the service finds there, in a process group of its own.
pub(super) fn spawn(service: &Service, run: &str, secrets: &BTreeMap<String, OsString>, log: &Path) -> io::Result<(Child, Pid)> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let output = OpenOptions::new().append(true).create(true).open(log)?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", run]).current_dir(&service.folder).envs(&service.variables).envs(secrets);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    if let Some(account) = service.store.as_ref().map(Account::of).transpose().map_err(io::Error::other)?.flatten() {
        account.apply(&mut command);
    }
    let child = command.spawn()?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or(io::ErrorKind::NotFound)?;
    Ok((child, group))
}

/// Ends a service with all it started: politely, and after a while with force.
pub(super) async fn end(child: &mut Child, group: Pid, grace: Duration, clock: &Clock) {
    let _ = kill_process_group(group, Signal::TERM);
    let gone = async {
        let _ = child.wait().await;
        // The shell may be gone while the program it started still finishes its last requests.
        while test_kill_process_group(group).is_ok() {
            clock.sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(grace, gone).await.is_err() {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait().await;
    }
}

/// Kills what an earlier start of this service left: of this agent, or of one that was killed before it could end its services.
fn end_leftover(shift: &Shift, service: &Service) {
    let file = shift.layout.service_pid(&service.name);
    let noted = fs::read_to_string(&file).ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
    if let Some(group) = noted
        && is_still(group, service)
    {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = fs::remove_file(file);
}

/// A number from before a reboot may belong to somebody else by now. A process group whose leader is gone keeps its number.
fn is_still(group: Pid, service: &Service) -> bool {
    let wanted = format!("ADSTAGE_SERVICE={}", service.name);
    match fs::read(format!("/proc/{}/environ", group.as_raw_pid())) {
        Ok(environ) => environ.is_empty() || environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()),
        Err(_) => true,
    }
}

/// As shells count: 128 + n when signal n ended it.
pub(super) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn note(log: &Path, line: &str) {
    // If not even this can be written, the console line that follows still says that it ended.
    let _ = OpenOptions::new().append(true).create(true).open(log).and_then(|mut file| writeln!(file, "{line}"));
}

/// The last lines written since `from`.
pub(super) fn tail(log: &Path, from: u64) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    tail_of(&String::from_utf8_lossy(&read().unwrap_or_default()))
}
