//! The hooks of a deploy: where they run, and what they are told. A rollback runs none but `on-failure`: it must be quick, and what it goes
//! back to was proved before.
//!
//! Told are facts only; credentials are those the operator's machine has anyway.

use std::collections::BTreeMap;

use crate::model::{Environment, FleetKey, Hook, OperationKind, Release, ReleaseNumber, TimedCommand};

use super::situation::{Situation, Standing};
use super::{HookRun, Plan, Step};

/// The hooks of one deploy.
pub(super) struct Runs<'a> {
    environment: &'a Environment,
    facts: BTreeMap<String, String>,
    fleets: Vec<FleetKey>,
}

impl<'a> Runs<'a> {
    pub fn of(situation: &Situation<'a>, standings: &[&Standing], release: &Release) -> Self {
        let previous = standings.iter().filter_map(|standing| standing.live).max();
        let facts = facts(situation.environment, OperationKind::Deploy, Some(release), previous);
        let fleets = standings.iter().map(|standing| standing.key(release.number)).collect();
        Self { environment: situation.environment, facts, fleets }
    }

    /// The step that runs this hook, if there is one.
    pub fn run(&self, hook: Hook) -> Option<Step> {
        let command = command(self.environment, hook)?.clone();
        // Before anything is made there is no candidate to reach.
        let fleets = if hook == Hook::Verify { self.fleets.clone() } else { Vec::new() };
        Some(Step::RunHook(HookRun { hook, command, facts: self.facts.clone(), fleets }))
    }
}

/// The run of `on-failure` for a plan, if there is one. No step: whether it runs is not for the plan to say.
pub fn on_failure(environment: &Environment, plan: &Plan) -> Option<HookRun> {
    let command = command(environment, Hook::OnFailure)?.clone();
    let moves = matches!(plan.kind, OperationKind::Deploy | OperationKind::Rollback);
    let facts = facts(environment, plan.kind, plan.release.as_ref(), plan.previous);
    moves.then(|| HookRun { hook: Hook::OnFailure, command, facts, fleets: Vec::new() })
}

/// The operator sees beforehand what will run on their machine.
pub(super) fn note(environment: &Environment) -> Option<String> {
    let command = command(environment, Hook::OnFailure)?;
    Some(format!("if it ends badly, the on-failure hook runs here: {command}"))
}

fn command(environment: &Environment, hook: Hook) -> Option<&TimedCommand> {
    let hooks = &environment.hooks;
    match hook {
        Hook::BeforeDeploy => hooks.before_deploy.as_ref(),
        Hook::Verify => hooks.verify.as_ref(),
        Hook::AfterCutover => hooks.after_cutover.as_ref(),
        Hook::OnFailure => hooks.on_failure.as_ref(),
    }
}

/// What every hook is told of an operation.
fn facts(
    environment: &Environment,
    kind: OperationKind,
    release: Option<&Release>,
    previous: Option<ReleaseNumber>,
) -> BTreeMap<String, String> {
    let command = if kind == OperationKind::Rollback { "rollback" } else { "deploy" };
    let mut facts = BTreeMap::from([
        ("ADSTAGE_COMMAND".to_string(), command.to_string()),
        ("ADSTAGE_APP".to_string(), environment.app.to_string()),
        ("ADSTAGE_ENVIRONMENT".to_string(), environment.name.to_string()),
        ("ADSTAGE_ACCOUNT".to_string(), environment.account.clone()),
        ("ADSTAGE_REGION".to_string(), environment.region.clone()),
    ]);
    facts.extend(previous.map(|previous| ("ADSTAGE_PREVIOUS".to_string(), previous.to_string())));
    if let Some(release) = release {
        let commits = release.commits.iter().map(|(repository, commit)| format!("{repository}={commit}")).collect::<Vec<_>>();
        let services = release.services.keys().map(ToString::to_string).collect::<Vec<_>>();
        facts.extend([
            ("ADSTAGE_RELEASE".to_string(), release.number.to_string()),
            ("ADSTAGE_IMAGE".to_string(), release.image.to_string()),
            ("ADSTAGE_IMAGE_NAME".to_string(), release.image_name.clone()),
            ("ADSTAGE_COMMITS".to_string(), commits.join(" ")),
            ("ADSTAGE_SERVICES".to_string(), services.join(" ")),
        ]);
    }
    facts
}
