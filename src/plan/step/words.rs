//! Steps as people read them.

use std::fmt;

use super::{BoxGroup, HookRun, Judging, ReleaseRun, Step};
use crate::model::{FleetKey, Seconds, ServiceName, instances};

impl fmt::Display for Step {
    /// One line, as a reviewer would read it aloud.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateLaunchTemplate { fleet, template } => {
                write!(f, "template {fleet} from {}, {}", template.image, template.instance_type)
            }
            Self::CreateTargetGroup { fleet, spec } => write!(f, "target group {fleet}, checked at port {} {}", spec.port, spec.path),
            Self::CreateTestRule { fleet } => write!(f, "test rule for {fleet}, which no visitor can match"),
            Self::IdleInRoute { rule, before, after } | Self::CutOverTraffic { rule, before, after, .. } => {
                write!(f, "route {rule}: {before} -> {after}")
            }
            Self::AwaitHealthy { fleet, count, within, stable_for: Seconds(0) } => {
                write!(f, "{count} of {count} healthy in {fleet} at the load balancer now, or within {within}")
            }
            Self::AwaitHealthy { fleet, count, within, stable_for } => {
                write!(f, "{count} of {count} healthy in {fleet} at the load balancer for {stable_for}, within {within}")
            }
            Self::CompareCapacity { .. } | Self::RunHook(_) | Self::RunReleaseCommand(_) => of_proof(self, f),
            Self::WatchFleet { fleet, count, span, judging } => watched(fleet, *count, *span, judging, f),
            Self::AwaitSpot { .. }
            | Self::CoverSpot { .. }
            | Self::LaunchFleet { .. }
            | Self::SetActive { .. }
            | Self::PinSize { .. }
            | Self::SettleFleet { .. }
            | Self::SetScaling { .. }
            | Self::ResizeFleet { .. }
            | Self::ScaleFleet { .. } => of_group(self, f),
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
            Self::DeleteImage { .. } | Self::CopyImage { .. } | Self::FetchImage { .. } | Self::ShareImage { .. } => of_image(self, f),
            Self::CreateBoxTargetGroups { .. }
            | Self::CreateBoxRules { .. }
            | Self::LaunchBox { .. }
            | Self::RegisterBox { .. }
            | Self::AwaitBox { .. }
            | Self::DeleteBoxRules { .. }
            | Self::TerminateBox { .. }
            | Self::DeleteBoxTargetGroups { .. }
            | Self::ExtendBox { .. }
            | Self::ApproveBox { .. } => of_box(self, f),
        }
    }
}

/// The same for what becomes of an image that is there.
fn of_image(step: &Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match step {
        Step::DeleteImage { image, name } => write!(f, "remove {name} ({image}) and its snapshots"),
        Step::CopyImage { name, region, within, .. } => write!(f, "copy {name} to {region}, within {within}"),
        Step::FetchImage { name, owner, region, within, .. } => write!(f, "copy {name} from account {owner}, {region}, within {within}"),
        Step::ShareImage { name, account, .. } => write!(f, "let account {account} launch and copy {name}"),
        // Every other step has its words elsewhere.
        _ => Ok(()),
    }
}

/// The same for the steps about the groups of a fleet.
fn of_group(step: &Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match step {
        Step::AwaitSpot { fleet, within } => write!(f, "spot instances of {fleet}, or the news that there are none, within {within}"),
        Step::CoverSpot { fleet, share } => {
            write!(f, "spot that {fleet} does not get ({} wanted) is covered with on-demand instances", share.spot)
        }
        Step::LaunchFleet { fleet, kind, types, size, max, held } => {
            let types = if types.is_empty() { String::new() } else { format!(" of {}", types.join(" or ")) };
            write!(f, "fleet {}, {}{types} (at most {max}){}", fleet.group(*kind), instances(*size), if *held { ", held" } else { "" })
        }
        Step::SetActive { fleet, active: true } => write!(f, "make {fleet} active"),
        Step::SetActive { fleet, active: false } => write!(f, "make {fleet} inactive: it finishes what it has, and rests"),
        Step::PinSize { fleet, kind, min_before, size } => {
            write!(f, "pin {} at {size} (smallest size was {min_before})", fleet.group(*kind))
        }
        Step::SettleFleet { fleet, kind, min, max } => {
            write!(f, "{} heals by the load balancer's checks, {min} to {max} instances", fleet.group(*kind))
        }
        Step::SetScaling { fleet, kind, policies, .. } if policies.is_empty() => {
            write!(f, "{} follows no scaling policy", fleet.group(*kind))
        }
        Step::SetScaling { fleet, kind, policies, .. } => {
            let policies: Vec<String> = policies.iter().map(ToString::to_string).collect();
            write!(f, "{} follows {}", fleet.group(*kind), policies.join(" and "))
        }
        Step::ResizeFleet { fleet, kind, size_before, size: 0, .. } => {
            let end = if *size_before == 1 { "ends" } else { "end" };
            write!(f, "put {} to sleep: its {} {end}, the rest of it stays", fleet.group(*kind), instances(*size_before))
        }
        Step::ResizeFleet { fleet, kind, size_before, size, max } => {
            write!(f, "resize {} from {size_before} to {size} (at most {max})", fleet.group(*kind))
        }
        Step::ScaleFleet { fleet, kind, size_before, size, .. } => {
            write!(f, "{} from {} to {size}", fleet.group(*kind), instances(*size_before))
        }
        // Every other step has its words above.
        _ => Ok(()),
    }
}

/// The same for what proves a candidate, and what the company itself runs.
fn of_proof(step: &Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match step {
        Step::CompareCapacity { candidate, live, share: 100 } => write!(f, "{candidate} has the vCPUs and memory of {live}"),
        Step::CompareCapacity { candidate, live, share } => write!(f, "{candidate} has {share} % of the vCPUs and memory of {live}"),
        Step::RunHook(HookRun { hook, command, .. }) => write!(f, "{hook} hook here: {command}"),
        Step::RunReleaseCommand(ReleaseRun { fleet, command }) => write!(f, "once on one instance of {fleet}: {command}"),
        // Every other step has its words elsewhere.
        _ => Ok(()),
    }
}

/// How long a fleet with visitors is watched, and by what.
fn watched(fleet: &FleetKey, count: u32, span: Seconds, judging: &Judging, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{fleet} stays healthy, {count} of {count}, for {span}")?;
    if judging.percent < 100 {
        write!(f, " at {} %", judging.percent)?;
    }
    if judging.alarms.is_empty() {
        return Ok(());
    }
    write!(f, "; alarms {}", judging.alarms.join(", "))
}

/// The same for the steps of review boxes.
fn of_box(step: &Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match step {
        Step::CreateBoxTargetGroups { name, groups } => {
            let service = |group: &BoxGroup| group.service.as_ref().map_or("its agent", ServiceName::as_str).to_string();
            write!(f, "target groups of {name} for {}", groups.iter().map(service).collect::<Vec<_>>().join(", "))
        }
        Step::CreateBoxRules { rules, .. } => {
            let mut hosts: Vec<&str> = rules.iter().map(|rule| rule.host.as_str()).collect();
            hosts.sort_unstable();
            hosts.dedup();
            write!(f, "{} rules for {}", rules.len(), hosts.join(", "))
        }
        Step::LaunchBox { name, launch } => {
            write!(f, "box {name} from {}, {}, until {}", launch.image, launch.instance_type, launch.expires)
        }
        Step::RegisterBox { name, target_groups } => write!(f, "register {name} in its {} target groups", target_groups.len()),
        Step::AwaitBox { name, within, .. } => write!(f, "everything on {name} healthy at the load balancer, within {within}"),
        Step::DeleteBoxRules { name, .. } => write!(f, "delete the rules of {name}"),
        Step::TerminateBox { name } => write!(f, "terminate {name}"),
        Step::DeleteBoxTargetGroups { name, target_groups } => write!(f, "delete the {} target groups of {name}", target_groups.len()),
        Step::ExtendBox { name, from, until } => write!(f, "{name} lives until {until} (it was {from})"),
        Step::ApproveBox { name, approval } => write!(f, "{name} is approved by {}", approval.who),
        // Every other step has its words above.
        _ => Ok(()),
    }
}
