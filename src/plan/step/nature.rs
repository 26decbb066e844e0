//! What kind of deed a step is.

use super::{HookRun, ReleaseRun, Step};
use crate::model::{FleetKey, Hook};

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
                | Self::DeleteBoxRules { .. }
                | Self::TerminateBox { .. }
                | Self::DeleteBoxTargetGroups { .. }
                | Self::ApproveBox { .. }
        )
    }

    /// Changes nothing of adstage's, so it may be stopped at any moment and there is nothing to undo.
    pub fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::AwaitHealthy { .. }
                | Self::AwaitSpot { .. }
                | Self::CompareCapacity { .. }
                | Self::RunHook(_)
                | Self::RunReleaseCommand(_)
                | Self::WatchFleet { .. }
                | Self::AwaitProvision { .. }
                | Self::AwaitProof { .. }
                | Self::AwaitBox { .. }
        )
    }

    /// It proves what visitors are about to depend on.
    pub fn proves(&self) -> bool {
        let once = matches!(self, Self::RunHook(HookRun { hook: Hook::BeforeDeploy, .. }) | Self::RunReleaseCommand(_));
        self.only_looks() && !once
    }

    /// Moves visitors, or makes a worker active: what a plan is for happens here.
    pub fn cuts_over(&self) -> bool {
        matches!(self, Self::CutOverTraffic { .. } | Self::SetActive { active: true, .. })
    }

    /// Lets a fleet live by itself from then on: it heals, shrinks and grows.
    pub fn settles(&self) -> bool {
        match self {
            Self::SettleFleet { .. } => true,
            Self::SetScaling { policies, .. } => !policies.is_empty(),
            _ => false,
        }
    }

    /// The fleet it is about, if it is about one.
    pub fn fleet(&self) -> Option<&FleetKey> {
        match self {
            Self::CreateLaunchTemplate { fleet, .. }
            | Self::CreateTargetGroup { fleet, .. }
            | Self::CreateTestRule { fleet }
            | Self::LaunchFleet { fleet, .. }
            | Self::AwaitHealthy { fleet, .. }
            | Self::AwaitSpot { fleet, .. }
            | Self::CoverSpot { fleet, .. }
            | Self::CompareCapacity { candidate: fleet, .. }
            | Self::RunReleaseCommand(ReleaseRun { fleet, .. })
            | Self::PinSize { fleet, .. }
            | Self::SetActive { fleet, .. }
            | Self::WatchFleet { fleet, .. }
            | Self::SettleFleet { fleet, .. }
            | Self::SetScaling { fleet, .. }
            | Self::ResizeFleet { fleet, .. }
            | Self::ScaleFleet { fleet, .. }
            | Self::RetireFleet { fleet, .. } => Some(fleet),
            _ => None,
        }
    }
}
