//! The closed list of everything adstage may ever do to an account. `steps/` has one file per variant.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{
    BoxName, Builder, FleetKey, HealthCheck, ImageId, ReleaseNumber, Route, RuleKey, Seconds, ServiceName, Weights, instances,
};

/// One deed: run and undo. Everything a step needs is in it or is looked up by name or tag when used; steps pass nothing to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Create the fleet's launch template. Undo: delete it.
    CreateLaunchTemplate {
        /// Whose.
        fleet: FleetKey,
        /// What it launches.
        template: TemplateSpec,
    },
    /// Create the fleet's target group. Undo: delete it.
    CreateTargetGroup {
        /// Whose.
        fleet: FleetKey,
        /// How it checks.
        spec: TargetGroupSpec,
    },
    /// Create the rule only a secret header value matches, so that the load balancer checks the fleet. Undo: delete it.
    CreateTestRule {
        /// Whose.
        fleet: FleetKey,
    },
    /// Add the fleet to its route's forward action at weight 0: checked, not served. Undo: the action as it was.
    IdleInRoute {
        /// The route.
        rule: RuleKey,
        /// Weights now.
        before: Weights,
        /// Weights with the candidate at 0.
        after: Weights,
    },
    /// Create the Auto Scaling group. Undo: size to 0, drained, deleted.
    LaunchFleet {
        /// Which.
        fleet: FleetKey,
        /// Instances wanted: what is live now, never a configured minimum.
        size: u32,
        /// The most it may grow to.
        max: u32,
    },
    /// Wait until exactly this many instances are in service and healthy at the load balancer, steadily. Stops at the first terminal
    /// evidence. Changes nothing.
    AwaitHealthy {
        /// Which.
        fleet: FleetKey,
        /// How many.
        count: u32,
        /// Deadline.
        within: Seconds,
        /// For how long without a break.
        stable_for: Seconds,
    },
    /// Prove that the candidate has at least the vCPUs and memory of the live fleet. Changes nothing.
    CompareCapacity {
        /// Candidate.
        candidate: FleetKey,
        /// Live.
        live: FleetKey,
    },
    /// Pin the live fleet at its size (min = desired) so that losing its traffic does not shrink it. Undo: the smallest size as it was.
    PinSize {
        /// Which.
        fleet: FleetKey,
        /// Smallest size now.
        min_before: u32,
        /// The size to pin at.
        size: u32,
    },
    /// Move visitors: one weight write. Undo: the same write reversed.
    CutOverTraffic {
        /// The route.
        rule: RuleKey,
        /// Weights now.
        before: Weights,
        /// Weights after.
        after: Weights,
    },
    /// Observe the fleet that now has the visitors. Changes nothing.
    WatchFleet {
        /// Which.
        fleet: FleetKey,
        /// Instances that must stay healthy.
        count: u32,
        /// For how long.
        span: Seconds,
    },
    /// Let the group replace what the load balancer calls unhealthy, and free its size again. Undo: health type `EC2`.
    SettleFleet {
        /// Which.
        fleet: FleetKey,
        /// Smallest size from now on.
        min: u32,
        /// Largest size.
        max: u32,
    },
    /// Bring a warm fleet to the size the live one has now, before traffic moves. Undo: its size as it was.
    ResizeFleet {
        /// Which.
        fleet: FleetKey,
        /// Size now.
        size_before: u32,
        /// Size wanted.
        size: u32,
        /// Largest size.
        max: u32,
    },
    /// Take a release out of a route's forward action (it has weight 0). Undo: put it back at 0.
    LeaveRoute {
        /// The route.
        rule: RuleKey,
        /// Who leaves.
        release: ReleaseNumber,
    },
    /// Remove a fleet wholly: group to 0, drained, deleted; test rule, target group, template deleted. No way back.
    RetireFleet {
        /// Which.
        fleet: FleetKey,
        /// How long its connections may take to end.
        drain: Seconds,
    },
    /// Create the load balancer. Undo: none; it serves nothing yet and setup is repeatable.
    CreateLoadBalancer,
    /// Create the listener, whose default answers 404. Undo: none.
    CreateListener,
    /// Create a route's rule, answering 503 "nothing released yet". Undo: none.
    CreateRouteRule {
        /// The service.
        service: ServiceName,
        /// Where.
        route: Route,
    },
    /// Launch the builder instance. Undo: terminate it.
    LaunchBuilder {
        /// Hash of the bake's inputs.
        bake: String,
        /// What to build from.
        builder: Builder,
        /// Commit of each repository.
        commits: BTreeMap<String, String>,
    },
    /// Wait until the builder's console says it is provisioned. Changes nothing.
    AwaitProvision {
        /// Hash of the bake's inputs.
        bake: String,
        /// Deadline.
        within: Seconds,
    },
    /// Stop the builder, so that its disk is still. Undo: none needed (it is terminated).
    StopBuilder {
        /// Hash of the bake's inputs.
        bake: String,
    },
    /// Capture the builder as an image and wait until it is available. Undo: deregister it with its snapshots.
    CaptureImage {
        /// Hash of the bake's inputs.
        bake: String,
        /// AMI name.
        name: String,
        /// Commit of each repository, for its tags.
        commits: BTreeMap<String, String>,
        /// Deadline.
        within: Seconds,
    },
    /// Terminate the builder.
    TerminateBuilder {
        /// Hash of the bake's inputs.
        bake: String,
    },
    /// Boot one instance from the image, in isolation, with every service. Undo: terminate it.
    LaunchProof {
        /// Hash of the bake's inputs.
        bake: String,
        /// AMI name.
        name: String,
        /// Instance type.
        instance_type: String,
        /// User data (JSON) naming every service.
        user_data: String,
        /// The services, for its tag.
        services: Vec<ServiceName>,
        /// It shuts itself down after this long.
        time_limit: Seconds,
    },
    /// Wait until its console says every service is up. Changes nothing, but marks the image failed if one will not come up.
    AwaitProof {
        /// Hash of the bake's inputs.
        bake: String,
        /// AMI name.
        name: String,
        /// Deadline.
        within: Seconds,
    },
    /// Mark the image verified. Undo: mark it failed.
    MarkVerified {
        /// AMI name.
        name: String,
    },
    /// Terminate the proof instance.
    TerminateProof {
        /// Hash of the bake's inputs.
        bake: String,
    },
    /// Remove from a review box what must not be on an image. No way back.
    CleanBox {
        /// Which box.
        of: BoxName,
        /// The company's own command, run before the agent's.
        clean: Option<String>,
    },
    /// Capture a review box as an image, as it runs: AWS restarts it. Undo: deregister the image with its snapshots.
    CaptureBox {
        /// Hash of the bake's inputs.
        bake: String,
        /// AMI name.
        name: String,
        /// Which box.
        of: BoxName,
        /// Its instance.
        instance: String,
        /// Tags of the image beyond those that identify it.
        tags: BTreeMap<String, String>,
        /// Deadline.
        within: Seconds,
    },
    /// Remove an image and its snapshots. No way back.
    DeleteImage {
        /// AMI id.
        image: ImageId,
        /// AMI name.
        name: String,
    },
    /// Copy an image to another Region under its name, and wait. Undo: remove a copy that is not through.
    CopyImage {
        /// AMI id.
        image: ImageId,
        /// AMI name, here and there.
        name: String,
        /// To where.
        region: String,
        /// Deadline.
        within: Seconds,
    },
    /// Let another account launch and copy an image. Undo: none; somebody may use it already.
    ShareImage {
        /// AMI id.
        image: ImageId,
        /// AMI name.
        name: String,
        /// With whom.
        account: String,
    },
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

impl Step {
    /// Undoing it brings back what was there before, or it changes nothing at all.
    pub fn has_way_back(&self) -> bool {
        !matches!(
            self,
            Self::RetireFleet { .. }
                | Self::CreateLoadBalancer
                | Self::CreateListener
                | Self::CreateRouteRule { .. }
                | Self::CleanBox { .. }
                | Self::DeleteImage { .. }
                | Self::ShareImage { .. }
        )
    }

    /// Changes nothing, so it may be stopped at any moment and there is nothing to undo.
    pub fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::AwaitHealthy { .. }
                | Self::CompareCapacity { .. }
                | Self::WatchFleet { .. }
                | Self::AwaitProvision { .. }
                | Self::AwaitProof { .. }
        )
    }

    /// The fleet it is about, if it is about one.
    pub fn fleet(&self) -> Option<&FleetKey> {
        match self {
            Self::CreateLaunchTemplate { fleet, .. }
            | Self::CreateTargetGroup { fleet, .. }
            | Self::CreateTestRule { fleet }
            | Self::LaunchFleet { fleet, .. }
            | Self::AwaitHealthy { fleet, .. }
            | Self::CompareCapacity { candidate: fleet, .. }
            | Self::PinSize { fleet, .. }
            | Self::WatchFleet { fleet, .. }
            | Self::SettleFleet { fleet, .. }
            | Self::ResizeFleet { fleet, .. }
            | Self::RetireFleet { fleet, .. } => Some(fleet),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    /// One line, as a reviewer would read it aloud.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateLaunchTemplate { fleet, template } => {
                write!(f, "template {fleet} from {}, {}", template.image, template.instance_type)
            }
            Self::CreateTargetGroup { fleet, spec } => write!(f, "target group {fleet}, checked at port {} {}", spec.port, spec.path),
            Self::CreateTestRule { fleet } => write!(f, "test rule for {fleet}, which no visitor can match"),
            Self::IdleInRoute { rule, before, after } => write!(f, "route {rule}: {before} -> {after}"),
            Self::LaunchFleet { fleet, size, max } => write!(f, "fleet {fleet}, {} (at most {max})", instances(*size)),
            Self::AwaitHealthy { fleet, count, within, stable_for: Seconds(0) } => {
                write!(f, "{count} of {count} healthy in {fleet} at the load balancer now, or within {within}")
            }
            Self::AwaitHealthy { fleet, count, within, stable_for } => {
                write!(f, "{count} of {count} healthy in {fleet} at the load balancer for {stable_for}, within {within}")
            }
            Self::CompareCapacity { candidate, live } => write!(f, "{candidate} has the vCPUs and memory of {live}"),
            Self::PinSize { fleet, min_before, size } => write!(f, "pin {fleet} at {size} (smallest size was {min_before})"),
            Self::CutOverTraffic { rule, before, after } => write!(f, "route {rule}: {before} -> {after}"),
            Self::WatchFleet { fleet, count, span } => write!(f, "{fleet} stays healthy, {count} of {count}, for {span}"),
            Self::SettleFleet { fleet, min, max } => write!(f, "{fleet} heals by the load balancer's checks, {min} to {max} instances"),
            Self::ResizeFleet { fleet, size_before, size: 0, .. } => {
                let end = if *size_before == 1 { "ends" } else { "end" };
                write!(f, "put {fleet} to sleep: its {} {end}, the rest of it stays", instances(*size_before))
            }
            Self::ResizeFleet { fleet, size_before, size, max } => write!(f, "resize {fleet} from {size_before} to {size} (at most {max})"),
            Self::LeaveRoute { rule, release } => write!(f, "take {release} out of route {rule}"),
            Self::RetireFleet { fleet, drain } => write!(f, "retire {fleet}, drained for {drain} (no way back)"),
            Self::CreateLoadBalancer => write!(f, "load balancer"),
            Self::CreateListener => write!(f, "listener"),
            Self::CreateRouteRule { service, route } => write!(f, "rule {} for {service}", route.priority),
            Self::LaunchBuilder { builder, .. } => write!(f, "builder from {}, {}", builder.base, builder.instance_type),
            Self::AwaitProvision { within, .. } => write!(f, "builder provisioned, within {within}"),
            Self::StopBuilder { .. } => write!(f, "stop the builder"),
            Self::CaptureImage { name, within, .. } => write!(f, "capture {name}, within {within}"),
            Self::TerminateBuilder { .. } => write!(f, "terminate the builder"),
            Self::LaunchProof { name, .. } => write!(f, "boot one instance from {name}, in isolation"),
            Self::AwaitProof { within, .. } => write!(f, "every service up on it, within {within}"),
            Self::MarkVerified { name } => write!(f, "mark {name} verified"),
            Self::TerminateProof { .. } => write!(f, "terminate the proof instance"),
            Self::CleanBox { of, .. } => write!(f, "clean box {of} of what must not be on an image"),
            Self::CaptureBox { of, name, within, .. } => write!(f, "capture box {of} as {name}, within {within}"),
            Self::DeleteImage { image, name } => write!(f, "remove {name} ({image}) and its snapshots"),
            Self::CopyImage { name, region, within, .. } => write!(f, "copy {name} to {region}, within {within}"),
            Self::ShareImage { name, account, .. } => write!(f, "let account {account} launch and copy {name}"),
        }
    }
}
