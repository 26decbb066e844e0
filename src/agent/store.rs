//! The backing stores of a review box: their folders, their one preparation, and whether they take requests.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::account::Account;
use super::checkout::logged;
use super::layout::Layout;
use super::memory::Memory;
use super::own::tail;
use super::service::{Service, Store};
use super::supervisor::{Shift, Supervisor};
use crate::model::{BACKING_READY_WITHIN, Backing, BackingName, ConsoleLine, GRACE, NameError, Seconds, ServiceName, tail_of};

/// How often a store that is not ready is asked.
const LOOK: Duration = Duration::from_secs(1);

/// How long it may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A store, which is held as services are.
pub(super) fn service(name: &BackingName, told: &Backing, host: IpAddr, path: &OsString, layout: &Layout) -> Result<Service, NameError> {
    let folder = layout.backing(name);
    let mut variables = std::collections::BTreeMap::from([("PATH".to_string(), path.clone())]);
    variables.extend(told.variables.iter().map(|(name, value)| (name.clone(), value.into())));
    let own = [("DATA", folder.clone().into_os_string()), ("HOST", host.to_string().into()), ("ADSTAGE_SERVICE", name.as_str().into())];
    variables.extend(own.map(|(name, value)| (name.to_string(), value)));
    let within = told.ready_within.unwrap_or(BACKING_READY_WITHIN).duration();
    let (ready, prepare, user) = (told.ready.clone(), told.prepare.clone(), told.user.clone());
    let store = Store { name: name.clone(), ready, prepare, user, ready_within: within };
    Ok(Service {
        name: ServiceName::new(name.as_str())?,
        run: told.run.clone(),
        folder,
        port: None,
        health_path: String::new(),
        variables,
        secrets: std::collections::BTreeMap::new(),
        needs: Vec::new(),
        grace: GRACE.duration(),
        store: Some(store),
    })
}

/// Makes each store's folder, and fills it once in the life of the box. False if one cannot be prepared, which the console tells.
pub(super) async fn prepare(shift: &Shift, memory: &Memory) -> bool {
    let mut all = true;
    for (service, store) in shift.services.iter().filter_map(|service| Some((service, service.store.as_ref()?))) {
        if memory.is_prepared(&store.name) {
            continue;
        }
        let prepared = prepare_one(shift, service, store, memory).await;
        shift.board.update(&service.name, |status| status.trouble = prepared.as_ref().err().map(|(what, _)| what.clone()));
        if let Err((what, tail)) = prepared {
            all = false;
            shift.console.mark(&ConsoleLine::BackingFailed { store: store.name.clone(), what, tail });
        }
    }
    all
}

async fn prepare_one(shift: &Shift, service: &Service, store: &Store, memory: &Memory) -> Result<(), (String, Vec<String>)> {
    let log = shift.layout.service_log(&service.name);
    let account = Account::of(store).map_err(|what| (what, Vec::new()))?;
    // What is there before the first preparation succeeded is its image's, or of one that failed: nobody's data.
    let fresh = || -> io::Result<()> {
        match fs::remove_dir_all(&service.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&service.folder)?,
        }
        if let Some(account) = &account {
            account.own(&service.folder)?;
        }
        fs::create_dir_all(log.parent().unwrap_or(&log))
    };
    fresh().map_err(|error| (format!("cannot make its folder: {error}"), Vec::new()))?;
    if let Some(run) = &store.prepare {
        shift.console.say(&format!("preparing {}: {run}", store.name));
        shift.board.update(&service.name, |status| status.trouble = Some("is being prepared".into()));
        let from = fs::metadata(&log).map_or(0, |found| found.len());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", run]).envs(&service.variables);
        if let Some(account) = &account {
            account.apply(&mut command);
        }
        let ended = logged(command, &service.folder, &log).await;
        match ended {
            Ok(0) => {}
            Ok(code) => return Err((format!("its preparation exited {code}"), tail(&log, from))),
            Err(what) => return Err((what, Vec::new())),
        }
    }
    memory.note_prepared(&store.name).map_err(|what| (what, Vec::new()))
}

/// Asks a store, as often as it is started, until it takes requests. One that takes none for too long has failed, which the console tells
/// with the end of its log; it is asked on, since somebody may mend it.
pub(super) async fn ask(shift: &Shift, service: &Service, store: &Store) {
    let mut changes = shift.board.changes();
    let (mut since, mut told) = (shift.clock.moment(), false);
    loop {
        changes.mark_unchanged();
        let status = shift.board.status(&service.name);
        if status.pid.is_none() || status.ready == status.pid {
            let _ = changes.changed().await;
            if status.pid.is_some() {
                (since, told) = (shift.clock.moment(), false);
            }
            continue;
        }
        let answer = answer(service, store).await;
        // The one that was asked may have ended meanwhile.
        if shift.board.status(&service.name).pid != status.pid {
            continue;
        }
        let ready = answer.is_ok();
        shift.board.update(&service.name, |now| {
            now.ready = status.pid.filter(|_| ready);
            now.trouble = answer.clone().err();
        });
        let Err(trouble) = answer else {
            shift.console.mark(&ConsoleLine::BackingUp { store: store.name.clone() });
            continue;
        };
        if !told && shift.clock.since(since) >= store.ready_within {
            told = true;
            let what = format!("not ready within {}: {trouble}", Seconds::from(store.ready_within));
            let tail = Supervisor::here(&shift.layout).log(shift, &service.name).await;
            shift.console.mark(&ConsoleLine::BackingFailed { store: store.name.clone(), what, tail });
        }
        shift.clock.sleep(LOOK).await;
    }
}

async fn answer(service: &Service, store: &Store) -> Result<(), String> {
    let ready = &store.ready;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", ready]).envs(&service.variables).current_dir(&service.folder).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(account) = Account::of(store)? {
        account.apply(&mut command);
    }
    let output = match tokio::time::timeout(TIMEOUT, command.output()).await {
        Err(_) => return Err(format!("`{ready}` -> no answer within {} s", TIMEOUT.as_secs())),
        Ok(Err(error)) => return Err(format!("`{ready}` cannot be run: {error}")),
        Ok(Ok(output)) => output,
    };
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    let said = tail_of(&String::from_utf8_lossy(&printed)).pop().unwrap_or_default();
    let code = output.status.code().map_or_else(|| "killed".into(), |code| format!("exited {code}"));
    Err(format!("`{ready}` -> {code} {said}").trim_end().to_string())
}
