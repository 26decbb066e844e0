//! One file per deed: run and undo. What a deed is, is a variant of [`Step`]; what it does to an account is here.
//!
//! **To add a step**: a variant in `plan/step.rs` (with its line in `Display`), a file here named verb first, its two arms in [`run`] and
//! [`undo`] below, its place in a plan. The sweep of tests covers it unasked. What every step keeps to:
//!
//! - *Repeatable.* A step may run again after it was cut short anywhere, or after it succeeded. "Exists, and it is ours" ([`tags`]) is
//!   success; "exists, and it is not ours" is a refusal. Undo, too, may run twice, and after a run that did nothing.
//! - *No memory.* Steps pass nothing to each other: names come from the plan, ids are looked up by name or tag when they are used.
//! - *No choices.* The planner branches, steps do not. A step left out is a step not in the plan.
//! - *Patience.* A read right after a create may say NotFound ([`wait::appears`]); a delete may find its thing still in use. Every wait has
//!   a deadline, and tells what is missing through [`Cx::progress`].
//! - *Capacity.* Whatever makes a fleet smaller first asks [`traffic_guard`].
//!
//! `cut_over_traffic.rs` is THE switch, the one place where live traffic moves.

mod approve_box;
mod await_box;
mod await_healthy;
mod await_proof;
mod await_provision;
mod await_spot;
mod bake_machine;
mod capture_box;
mod capture_image;
mod claims;
mod clean_box;
mod commands;
mod compare_capacity;
mod consult;
mod copy_image;
mod cover_spot;
mod create_box_rules;
mod create_box_target_groups;
mod create_launch_template;
mod create_listener;
mod create_load_balancer;
mod create_route_rule;
mod create_target_group;
mod create_test_rule;
mod cut_over_traffic;
mod delete_box_rules;
mod delete_box_target_groups;
mod delete_image;
mod errands;
mod error;
mod extend_box;
mod fetch_image;
mod idle_in_route;
mod launch_box;
mod launch_builder;
mod launch_fleet;
mod launch_proof;
mod leave_route;
mod listener;
mod mark_verified;
mod pin_size;
mod register_box;
mod resize_fleet;
mod retire_fleet;
mod route;
mod run_hook;
mod run_release_command;
mod scale_fleet;
mod set_active;
mod set_scaling;
mod settle_fleet;
mod share_image;
mod stop_builder;
mod tags;
mod terminate_box;
mod terminate_builder;
mod terminate_proof;
mod traffic_guard;
mod wait;
mod watch_fleet;

pub use claims::strangers;
pub use commands::{Commands, Finished, Job};
pub use consult::Consult;
pub use errands::{Errand, Errands, Reply};
pub use error::StepError;
pub use listener::KnownDoor;
pub use run_hook::run as run_hook;

use std::fmt;
use std::sync::Arc;

use crate::aws::Aws;
use crate::clock::Clock;
use crate::model::{Environment, OperationId};
use crate::plan::Step;

/// What every step works with.
#[derive(Clone)]
pub struct Cx {
    /// The account, its changes behind the lease guard.
    pub aws: Aws,
    /// Time.
    pub clock: Clock,
    /// The environment worked on.
    pub environment: Arc<Environment>,
    /// The operation this is part of.
    pub operation: OperationId,
    /// Who does it, for the tags.
    pub owner: String,
    /// The environment's listener, looked for once per operation; starts as `default()`.
    pub door: KnownDoor,
    /// Where commands are sent that have to be run on a machine.
    pub errands: Errands,
    /// Runs commands on the operator's own machine.
    pub commands: Commands,
    /// Who can be asked what to do.
    pub consult: Consult,
    /// Takes what is to be told while a step waits.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cx({} {})", self.environment.name, self.operation)
    }
}

/// What a waiting step has to tell; told when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// One line: `web-r42 2/3 healthy`.
    pub text: String,
    /// A line per thing that is not well yet.
    pub details: Vec<String>,
}

/// What a step answers: what was achieved, for people.
type Done = Result<String, StepError>;
/// What an undo answers.
type Undone = Result<(), StepError>;

/// Does it.
pub async fn run(step: &Step, cx: &Cx) -> Result<String, StepError> {
    match step {
        Step::CreateLaunchTemplate { fleet, template } => create_launch_template::run(cx, fleet, template).await,
        Step::CreateTargetGroup { fleet, spec } => create_target_group::run(cx, fleet, spec).await,
        Step::CreateTestRule { fleet } => create_test_rule::run(cx, fleet).await,
        Step::IdleInRoute { rule, before, after } => idle_in_route::run(cx, rule, before, after).await,
        Step::LaunchFleet { fleet, kind, types, size, max, held } => launch_fleet::run(cx, fleet, *kind, types, *size, *max, *held).await,
        Step::SetActive { fleet, active } => set_active::run(cx, fleet, *active).await,
        Step::AwaitHealthy { fleet, count, within, stable_for } => await_healthy::run(cx, fleet, *count, *within, *stable_for).await,
        Step::AwaitSpot { fleet, within } => await_spot::run(cx, fleet, *within).await,
        Step::CoverSpot { fleet, share } => cover_spot::run(cx, fleet, *share).await,
        Step::CompareCapacity { candidate, live, share } => compare_capacity::run(cx, candidate, live, *share).await,
        Step::RunHook(hook) => run_hook::run(cx, hook).await,
        Step::RunReleaseCommand(run) => run_release_command::run(cx, run).await,
        Step::PinSize { fleet, kind, size, .. } => pin_size::run(cx, fleet, *kind, *size).await,
        Step::CutOverTraffic { rule, before, after, .. } => cut_over_traffic::run(cx, rule, before, after).await,
        Step::WatchFleet { fleet, count, span, judging } => watch_fleet::run(cx, fleet, *count, *span, judging).await,
        Step::SettleFleet { fleet, kind, min, max } => settle_fleet::run(cx, fleet, *kind, *min, *max).await,
        Step::SetScaling { fleet, kind, policies, .. } => set_scaling::run(cx, fleet, *kind, policies).await,
        Step::ResizeFleet { fleet, kind, size_before, size, max } => resize_fleet::run(cx, fleet, *kind, *size_before, *size, *max).await,
        Step::ScaleFleet { fleet, kind, size, max, keep, .. } => {
            scale_fleet::run(cx, fleet, *kind, *size, *max, scale_fleet::Keep(*keep)).await
        }
        Step::LeaveRoute { rule, release } => leave_route::run(cx, rule, *release).await,
        Step::RetireFleet { fleet, drain } => retire_fleet::run(cx, fleet, *drain).await,
        Step::CreateLoadBalancer => create_load_balancer::run(cx).await,
        Step::CreateListener => create_listener::run(cx).await,
        Step::CreateRouteRule { service, route } => create_route_rule::run(cx, service, route).await,
        Step::LaunchBuilder { bake, builder, commits } => launch_builder::run(cx, bake, builder, commits).await,
        Step::AwaitProvision { bake, within } => await_provision::run(cx, bake, *within).await,
        Step::StopBuilder { bake } => stop_builder::run(cx, bake).await,
        Step::CaptureImage { bake, name, commits, within } => capture_image::run(cx, bake, name, commits, *within).await,
        Step::TerminateBuilder { bake } => terminate_builder::run(cx, bake).await,
        Step::LaunchProof { .. } => launch_proof::run(cx, step).await,
        Step::AwaitProof { bake, name, within } => await_proof::run(cx, bake, name, *within).await,
        Step::MarkVerified { name } => mark_verified::run(cx, name).await,
        Step::TerminateProof { bake } => terminate_proof::run(cx, bake).await,
        Step::CleanBox { of, clean } => clean_box::run(cx, of, clean.as_deref()).await,
        Step::CaptureBox { .. } => capture_box::run(cx, step).await,
        Step::DeleteImage { image, name } => delete_image::run(cx, image, name).await,
        Step::CopyImage { image, name, region, within } => copy_image::run(cx, image, name, region, *within).await,
        Step::FetchImage { .. } => fetch_image::run(cx, step).await,
        Step::ShareImage { image, name, account } => share_image::run(cx, image, name, account).await,
        Step::CreateBoxTargetGroups { name, groups } => create_box_target_groups::run(cx, name, groups).await,
        Step::CreateBoxRules { name, rules } => create_box_rules::run(cx, name, rules).await,
        Step::LaunchBox { name, launch } => launch_box::run(cx, name, launch).await,
        Step::RegisterBox { name, target_groups } => register_box::run(cx, name, target_groups).await,
        Step::AwaitBox { name, target_groups, within } => await_box::run(cx, name, target_groups, *within).await,
        Step::DeleteBoxRules { name, target_groups } => delete_box_rules::run(cx, name, target_groups).await,
        Step::TerminateBox { name } => terminate_box::run(cx, name).await,
        Step::DeleteBoxTargetGroups { name, target_groups } => delete_box_target_groups::run(cx, name, target_groups).await,
        Step::ExtendBox { name, until, .. } => extend_box::run(cx, name, until).await,
        Step::ApproveBox { name, approval } => approve_box::run(cx, name, approval).await,
    }
}

/// Makes it as it was before. Steps that change nothing, and those from which there is no way back, have nothing to undo: the plan says
/// which are which.
pub async fn undo(step: &Step, cx: &Cx) -> Result<(), StepError> {
    match step {
        Step::CreateLaunchTemplate { fleet, .. } => create_launch_template::undo(cx, fleet).await,
        Step::CreateTargetGroup { fleet, .. } => create_target_group::undo(cx, fleet).await,
        Step::CreateTestRule { fleet } => create_test_rule::undo(cx, fleet).await,
        Step::IdleInRoute { rule, before, after } => idle_in_route::undo(cx, rule, before, after).await,
        Step::LaunchFleet { fleet, kind, .. } => launch_fleet::undo(cx, fleet, *kind).await,
        Step::PinSize { fleet, kind, min_before, .. } => pin_size::undo(cx, fleet, *kind, *min_before).await,
        Step::SetActive { fleet, active } => set_active::undo(cx, fleet, *active).await,
        Step::CutOverTraffic { rule, before, after, origin } => cut_over_traffic::undo(cx, rule, before, after, origin.as_ref()).await,
        Step::SettleFleet { fleet, kind, .. } => settle_fleet::undo(cx, fleet, *kind).await,
        Step::SetScaling { fleet, kind, before, .. } => set_scaling::undo(cx, fleet, *kind, before).await,
        Step::ResizeFleet { fleet, kind, size_before, max, .. } => resize_fleet::undo(cx, fleet, *kind, *size_before, *max).await,
        Step::CoverSpot { fleet, share } => cover_spot::undo(cx, fleet, *share).await,
        Step::ScaleFleet { fleet, kind, size_before, max, keep, .. } => {
            scale_fleet::undo(cx, fleet, *kind, *size_before, *max, scale_fleet::Keep(*keep)).await
        }
        Step::LeaveRoute { rule, release } => leave_route::undo(cx, rule, *release).await,
        Step::LaunchBuilder { bake, .. } => launch_builder::undo(cx, bake).await,
        Step::CaptureImage { bake, name, .. } => capture_image::undo(cx, bake, name).await,
        Step::LaunchProof { bake, .. } => launch_proof::undo(cx, bake).await,
        Step::MarkVerified { name } => mark_verified::undo(cx, name).await,
        Step::CaptureBox { bake, name, .. } => capture_box::undo(cx, bake, name).await,
        Step::CopyImage { name, region, .. } => copy_image::undo(cx, name, region).await,
        Step::FetchImage { name, .. } => fetch_image::undo(cx, name).await,
        Step::CreateBoxTargetGroups { name, groups } => create_box_target_groups::undo(cx, name, groups).await,
        Step::CreateBoxRules { name, rules } => create_box_rules::undo(cx, name, rules).await,
        Step::LaunchBox { name, .. } => launch_box::undo(cx, name).await,
        Step::ExtendBox { name, from, .. } => extend_box::undo(cx, name, from).await,
        Step::AwaitHealthy { .. }
        | Step::AwaitSpot { .. }
        | Step::CompareCapacity { .. }
        | Step::RunHook(_)
        | Step::RunReleaseCommand(_)
        | Step::WatchFleet { .. }
        | Step::RetireFleet { .. }
        | Step::CreateLoadBalancer
        | Step::CreateListener
        | Step::CreateRouteRule { .. }
        | Step::AwaitProvision { .. }
        | Step::StopBuilder { .. }
        | Step::TerminateBuilder { .. }
        | Step::AwaitProof { .. }
        | Step::TerminateProof { .. }
        | Step::CleanBox { .. }
        | Step::DeleteImage { .. }
        | Step::ShareImage { .. }
        | Step::RegisterBox { .. }
        | Step::AwaitBox { .. }
        | Step::DeleteBoxRules { .. }
        | Step::TerminateBox { .. }
        | Step::DeleteBoxTargetGroups { .. }
        | Step::ApproveBox { .. } => Ok(()),
    }
}
