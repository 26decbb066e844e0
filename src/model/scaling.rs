//! How the groups of a fleet grow and shrink by themselves: what a service asks for, and what a group has.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Seconds;

/// What a service wants its groups to follow while it is live. Part of its release, so a rollback brings the old one back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaling {
    /// Mean CPU of a group's instances to keep, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Requests per instance and minute to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// The smallest size of the fleet.
    pub min: u32,
    /// How long a new instance takes until its numbers count.
    pub warmup: Seconds,
}

impl Scaling {
    /// The policies each of its groups gets. Both kinds of capacity get the same ones: instances of either kind get the same share of the
    /// visitors, and a policy changes a group in proportion to its size, so the two grow and shrink together and keep their shares; what
    /// spot cannot deliver raises the load of all, and the on-demand group grows for it.
    pub fn policies(&self) -> Vec<ScalingPolicy> {
        let policy = |metric, target: Option<u32>| target.map(|target| ScalingPolicy { metric, target, warmup: self.warmup });
        [policy(ScalingMetric::Cpu, self.cpu), policy(ScalingMetric::Requests, self.requests)].into_iter().flatten().collect()
    }
}

/// A target tracking policy as adstage puts it on a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingPolicy {
    /// What it follows.
    pub metric: ScalingMetric,
    /// What it keeps: percent, or requests per instance and minute.
    pub target: u32,
    /// How long a new instance takes until its numbers count.
    pub warmup: Seconds,
}

/// What a policy follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScalingMetric {
    /// Mean CPU of the group's instances.
    Cpu,
    /// Requests per target of the fleet's target group.
    Requests,
}

impl ScalingMetric {
    /// Name of adstage's own policy for it: one per group, so putting it again is the same policy.
    pub fn policy_name(self) -> &'static str {
        match self {
            Self::Cpu => "adstage-cpu",
            Self::Requests => "adstage-requests",
        }
    }

    /// The metric of a policy of adstage's own; none for anybody else's.
    pub fn of_policy(name: &str) -> Option<Self> {
        [Self::Cpu, Self::Requests].into_iter().find(|metric| metric.policy_name() == name)
    }
}

impl fmt::Display for ScalingPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.metric {
            ScalingMetric::Cpu => write!(f, "{} % CPU", self.target),
            ScalingMetric::Requests => write!(f, "{} requests a minute per instance", self.target),
        }
    }
}

/// A policy as it is on a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPolicy {
    /// Its name.
    pub name: String,
    /// What it is, if it is one of those adstage makes, switched on; none for what somebody else made or changed.
    pub policy: Option<ScalingPolicy>,
}

impl GroupPolicy {
    /// By its name it is adstage's own, whatever it says.
    pub fn is_ours(&self) -> bool {
        ScalingMetric::of_policy(&self.name).is_some()
    }
}

/// The group has exactly these policies of adstage's own. What others put there is theirs.
pub fn follows(group: &[GroupPolicy], wanted: &[ScalingPolicy]) -> bool {
    let ours: Vec<&GroupPolicy> = group.iter().filter(|found| found.is_ours()).collect();
    ours.len() == wanted.len() && wanted.iter().all(|wanted| ours.iter().any(|found| found.policy.as_ref() == Some(wanted)))
}
