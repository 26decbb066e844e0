//! Another number of instances for the live fleet of one service, by kind of capacity. What grows grows first and is awaited; only then
//! something shrinks, and never below what must serve.

use crate::model::{CapacityKind, Environment, FleetKey, Group, OperationKind, ReleaseNumber, ServiceName, Share, World, instances};

use super::draft::Draft;
use super::refusal::{Reasons, Refusal};
use super::situation::{Situation, Standing};
use super::{Plan, StageName, Step, preflight};

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleRequest {
    /// Of which service.
    pub service: ServiceName,
    /// To what.
    pub to: Sizes,
    /// Wait until all of them are healthy.
    pub wait: bool,
    /// Also where fewer would serve than now, or nobody.
    pub force: bool,
}

/// How many instances of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// These; a kind that is not named stays as it is.
    Of {
        /// On-demand instances.
        on_demand: Option<u32>,
        /// Spot instances.
        spot: Option<u32>,
    },
    /// As many as now, with on-demand instances for the spot instances that are missing.
    Fallback,
    /// As many as now, shared as configured.
    HandBack,
}

/// The plan that brings the live fleet to another size, or why there must not be one.
pub fn scale(environment: &Environment, world: &World, request: &ScaleRequest) -> Result<Plan, Refusal> {
    let situation = Situation::of(environment, world);
    let mut reasons = Reasons::default();
    let what = format!("cannot scale {} of {}", request.service, environment.name);
    let Some(standing) = situation.standing(&request.service) else {
        let names: Vec<&str> = situation.standings.iter().map(|standing| standing.service.name.as_str()).collect();
        reasons.add(format!("{} has no service `{}`; it has {}", environment.name, request.service, names.join(", ")), "");
        return Err(reasons.refusal(what));
    };
    let status = format!("adstage status {}", environment.name);
    let Some(live) = standing.live_fleet() else {
        reasons.add(format!("{} serves no release that has instances", request.service), status);
        return Err(reasons.refusal(what));
    };
    let change = Change::of(standing, live, request);
    change.judge(environment, &mut reasons);
    let mut plan = change.plan(&situation);
    plan.notes.extend(preflight::check_stages(environment, world, &plan.stages, &mut reasons));
    reasons.verdict(what)?;
    Ok(plan)
}

struct Change<'a, 'w> {
    standing: &'a Standing<'w>,
    fleet: FleetKey,
    now: Share,
    wanted: Share,
    request: &'a ScaleRequest,
}

impl<'a, 'w> Change<'a, 'w> {
    fn of(standing: &'a Standing<'w>, live: ReleaseNumber, request: &'a ScaleRequest) -> Self {
        let now = standing.fleet(live).map(|fleet| fleet.share()).unwrap_or_default();
        let spot = standing.groups(live).into_iter().find(|(kind, _)| *kind == CapacityKind::Spot);
        let wanted = match request.to {
            Sizes::Of { on_demand, spot } => Share { on_demand: on_demand.unwrap_or(now.on_demand), spot: spot.unwrap_or(now.spot) },
            Sizes::Fallback => {
                let there = spot.map_or(0, |(_, group)| group.present().min(group.desired));
                Share { on_demand: now.total() - there, spot: there }
            }
            Sizes::HandBack if spot.is_none() => now,
            Sizes::HandBack => Share::of(now.total(), standing.service.spot),
        };
        Self { standing, fleet: standing.key(live), now, wanted, request }
    }

    fn group(&self, kind: CapacityKind) -> Option<&'w Group> {
        self.standing.groups(self.fleet.release).into_iter().find(|(other, _)| *other == kind).map(|(_, group)| group)
    }

    fn judge(&self, environment: &Environment, reasons: &mut Reasons) {
        let Self { fleet, wanted, now, request, .. } = self;
        for kind in CapacityKind::ALL.into_iter().filter(|kind| wanted.kind(*kind) > 0 && self.group(*kind).is_none()) {
            let text = match kind {
                CapacityKind::Spot => format!("{fleet} has no spot group: set `spot` in adstage.toml, and the next release has one"),
                CapacityKind::OnDemand => format!("{fleet} has no on-demand group"),
            };
            reasons.add(text, format!("adstage deploy {}", environment.name));
        }
        if wanted.total() == 0 && now.total() > 0 && !request.force {
            let spot = self.group(CapacityKind::Spot).map(|_| " --spot 0").unwrap_or_default();
            let again = format!("adstage scale {} {} --on-demand 0{spot} --force", environment.name, fleet.service);
            reasons.add(format!("{fleet} serves visitors, and nobody would be left to: it has {} now", self.said(*now)), again);
        }
    }

    fn plan(&self, situation: &Situation) -> Plan {
        let mut draft = Draft::new(situation);
        let steps: Vec<Step> = CapacityKind::ALL.into_iter().filter_map(|kind| self.step(kind)).collect();
        let grows = |step: &Step| matches!(step, Step::ScaleFleet { size_before, size, .. } if size > size_before);
        let (up, down): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(grows);
        let (grown, shrinks) = (!up.is_empty(), !down.is_empty());
        draft.wave(StageName::Launch, up);
        match self.request.to {
            // What is missing is no instance that could leave.
            Sizes::Fallback => draft.wave(StageName::Launch, down),
            _ => {
                let count = self.now.on_demand.max(self.wanted.on_demand) + self.now.spot.max(self.wanted.spot);
                draft.wave(StageName::Await, (grown && shrinks).then(|| self.wait(situation, count)));
                draft.wave(StageName::Settle, down);
            }
        }
        let last = self.request.wait && (grown || shrinks) && self.wanted.total() > 0;
        draft.wave(StageName::Await, last.then(|| self.wait(situation, self.wanted.total())));
        let serving = situation.serving();
        Plan {
            kind: OperationKind::Scale,
            release: situation.world.records.release(self.fleet.release).map(|record| record.release.clone()),
            previous: None,
            new_release: false,
            divided: false,
            before: serving.clone(),
            serving,
            notes: self.notes(),
            stages: draft.stages,
        }
    }

    fn step(&self, kind: CapacityKind) -> Option<Step> {
        let (group, size) = (self.group(kind)?, self.wanted.kind(kind));
        let keep = if self.request.force { 0 } else { self.wanted.total().min(self.now.total()) };
        let max = group.max.max(size);
        (size != group.desired).then(|| Step::ScaleFleet { fleet: self.fleet.clone(), kind, size_before: group.desired, size, max, keep })
    }

    fn wait(&self, situation: &Situation, count: u32) -> Step {
        let timing = &situation.environment.timing;
        Step::AwaitHealthy { fleet: self.fleet.clone(), count, within: timing.healthy_within, stable_for: timing.stable_for }
    }

    fn said(&self, share: Share) -> String {
        match self.group(CapacityKind::Spot) {
            Some(_) => share.to_string(),
            None => instances(share.total()),
        }
    }

    fn notes(&self) -> Vec<String> {
        let Self { fleet, now, wanted, .. } = self;
        let mut notes = Vec::new();
        match now == wanted {
            true => notes.push(format!("{fleet} has {} already", self.said(*now))),
            false => notes.push(format!("{fleet} has {} now, and {} after", self.said(*now), self.said(*wanted))),
        }
        if self.request.to == Sizes::Fallback && now != wanted {
            notes.push("once AWS has spot again, --hand-back gives the on-demand instances back".to_string());
        }
        if let Some(scaling) = self.standing.scaling(fleet.release) {
            let policies: Vec<String> = scaling.policies().iter().map(ToString::to_string).collect();
            notes.push(format!("it follows {} by itself, and may be changed again by that", policies.join(" and ")));
        }
        if wanted.total() < self.standing.service.instances {
            notes.push(format!("that is fewer than the {} of adstage.toml", self.standing.service.instances));
        }
        notes
    }
}
