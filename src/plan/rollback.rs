//! Back to an earlier release. Visitors first: where its fleets are warm, one check and one weight write per route bring them back, and
//! workers follow: those that are held are made active again, those that sleep are woken. A fleet that is gone is launched again under its own name from what the release's
//! record holds, image and configuration.
//!
//! Without a target: what the records say served before; if that is marked bad, the newest good release below the live one. After an
//! operation that was cut short: what served before a deploy, the target of a rollback ([`situation`](super::situation)).

use std::collections::BTreeMap;

use crate::model::{
    CapacityKind, Environment, ImageState, OperationKind, ReleaseNumber, ReleaseRecord, Seconds, ServiceName, Verdict, World,
};

use super::candidate::{Candidate, cover};
use super::deploy::{asleep, clear, crowded_out, pins, wrecks};
use super::draft::{Doomed, Draft};
use super::duty::{HandOver, hand_over};
use super::refusal::{Reasons, Refusal};
use super::scaling::{free_others, serves};
use super::situation::{Cut, Situation, Standing, said};
use super::{Plan, StageName, Step, preflight};

/// A warm fleet is healthy now or it is not; this much is for a check that is just under way.
const NOW: Seconds = Seconds(30);

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RollbackRequest {
    /// The release to go back to, if not the one that served before.
    pub to: Option<ReleaseNumber>,
}

/// One service going back.
pub(super) struct Return<'a, 'w> {
    standing: &'a Standing<'w>,
    to: &'a ReleaseRecord,
    /// What must be made; none if the fleet is there.
    candidate: Option<Candidate>,
}

pub(super) type Targets = BTreeMap<ServiceName, ReleaseNumber>;

/// The plan that brings an earlier release back, or every reason why there must not be one.
pub fn rollback(environment: &Environment, world: &World, request: &RollbackRequest) -> Result<Plan, Refusal> {
    let situation = Situation::of(environment, world);
    let what = format!("cannot roll back {}", environment.name);
    let mut reasons = Reasons::default();
    reasons.network(&situation);
    if let (Cut::Before(operation), None) = (situation.cut, request.to)
        && operation.kind == OperationKind::Deploy
    {
        reasons.verdict(what)?;
        return Ok(as_before(&situation));
    }
    let targets = targets(&situation, request, &mut reasons);
    let returns = returns(&situation, &targets, &mut reasons);
    let launches = world.room.is_some() && returns.iter().any(Return::launches);
    let stages = if launches { order(&situation, &targets, &returns).stages } else { Vec::new() };
    let tight = preflight::check_stages(environment, world, &stages, &mut reasons);
    reasons.verdict(what)?;
    let mut plan = order(&situation, &targets, &returns);
    plan.notes.extend(tight);
    Ok(plan)
}

/// The order of a rollback.
pub(super) fn order(situation: &Situation, targets: &Targets, returns: &[Return]) -> Plan {
    let mut draft = Draft::new(situation);
    let (routed, workers): (Vec<_>, Vec<_>) = returns.iter().partition(|going| going.standing.rule.is_some());
    let (first, after): (&[_], &[_]) = if routed.is_empty() { (&workers, &[]) } else { (&routed, &workers) };

    draft.remove(StageName::Clear, &in_the_way(situation, returns, &draft), Vec::new());
    raise(situation, first, [StageName::Prepare, StageName::Launch, StageName::Await], &mut draft);
    draft.wave(StageName::CutOver, first.iter().flat_map(|going| pins(situation, going.standing, going.number())));
    let moves: Vec<_> = routed.iter().filter_map(|going| draft.cut_over(going.standing.rule.as_ref()?, going.number())).collect();
    draft.wave(StageName::CutOver, moves);
    let timing = &situation.environment.timing;
    hand_over(&handed(first), StageName::CutOver, timing, &mut draft);
    let mut settle: Vec<_> = first.iter().flat_map(|going| going.settle()).chain(finished(situation, targets)).collect();
    free_others(situation, targets, &mut settle);
    draft.wave(StageName::Settle, settle);
    raise(situation, after, [StageName::Settle; 3], &mut draft);
    hand_over(&handed(after), StageName::Settle, timing, &mut draft);
    draft.wave(StageName::Settle, after.iter().flat_map(|going| going.settle()));
    let mut remains = wrecks(situation);
    remains.retain(|doomed| targets.get(&doomed.fleet.service) != Some(&doomed.fleet.release));
    draft.remove(StageName::Settle, &remains, Vec::new());

    let mut serving = situation.serving();
    serving.extend(targets.iter().map(|(service, release)| (service.clone(), *release)));
    let before = left(situation, targets);
    let divided = |standing: &Standing| standing.split() || standing.live != before.get(&standing.service.name).copied();
    let newest = targets.values().max().and_then(|release| situation.world.records.release(*release));
    Plan {
        kind: OperationKind::Rollback,
        release: newest.map(|record| record.release.clone()),
        previous: targets
            .keys()
            .filter_map(|service| before.get(service))
            .filter(|release| !targets.values().any(|to| to == *release))
            .max()
            .copied(),
        new_release: false,
        divided: targets.keys().filter_map(|service| situation.standing(service)).any(divided),
        notes: notes(situation, targets, returns, &before),
        before,
        serving,
        stages: draft.stages,
    }
}

/// Workers among them.
fn handed<'a, 'w>(returns: &[&'a Return<'a, 'w>]) -> Vec<HandOver<'a, 'w>> {
    let workers = returns.iter().filter(|going| going.standing.rule.is_none());
    let made = |going: &Return| going.candidate.as_ref().is_some_and(|made| made.held);
    workers
        .map(|going| HandOver { standing: going.standing, to: going.number(), count: going.size(), launched_held: made(going) })
        .collect()
}

impl Return<'_, '_> {
    fn number(&self) -> ReleaseNumber {
        self.to.release.number
    }

    /// Instances to wait for, and the size to bring the fleet to first if it has fewer.
    fn size(&self) -> u32 {
        self.standing.desired(self.number()).max(self.standing.size())
    }

    fn settle(&self) -> Vec<Step> {
        let left = self.standing.live.filter(|live| self.standing.rule.is_none() && *live != self.number());
        let sleeping = left.map(|release| asleep(self.standing, release)).unwrap_or_default();
        serves(self.standing, self.number(), self.size()).into_iter().chain(sleeping).collect()
    }

    fn launches(&self) -> bool {
        self.candidate.is_some() || !self.grow().is_empty()
    }

    fn asleep(&self) -> bool {
        self.standing.stands(self.number()) && self.standing.desired(self.number()) == 0
    }

    /// What a fleet that is still there lacks before it is checked.
    fn missing_test_rule(&self) -> Option<Step> {
        let fleet = self.standing.fleet(self.number()).filter(|_| self.candidate.is_none())?;
        fleet.test_rule.is_none().then(|| Step::CreateTestRule { fleet: fleet.key.clone() })
    }

    fn grow(&self) -> Vec<Step> {
        if self.candidate.is_some() || self.standing.desired(self.number()) >= self.size() {
            return Vec::new();
        }
        let wanted = self.standing.shares_of(self.number(), self.size());
        let step = |(kind, group): (CapacityKind, &crate::model::Group)| {
            let size = wanted.iter().find(|(other, _)| *other == kind).map_or(group.desired, |(_, size)| *size);
            let fleet = self.standing.key(self.number());
            let step = Step::ResizeFleet { fleet, kind, size_before: group.desired, size, max: self.standing.max(size) };
            (group.desired < size).then_some(step)
        };
        self.standing.groups(self.number()).into_iter().filter_map(step).collect()
    }

    /// Spot that is made or grown may not be to be had.
    fn cover(&self, environment: &Environment) -> Option<[Step; 2]> {
        let timing = &environment.timing;
        if let Some(candidate) = &self.candidate {
            return candidate.cover(timing);
        }
        let spot = |step: &Step| matches!(step, Step::ResizeFleet { kind: CapacityKind::Spot, .. });
        let (number, size) = (self.number(), self.size());
        self.grow().iter().any(spot).then(|| cover(&self.standing.key(number), &self.standing.shares_of(number, size), timing)).flatten()
    }

    fn wait(&self, environment: &Environment) -> Step {
        let timing = &environment.timing;
        match &self.candidate {
            Some(candidate) => candidate.wait(timing),
            None => {
                let (within, stable_for) =
                    if !self.grow().is_empty() { (timing.healthy_within, timing.stable_for) } else { (NOW, Seconds(0)) };
                Step::AwaitHealthy { fleet: self.standing.key(self.number()), count: self.size(), within, stable_for }
            }
        }
    }
}

/// Fleets up and healthy: made, woken, or only asked.
fn raise(situation: &Situation, returns: &[&Return], [prepare, launch, wait]: [StageName; 3], draft: &mut Draft) {
    let made = || returns.iter().filter_map(|going| going.candidate.as_ref());
    draft.wave(prepare, made().flat_map(Candidate::foundations));
    let mut checked: Vec<_> =
        made().map(Candidate::test_rule).chain(returns.iter().filter_map(|going| going.missing_test_rule())).collect();
    checked.extend(returns.iter().filter_map(|going| draft.idle(going.standing.rule.as_ref()?, going.number())));
    draft.wave(prepare, checked);
    draft.wave(launch, made().flat_map(Candidate::launch).chain(returns.iter().flat_map(|going| going.grow())));
    draft.cover(wait, returns.iter().filter_map(|going| going.cover(situation.environment)));
    draft.wave(wait, returns.iter().map(|going| going.wait(situation.environment)));
}

/// Half a fleet under the very name that is to be launched, and warm fleets where a rule has no room for one more.
fn in_the_way(situation: &Situation, returns: &[Return], draft: &Draft) -> Vec<Doomed> {
    let mut doomed = Vec::new();
    for going in returns {
        let (standing, number) = (going.standing, going.number());
        let served = standing.weights.0.get(&number).is_some_and(|weight| *weight > 0);
        if going.candidate.is_some() && standing.fleet(number).is_some() && !served {
            doomed.push(Doomed::new(situation, standing, number));
        }
        doomed.extend(crowded_out(situation, standing, number, draft));
    }
    doomed
}

/// Services an operation that was cut short has brought to the target already: what it left undone is done now.
fn finished(situation: &Situation, targets: &Targets) -> Vec<Step> {
    let there = |standing: &&Standing| {
        standing.live.is_some_and(|live| targets.get(&standing.service.name) == Some(&live) && standing.works_alone(live))
    };
    let Cut::After(_) = situation.cut else { return Vec::new() };
    let settled = |standing: &Standing| standing.live.map(|live| serves(standing, live, standing.size())).unwrap_or_default();
    situation.standings.iter().filter(there).flat_map(settled).collect()
}

/// The deploy that was cut short had changed nothing that is served: its remains go, and all is as before.
fn as_before(situation: &Situation) -> Plan {
    let mut draft = Draft::new(situation);
    clear(situation, Vec::new(), &mut draft);
    let mut notes = situation.notes();
    let live = situation.newest_live();
    notes.push(match live {
        Some(live) => format!("{live} serves, as before; only the remains are removed"),
        None => "nothing is released yet, as before; only the remains are removed".to_string(),
    });
    Plan {
        kind: OperationKind::Rollback,
        release: live.and_then(|live| situation.world.records.release(live)).map(|record| record.release.clone()),
        previous: None,
        new_release: false,
        divided: false,
        before: situation.serving(),
        serving: situation.serving(),
        notes,
        stages: draft.stages,
    }
}

/// Which release each service goes back to.
fn targets(situation: &Situation, request: &RollbackRequest, reasons: &mut Reasons) -> Targets {
    let records = &situation.world.records;
    let history = history(situation);
    let target = match (request.to, situation.cut) {
        (Some(to), _) => match records.release(to) {
            Some(record) => all_of(situation, record),
            None => {
                reasons.add(format!("there is no release {to} in {}", situation.environment.name), &history);
                return Targets::new();
            }
        },
        (None, Cut::After(operation) | Cut::Between(operation)) if operation.kind == OperationKind::Rollback => {
            operation.release.and_then(|release| records.release(release)).map(|record| all_of(situation, record)).unwrap_or_default()
        }
        (None, Cut::After(_) | Cut::Between(_)) => recorded(situation),
        (None, _) if situation.standings.iter().any(Standing::split) => recorded(situation),
        (None, _) => before(situation),
    };
    if target.is_empty() {
        let live = situation.newest_live().map_or_else(|| "nothing".to_string(), |live| live.to_string());
        reasons.add(format!("{live} serves, and there is no earlier good release to go back to"), history);
    }
    target
}

fn history(situation: &Situation) -> String {
    format!("adstage history {}", situation.environment.name)
}

fn all_of(situation: &Situation, record: &ReleaseRecord) -> Targets {
    let here = record.release.services.keys().filter(|name| situation.standing(name).is_some());
    here.map(|name| (name.clone(), record.release.number)).collect()
}

/// What the records say serves, service by service.
pub(super) fn recorded(situation: &Situation) -> Targets {
    situation.standings.iter().filter_map(|standing| Some((standing.service.name.clone(), standing.recorded()?))).collect()
}

/// What the records say served before, where that is another release; if one of them is bad, the newest good release below the live one.
fn before(situation: &Situation) -> Targets {
    let records = &situation.world.records;
    let earlier = records.head.as_ref().map(|head| &head.before);
    let moved = situation.standings.iter().filter_map(|standing| {
        let earlier = *earlier?.get(&standing.service.name)?;
        (standing.live != Some(earlier)).then(|| (standing.service.name.clone(), earlier))
    });
    let moved: Targets = moved.collect();
    let sound = |release: &ReleaseNumber| records.release(*release).is_some_and(|record| !matches!(record.verdict, Verdict::Bad { .. }));
    if !moved.is_empty() && moved.values().all(sound) {
        return moved;
    }
    let live = situation.newest_live();
    let good =
        records.releases.iter().filter(|record| record.verdict == Verdict::Good && live.is_some_and(|live| record.release.number < live));
    good.max_by_key(|record| record.release.number).map(|record| all_of(situation, record)).unwrap_or_default()
}

/// Every service that must move, and how its fleet comes to be there.
pub(super) fn returns<'a, 'w>(situation: &'a Situation<'w>, targets: &Targets, reasons: &mut Reasons) -> Vec<Return<'a, 'w>> {
    let mut returns = Vec::new();
    for standing in &situation.standings {
        let name = &standing.service.name;
        let Some(number) = targets.get(name).copied().filter(|number| standing.live != Some(*number) || !standing.works_alone(*number))
        else {
            continue;
        };
        let Some(to) = situation.world.records.release(number) else {
            reasons.add(format!("{name} served {number} before, but the record of {number} is gone"), history(situation));
            continue;
        };
        match candidate(situation, standing, to) {
            Ok(candidate) => returns.push(Return { standing, to, candidate }),
            Err(why) => reasons.add(why, "adstage image list"),
        }
    }
    returns
}

/// What must be made; none if the fleet is whole. The error says why it cannot be.
fn candidate(situation: &Situation, standing: &Standing, to: &ReleaseRecord) -> Result<Option<Candidate>, String> {
    let (release, name) = (&to.release, &standing.service.name);
    if standing.complete(release.number) {
        return Ok(None);
    }
    let Some(spec) = release.services.get(name) else {
        return Err(format!("{name} has no fleet of {} any more, and the record does not hold its configuration", release.number));
    };
    let image = situation.world.images.iter().find(|image| image.id == release.image);
    if image.is_none_or(|image| image.state != ImageState::Available) {
        let image = format!("{} ({})", release.image_name, release.image);
        return Err(format!("{name} has no fleet of {} any more, and its image {image} is gone", release.number));
    }
    let candidate = Candidate::new(situation.environment, standing, release, spec);
    candidate.map(Some).map_err(|error| format!("{name}: {error}"))
}

/// What each service stops serving; for one that a cut-short operation has moved already, what the records say it served.
fn left(situation: &Situation, targets: &Targets) -> Targets {
    let mut before = situation.serving();
    for standing in &situation.standings {
        let Some(target) = targets.get(&standing.service.name) else { continue };
        let weighted =
            standing.weights.0.iter().filter(|(_, weight)| **weight > 0).map(|(release, _)| *release).max_by_key(|release| release.0);
        let other = [standing.live, weighted, standing.recorded()].into_iter().flatten().find(|release| release != target);
        before.extend(other.map(|release| (standing.service.name.clone(), release)));
    }
    before
}

fn notes(situation: &Situation, targets: &Targets, returns: &[Return], before: &Targets) -> Vec<String> {
    let mut notes = situation.notes();
    if let Cut::After(operation) | Cut::Between(operation) = situation.cut {
        notes.push(format!("this puts an end to {}", said(operation)));
    }
    // Workers are brought back after the visitors, if there are any.
    let routed = returns.iter().any(|going| going.standing.rule.is_some());
    let later = |going: &Return| routed && going.standing.rule.is_none();
    for going in returns {
        let (name, number) = (&going.standing.service.name, going.number());
        if going.candidate.is_some() {
            notes.push(format!(
                "{name}-{number} is gone: it is launched again from {}, which takes as long as a deploy",
                going.to.release.image
            ));
        } else if !going.grow().is_empty() {
            let why = if going.asleep() { "sleeps: it is woken" } else { "has fewer instances than are live: it grows" };
            let when = if later(going) { "once the visitors are back" } else { "first" };
            notes.push(format!("{name}-{number} {why} {when}"));
        }
        if let Verdict::Bad { reason } = &going.to.verdict {
            notes.push(format!("{number} is marked bad: {reason}"));
        }
    }
    if returns.iter().any(|going| later(going) && going.grow().is_empty()) {
        notes.push("workers follow once the visitors are back".to_string());
    }
    for standing in situation.standings.iter().filter(|standing| !targets.contains_key(&standing.service.name)) {
        let live = standing.live.map_or_else(|| "as it is".to_string(), |live| format!("at {live}"));
        notes.push(format!("{} stays {live}", standing.service.name));
    }
    let newest = targets.values().max();
    let mut worse: Vec<_> = targets.keys().filter_map(|name| before.get(name)).filter(|release| Some(*release) > newest).collect();
    worse.sort();
    worse.dedup();
    notes.extend(worse.iter().map(|release| format!("{release} will be marked bad: deploying it again needs --force")));
    if returns.is_empty() && finished(situation, targets).is_empty() {
        notes.extend(newest.map(|release| format!("{release} serves already, nothing to do")));
    }
    notes
}
