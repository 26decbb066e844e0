//! Who keeps the services running: systemd where there is one, else the agent itself. Decided once, at boot.

use std::ffi::OsString;

use tokio::sync::watch;

use super::console::Console;
use super::duty::Duty;
use super::layout::Layout;
use super::secrets::Secrets;
use super::service::{Board, Service};
use super::{own, systemd};
use crate::clock::Clock;
use crate::model::{ConsoleLine, ServiceName};

/// The services of this instance and what keeping them takes.
#[derive(Debug, Clone)]
pub(super) struct Shift {
    pub services: Vec<Service>,
    pub board: Board,
    pub layout: Layout,
    pub console: Console,
    pub secrets: Secrets,
    pub clock: Clock,
    /// Whether they are to work.
    pub duty: Duty,
    /// `PATH` of the agent.
    pub path: OsString,
}

impl Shift {
    /// Notes on the board and the console that a service ended.
    pub fn exited(&self, service: &ServiceName, code: i32, looping: bool, tail: Vec<String>) {
        let mut restarts = 0;
        self.board.update(service, |status| {
            (status.pid, status.last_exit, status.up) = (None, Some(code), false);
            status.restarts += 1;
            restarts = status.restarts;
        });
        self.console.mark(&ConsoleLine::Exited { service: service.clone(), code, restarts, tail: tail.clone() });
        if looping {
            self.console.mark(&ConsoleLine::CrashLooping { service: service.clone(), restarts, tail });
        }
    }
}

/// The two ways to keep services running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supervisor {
    /// Child processes of the agent; they end with it.
    Own,
    /// Units of systemd's; `systemctl` and `journalctl` work on them as on any other, and they outlive the agent.
    Systemd,
}

impl Supervisor {
    /// The way systemd itself recommends to ask (*sd_booted(3)*).
    pub fn here(layout: &Layout) -> Self {
        if layout.units_of_this_boot().exists() { Self::Systemd } else { Self::Own }
    }

    /// The last lines a service wrote.
    pub async fn log(self, shift: &Shift, service: &ServiceName) -> Vec<String> {
        match self {
            Self::Own => own::tail(&shift.layout.service_log(service), 0),
            Self::Systemd => systemd::log(shift, service).await,
        }
    }

    /// Starts the services and keeps them running until `stop` turns true.
    pub async fn hold(self, shift: &Shift, stop: watch::Receiver<bool>) -> Result<(), String> {
        match self {
            Self::Own => own::hold(shift, stop).await,
            Self::Systemd => systemd::hold(shift, stop).await,
        }
    }
}

/// Ready once `stop` is true.
pub(super) async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // Whoever could say so being gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}
