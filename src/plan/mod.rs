//! Decides. Pure: `(Environment, World, Request) -> Plan | Refusal`; no `async`, no SDK, no clock, no file, no random number, so
//! planning twice from the same world gives plans that are `==`.
//!
//! Each submodule holds the order of one operation, on one screen. [`lint()`] holds the rules every plan must meet.

mod box_image;
mod candidate;
mod deploy;
mod draft;
mod duty;
mod hooks;
mod image;
mod lint;
mod preflight;
mod reassert;
mod refusal;
mod render;
mod resume;
mod review;
mod rollback;
mod scale;
mod scaling;
mod secrets;
mod select;
mod setup;
mod shelf;
mod shift;
mod situation;
mod stand;
mod step;

pub use box_image::{BoxBakeRequest, bake_box, box_bake_hash};
pub use deploy::{DeployRequest, SPREAD, deploy};
pub use hooks::on_failure;
pub use image::{BakeRequest, bake, bake_hash, builder_script, image_name};
pub use lint::{Flaw, lint};
pub use preflight::launches;
pub use reassert::reassert;
pub use refusal::Refusal;
pub use render::{render, render_course};
pub use resume::{Ask, Backward, Course, KEPT, Onward, SECOND_LOOK, Unfinished, Unresumable, resume, undoing};
pub use review::{BoxRequest, Wanted, approve_box, create_box, delete_box, extend_box, sweep_box};
pub use rollback::{RollbackRequest, rollback};
pub use scale::{ScaleRequest, Sizes, scale};
pub use select::{Elsewhere, Neighbour};
pub use setup::setup;
pub use shelf::{PruneRequest, Shared, copy_image, fetch_image, prune, share_image};
pub use stand::{Stand, stand};
pub use step::{BoxGroup, BoxLaunch, BoxRule, HookRun, Judging, ReleaseRun, Step, TargetGroupSpec, TemplateSpec};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{OperationKind, Release, ReleaseNumber, ServiceName};

/// The ordered stages of steps decided for a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it does.
    pub kind: OperationKind,
    /// The release it makes live (deploy: a new one; rollback: an earlier one); none for setup and bakes.
    pub release: Option<Release>,
    /// The release that served before.
    pub previous: Option<ReleaseNumber>,
    /// True if `release` is new, so its record must be written.
    pub new_release: bool,
    /// What each service serves now, by the load balancer's weights (a worker: by the records). The new `HEAD.before`.
    pub before: BTreeMap<ServiceName, ReleaseNumber>,
    /// Some service did not serve what `before` says when this was planned: an operation that was cut short had divided it between two
    /// releases, or left it at another. Undone, it is so again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub divided: bool,
    /// What each service serves once the plan is through, those it does not touch included. The new `HEAD.serving`.
    pub serving: BTreeMap<ServiceName, ReleaseNumber>,
    /// What the operator should know before saying yes, one line each (workers overlap, no warm fleet, …).
    pub notes: Vec<String>,
    /// In order. The steps of one stage run concurrently. Neighbours of the same name are one stage to the operator. Empty: there is
    /// nothing to do, and the notes say why.
    pub stages: Vec<Stage>,
}

/// Steps that may run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Which.
    pub name: StageName,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// The stages an operator sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageName {
    /// What a killed operation left behind is removed first; none of it has a visitor.
    Clear,
    /// Templates, target groups, test rules, candidate into the route at weight 0.
    Prepare,
    /// Auto Scaling groups.
    Launch,
    /// Until every candidate instance is healthy, steadily.
    Await,
    /// Capacity, and whatever proves the candidate further.
    Verify,
    /// The moment traffic moves.
    CutOver,
    /// Observing afterwards.
    Watch,
    /// Candidate becomes live, old becomes warm, older is retired. No way back for the retired.
    Settle,
    /// Setup: load balancer, listener, rules.
    Network,
    /// Bake: builder and provisioning.
    Provision,
    /// Bake: the image itself.
    Capture,
    /// Bake: the proof boot.
    Prove,
    /// Images nobody needs go.
    Remove,
    /// An image goes to where else it is needed.
    Share,
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Clear => "clear",
            Self::Prepare => "prepare",
            Self::Launch => "launch",
            Self::Await => "await",
            Self::Verify => "verify",
            Self::CutOver => "cut over",
            Self::Watch => "watch",
            Self::Settle => "settle",
            Self::Network => "network",
            Self::Provision => "provision",
            Self::Capture => "capture",
            Self::Prove => "prove",
            Self::Remove => "remove",
            Self::Share => "share",
        })
    }
}

impl Plan {
    /// The first stage from which nothing is undone any more, because visitors are on the release: after the last cutover; without one
    /// (workers only that work from their first moment) where the watch or the settling begins. When a fleet gets another size, after the last change. Setups and bakes have none.
    pub fn turning_point(&self) -> Option<usize> {
        if self.kind == OperationKind::Scale {
            // Once the sizes are what was asked for, waiting for the instances takes nothing back.
            let changes = |stage: &Stage| !stage.steps.iter().all(Step::only_looks);
            return self.stages.iter().rposition(changes).map(|last| last + 1);
        }
        if !matches!(self.kind, OperationKind::Deploy | OperationKind::Rollback) {
            return None;
        }
        // Workers follow the visitors, and must have come up; a rollback brings them back later, and never takes visitors back for them.
        let moves = |stage: &Stage| stage.steps.iter().any(Step::cuts_over);
        let last = self.stages.iter().rposition(|stage| stage.name == StageName::CutOver && moves(stage));
        let awaits = |last: usize| self.stages[last + 1..].iter().take_while(|stage| stage.name == StageName::CutOver).count();
        match last.map(|last| last + awaits(last)) {
            Some(last) => Some(last + 1),
            None => self.stages.iter().position(|stage| matches!(stage.name, StageName::Watch | StageName::Settle)),
        }
    }

    /// The releases some service stops serving, newest first.
    pub fn left(&self) -> Vec<ReleaseNumber> {
        let leaves = |(service, release): (&ServiceName, &ReleaseNumber)| (self.serving.get(service) != Some(release)).then_some(*release);
        let left: BTreeSet<ReleaseNumber> = self.before.iter().filter_map(leaves).collect();
        left.into_iter().rev().collect()
    }
}

#[cfg(test)]
mod tests;
