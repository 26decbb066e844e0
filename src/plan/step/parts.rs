//! What steps are given.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{FleetKey, HealthCheck, Hook, ImageId, Limits, OnTrouble, RepositoryName, Seconds, ServiceName, TimedCommand};

/// What a fleet with visitors is held to, besides the health of its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judging {
    /// The fleet whose visitors it gets; none for a worker and for a first release: then there is nothing to compare with.
    pub against: Option<FleetKey>,
    /// Share of the visitors it has.
    pub percent: u16,
    /// From where on it does worse.
    pub limits: Limits,
    /// CloudWatch alarms by name.
    pub alarms: Vec<String>,
    /// What becomes of trouble.
    pub on_trouble: OnTrouble,
}

impl Default for Judging {
    fn default() -> Self {
        let (limits, on_trouble) = (Limits::default(), OnTrouble::default());
        Self { against: None, percent: 100, limits, alarms: Vec::new(), on_trouble }
    }
}

/// One target group of a review box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxGroup {
    /// Its name.
    pub target_group: String,
    /// The service it leads to; none for the agent's.
    pub service: Option<ServiceName>,
    /// How it checks.
    pub spec: TargetGroupSpec,
}

/// One way to a review box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxRule {
    /// The target group it leads to.
    pub target_group: String,
    /// The host it asks for.
    pub host: String,
    /// The paths it asks for; none: any.
    pub paths: Vec<String>,
    /// It asks for the secret header too, so that the load balancer checks what no visitor is to see.
    pub test: bool,
}

/// What a review box is launched as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxLaunch {
    /// The image.
    pub image: ImageId,
    /// The type.
    pub instance_type: String,
    /// User data (JSON).
    pub user_data: String,
    /// Every service, for its tag.
    pub services: Vec<ServiceName>,
    /// Commit of each repository.
    pub commits: BTreeMap<RepositoryName, String>,
    /// The branch or tag that was asked for, where one was.
    pub asked: BTreeMap<RepositoryName, String>,
    /// When its fuse burns down, RFC 3339.
    pub expires: String,
}

/// One run of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRun {
    /// Which.
    pub hook: Hook,
    /// What is run.
    pub command: TimedCommand,
    /// What it finds in its environment, besides what is only known when it runs.
    pub facts: BTreeMap<String, String>,
    /// The candidate's fleets: each can be reached through its test rule.
    pub fleets: Vec<FleetKey>,
}

/// The one run of a release's command for one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRun {
    /// On an instance of this fleet.
    pub fleet: FleetKey,
    /// What is run there; the agent has it from the user data.
    pub command: TimedCommand,
}

/// What a fleet's launch template holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateSpec {
    /// The image.
    pub image: ImageId,
    /// The type.
    pub instance_type: String,
    /// User data before base64: the release's configuration of this service as JSON.
    pub user_data: String,
}

/// How a fleet's target group checks and drains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroupSpec {
    /// Traffic and health check port: the service's, or the agent's for a worker.
    pub port: u16,
    /// Health check path.
    pub path: String,
    /// Checks.
    pub health: HealthCheck,
    /// Deregistration delay.
    pub drain: Seconds,
}
