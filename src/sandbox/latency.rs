//! Under construction.

use std::time::Duration;

/// How fast AWS's side moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Boot in about a second: the demo and stage tests.
    Quick,
    /// As AWS does (virtual time).
    Lifelike,
}

/// How long AWS takes for what.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    pub pending_to_running: Duration,
    pub visible: Duration,
    pub stopping: Duration,
    pub image_available: Duration,
    pub group_notices: Duration,
    pub registration: Duration,
    pub weights_spread: Duration,
    pub group_deleted: Duration,
    /// Divides configured spans AWS itself waits (health check intervals, deregistration delay): 1 in lifelike.
    pub compression: u32,
}
