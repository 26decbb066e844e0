//! One machine: how long it is up, whether it is on, what it has done.

use std::time::Duration;

use tokio::time::Instant;

use super::{Play, Scene};

/// Processor time a request takes, unless the script says otherwise.
const COST: Duration = Duration::from_millis(5);

impl Scene {
    /// A request has been answered.
    pub(super) fn work(&mut self, port: u16) {
        if let Play::Services { services, .. } = &self.play {
            let service = services.values().find(|service| service.port == Some(port));
            let cost = service.and_then(|service| service.script().strip_prefix("cpu=")?.parse().ok()).map_or(COST, Duration::from_millis);
            self.worked += cost;
        }
    }

    pub(super) fn uptime(&self) -> Duration {
        let up = self.stopped.unwrap_or_else(Instant::now).saturating_duration_since(self.started);
        self.fuse.map_or(up, |fuse| up.min(fuse))
    }

    pub(super) fn on(&self) -> bool {
        self.stopped.is_none() && self.fuse.is_none_or(|fuse| self.started.elapsed() < fuse)
    }
}
