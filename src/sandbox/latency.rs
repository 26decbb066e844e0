//! How long AWS takes for what: two tables, one quick enough to watch, one like the real thing.

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
    /// An instance's first boot or start.
    pub pending_to_running: Duration,
    /// At most this long after a create, reads may still say NotFound.
    pub visible: Duration,
    /// From `stopping` to `stopped`.
    pub stopping: Duration,
    /// From `shutting-down` to `terminated`.
    pub shutting_down: Duration,
    /// How long a terminated instance stays to be seen.
    pub terminated_visible: Duration,
    /// From running to passed status checks.
    pub status_checks: Duration,
    /// An image's `pending`.
    pub image_available: Duration,
    /// An image's `pending` when it is copied from another Region.
    pub image_copied: Duration,
    /// Until a group acts on a new size.
    pub group_notices: Duration,
    /// Until a registered target gets its first check.
    pub registration: Duration,
    /// Until every node of a load balancer has a new rule or weight.
    pub weights_spread: Duration,
    /// How often a load balancer reports to CloudWatch: whole seconds.
    pub metrics_every: Duration,
    /// How long after that CloudWatch knows it.
    pub metrics_late: Duration,
    /// How often a machine reports its CPU to CloudWatch (basic monitoring): whole seconds.
    pub cpu_every: Duration,
    /// How long a deleted group is still listed.
    pub group_deleted: Duration,
    /// A DynamoDB table's `CREATING`.
    pub table_active: Duration,
    /// How long a reading call takes.
    pub read: Duration,
    /// How long a changing call takes.
    pub write: Duration,
    /// How long `RunInstances` and `CreateImage` take.
    pub launch: Duration,
    /// How long a DynamoDB call takes.
    pub item: Duration,
    /// How often states move on.
    pub tick: Duration,
    /// Divides configured spans AWS itself waits (health check intervals, deregistration delay): 1 in lifelike.
    pub compression: u32,
}

impl Latencies {
    /// The table for a speed. Lifelike numbers are typical ones (medians), as far as they are published or were measured by others.
    pub(super) fn of(speed: Speed) -> Self {
        let ms = Duration::from_millis;
        match speed {
            Speed::Quick => Self {
                pending_to_running: ms(500),
                visible: ms(150),
                stopping: ms(400),
                shutting_down: ms(400),
                terminated_visible: ms(120_000),
                status_checks: ms(1_000),
                image_available: ms(1_000),
                image_copied: ms(2_000),
                group_notices: ms(200),
                registration: ms(200),
                weights_spread: ms(500),
                metrics_every: ms(1_000),
                metrics_late: ms(1_000),
                cpu_every: ms(1_000),
                group_deleted: ms(300),
                table_active: ms(300),
                read: ms(2),
                write: ms(5),
                launch: ms(20),
                item: ms(1),
                tick: ms(100),
                compression: 10,
            },
            Speed::Lifelike => Self {
                pending_to_running: ms(7_000),
                visible: ms(2_000),
                stopping: ms(30_000),
                shutting_down: ms(30_000),
                terminated_visible: ms(3_000_000),
                status_checks: ms(90_000),
                image_available: ms(150_000),
                image_copied: ms(360_000),
                group_notices: ms(2_000),
                registration: ms(5_000),
                weights_spread: ms(2_000),
                metrics_every: ms(60_000),
                metrics_late: ms(60_000),
                cpu_every: ms(300_000),
                group_deleted: ms(20_000),
                table_active: ms(8_000),
                read: ms(60),
                write: ms(60),
                launch: ms(1_500),
                item: ms(5),
                tick: ms(1_000),
                compression: 1,
            },
        }
    }

    /// How long one call takes.
    pub(super) fn call(&self, service: super::door::Service, action: &str) -> Duration {
        match action {
            _ if service == super::door::Service::Dynamodb => self.item,
            "RunInstances" | "CreateImage" => self.launch,
            _ if super::door::mutating(action) => self.write,
            _ => self.read,
        }
    }
}
