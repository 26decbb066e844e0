//! The instances of one service running one release.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::capacity::{CapacityKind, Share};
use super::{AppName, EnvironmentName, GroupPolicy, ReleaseNumber, ServiceName, resource_name, short_name};

/// The identity of a fleet: `web-r42`. Every resource of it is named from this, so a repeated create collides with itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FleetKey {
    /// The service.
    pub service: ServiceName,
    /// The release.
    pub release: ReleaseNumber,
}

impl FleetKey {
    /// Name of its launch template and of its on-demand group: `shop-production-web-r42`.
    pub fn name(&self, app: &AppName, environment: &EnvironmentName) -> String {
        resource_name(&[app.as_str(), environment.as_str(), self.service.as_str(), &self.release.to_string()])
    }

    /// Name of its Auto Scaling group of this kind: `shop-production-web-r42`, `shop-production-web-r42-spot`.
    pub fn group_name(&self, app: &AppName, environment: &EnvironmentName, kind: CapacityKind) -> String {
        format!("{}{}", self.name(app, environment), kind.suffix())
    }

    /// Its group of this kind, for people: `web-r42`, `web-r42-spot`.
    pub fn group(&self, kind: CapacityKind) -> String {
        format!("{self}{}", kind.suffix())
    }

    /// Name of its target group, at most 32 characters.
    pub fn target_group_name(&self, app: &AppName, environment: &EnvironmentName) -> String {
        short_name(&self.name(app, environment))
    }
}

impl fmt::Display for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.service, self.release))
    }
}

/// A fleet as observed: each part may be missing, because a deploy may have been killed between any two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// Which.
    pub key: FleetKey,
    /// Its Auto Scaling groups, one per kind of capacity.
    pub groups: BTreeMap<CapacityKind, Group>,
    /// Its target group with the load balancer's verdicts.
    pub target_group: Option<TargetGroup>,
    /// Its launch template.
    pub template: Option<Template>,
    /// ARN of its test rule (a secret header leads to it), if there is one.
    pub test_rule: Option<String>,
}

impl Fleet {
    /// Instances the load balancer calls healthy.
    pub fn healthy(&self) -> usize {
        let targets = self.target_group.iter().flat_map(|group| &group.targets);
        targets.filter(|target| target.state == TargetState::Healthy).count()
    }

    /// Those of one kind.
    pub fn healthy_of(&self, kind: CapacityKind) -> usize {
        let member = |id: &str| self.groups.get(&kind).is_some_and(|group| group.instances.iter().any(|member| member.id == id));
        let targets = self.target_group.iter().flat_map(|group| &group.targets);
        targets.filter(|target| target.state == TargetState::Healthy && member(&target.instance)).count()
    }

    /// Its group of this kind, unless it is on its way out.
    pub fn group(&self, kind: CapacityKind) -> Option<&Group> {
        self.groups.get(&kind).filter(|group| !group.deleting)
    }

    /// Its groups that are not on their way out.
    pub fn standing(&self) -> impl Iterator<Item = (CapacityKind, &Group)> {
        self.groups.iter().filter(|(_, group)| !group.deleting).map(|(kind, group)| (*kind, group))
    }

    /// Of a worker that is held until it is made active: whether it works, over all its groups. None if one of them works from its first
    /// moment.
    pub fn activity(&self) -> Option<Activity> {
        let all: Vec<Activity> = self.standing().map(|(_, group)| group.activity).collect::<Option<_>>()?;
        let (first, rest) = all.split_first()?;
        Some(if rest.iter().all(|other| other == first) { *first } else { Activity::Mixed })
    }

    /// Instances it should have, over all its groups.
    pub fn desired(&self) -> u32 {
        self.groups.values().map(|group| group.desired).sum()
    }

    /// What each of its groups should have.
    pub fn share(&self) -> Share {
        let of = |kind| self.group(kind).map_or(0, |group| group.desired);
        Share { on_demand: of(CapacityKind::OnDemand), spot: of(CapacityKind::Spot) }
    }
}

/// An Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Smallest size.
    pub min: u32,
    /// Largest size.
    pub max: u32,
    /// Wanted size.
    pub desired: u32,
    /// Being deleted.
    pub deleting: bool,
    /// Its instances.
    pub instances: Vec<GroupInstance>,
    /// Of a worker that is held until it is made active: whether it works, by its tags. None for anything that works from its first
    /// moment.
    pub activity: Option<Activity>,
    /// Its scaling policies, whoever made them.
    pub policies: Vec<GroupPolicy>,
}

/// Whether a worker's fleet works, by the tags of its group (which new instances get) and of its instances (which their agents read).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// It works.
    Active,
    /// It is there, and does not work.
    Held,
    /// Group and instances disagree: a hand-over was cut short, or somebody tagged by hand.
    Mixed,
}

impl Activity {
    /// What a group's tag and those of its instances say together.
    pub fn of<'a>(group: &str, instances: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let active = group == super::tag::YES;
        match instances.into_iter().all(|tag| tag.is_some_and(|tag| (tag == super::tag::YES) == active)) {
            false => Self::Mixed,
            true if active => Self::Active,
            true => Self::Held,
        }
    }

    /// Some of it works.
    pub fn works(self) -> bool {
        self != Self::Held
    }
}

impl Group {
    /// Instances that are there or on their way, without those that leave.
    pub fn present(&self) -> u32 {
        u32::try_from(self.instances.iter().filter(|instance| !instance.leaves()).count()).unwrap_or(u32::MAX)
    }
}

/// An instance as its group sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInstance {
    /// EC2 id.
    pub id: String,
    /// `InService`, `Pending`, `Terminating:Wait`, … as Auto Scaling spells them.
    pub lifecycle: String,
    /// The group's own opinion of its health.
    pub healthy: bool,
}

impl GroupInstance {
    /// On its way out.
    pub fn leaves(&self) -> bool {
        self.lifecycle.starts_with("Terminat") || self.lifecycle.starts_with("Detach")
    }

    /// Counts towards the group's size.
    pub fn in_service(&self) -> bool {
        self.lifecycle == "InService"
    }
}

/// A target group with the load balancer's verdict on each target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroup {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Targets.
    pub targets: Vec<TargetHealth>,
}

/// The load balancer's verdict on one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHealth {
    /// EC2 id.
    pub instance: String,
    /// The state.
    pub state: TargetState,
    /// Its reason code, such as `Target.ResponseCodeMismatch`; empty if healthy.
    pub reason: String,
    /// The description for people; empty if none.
    pub description: String,
}

/// `TargetHealthStateEnum` (*Elastic Load Balancing API Reference v2*, TargetHealth).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// Registered, first checks running.
    Initial,
    /// Passed; gets visitors if its group has weight.
    Healthy,
    /// Failed.
    Unhealthy,
    /// Not checked: no rule names the group, or the instance is stopped.
    Unused,
    /// Leaving; gets no new requests.
    Draining,
    /// No verdict can be had.
    Unavailable,
}

impl fmt::Display for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unused => "unused",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
        })
    }
}

/// A launch template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// EC2 id.
    pub id: String,
    /// Name.
    pub name: String,
}
