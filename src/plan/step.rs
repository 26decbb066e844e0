//! The closed list of everything adstage may ever do to an account. `steps/` has one file per variant.

mod nature;
mod parts;
mod words;

pub use parts::{BoxGroup, BoxLaunch, BoxRule, HookRun, Judging, ReleaseRun, TargetGroupSpec, TemplateSpec};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    Approval, BoxName, Builder, CapacityKind, FleetKey, ImageId, ReleaseNumber, Route, RuleKey, ScalingPolicy, Seconds, ServiceName, Share,
    Weights,
};

/// Plans from before there was a choice.
fn all_of_it() -> u32 {
    100
}

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
    /// Create the fleet's Auto Scaling group of one kind. Undo: size to 0, drained, deleted.
    LaunchFleet {
        /// Which.
        fleet: FleetKey,
        /// Which of its groups.
        #[serde(default, skip_serializing_if = "CapacityKind::is_on_demand")]
        kind: CapacityKind,
        /// Instance types it may choose from, the template's own first; none if there is only that.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        types: Vec<String>,
        /// Instances wanted: what is live now, never a configured minimum.
        size: u32,
        /// The most it may grow to.
        max: u32,
        /// A worker that is not to work before it is made active.
        #[serde(default, skip_serializing_if = "is_false")]
        held: bool,
    },
    /// Make a worker's fleet active, or hold it: by the tag of its group, which new instances get, then by those of its instances.
    /// Undo: the other way round.
    SetActive {
        /// Which.
        fleet: FleetKey,
        /// To work, or to finish what it has and rest.
        active: bool,
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
    /// Wait until the spot instances are there, or until it shows that they cannot be had now. Changes nothing.
    AwaitSpot {
        /// Which.
        fleet: FleetKey,
        /// Deadline; what is missing then cannot be had.
        within: Seconds,
    },
    /// Make up for spot instances a fleet without visitors did not get, with on-demand ones. Undo: on-demand as planned.
    CoverSpot {
        /// Which.
        fleet: FleetKey,
        /// What it was to have.
        share: Share,
    },
    /// Prove that the candidate has enough of the vCPUs and memory of the live fleet. Changes nothing.
    CompareCapacity {
        /// Candidate.
        candidate: FleetKey,
        /// Live.
        live: FleetKey,
        /// The least share of live's that it must have, in percent.
        #[serde(default = "all_of_it")]
        share: u32,
    },
    /// Run a hook on the operator's machine. Undo: none; it changes nothing adstage knows of.
    RunHook(HookRun),
    /// Run the release's own command, once, on one instance of the candidate. Undo: none; what it does is the company's, and it must bear
    /// that the release before it goes on serving.
    RunReleaseCommand(ReleaseRun),
    /// Pin the live fleet at its size (min = desired) so that losing its traffic does not shrink it. Undo: the smallest size as it was.
    PinSize {
        /// Which.
        fleet: FleetKey,
        /// Which of its groups.
        #[serde(default, skip_serializing_if = "CapacityKind::is_on_demand")]
        kind: CapacityKind,
        /// Smallest size now.
        min_before: u32,
        /// The size to pin at.
        size: u32,
    },
    /// Move visitors: one weight write. Undo: one write, to where they were before the first of them moved.
    CutOverTraffic {
        /// The route.
        rule: RuleKey,
        /// Weights now.
        before: Weights,
        /// Weights after.
        after: Weights,
        /// Weights before the first shift, if this is a later one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Weights>,
    },
    /// Observe the fleet that now has visitors. Changes nothing.
    WatchFleet {
        /// Which.
        fleet: FleetKey,
        /// Instances that must stay healthy.
        count: u32,
        /// For how long.
        span: Seconds,
        /// What else it is held to.
        #[serde(default)]
        judging: Judging,
    },
    /// Let the group replace what the load balancer calls unhealthy, and free its size again. Undo: health type `EC2`.
    SettleFleet {
        /// Which.
        fleet: FleetKey,
        /// Which of its groups.
        #[serde(default, skip_serializing_if = "CapacityKind::is_on_demand")]
        kind: CapacityKind,
        /// Smallest size from now on.
        min: u32,
        /// Largest size.
        max: u32,
    },
    /// Let a group follow exactly these scaling policies; what others put on it is theirs. Undo: those it followed.
    SetScaling {
        /// Which.
        fleet: FleetKey,
        /// Which of its groups.
        #[serde(default, skip_serializing_if = "CapacityKind::is_on_demand")]
        kind: CapacityKind,
        /// What it follows now.
        before: Vec<ScalingPolicy>,
        /// What it is to follow; nothing if it has no visitors.
        policies: Vec<ScalingPolicy>,
    },
    /// Bring a warm fleet to the size the live one has now, before traffic moves. Undo: its size as it was.
    ResizeFleet {
        /// Which.
        fleet: FleetKey,
        /// Which of its groups.
        #[serde(default, skip_serializing_if = "CapacityKind::is_on_demand")]
        kind: CapacityKind,
        /// Size now.
        size_before: u32,
        /// Size wanted.
        size: u32,
        /// Largest size.
        max: u32,
    },
    /// Bring a group of the fleet that serves to another size. Undo: its size as it was.
    ScaleFleet {
        /// Which.
        fleet: FleetKey,
        /// Which of its groups.
        #[serde(default, skip_serializing_if = "CapacityKind::is_on_demand")]
        kind: CapacityKind,
        /// Size now.
        size_before: u32,
        /// Size wanted.
        size: u32,
        /// Largest size.
        max: u32,
        /// So many instances of the fleet must be healthy without those that leave.
        keep: u32,
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
    /// Copy an image that another account shares, under its name and with its tags, and wait. Undo: remove a copy that is not through.
    FetchImage {
        /// AMI id over there.
        image: ImageId,
        /// The account that shares it.
        owner: String,
        /// Its Region.
        region: String,
        /// AMI name, there and here.
        name: String,
        /// What is written on it over there: AWS does not copy that.
        tags: BTreeMap<String, String>,
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
    /// Create a review box's target groups. Undo: delete them.
    CreateBoxTargetGroups {
        /// Whose.
        name: BoxName,
        /// Which.
        groups: Vec<BoxGroup>,
    },
    /// Create the rules that lead to a review box, one after the other in one free block of priorities. Undo: delete them.
    CreateBoxRules {
        /// Whose.
        name: BoxName,
        /// In the order in which the load balancer is to try them.
        rules: Vec<BoxRule>,
    },
    /// Launch a review box's instance. Undo: terminate it.
    LaunchBox {
        /// Which.
        name: BoxName,
        /// What it is.
        launch: BoxLaunch,
    },
    /// Register a review box in its target groups once it runs. Undo: none needed (it is terminated, and they are deleted).
    RegisterBox {
        /// Which.
        name: BoxName,
        /// Names of its target groups.
        target_groups: Vec<String>,
    },
    /// Wait until the load balancer calls a review box healthy in every target group. Changes nothing.
    AwaitBox {
        /// Which.
        name: BoxName,
        /// Names of its target groups.
        target_groups: Vec<String>,
        /// Deadline.
        within: Seconds,
    },
    /// Delete every rule that leads to a review box. No way back.
    DeleteBoxRules {
        /// Whose.
        name: BoxName,
        /// Names of its target groups.
        target_groups: Vec<String>,
    },
    /// Terminate a review box's instance. No way back.
    TerminateBox {
        /// Which.
        name: BoxName,
    },
    /// Delete a review box's target groups. No way back.
    DeleteBoxTargetGroups {
        /// Whose.
        name: BoxName,
        /// Their names.
        target_groups: Vec<String>,
    },
    /// Move the deadline of a review box. Undo: the deadline as it was.
    ExtendBox {
        /// Which.
        name: BoxName,
        /// The deadline now, RFC 3339.
        from: String,
        /// The deadline wanted, RFC 3339.
        until: String,
    },
    /// Write on a review box that somebody found it good. No way back: it says what was said.
    ApproveBox {
        /// Which.
        name: BoxName,
        /// Who, when, what.
        approval: Approval,
    },
}

fn is_false(value: &bool) -> bool {
    !value
}
