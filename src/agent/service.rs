//! One service as this instance runs it, and what is known of it while it runs. A review box's backing stores are held as services are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{BackingName, SecretReference, ServiceName};

/// All that is needed to start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub name: ServiceName,
    /// For `sh -c`.
    pub run: String,
    /// Its repository's checkout; a store's data.
    pub folder: PathBuf,
    pub port: Option<u16>,
    pub health_path: String,
    /// On top of what the agent itself has.
    pub variables: BTreeMap<String, OsString>,
    /// How long it may take to finish what it has, once told to stop.
    pub grace: Duration,
    /// Where its secrets are kept, by variable.
    pub secrets: BTreeMap<String, SecretReference>,
    /// What must be up before its first start.
    pub needs: Vec<ServiceName>,
    /// What a backing store has beyond that.
    pub store: Option<Store>,
}

/// What makes a service a backing store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Store {
    pub name: BackingName,
    /// For `sh -c`: succeeds once the store takes requests.
    pub ready: String,
    /// For `sh -c`, once.
    pub prepare: Option<String>,
    /// Whom it runs as.
    pub user: Option<String>,
    /// How long it may take no requests.
    pub ready_within: Duration,
}

/// The names of those that are services, not stores.
pub(super) fn names(services: &[Service]) -> Vec<ServiceName> {
    services.iter().filter(|service| service.store.is_none()).map(|service| service.name.clone()).collect()
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
    /// When last asked, it was up.
    pub up: bool,
    /// Of a store: the process that takes requests.
    pub ready: Option<u32>,
    /// Of a store: why it does not take requests.
    pub trouble: Option<String>,
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

    pub fn status(&self, name: &ServiceName) -> Status {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }

    /// Notes whether it was up when asked.
    pub fn note_up(&self, name: &ServiceName, up: bool) {
        if self.status(name).up != up {
            self.update(name, |status| status.up = up);
        }
    }

    /// What a service still waits for. What this instance does not run, it cannot wait for.
    pub fn missing<'s>(&self, service: &'s Service) -> Vec<&'s ServiceName> {
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        service.needs.iter().filter(|need| statuses.get(need).is_some_and(|status| !status.up)).collect()
    }

    /// Told of every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
