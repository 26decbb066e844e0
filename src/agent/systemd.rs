//! systemd keeps the services running; the agent writes the units, starts them, and watches what becomes of them. The units are of this
//! boot only (`/run/systemd/system`): an image captured from this instance does not hold them.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;

use super::crash::Crashes;
use super::service::Service;
use super::supervisor::{Shift, told_to_stop};
use super::unit;
use crate::model::{ServiceName, tail_of};

/// Shorter than `RestartSec`: no end of a service falls between two looks.
const LOOK: Duration = Duration::from_millis(500);

const PROPERTIES: &str =
    "MainPID,NRestarts,SubState,ExecMainCode,ExecMainStatus,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic";

/// What `systemctl show` says of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shown {
    main_pid: Option<u32>,
    restarts: u32,
    /// Its main process has ended, and the next one is not there yet.
    down: bool,
    code: i32,
    life: Duration,
}

/// Starts the units and watches them until `stop`. They go on without the agent: systemd itself ends them at shutdown.
pub(super) async fn hold(shift: &Shift, mut stop: watch::Receiver<bool>) -> Result<(), String> {
    let folder = shift.layout.units_of_this_boot();
    for service in &shift.services {
        let file = folder.join(unit::name(&service.name));
        std::fs::write(&file, unit::render(service)).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    let units: Vec<String> = shift.services.iter().map(|service| unit::name(&service.name)).collect();
    run(shift, "systemctl", &["daemon-reload"]).await?;
    let mut waiting: Vec<Service> = shift.services.clone();
    // Those of an agent before this one go on, if they may.
    let mut works = shift.duty.is_active();
    match works {
        true => start(shift, &mut waiting).await?,
        false => rest(shift, &units).await?,
    }

    let mut ends = BTreeMap::new();
    let mut show = vec!["show", "--property", PROPERTIES];
    show.extend(units.iter().map(String::as_str));
    while !*stop.borrow() {
        match run(shift, "systemctl", &show).await {
            Ok(text) if works => look(shift, &parse(&text), &mut ends).await,
            Ok(text) => resting(shift, &parse(&text)),
            Err(error) => tracing::warn!("{error}"),
        }
        tokio::select! {
            () = shift.clock.sleep(LOOK) => {}
            () = told_to_stop(&mut stop) => {}
        }
        if works != shift.duty.is_active() {
            works = !works;
            (waiting, ends) = (shift.services.clone(), BTreeMap::new());
            if !works {
                rest(shift, &units).await?;
            }
        }
        if works && !*stop.borrow() {
            start(shift, &mut waiting).await?;
        }
    }
    Ok(())
}

/// Starts those of the waiting ones for which all they need is up.
async fn start(shift: &Shift, waiting: &mut Vec<Service>) -> Result<(), String> {
    let due: Vec<Service> = waiting.extract_if(.., |service| shift.board.missing(service).is_empty()).collect();
    if due.is_empty() {
        return Ok(());
    }
    let units: Vec<String> = due.iter().map(|service| unit::name(&service.name)).collect();
    let mut start = vec!["start", "--no-block"];
    start.extend(units.iter().map(String::as_str));
    run(shift, "systemctl", &start).await.map(drop)
}

/// Told to finish what they have: systemd waits for each as long as its unit says.
async fn rest(shift: &Shift, units: &[String]) -> Result<(), String> {
    let mut stop = vec!["stop", "--no-block"];
    stop.extend(units.iter().map(String::as_str));
    run(shift, "systemctl", &stop).await.map(drop)
}

/// What still runs of services that were told to finish.
fn resting(shift: &Shift, shown: &[Shown]) {
    for (service, shown) in shift.services.iter().zip(shown) {
        let pid = shown.main_pid.filter(|_| !shown.down);
        if shift.board.status(&service.name).pid != pid {
            shift.board.update(&service.name, |status| (status.pid, status.up) = (pid, false));
        }
    }
}

/// The end already told of each service: systemd's count of restarts at that time.
type Ends = BTreeMap<ServiceName, (Option<u32>, Crashes)>;

async fn look(shift: &Shift, shown: &[Shown], ends: &mut Ends) {
    for (service, shown) in shift.services.iter().zip(shown) {
        let known = shift.board.statuses().get(&service.name).and_then(|status| status.pid);
        if !shown.down && known != shown.main_pid {
            shift.board.update(&service.name, |status| status.pid = shown.main_pid);
        }
        let (told, crashes) = ends.entry(service.name.clone()).or_default();
        if shown.down && *told != Some(shown.restarts) {
            *told = Some(shown.restarts);
            let looping = crashes.note(shown.life);
            shift.exited(&service.name, shown.code, looping, log(shift, &service.name).await);
        }
    }
}

/// The last lines a service wrote to the journal.
pub(super) async fn log(shift: &Shift, service: &ServiceName) -> Vec<String> {
    let unit = unit::name(service);
    let log = run(shift, "journalctl", &["--unit", &unit, "--lines", "20", "--output", "cat", "--no-pager"]).await;
    tail_of(&log.unwrap_or_default())
}

/// One block of `key=value` lines per unit, in the order asked.
fn parse(text: &str) -> Vec<Shown> {
    let block = |block: &str| {
        let properties: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once('=')).collect();
        let number = |key: &str| properties.get(key).and_then(|value| value.parse::<u64>().ok()).unwrap_or_default();
        let started = number("ExecMainStartTimestampMonotonic");
        let ended = number("ExecMainExitTimestampMonotonic");
        let status = i32::try_from(number("ExecMainStatus")).unwrap_or(i32::MAX);
        // CLD_EXITED is 1; the others mean a signal.
        let code = if number("ExecMainCode") > 1 { 128 + status } else { status };
        Shown {
            main_pid: u32::try_from(number("MainPID")).ok().filter(|pid| *pid > 0),
            restarts: u32::try_from(number("NRestarts")).unwrap_or(u32::MAX),
            down: ended > 0 && ended >= started && matches!(properties.get("SubState"), Some(&"auto-restart" | &"failed" | &"dead")),
            code,
            life: Duration::from_micros(ended.saturating_sub(started)),
        }
    };
    text.split("\n\n").filter(|text| !text.trim().is_empty()).map(block).collect()
}

async fn run(shift: &Shift, program: &str, arguments: &[&str]) -> Result<String, String> {
    let command = format!("{program} {}", arguments.join(" "));
    let ran = Command::new(program).args(arguments).env("PATH", &shift.path).stdin(Stdio::null()).output().await;
    let output = ran.map_err(|error| format!("cannot run {command}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_understood() {
        let text = "MainPID=812\nNRestarts=0\nExecMainStartTimestampMonotonic=5000000\nExecMainExitTimestampMonotonic=0\n\
                    ExecMainCode=0\nExecMainStatus=0\nSubState=running\n\n\
                    MainPID=0\nNRestarts=2\nExecMainStartTimestampMonotonic=5000000\nExecMainExitTimestampMonotonic=7500000\n\
                    ExecMainCode=1\nExecMainStatus=3\nSubState=auto-restart\n\n\
                    MainPID=0\nNRestarts=2\nExecMainStartTimestampMonotonic=5000000\nExecMainExitTimestampMonotonic=5000001\n\
                    ExecMainCode=2\nExecMainStatus=9\nSubState=auto-restart\n";
        let up = Shown { main_pid: Some(812), ..Shown::default() };
        let exited = Shown { restarts: 2, down: true, code: 3, life: Duration::from_millis(2_500), ..Shown::default() };
        let killed = Shown { restarts: 2, down: true, code: 137, life: Duration::from_micros(1), ..Shown::default() };
        assert_eq!(parse(text), [up, exited, killed]);
    }
}
