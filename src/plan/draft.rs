//! Stages under construction, with each route's weights as they will be once the stages so far have run.

use std::collections::BTreeMap;

use crate::model::{FleetKey, ReleaseNumber, RuleKey, Seconds, Weights};

use super::situation::{Situation, Standing};
use super::{Stage, StageName, Step};

pub(super) struct Draft {
    pub stages: Vec<Stage>,
    weights: BTreeMap<RuleKey, Weights>,
    /// Weights before the first of several shifts.
    origins: BTreeMap<RuleKey, Weights>,
}

/// A fleet to be removed wholly.
pub(super) struct Doomed {
    pub fleet: FleetKey,
    pub rule: Option<RuleKey>,
    pub drain: Seconds,
}

impl Doomed {
    pub fn new(situation: &Situation, standing: &Standing, release: ReleaseNumber) -> Self {
        let record = situation.world.records.release(release);
        let spec = record.and_then(|record| record.release.services.get(&standing.service.name));
        let drain = spec.map_or(situation.environment.timing.drain, |spec| spec.drain);
        Self { fleet: standing.key(release), rule: standing.rule.clone(), drain }
    }
}

impl Draft {
    pub fn new(situation: &Situation) -> Self {
        let weights = situation.standings.iter().filter_map(|standing| Some((standing.rule.clone()?, standing.weights.clone())));
        Self { stages: Vec::new(), weights: weights.collect(), origins: BTreeMap::new() }
    }

    /// Steps that may run at the same time, after everything before them.
    pub fn wave(&mut self, name: StageName, steps: impl IntoIterator<Item = Step>) {
        let steps: Vec<_> = steps.into_iter().collect();
        if !steps.is_empty() {
            self.stages.push(Stage { name, steps });
        }
    }

    /// For each fleet that was to get spot: whether it did, and after that what makes up for it.
    pub fn cover(&mut self, name: StageName, covers: impl IntoIterator<Item = [Step; 2]>) {
        let (looks, covers): (Vec<_>, Vec<_>) = covers.into_iter().map(|[look, cover]| (look, cover)).unzip();
        self.wave(name, looks);
        self.wave(name, covers);
    }

    /// The release joins the route at weight 0. Nothing to do if it is there, or if the route has nothing released yet: a rule cannot
    /// forward to weight 0 alone, and the test rule makes the load balancer check the fleet meanwhile.
    pub fn idle(&mut self, rule: &RuleKey, release: ReleaseNumber) -> Option<Step> {
        let before = self.weights.get(rule)?.clone();
        let after = before.with_idle(release);
        if before.0.is_empty() || before == after {
            return None;
        }
        self.weights.insert(rule.clone(), after.clone());
        Some(Step::IdleInRoute { rule: rule.clone(), before, after })
    }

    /// Every visitor of the route to the release.
    pub fn cut_over(&mut self, rule: &RuleKey, release: ReleaseNumber) -> Option<Step> {
        let before = self.weights.get(rule)?.clone();
        let after = before.all_to(release);
        self.weights.insert(rule.clone(), after.clone());
        let origin = self.origins.get(rule).cloned();
        (before != after).then(|| Step::CutOverTraffic { rule: rule.clone(), before, after, origin })
    }

    /// So many percent of the route's visitors to the release, the others where they were before its first shift. Nothing to do
    /// where there is nobody to take visitors from: before a first release, or where it serves already.
    pub fn shift(&mut self, rule: &RuleKey, release: ReleaseNumber, percent: u16) -> Option<Step> {
        let before = self.weights.get(rule)?.clone();
        let first = self.origins.get(rule).unwrap_or(&before).clone();
        let live = first.sole().filter(|live| *live != release)?;
        let after = before.split(live, release, percent);
        self.weights.insert(rule.clone(), after.clone());
        let origin = self.origins.get(rule).cloned();
        self.origins.entry(rule.clone()).or_insert(first);
        (before != after).then(|| Step::CutOverTraffic { rule: rule.clone(), before, after, origin })
    }

    /// How many target groups the route's rule forwards to.
    pub fn crowd(&self, rule: &RuleKey) -> usize {
        self.weights.get(rule).map_or(0, |weights| weights.0.len())
    }

    /// Out of their routes, then out of the account. `beside` runs with the first wave. Two fleets that leave one route do so one after
    /// the other, because each write replaces the rule's whole action.
    pub fn remove(&mut self, name: StageName, doomed: &[Doomed], beside: Vec<Step>) {
        let mut first = beside;
        let mut leaving: Vec<(&RuleKey, ReleaseNumber)> = Vec::new();
        for fleet in doomed {
            let Some(rule) = &fleet.rule else { continue };
            let release = fleet.fleet.release;
            if self.weights.get(rule).is_some_and(|weights| weights.0.contains_key(&release)) {
                leaving.push((rule, release));
            }
        }
        while !leaving.is_empty() {
            let mut touched: Vec<&RuleKey> = Vec::new();
            leaving.retain(|(rule, release)| {
                if touched.contains(rule) {
                    return true;
                }
                touched.push(rule);
                first.push(Step::LeaveRoute { rule: (*rule).clone(), release: *release });
                false
            });
            self.wave(name, std::mem::take(&mut first));
        }
        self.wave(name, first);
        for fleet in doomed {
            if let Some(weights) = fleet.rule.as_ref().and_then(|rule| self.weights.get_mut(rule)) {
                *weights = weights.without(fleet.fleet.release);
            }
        }
        self.wave(name, doomed.iter().map(|fleet| Step::RetireFleet { fleet: fleet.fleet.clone(), drain: fleet.drain }));
    }
}
