//! One service as this instance runs it, and what is known of it while it runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::model::ServiceName;

/// All that is needed to start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub name: ServiceName,
    /// For `sh -c`.
    pub run: String,
    /// Its repository's checkout.
    pub folder: PathBuf,
    pub port: Option<u16>,
    pub health_path: String,
    /// On top of what the agent itself has.
    pub variables: BTreeMap<String, OsString>,
}

/// What is known of one service now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Status {
    /// Its first process, while it runs.
    pub pid: Option<u32>,
    /// Starts after the first one.
    pub restarts: u32,
    /// How it last ended.
    pub last_exit: Option<i32>,
}

/// The statuses of all services. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Board {
    statuses: Arc<Mutex<BTreeMap<ServiceName, Status>>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Board {
    /// Nothing runs yet.
    pub fn of<'a>(services: impl IntoIterator<Item = &'a Service>) -> Self {
        let statuses = services.into_iter().map(|service| (service.name.clone(), Status::default())).collect();
        Self { statuses: Arc::new(Mutex::new(statuses)), changes: Arc::new(watch::Sender::new(0)) }
    }

    pub fn update(&self, name: &ServiceName, change: impl FnOnce(&mut Status)) {
        if let Some(status) = self.statuses.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            change(status);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn statuses(&self) -> BTreeMap<ServiceName, Status> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Told of every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
