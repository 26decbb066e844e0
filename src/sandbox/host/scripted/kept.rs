//! Scripted machines at one moment, and hosts that go on from there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Scene, Scripted};

/// A host at one moment: how long ago each machine was started, and stopped.
pub(in crate::sandbox) struct Kept {
    boot: Duration,
    provision: Duration,
    machines: Vec<(String, Scene, Duration, Option<Duration>)>,
    images: BTreeMap<String, ()>,
    next_address: u32,
}

impl Scripted {
    /// Every machine and image as it is now.
    pub fn keep(&self) -> Kept {
        let now = Instant::now();
        let age = |at: Instant| now.saturating_duration_since(at);
        let machine = |(id, scene): (&String, &Scene)| (id.clone(), scene.clone(), age(scene.started), scene.stopped.map(age));
        Kept {
            boot: self.boot,
            provision: self.provision,
            machines: self.machines().iter().map(machine).collect(),
            images: self.images.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            next_address: self.next_address.load(Ordering::Relaxed),
        }
    }

    /// A host that goes on from there.
    pub fn again(kept: &Kept) -> Self {
        let now = Instant::now();
        let machine = |(id, scene, started, stopped): &(String, Scene, Duration, Option<Duration>)| {
            let scene = Scene { started: now - *started, stopped: stopped.map(|age| now - age), ..scene.clone() };
            (id.clone(), scene)
        };
        Self {
            boot: kept.boot,
            provision: kept.provision,
            machines: Mutex::new(kept.machines.iter().map(machine).collect()),
            images: Mutex::new(kept.images.clone()),
            next_address: AtomicU32::new(kept.next_address),
            visits: AtomicU32::default(),
            engine: OnceLock::new(),
        }
    }
}
