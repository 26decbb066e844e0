//! Rules every plan must meet, whoever wrote the planner. The command runs them on every plan before it shows it, and so does every test.
//!
//! The plan is walked in order with each route's weights in hand, from the world if there is one, else from what the plan itself says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::{Activity, FleetKey, OperationKind, ReleaseNumber, RuleKey, ServiceName, Weights, World};

use super::deploy::{CROWD, SPREAD};
use super::{Plan, Stage, StageName, Step};

/// A rule a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The rule.
    pub rule: &'static str,
    /// How it is broken.
    pub what: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

pub(super) const VERIFY_FIRST: &str = "a release gets visitors only after its fleet was awaited healthy";
pub(super) const ONE_RELEASE: &str = "a cutover ends with all visitors of a route at exactly one release";
pub(super) const RISING: &str = "a shift takes visitors from the release that serves to the one that is to, more each time";
pub(super) const WATCHED: &str = "a shift is watched before the next";
pub(super) const PIN_FIRST: &str = "a fleet is pinned before it loses its visitors";
pub(super) const WAY_BACK: &str = "every step before the watch has a way back, except clearing away what nobody needs";
pub(super) const KEEP_LIVE: &str = "a fleet with visitors is not retired, shrunk or taken out of its route";
pub(super) const LINGER: &str = "a fleet that has just lost its visitors stays until every node of the load balancer knows";
pub(super) const OUT_OF_ROUTE: &str = "a fleet is out of its route before it is retired";
pub(super) const CROWDED: &str = "a rule forwards to at most five target groups";
pub(super) const FROM_HERE: &str = "a weight write starts from the weights there are";
pub(super) const ONE_WRITE: &str = "steps of one stage do not write the same thing";
pub(super) const FOUNDATIONS: &str = "a fleet has its template, target group and test rule before it is launched";
pub(super) const ONE_WORKS: &str = "a worker's release is made active before another is made inactive, and no two stay active";
pub(super) const FOLLOW: &str = "a fleet follows scaling policies only once it has its visitors";
pub(super) const HEAD: &str = "the records will say what the routes say";

/// Every rule the plan breaks; none for a sound one.
pub fn lint(plan: &Plan, world: Option<&World>) -> Vec<Flaw> {
    let mut walk = Walk::new(plan, world);
    for stage in &plan.stages {
        walk.collisions(stage);
        for step in &stage.steps {
            walk.step(stage.name, step);
        }
        walk.end_of(stage);
    }
    walk.records();
    walk.flaws
}

struct Walk<'a> {
    plan: &'a Plan,
    world: Option<&'a World>,
    weights: BTreeMap<RuleKey, Weights>,
    awaited: BTreeSet<&'a FleetKey>,
    pinned: BTreeSet<&'a FleetKey>,
    made: BTreeSet<(&'a FleetKey, u8)>,
    launched: BTreeSet<&'a FleetKey>,
    /// Lost their visitors, and nobody has waited since.
    left: BTreeSet<FleetKey>,
    /// Releases of each worker that are active at this point, where the plan says something of it.
    working: BTreeMap<&'a ServiceName, BTreeSet<ReleaseNumber>>,
    /// Routes whose visitors are between two releases.
    open: BTreeSet<RuleKey>,
    /// Routes shifted and not watched since.
    unwatched: BTreeSet<RuleKey>,
    /// Cutover stages still to come.
    cutovers: usize,
    flaws: Vec<Flaw>,
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan, world: Option<&'a World>) -> Self {
        let cutovers = plan.stages.iter().filter(|stage| moves(stage)).count();
        let (awaited, pinned, made, launched, left, working, open, unwatched) = Default::default();
        let (weights, flaws) = (BTreeMap::new(), Vec::new());
        Self { plan, world, weights, working, awaited, pinned, made, launched, left, open, unwatched, cutovers, flaws }
    }

    fn flaw(&mut self, rule: &'static str, what: impl fmt::Display) {
        self.flaws.push(Flaw { rule, what: what.to_string() });
    }

    /// The route's weights at this point; the plan's own word where there is no world.
    fn weights(&mut self, rule: &RuleKey, said: &Weights) -> Weights {
        let seen = || self.world.and_then(|world| world.weights(rule)).unwrap_or_else(|| said.clone());
        self.weights.entry(rule.clone()).or_insert_with(seen).clone()
    }

    fn step(&mut self, stage: StageName, step: &'a Step) {
        match step {
            Step::CreateLaunchTemplate { fleet, .. } => _ = self.made.insert((fleet, 0)),
            Step::CreateTargetGroup { fleet, .. } => _ = self.made.insert((fleet, 1)),
            Step::CreateTestRule { fleet } => _ = self.made.insert((fleet, 2)),
            Step::LaunchFleet { fleet, .. } => self.launch(fleet),
            Step::AwaitHealthy { fleet, count, .. } if *count > 0 => _ = self.awaited.insert(fleet),
            Step::SetActive { fleet, active } => self.set_active(fleet, *active),
            Step::PinSize { fleet, .. } => _ = self.pinned.insert(fleet),
            Step::IdleInRoute { rule, before, after } => self.idle(rule, before, after),
            Step::CutOverTraffic { rule, before, after, .. } => self.cut_over(rule, before, after),
            Step::LeaveRoute { rule, release } => {
                let weights = self.weights(rule, &Weights::default());
                if weights.0.get(release).is_some_and(|weight| *weight > 0) {
                    self.flaw(KEEP_LIVE, step);
                }
                if self.left.contains(&FleetKey { service: rule.service.clone(), release: *release }) {
                    self.flaw(LINGER, step);
                }
                self.weights.insert(rule.clone(), weights.without(*release));
            }
            Step::ResizeFleet { fleet, size_before, size, .. } if size < size_before => self.keeps_visitors(fleet, step),
            Step::WatchFleet { fleet, span, .. } => {
                self.unwatched.retain(|rule| rule.service != fleet.service);
                if *span >= SPREAD {
                    self.left.clear();
                }
            }
            Step::SetScaling { fleet, policies, .. }
                if !policies.is_empty() && (self.cutovers > 0 || self.plan.serving.get(&fleet.service) != Some(&fleet.release)) =>
            {
                self.flaw(FOLLOW, step);
            }
            Step::RetireFleet { fleet, .. } => self.retire(stage, fleet, step),
            _ => {}
        }
        let before_watch = self.cutovers > 0 && stage != StageName::Clear;
        if before_watch && !step.has_way_back() && matches!(self.plan.kind, OperationKind::Deploy | OperationKind::Rollback) {
            self.flaw(WAY_BACK, step);
        }
    }

    fn launch(&mut self, fleet: &'a FleetKey) {
        self.launched.insert(fleet);
        let missing = ["template", "target group", "test rule"].into_iter().zip(0..).find(|(_, part)| !self.made.contains(&(fleet, *part)));
        if let Some((part, _)) = missing {
            self.flaw(FOUNDATIONS, format!("{fleet} has no {part}"));
        }
        let size = |step: &Step| match step {
            Step::LaunchFleet { fleet: made, size, .. } if made == fleet => *size,
            _ => 0,
        };
        if self.plan.stages.iter().flat_map(|stage| &stage.steps).map(size).sum::<u32>() == 0 {
            self.flaw(VERIFY_FIRST, format!("{fleet} is launched empty"));
        }
    }

    fn set_active(&mut self, fleet: &'a FleetKey, active: bool) {
        if active && !self.awaited.contains(fleet) && self.world.is_none_or(|world| activity(world, fleet) != Some(Activity::Mixed)) {
            self.flaw(VERIFY_FIRST, format!("{fleet} was not awaited, and is made active"));
        }
        if !active && self.plan.serving.get(&fleet.service) == Some(&fleet.release) {
            self.flaw(ONE_WORKS, format!("{fleet} is to work, and is made inactive"));
        }
        let working = self.working.entry(&fleet.service).or_insert_with(|| match self.world {
            Some(world) => world
                .fleets
                .iter()
                .filter(|found| found.key.service == fleet.service && works(world, &found.key))
                .map(|found| found.key.release)
                .collect(),
            None => BTreeSet::new(),
        });
        match active {
            true => _ = working.insert(fleet.release),
            false => _ = working.remove(&fleet.release),
        }
        // What cannot be held works whenever it has instances.
        let told = |world: &World| {
            let own = world.fleets.iter().filter(|found| found.key.service == fleet.service && !found.groups.is_empty());
            own.into_iter().all(|found| activity(world, &found.key).is_some())
        };
        if !active && self.world.is_some_and(told) && working.is_empty() {
            self.flaw(ONE_WORKS, format!("{fleet} is made inactive, and nothing works then"));
        }
    }

    fn idle(&mut self, rule: &RuleKey, before: &Weights, after: &Weights) {
        self.starts_from(rule, before);
        let served = |weights: &Weights| {
            weights.0.iter().filter(|(_, weight)| **weight > 0).map(|(key, weight)| (*key, *weight)).collect::<Vec<_>>()
        };
        if served(before) != served(after) {
            self.flaw(KEEP_LIVE, format!("{rule} goes from {before} to {after} outside a cutover"));
        }
        self.crowded(rule, after);
        self.weights.insert(rule.clone(), after.clone());
    }

    fn cut_over(&mut self, rule: &RuleKey, before: &Weights, after: &Weights) {
        self.starts_from(rule, before);
        self.crowded(rule, after);
        if self.unwatched.contains(rule) {
            self.flaw(WATCHED, format!("{rule} -> {after}"));
        }
        let gaining = match after.sole() {
            None => self.shifted(rule, before, after),
            Some(release) => {
                self.open.remove(rule);
                Some(release)
            }
        };
        if let Some(release) = gaining {
            let fleet = FleetKey { service: rule.service.clone(), release };
            if !self.awaited.contains(&fleet) {
                self.flaw(VERIFY_FIRST, format!("{fleet} was not awaited"));
            }
        }
        let (had, has) = (before.shares(), after.shares());
        for (release, _) in had.iter().filter(|(release, share)| has.get(release).is_none_or(|left| left < share)) {
            let fleet = FleetKey { service: rule.service.clone(), release: *release };
            let gone = self.world.is_some_and(|world| world.fleet(&fleet.service, *release).is_none_or(|fleet| fleet.groups.is_empty()));
            if !gone && !self.pinned.contains(&fleet) {
                self.flaw(PIN_FIRST, format!("{fleet} is not pinned"));
            }
            if !has.contains_key(release) {
                self.left.insert(fleet);
            }
        }
        self.weights.insert(rule.clone(), after.clone());
    }

    /// Who gains by a write after which two releases have visitors.
    fn shifted(&mut self, rule: &RuleKey, before: &Weights, after: &Weights) -> Option<ReleaseNumber> {
        let next = self.plan.serving.get(&rule.service).copied();
        let share = |weights: &Weights| next.and_then(|next| weights.shares().get(&next).copied()).unwrap_or_default();
        let (had, has) = (before.shares(), after.shares());
        let from_one = has.len() == 2 && had.keys().all(|release| has.contains_key(release)) && !had.is_empty();
        if self.plan.kind != OperationKind::Deploy || !from_one || share(after) <= share(before) {
            self.flaw(RISING, format!("{rule}: {before} -> {after}"));
        }
        self.open.insert(rule.clone());
        self.unwatched.insert(rule.clone());
        next
    }

    fn starts_from(&mut self, rule: &RuleKey, before: &Weights) {
        let now = self.weights(rule, before);
        if now != *before {
            self.flaw(FROM_HERE, format!("{rule} has {now}, the step says {before}"));
        }
    }

    fn crowded(&mut self, rule: &RuleKey, after: &Weights) {
        if after.0.len() > CROWD {
            self.flaw(CROWDED, format!("{rule} -> {after}"));
        }
    }

    /// Routes of this service where the fleet has, or is yet to get, visitors.
    fn keeps_visitors(&mut self, fleet: &FleetKey, step: &Step) {
        let release = fleet.release;
        let has = |weights: &Weights| weights.0.get(&release).is_some_and(|weight| *weight > 0);
        let simulated = self.weights.iter().any(|(rule, weights)| rule.service == fleet.service && has(weights));
        let untouched = self.world.is_some_and(|world| observed(world, fleet, &self.weights).iter().any(has));
        let serves = self.cutovers > 0 && self.plan.serving.get(&fleet.service) == Some(&release);
        if simulated || untouched || serves {
            self.flaw(KEEP_LIVE, step);
        }
    }

    fn retire(&mut self, stage: StageName, fleet: &FleetKey, step: &Step) {
        self.keeps_visitors_or_is_remade(fleet, step);
        if self.left.contains(fleet) {
            self.flaw(LINGER, step);
        }
        let simulated = self.weights.iter().any(|(rule, weights)| rule.service == fleet.service && weights.0.contains_key(&fleet.release));
        let observed = self
            .world
            .is_some_and(|world| observed(world, fleet, &self.weights).iter().any(|weights| weights.0.contains_key(&fleet.release)));
        if simulated || observed {
            self.flaw(OUT_OF_ROUTE, step);
        }
        if self.cutovers > 0 && stage != StageName::Clear {
            self.flaw(WAY_BACK, step);
        }
    }

    /// Half a fleet may be removed to be launched whole; any other that is to serve may not.
    fn keeps_visitors_or_is_remade(&mut self, fleet: &FleetKey, step: &Step) {
        let launches = |step: &Step| matches!(step, Step::LaunchFleet { fleet: made, .. } if made == fleet);
        let remade = self.plan.stages.iter().flat_map(|stage| &stage.steps).any(launches);
        if remade && !self.launched.contains(fleet) {
            return;
        }
        self.keeps_visitors(fleet, step);
        if self.plan.serving.get(&fleet.service) == Some(&fleet.release) && !self.flaws.iter().any(|flaw| flaw.rule == KEEP_LIVE) {
            self.flaw(KEEP_LIVE, step);
        }
    }

    /// Steps of one stage run at the same time.
    fn collisions(&mut self, stage: &Stage) {
        let mut touched = BTreeSet::new();
        for step in &stage.steps {
            let subject = match step {
                Step::IdleInRoute { rule, .. } | Step::CutOverTraffic { rule, .. } | Step::LeaveRoute { rule, .. } => {
                    format!("route {rule}")
                }
                Step::SetActive { fleet, .. } => format!("activity of {fleet}"),
                Step::SetScaling { fleet, kind, .. } => format!("policies of {}", fleet.group(*kind)),
                Step::PinSize { fleet, kind, .. }
                | Step::LaunchFleet { fleet, kind, .. }
                | Step::SettleFleet { fleet, kind, .. }
                | Step::ResizeFleet { fleet, kind, .. }
                | Step::ScaleFleet { fleet, kind, .. } => format!("group {}", fleet.group(*kind)),
                Step::RetireFleet { fleet, .. } | Step::CoverSpot { fleet, .. } => format!("group {fleet}"),
                _ => continue,
            };
            if !touched.insert(subject.clone()) {
                self.flaw(ONE_WRITE, format!("{subject}, in stage {}", stage.name));
            }
        }
    }

    fn end_of(&mut self, stage: &Stage) {
        self.cutovers -= usize::from(moves(stage));
    }

    /// What `HEAD` will say is what the routes will do.
    fn records(&mut self) {
        for (service, working) in std::mem::take(&mut self.working) {
            if working.len() > 1 {
                self.flaw(ONE_WORKS, format!("{service} ends with {} releases active", working.len()));
            }
        }
        for rule in std::mem::take(&mut self.open) {
            self.flaw(ONE_RELEASE, rule);
        }
        let moved: Vec<_> = self.weights.iter().filter_map(|(rule, weights)| Some((rule.service.clone(), weights.sole()?))).collect();
        for (service, release) in moved {
            if self.plan.serving.get(&service) != Some(&release) {
                let said = |said: Option<&crate::model::ReleaseNumber>| said.map_or("nothing".to_string(), ToString::to_string);
                self.flaw(HEAD, format!("{service} serves {release}, recorded is {}", said(self.plan.serving.get(&service))));
            }
        }
    }
}

fn activity(world: &World, fleet: &FleetKey) -> Option<Activity> {
    world.fleet(&fleet.service, fleet.release)?.activity()
}

fn works(world: &World, fleet: &FleetKey) -> bool {
    activity(world, fleet).is_some_and(Activity::works)
}

fn moves(stage: &Stage) -> bool {
    stage.steps.iter().any(|step| matches!(step, Step::CutOverTraffic { .. }))
}

/// Weights the world shows for the fleet's service on rules the plan has not touched.
fn observed(world: &World, fleet: &FleetKey, touched: &BTreeMap<RuleKey, Weights>) -> Vec<Weights> {
    let name = fleet_target_group(world, &fleet.service, fleet);
    let rules = world.rules.iter().filter(|rule| rule.conditions.header.is_none());
    let untouched = rules.filter(|rule| !touched.keys().any(|key| key.service == fleet.service && Some(key.priority) == rule.priority));
    let forwards = untouched.filter_map(|rule| match &rule.action {
        crate::model::RuleAction::Forward(groups) => groups.get(name?).copied(),
        _ => None,
    });
    forwards.map(|weight| Weights([(fleet.release, weight)].into())).collect()
}

fn fleet_target_group<'a>(world: &'a World, service: &ServiceName, fleet: &FleetKey) -> Option<&'a str> {
    Some(world.fleet(service, fleet.release)?.target_group.as_ref()?.name.as_str())
}
