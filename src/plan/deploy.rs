//! A new release, verified before any visitor reaches it. [`order`] is the whole of it, on one screen.
//!
//! Already live (the same image and the same configuration in every service asked for) is a plan without stages, whose notes say so:
//! "done, nothing to do" is an answer, not a refusal. `force` deploys it again all the same.
//!
//! The environment's own operation, once it holds the lock, is no unfinished one: callers who plan again under the lock take it out of
//! `world.records.operations` first.

use std::collections::BTreeMap;

use crate::model::{
    CapacityKind, DeployTiming, Environment, FleetKey, Hook, Image, OperationKind, Release, ReleaseNumber, Seconds, Service, ServiceName,
    ServiceSpec, Verdict, World,
};

use super::candidate::{Candidate, spec};
use super::draft::{Doomed, Draft};
use super::duty::{self, HandOver, hand_over};
use super::hooks::Runs;
use super::reassert::landed_late;
use super::refusal::{Reasons, rollback};
use super::scaling::{followed, freed, serves, unpinned};
use super::select::{self, Elsewhere};
use super::shift::{self, between};
use super::situation::{Cut, Situation, Standing, said};
use super::{Plan, Refusal, StageName, Step, preflight, secrets};

/// A rule forwards to at most this many target groups (*Elastic Load Balancing API Reference v2*, ForwardActionConfig).
pub(super) const CROWD: usize = 5;

/// Every node of a load balancer has new weights after this long (nowhere documented; others wait as long). Until then some visitors
/// still come to the fleet that has lost its weight, so it stays as it is.
pub const SPREAD: Seconds = Seconds(60);

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeployRequest {
    /// The image by id or name; the newest proved one if none is named.
    pub image: Option<String>,
    /// Only these services; all of the environment's if empty.
    pub services: Vec<ServiceName>,
    /// Also if it is live already, marked bad, or failed its proof.
    pub force: bool,
    /// What the app's other environments know about images.
    pub elsewhere: Elsewhere,
}

/// The plan that makes an image live, or every reason why there must not be one.
pub fn deploy(environment: &Environment, world: &World, request: &DeployRequest) -> Result<Plan, Refusal> {
    let situation = Situation::of(environment, world);
    let what = format!("cannot deploy to {}", environment.name);
    let mut reasons = Reasons::default();
    let standings = chosen(&situation, request, &mut reasons);
    reasons.network(&situation);
    half_moved(&situation, &mut reasons);
    let image = select::image(environment, world, request, &mut reasons);
    let Some(image) = image else { return Err(reasons.refusal(what)) };
    let release = new_release(&situation, &standings, image, &mut reasons);
    holds_repositories(image, &release, &mut reasons);
    if !request.force {
        not_marked_bad(&situation, request, &release, &mut reasons);
    }
    let candidates = candidates(&situation, &standings, &release, &mut reasons);
    let done = !request.force && standings.iter().all(|standing| is_live(&situation, standing, &release));
    let tight = if done { Vec::new() } else { room(&situation, &standings, &candidates, &mut reasons) };
    reasons.verdict(what)?;
    if done {
        return Ok(already_live(&situation, &standings));
    }
    let notes = secrets::notes(world, &standings, &release);
    let mut plan = order(&situation, &standings, release, &candidates);
    plan.notes.extend(notes.into_iter().chain(tight));
    plan.notes.extend(select::warning(environment, image, &request.elsewhere));
    Ok(plan)
}

/// The order of a deploy.
fn order(situation: &Situation, standings: &[&Standing], release: Release, candidates: &[Candidate]) -> Plan {
    let (timing, number) = (&situation.environment.timing, release.number);
    let mut draft = Draft::new(situation);
    let crowded = standings.iter().flat_map(|standing| crowded_out(situation, standing, number, &draft)).collect();
    clear(situation, crowded, &mut draft);

    let hooks = Runs::of(situation, standings, &release);
    draft.wave(StageName::Prepare, hooks.run(Hook::BeforeDeploy));
    draft.wave(StageName::Prepare, candidates.iter().flat_map(Candidate::foundations));
    let tests: Vec<_> = candidates.iter().map(Candidate::test_rule).collect();
    let idle: Vec<_> = rules(standings).filter_map(|rule| draft.idle(rule, number)).collect();
    draft.wave(StageName::Prepare, tests.into_iter().chain(idle));
    draft.wave(StageName::Launch, candidates.iter().flat_map(Candidate::launch));
    draft.cover(StageName::Await, candidates.iter().filter_map(|candidate| candidate.cover(timing)));
    draft.wave(StageName::Await, candidates.iter().map(|candidate| candidate.wait(timing)));
    draft.wave(StageName::Verify, standings.iter().filter_map(|standing| compare(standing, number, timing)));
    draft.wave(StageName::Verify, candidates.iter().filter_map(Candidate::release_command));
    draft.wave(StageName::Verify, hooks.run(Hook::Verify));
    draft.wave(StageName::CutOver, standings.iter().flat_map(|standing| pins(situation, standing, number)));
    shift::gradually(situation, standings, number, &mut draft);
    let moves: Vec<_> = rules(standings).filter_map(|rule| draft.cut_over(rule, number)).collect();
    draft.wave(StageName::CutOver, moves);
    hand_over(&handed(standings, number, candidates), StageName::CutOver, timing, &mut draft);
    draft.wave(StageName::Watch, hooks.run(Hook::AfterCutover));
    draft.wave(StageName::Watch, shift::last_watch(situation, standings, number));
    settle(situation, standings, number, &mut draft);

    let mut serving = situation.serving();
    serving.extend(standings.iter().map(|standing| (standing.service.name.clone(), number)));
    Plan {
        kind: OperationKind::Deploy,
        previous: standings.iter().filter_map(|standing| standing.live).max(),
        release: Some(release),
        new_release: true,
        divided: false,
        before: situation.serving(),
        serving,
        notes: notes(situation, standings, number),
        stages: draft.stages,
    }
}

/// Wrecks go first, and whatever else must.
pub(super) fn clear(situation: &Situation, others: Vec<Doomed>, draft: &mut Draft) {
    let doomed: Vec<_> = wrecks(situation).into_iter().chain(others).collect();
    draft.remove(StageName::Clear, &doomed, freed(situation));
}

pub(super) fn wrecks(situation: &Situation) -> Vec<Doomed> {
    let wrecks = situation.standings.iter().flat_map(|standing| standing.wrecks().into_iter().map(move |release| (standing, release)));
    wrecks.map(|(standing, release)| Doomed::new(situation, standing, release)).collect()
}

/// Warm fleets that must leave before one more release fits into the route's rule, least valuable first.
pub(super) fn crowded_out(situation: &Situation, standing: &Standing, number: ReleaseNumber, draft: &Draft) -> Vec<Doomed> {
    let Some(rule) = &standing.rule else { return Vec::new() };
    if standing.weights.0.contains_key(&number) {
        return Vec::new();
    }
    let wrecks = standing.wrecks().iter().filter(|release| standing.weights.0.contains_key(release)).count();
    let excess = (draft.crowd(rule) + 1).saturating_sub(wrecks).saturating_sub(CROWD);
    let idle = |release: &ReleaseNumber| standing.weights.0.get(release) == Some(&0) && standing.recorded() != Some(*release);
    let leaving = standing.by_worth().into_iter().rev().filter(idle).take(excess);
    leaving.map(|release| Doomed::new(situation, standing, release)).collect()
}

pub(super) fn rules<'a>(standings: &'a [&Standing]) -> impl Iterator<Item = &'a crate::model::RuleKey> {
    standings.iter().filter_map(|standing| standing.rule.as_ref())
}

fn compare(standing: &Standing, number: ReleaseNumber, timing: &DeployTiming) -> Option<Step> {
    let live = standing.key(standing.live_fleet()?);
    Some(Step::CompareCapacity { candidate: standing.key(number), live, share: timing.min_capacity })
}

/// Workers whose work goes to this release.
fn handed<'a, 'w>(standings: &[&'a Standing<'w>], number: ReleaseNumber, candidates: &[Candidate]) -> Vec<HandOver<'a, 'w>> {
    let held = |standing: &Standing| candidates.iter().any(|made| made.held && made.fleet == standing.key(number));
    let workers = standings.iter().filter(|standing| standing.rule.is_none());
    workers.map(|standing| HandOver { standing, to: number, count: standing.size(), launched_held: held(standing) }).collect()
}

/// A fleet that is about to lose its visitors must not shrink for want of load: it is what a rollback goes back to.
pub(super) fn pins(situation: &Situation, standing: &Standing, next: ReleaseNumber) -> Vec<Step> {
    let losing = standing.weights.0.iter().filter(|(release, weight)| **weight > 0 && **release != next);
    let pins = |release: ReleaseNumber| {
        let pin = move |(kind, group): (_, &crate::model::Group)| Step::PinSize {
            fleet: standing.key(release),
            kind,
            min_before: unpinned(situation, standing, release, kind, group),
            size: group.desired,
        };
        standing.groups(release).into_iter().map(pin)
    };
    let resting = standing.live.filter(|live| *live != next && standing.is_held(*live));
    losing.map(|(release, _)| *release).chain(resting).flat_map(pins).collect()
}

/// The candidate becomes live. What it leaves stays warm, as many releases as the environment keeps; older ones go. A worker's old fleet
/// that cannot be held is put to sleep instead (two releases must not share the queues for days): going back to it means waking it.
fn settle(situation: &Situation, standings: &[&Standing], number: ReleaseNumber, draft: &mut Draft) {
    let keep = situation.environment.timing.keep_warm as usize;
    let mut steps = Vec::new();
    let mut doomed = Vec::new();
    for standing in standings {
        steps.extend(serves(standing, number, standing.size()));
        let mut kept = standing.by_worth();
        kept.retain(|release| *release != number && !retired(draft, &standing.key(*release)));
        steps.extend(kept.iter().take(keep).flat_map(|release| asleep(standing, *release)));
        doomed.extend(kept.iter().skip(keep).map(|release| Doomed::new(situation, standing, *release)));
    }
    // Policies go with their groups.
    let goes = |fleet: &FleetKey| retired(draft, fleet) || doomed.iter().any(|doomed: &Doomed| doomed.fleet == *fleet);
    steps.retain(|step| !matches!(step, Step::SetScaling { fleet, .. } if goes(fleet)));
    draft.remove(StageName::Settle, &doomed, steps);
}

/// The stages so far remove it already.
fn retired(draft: &Draft, key: &FleetKey) -> bool {
    draft.stages.iter().flat_map(|stage| &stage.steps).any(|step| matches!(step, Step::RetireFleet { fleet, .. } if fleet == key))
}

/// The fleet of a worker that cannot be held down to nothing, its template and target group kept.
pub(super) fn asleep(standing: &Standing, release: ReleaseNumber) -> Vec<Step> {
    let awake =
        standing.groups(release).into_iter().filter(|(_, group)| standing.rule.is_none() && group.activity.is_none() && group.desired > 0);
    let step = |(kind, group): (CapacityKind, &crate::model::Group)| Step::ResizeFleet {
        fleet: standing.key(release),
        kind,
        size_before: group.desired,
        size: 0,
        max: group.max,
    };
    awake.map(step).collect()
}

/// Nothing new to make. If the deploy that made it was cut short, what it left undone after the cutover is done now, and recorded.
fn already_live(situation: &Situation, standings: &[&Standing]) -> Plan {
    let mut draft = Draft::new(situation);
    let newest = standings.iter().filter_map(|standing| standing.live).max();
    let record = newest.and_then(|release| situation.world.records.release(release));
    let mut notes = situation.notes();
    let live = newest.map_or_else(String::new, |release| release.to_string());
    let (mut previous, mut before) = (None, situation.serving());
    if situation.cut != Cut::None {
        clear(situation, Vec::new(), &mut draft);
    }
    match situation.cut {
        Cut::After(operation) => {
            notes.push(format!("{live} has all visitors already; what {} left undone is finished", said(operation)));
            previous = operation.previous;
            // What the records say, not what the weights say by now; before a first release, nothing.
            before.retain(|name, _| standings.iter().all(|standing| standing.service.name != *name));
            before.extend(standings.iter().filter_map(|standing| Some((standing.service.name.clone(), standing.recorded()?))));
            if let Some(release) = newest {
                let timing = &situation.environment.timing;
                let workers = handed(standings, release, &[]);
                draft.wave(StageName::Await, workers.iter().filter_map(|worker| worker.is_well(timing)));
                hand_over(&workers, StageName::CutOver, timing, &mut draft);
                settle(situation, standings, release, &mut draft);
            }
        }
        _ => {
            let right = standings.iter().filter_map(|standing| Some(followed(standing, standing.live?, standing.size())));
            let right: Vec<_> = right.flatten().collect();
            let what = if right.is_empty() { "nothing to do" } else { "only its scaling policies are put right" };
            notes.push(format!("{live} is already live, {what}"));
            draft.wave(StageName::Settle, right);
        }
    }
    Plan {
        kind: OperationKind::Deploy,
        release: record.map(|record| record.release.clone()),
        previous,
        new_release: false,
        divided: false,
        before,
        serving: situation.serving(),
        notes,
        stages: draft.stages,
    }
}

fn chosen<'a, 'w>(situation: &'a Situation<'w>, request: &DeployRequest, reasons: &mut Reasons) -> Vec<&'a Standing<'w>> {
    let names = situation.standings.iter().map(|standing| standing.service.name.as_str()).collect::<Vec<_>>().join(", ");
    for name in request.services.iter().filter(|name| situation.standing(name).is_none()) {
        reasons.add(format!("{} has no service `{name}`; it has {names}", situation.environment.name), "");
    }
    let asked = |standing: &&Standing| request.services.is_empty() || request.services.contains(&standing.service.name);
    situation.standings.iter().filter(asked).collect()
}

/// Whether there is room for the candidates, once those are gone that go first.
fn room(situation: &Situation, standings: &[&Standing], candidates: &[Candidate], reasons: &mut Reasons) -> Vec<String> {
    let Some(number) = candidates.first().map(|made| made.fleet.release) else { return Vec::new() };
    let mut draft = Draft::new(situation);
    let crowded = standings.iter().flat_map(|standing| crowded_out(situation, standing, number, &draft)).collect();
    clear(situation, crowded, &mut draft);
    draft.wave(StageName::Launch, candidates.iter().flat_map(Candidate::making));
    preflight::check_stages(situation.environment, situation.world, &draft.stages, reasons)
}

/// Visitors are where nobody meant them to be.
fn half_moved(situation: &Situation, reasons: &mut Reasons) {
    let back = rollback(&situation.environment.name);
    for standing in situation.standings.iter().filter(|standing| standing.split()) {
        let name = &standing.service.name;
        reasons.add(
            match standing.rule {
                Some(_) => format!("the visitors of {name} are split, {}: a cutover was cut short", standing.weights),
                None => format!("{} of {name} are active, wholly or in part: a hand-over was cut short", standing.at_work_said()),
            },
            &back,
        );
    }
    for standing in landed_late(situation) {
        let (name, live) = (&standing.service.name, standing.live.map_or_else(|| "nothing".to_string(), |live| live.to_string()));
        let meant = standing.recorded().map_or_else(String::new, |meant| meant.to_string());
        let what = if standing.rule.is_some() { format!("visitors of {name} get {live}") } else { format!("{name} works at {live}") };
        let text = format!("{what}, and the records say {meant}: a call of an earlier holder may have landed late");
        reasons.add(text, format!("adstage resume {}", situation.environment.name));
    }
    if let Cut::Between(operation) = situation.cut {
        reasons.add(between(situation, operation), &back);
    }
}

fn new_release(situation: &Situation, standings: &[&Standing], image: &Image, reasons: &mut Reasons) -> Release {
    let world = situation.world;
    let number = ReleaseNumber(world.records.head.as_ref().map_or(1, |head| head.next.max(1)));
    newest_of_all(situation, number, reasons);
    let timing = &situation.environment.timing;
    let mut pinned = |service: &Service| {
        let secrets = secrets::pinned(&service.name, &service.secrets, world, reasons);
        ServiceSpec { secrets, ..spec(service, timing) }
    };
    Release {
        number,
        image: image.id.clone(),
        image_name: image.name.clone(),
        commits: image.commits.clone(),
        services: standings.iter().map(|standing| (standing.service.name.clone(), pinned(standing.service))).collect(),
    }
}

/// Numbers come from `HEAD`. A table that was lost or restored from a backup counts from too low, and the new release would be taken for
/// fleets that run already.
fn newest_of_all(situation: &Situation, number: ReleaseNumber, reasons: &mut Reasons) {
    let recorded = situation.world.records.releases.iter().map(|record| record.release.number);
    let running = situation.world.fleets.iter().map(|fleet| fleet.key.release);
    if let Some(newer) = recorded.chain(running).max().filter(|newest| *newest >= number) {
        let status = format!("adstage status {}", situation.environment.name);
        let table = &situation.environment.state_table;
        reasons.add(format!("the state table {table} counts the next release as {number}, but {newer} exists: was it restored?"), status);
    }
}

fn holds_repositories(image: &Image, release: &Release, reasons: &mut Reasons) {
    let missing = release.services.iter().filter(|(_, spec)| !image.commits.contains_key(&spec.repository));
    for (name, spec) in missing {
        let text = format!("image {} holds no repository `{}`, which {name} runs from", image.name, spec.repository);
        reasons.add(text, "adstage image bake --from-base");
    }
}

fn not_marked_bad(situation: &Situation, request: &DeployRequest, release: &Release, reasons: &mut Reasons) {
    let same = |earlier: &Release| {
        let services: BTreeMap<_, _> = earlier.services.iter().filter(|(name, _)| release.services.contains_key(*name)).collect();
        earlier.image == release.image && services == release.services.iter().collect()
    };
    let bad = situation.world.records.releases.iter().find_map(|record| match &record.verdict {
        Verdict::Bad { reason } if same(&record.release) => Some((record.release.number, reason)),
        _ => None,
    });
    if let Some((number, reason)) = bad {
        let image = request.image.as_ref().map(|image| format!(" --image {image}")).unwrap_or_default();
        let again = format!("adstage deploy {}{image} --force", situation.environment.name);
        reasons.add(format!("the same image and configuration were {number}, which is marked bad: {reason}"), again);
    }
}

fn candidates(situation: &Situation, standings: &[&Standing], release: &Release, reasons: &mut Reasons) -> Vec<Candidate> {
    let mut made = Vec::new();
    for standing in standings {
        let Some(spec) = release.services.get(&standing.service.name) else { continue };
        match Candidate::new(situation.environment, standing, release, spec) {
            Ok(candidate) => made.push(candidate),
            Err(error) => reasons.add(format!("{}: {error}", standing.service.name), ""),
        }
    }
    made
}

/// The service runs this image with this configuration now.
fn is_live(situation: &Situation, standing: &Standing, wanted: &Release) -> bool {
    let Some(live) = standing.live.filter(|live| standing.complete(*live)) else { return false };
    let Some(record) = situation.world.records.release(live) else { return false };
    let name = &standing.service.name;
    record.release.image == wanted.image && record.release.services.get(name) == wanted.services.get(name)
}

fn notes(situation: &Situation, standings: &[&Standing], number: ReleaseNumber) -> Vec<String> {
    let mut notes = situation.notes();
    for standing in standings {
        let (name, size, configured) = (&standing.service.name, standing.size(), standing.service.instances);
        if standing.live.is_some() && size != configured {
            notes.push(format!("{name} keeps the {size} instances it has now; the {configured} of adstage.toml are for a first release"));
        }
        if let (None, Some(live)) = (&standing.rule, standing.live) {
            notes.push(duty::said(name, number, live, standing.service.held(), standing.is_held(live)));
        }
    }
    if situation.environment.timing.keep_warm == 0 && standings.iter().any(|standing| standing.live.is_some()) {
        notes.push("keep-warm is 0: a rollback will have to launch the earlier release again".to_string());
    }
    notes.extend(super::hooks::note(situation.environment));
    notes
}
