//! What a group is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::mixed::Mixed;
use crate::sandbox::ec2::TemplateRef;

/// Key to value and whether new instances get it.
pub(super) type Tags = BTreeMap<String, (String, bool)>;

/// Auto Scaling's state in one account and Region.
#[derive(Clone, Default)]
pub(in crate::sandbox) struct Autoscaling {
    /// By name.
    pub(super) groups: BTreeMap<String, Group>,
    /// Oldest first, those of deleted groups too.
    pub(super) activities: Vec<Activity>,
}

/// A group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub name: String,
    pub arn: String,
    /// As named by the caller; the version is resolved at each launch.
    pub template: TemplateRef,
    /// Id and name of the template, for answers.
    pub template_id: String,
    pub template_name: String,
    /// Which instance types it may choose from, and whether it buys spot.
    pub mixed: Option<Mixed>,
    /// Replaces instances that are about to be taken back.
    pub rebalance: bool,
    pub min: u32,
    pub max: u32,
    pub desired: u32,
    pub cooldown: i64,
    pub warmup: Option<i64>,
    /// (subnet, Availability Zone).
    pub subnets: Vec<(String, String)>,
    /// Target groups, by ARN.
    pub sources: BTreeMap<String, Source>,
    /// As sent: `EC2`, `ELB`, `EC2,ELB`.
    pub health_type: String,
    /// Seconds.
    pub grace: u32,
    pub protect_new: bool,
    pub deletion_protection: String,
    pub created: jiff::Timestamp,
    pub tags: Tags,
    /// Process to reason.
    pub suspended: BTreeMap<String, String>,
    /// By name.
    pub policies: BTreeMap<String, super::policies::Policy>,
    /// In the order they were launched.
    pub members: Vec<Member>,
    /// Why the size is as it is, for the next activities' causes.
    pub cause: String,
    /// When it next compares what it has with what it should have.
    pub next_look: Duration,
    /// When it next looks at its instances' health.
    pub next_health: Duration,
    /// Launches failed in a row; each waits longer than the one before.
    pub failures: u32,
    pub no_launch_before: Duration,
    /// Being deleted: gone when it is empty and this has passed.
    pub deleting: Option<Duration>,
}

/// A target group a group registers its instances with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Adding,
    Added,
    InService,
    Removing,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::Adding => "Adding",
            Self::Added => "Added",
            Self::InService => "InService",
            Self::Removing => "Removing",
        }
    }
}

/// An instance of a group.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub id: String,
    pub zone: String,
    /// Instance type.
    pub kind: String,
    pub image: String,
    pub template_id: String,
    pub template_name: String,
    pub template_version: u64,
    pub phase: Phase,
    pub healthy: bool,
    pub protected: bool,
    /// The activity that is about it now.
    pub activity: String,
    pub in_service_since: Duration,
}

/// Where an instance is in its life in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    InService,
    /// Deregistered, waiting for the deregistration delay.
    Draining,
    /// EC2 is ending it.
    Ending,
}

impl Phase {
    /// `LifecycleState`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InService => "InService",
            Self::Draining | Self::Ending => "Terminating",
        }
    }

    /// Counts towards the group's size.
    pub fn counts(self) -> bool {
        matches!(self, Self::Pending | Self::InService)
    }
}

/// An entry of the history.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    pub id: String,
    pub group: String,
    pub group_arn: String,
    pub description: String,
    pub cause: String,
    pub start: jiff::Timestamp,
    pub end: Option<jiff::Timestamp>,
    pub status: &'static str,
    pub message: Option<String>,
    pub progress: u8,
    pub details: String,
}

impl Group {
    /// Instances that count towards its size.
    pub fn size(&self) -> usize {
        self.members.iter().filter(|member| member.phase.counts()).count()
    }

    /// True if the process is suspended.
    pub fn suspends(&self, process: &str) -> bool {
        self.suspended.contains_key(process)
    }

    /// True if the load balancer's verdicts count.
    pub fn heeds_load_balancer(&self) -> bool {
        self.health_type.split(',').any(|kind| kind.trim() == "ELB")
    }

    /// Something was asked of it: it notices after a while.
    pub fn notice(&mut self, now: Duration, after: Duration, cause: String) {
        self.next_look = self.next_look.max(now + after);
        self.cause = cause;
        // A change by the operator is reason to try again at once.
        self.failures = 0;
        self.no_launch_before = Duration::ZERO;
    }
}
