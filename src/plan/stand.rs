//! Where a step stands in a world: what it left of what was before, and what it made of it. Nothing here knows the journal.
//!
//! Every step of the closed list says it; what the world does not show is said to be unseen, and then the journal is believed.

use crate::model::{
    Activity, CapacityKind, Fleet, FleetKey, Group, ImageState, Provenance, ReleaseNumber, Route, RuleAction, RuleKey, ScalingPolicy,
    ServiceName, Share, Weights, World, follows,
};

use super::setup::same;
use super::{Plan, Step};

/// Steps whose doing nothing shows that is looked at: they only look, or they are about things of a command of their own.
macro_rules! unseen {
    () => {
        Step::AwaitHealthy { .. }
            | Step::AwaitSpot { .. }
            | Step::CompareCapacity { .. }
            | Step::RunHook(_)
            | Step::RunReleaseCommand(_)
            | Step::WatchFleet { .. }
            | Step::LaunchBuilder { .. }
            | Step::AwaitProvision { .. }
            | Step::StopBuilder { .. }
            | Step::TerminateBuilder { .. }
            | Step::LaunchProof { .. }
            | Step::AwaitProof { .. }
            | Step::TerminateProof { .. }
            | Step::CleanBox { .. }
            | Step::CopyImage { .. }
            | Step::FetchImage { .. }
            | Step::ShareImage { .. }
            | Step::CreateBoxTargetGroups { .. }
            | Step::CreateBoxRules { .. }
            | Step::LaunchBox { .. }
            | Step::RegisterBox { .. }
            | Step::AwaitBox { .. }
            | Step::DeleteBoxRules { .. }
            | Step::TerminateBox { .. }
            | Step::DeleteBoxTargetGroups { .. }
            | Step::ExtendBox { .. }
            | Step::ApproveBox { .. }
    };
}

/// What the world shows of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// As if it had never run.
    Before,
    /// As if it had run to its end.
    After,
    /// Begun, and not through: how far.
    Half(String),
    /// The world does not show it (it changes nothing, or nothing that is looked at).
    Unseen,
    /// Neither before nor after: what is there instead.
    Elsewhere(String),
}

/// What a step writes to. A later step that writes to the same thing hides what an earlier one did.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing<'a> {
    Route(&'a RuleKey),
    Template(&'a FleetKey),
    TargetGroup(&'a FleetKey),
    TestRule(&'a FleetKey),
    Group(&'a FleetKey, CapacityKind),
    Activity(&'a FleetKey),
    Policies(&'a FleetKey, CapacityKind),
}

/// True if the later step writes to something the earlier one wrote to.
pub(super) fn hides(later: &Step, earlier: &Step) -> bool {
    let things = things(later);
    things.iter().any(|thing| self::things(earlier).contains(thing))
}

fn things(step: &Step) -> Vec<Thing<'_>> {
    match step {
        Step::CreateLaunchTemplate { fleet, .. } => vec![Thing::Template(fleet)],
        Step::CreateTargetGroup { fleet, .. } => vec![Thing::TargetGroup(fleet)],
        Step::CreateTestRule { fleet } => vec![Thing::TestRule(fleet)],
        Step::SetActive { fleet, .. } => vec![Thing::Activity(fleet)],
        Step::SetScaling { fleet, kind, .. } => vec![Thing::Policies(fleet, *kind)],
        Step::LaunchFleet { fleet, kind, .. }
        | Step::PinSize { fleet, kind, .. }
        | Step::SettleFleet { fleet, kind, .. }
        | Step::ResizeFleet { fleet, kind, .. }
        | Step::ScaleFleet { fleet, kind, .. } => vec![Thing::Group(fleet, *kind)],
        Step::CoverSpot { fleet, .. } => CapacityKind::ALL.map(|kind| Thing::Group(fleet, kind)).into(),
        Step::RetireFleet { fleet, .. } => {
            let groups = CapacityKind::ALL.map(|kind| Thing::Group(fleet, kind));
            [Thing::Template(fleet), Thing::TargetGroup(fleet), Thing::TestRule(fleet), Thing::Activity(fleet)]
                .into_iter()
                .chain(groups)
                .chain(CapacityKind::ALL.map(|kind| Thing::Policies(fleet, kind)))
                .collect()
        }
        Step::IdleInRoute { rule, .. } | Step::CutOverTraffic { rule, .. } | Step::LeaveRoute { rule, .. } => vec![Thing::Route(rule)],
        Step::CreateLoadBalancer
        | Step::CreateListener
        | Step::CreateRouteRule { .. }
        | Step::CaptureImage { .. }
        | Step::MarkVerified { .. }
        | Step::CaptureBox { .. }
        | Step::DeleteImage { .. }
        | unseen!() => Vec::new(),
    }
}

/// Where the step stands in this world.
pub fn stand(step: &Step, world: &World) -> Stand {
    match step {
        Step::CreateLaunchTemplate { fleet, .. } => made(fleet_of(world, fleet).is_some_and(|fleet| fleet.template.is_some())),
        Step::CreateTargetGroup { fleet, .. } => made(fleet_of(world, fleet).is_some_and(|fleet| fleet.target_group.is_some())),
        Step::CreateTestRule { fleet } => made(fleet_of(world, fleet).is_some_and(|fleet| fleet.test_rule.is_some())),
        Step::IdleInRoute { rule, before, after } => weighed(world, rule, before, after, None),
        Step::CutOverTraffic { rule, before, after, origin } => weighed(world, rule, before, after, origin.as_ref()),
        Step::LeaveRoute { rule, release } => left(world, rule, *release),
        Step::LaunchFleet { fleet, kind, size, .. } => match group(world, fleet, *kind) {
            None => Stand::Before,
            Some(group) if group.deleting => Stand::Half(format!("group {} is being deleted", fleet.group(*kind))),
            Some(group) if group.desired < *size => {
                Stand::Half(format!("{} has {} of {size} instances", fleet.group(*kind), group.desired))
            }
            Some(_) => Stand::After,
        },
        Step::PinSize { fleet, kind, min_before, size } => sized(world, fleet, *kind, |group| match group.min {
            min if min >= *size => Stand::After,
            min if min == *min_before => Stand::Before,
            min => Stand::Half(format!("the smallest size of {} is {min}", fleet.group(*kind))),
        }),
        Step::SetActive { fleet, active } => match (fleet_of(world, fleet).and_then(Fleet::activity), active) {
            (Some(Activity::Active), true) | (Some(Activity::Held), false) => Stand::After,
            (Some(Activity::Active | Activity::Held), _) => Stand::Before,
            (Some(Activity::Mixed), _) => Stand::Half(format!("some instances of {fleet} are active and others are not")),
            (None, _) => Stand::Elsewhere(format!("{fleet} is gone, or does not say whether it is active")),
        },
        Step::SetScaling { fleet, kind, before, policies } => scaled(world, fleet, *kind, before, policies),
        // The group's health type is not looked at.
        Step::SettleFleet { fleet, kind, .. } => sized(world, fleet, *kind, |_| Stand::Unseen),
        Step::ResizeFleet { fleet, kind, size_before, size, .. } | Step::ScaleFleet { fleet, kind, size_before, size, .. } => {
            sized(world, fleet, *kind, |group| resized(&fleet.group(*kind), group, *size_before, *size))
        }
        Step::CoverSpot { fleet, share } => covered(world, fleet, *share),
        Step::RetireFleet { fleet, .. } => retired(world, fleet),
        Step::CreateLoadBalancer => made(world.address.is_some()),
        Step::CreateListener => made(world.listener.is_some()),
        Step::CreateRouteRule { service, route } => ruled(world, service, route),
        Step::CaptureImage { name, .. } | Step::CaptureBox { name, .. } => captured(world, name),
        Step::MarkVerified { name } => made(verified(world, name)),
        Step::DeleteImage { image, .. } => made(!world.images.iter().any(|other| other.id == *image)),
        unseen!() => Stand::Unseen,
    }
}

/// Every step of the plan in this world, stage by stage. A step whose thing a later step has begun to change (`begun`, by stage and place)
/// is hidden by it: it is after, and the later one is looked at.
pub(super) fn stands(plan: &Plan, world: &World, begun: impl Fn(usize, usize) -> bool) -> Vec<Vec<Stand>> {
    let places =
        || plan.stages.iter().enumerate().flat_map(|(at, stage)| stage.steps.iter().enumerate().map(move |(n, step)| (at, n, step)));
    let hidden = |at: usize, step: &Step| places().any(|(later, n, other)| later > at && begun(later, n) && hides(other, step));
    let one = |at: usize, step: &Step| if hidden(at, step) { Stand::After } else { stand(step, world) };
    plan.stages.iter().enumerate().map(|(at, stage)| stage.steps.iter().map(|step| one(at, step)).collect()).collect()
}

fn ruled(world: &World, service: &ServiceName, route: &Route) -> Stand {
    let key = RuleKey { service: service.clone(), priority: route.priority };
    match world.rule(&key) {
        None => Stand::Before,
        Some(rule) if world.weights(&key).is_none() || !same(&rule.conditions, route) => {
            Stand::Elsewhere(format!("rule {} does something else", route.priority))
        }
        Some(_) => Stand::After,
    }
}

/// An image, by its name.
fn captured(world: &World, name: &str) -> Stand {
    match world.images.iter().find(|image| image.name == name).map(|image| image.state) {
        None => Stand::Before,
        Some(ImageState::Pending) => Stand::Half(format!("{name} is being captured")),
        Some(ImageState::Available) => Stand::After,
        Some(ImageState::Unusable) => Stand::Elsewhere(format!("{name} can never be launched")),
    }
}

fn verified(world: &World, name: &str) -> bool {
    world.images.iter().any(|image| image.name == name && image.provenance == Provenance::Verified)
}

fn made(there: bool) -> Stand {
    if there { Stand::After } else { Stand::Before }
}

fn fleet_of<'w>(world: &'w World, fleet: &FleetKey) -> Option<&'w Fleet> {
    world.fleet(&fleet.service, fleet.release)
}

fn group<'w>(world: &'w World, fleet: &FleetKey, kind: CapacityKind) -> Option<&'w Group> {
    fleet_of(world, fleet)?.groups.get(&kind)
}

/// A route's weights now, or what it does instead.
fn now(world: &World, rule: &RuleKey) -> Result<Weights, String> {
    let Some(found) = world.rule(rule) else { return Err(format!("there is no rule {} for {}", rule.priority, rule.service)) };
    world.weights(rule).ok_or_else(|| match &found.action {
        RuleAction::Foreign(what) => format!("route {rule} was changed outside adstage: {what}"),
        _ => format!("route {rule} forwards to a target group that is no fleet of this environment"),
    })
}

/// Undoing a later shift leads to where the first one began.
fn weighed(world: &World, rule: &RuleKey, before: &Weights, after: &Weights, origin: Option<&Weights>) -> Stand {
    match now(world, rule) {
        Err(instead) => Stand::Elsewhere(instead),
        Ok(weights) if weights == *after => Stand::After,
        Ok(weights) if weights == *before || Some(&weights) == origin => Stand::Before,
        Ok(weights) => Stand::Elsewhere(format!("route {rule} serves {weights}; expected {before} or {after}")),
    }
}

fn left(world: &World, rule: &RuleKey, release: ReleaseNumber) -> Stand {
    match now(world, rule) {
        Err(instead) => Stand::Elsewhere(instead),
        Ok(weights) => match weights.0.get(&release) {
            None => Stand::After,
            Some(0) => Stand::Before,
            Some(_) => Stand::Elsewhere(format!("{release} has visitors on route {rule}: {weights}")),
        },
    }
}

/// A step that only changes a group needs one to be there.
fn sized(world: &World, fleet: &FleetKey, kind: CapacityKind, judge: impl FnOnce(&Group) -> Stand) -> Stand {
    match group(world, fleet, kind) {
        None => Stand::Elsewhere(format!("group {} is gone", fleet.group(kind))),
        Some(group) if group.deleting => Stand::Elsewhere(format!("group {} is being deleted", fleet.group(kind))),
        Some(group) => judge(group),
    }
}

/// A group that is gone follows nothing.
fn scaled(world: &World, fleet: &FleetKey, kind: CapacityKind, before: &[ScalingPolicy], policies: &[ScalingPolicy]) -> Stand {
    let gone = group(world, fleet, kind).is_none_or(|group| group.deleting);
    if gone && policies.is_empty() {
        return Stand::After;
    }
    sized(world, fleet, kind, |group| match () {
        () if follows(&group.policies, policies) => Stand::After,
        () if follows(&group.policies, before) => Stand::Before,
        () => Stand::Half(format!("{} has some of its scaling policies", fleet.group(kind))),
    })
}

fn resized(fleet: &str, group: &Group, before: u32, size: u32) -> Stand {
    let there = if size >= before { group.desired >= size } else { group.desired <= size };
    match group.desired {
        _ if there => Stand::After,
        desired if desired == before => Stand::Before,
        desired => Stand::Half(format!("{fleet} has {desired} instances")),
    }
}

/// Where nothing had to be covered, the groups do not show whether that was looked at.
fn covered(world: &World, fleet: &FleetKey, planned: Share) -> Stand {
    let Some(now) = fleet_of(world, fleet).map(Fleet::share) else { return Stand::Elsewhere(format!("the groups of {fleet} are gone")) };
    match now {
        _ if now.on_demand <= planned.on_demand => Stand::Unseen,
        _ if now.total() == planned.total() => Stand::After,
        _ => Stand::Half(format!("{fleet} has {now}")),
    }
}

fn retired(world: &World, fleet: &FleetKey) -> Stand {
    let Some(found) = fleet_of(world, fleet) else { return Stand::After };
    let whole = found.template.is_some() && found.target_group.is_some() && found.desired() > 0;
    if whole { Stand::Before } else { Stand::Half(format!("parts of {fleet} are there still")) }
}
