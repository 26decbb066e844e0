//! What visitors get, and where the records, the configuration and the load balancer disagree. Pure judgement of one observation.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Activity, CapacityKind, Drift, Environment, Fleet, FleetKey, GroupPolicy, ReleaseNumber, Route, RuleAction, RuleKey, ScalingPolicy,
    Service, Serving, Share, World,
};

/// What visitors get: each release's share of each route, averaged over the routes that serve anything.
pub fn serving(environment: &Environment, world: &World) -> Serving {
    let weights = environment.services.iter().filter_map(|service| world.weights(&key(service)?));
    let shares: Vec<BTreeMap<ReleaseNumber, u32>> = weights.map(|weights| weights.shares()).filter(|shares| !shares.is_empty()).collect();
    let mut sums: BTreeMap<ReleaseNumber, u32> = BTreeMap::new();
    for (release, share) in shares.iter().flatten() {
        *sums.entry(*release).or_default() += share;
    }
    let routes = u32::try_from(shares.len()).unwrap_or(u32::MAX).max(1);
    Serving(sums.into_iter().map(|(release, sum)| (release, sum.div_ceil(routes).min(100))).collect())
}

impl Serving {
    /// The one release every visitor gets, if there is exactly one.
    pub fn sole(&self) -> Option<ReleaseNumber> {
        match self.0.iter().next() {
            Some((release, _)) if self.0.len() == 1 => Some(*release),
            _ => None,
        }
    }
}

impl std::fmt::Display for Serving {
    /// `r42 100 %`, `r42 50 % · r41 50 %`, `nothing yet`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing yet");
        }
        let parts: Vec<String> = self.0.iter().rev().map(|(release, share)| format!("{release} {share} %")).collect();
        f.write_str(&parts.join(" · "))
    }
}

/// The identity of a service's rule.
fn key(service: &Service) -> Option<RuleKey> {
    service.route.as_ref().map(|route| RuleKey { service: service.name.clone(), priority: route.priority })
}

/// Where the three disagree, one sentence each. What the open operation is about to change is no drift.
pub fn drift(environment: &Environment, world: &World) -> Vec<Drift> {
    let judge = Judge { environment, world, moving: moving(world) };
    let mut found = Vec::new();
    if world.listener.is_none() && world.records.head.is_some() {
        let name = &environment.load_balancer.name;
        found.push(format!("load balancer {name} or its listener is missing, but the records say something serves"));
        return found.into_iter().map(Drift).collect();
    }
    for service in &environment.services {
        match &service.route {
            Some(route) => judge.route(service, route, &mut found),
            None => judge.worker(service, &mut found),
        }
    }
    judge.kinds(&mut found);
    judge.policies(&mut found);
    judge.strangers(&mut found);
    judge.wrecks(&mut found);
    found.into_iter().map(Drift).collect()
}

/// The releases an open operation moves between: while it runs, the weights may already (or still) name either.
fn moving(world: &World) -> BTreeSet<ReleaseNumber> {
    let open = world.records.lock.as_ref().and_then(|lock| lock.open.as_ref());
    let operation = open.and_then(|open| world.records.operations.iter().find(|operation| operation.id == *open));
    operation.iter().flat_map(|operation| [operation.release, operation.previous]).flatten().collect()
}

struct Judge<'w> {
    environment: &'w Environment,
    world: &'w World,
    moving: BTreeSet<ReleaseNumber>,
}

impl Judge<'_> {
    fn meant(&self, service: &Service) -> Option<ReleaseNumber> {
        self.world.records.head.as_ref()?.serving.get(&service.name).copied()
    }

    /// What may be the reason, and what helps.
    fn late(&self) -> String {
        match self.world.records.head.as_ref().is_some_and(|head| !head.check_after.is_empty()) {
            true => format!("; a call of an earlier holder may have landed late: `adstage resume {}` looks", self.environment.name),
            false => String::new(),
        }
    }

    fn route(&self, service: &Service, route: &Route, found: &mut Vec<String>) {
        let (name, meant) = (&service.name, self.meant(service));
        let key = RuleKey { service: name.clone(), priority: route.priority };
        let Some(rule) = self.world.rule(&key) else {
            if meant.is_some() {
                found.push(format!("{name}: its rule (priority {}) is missing, so visitors do not reach it", route.priority));
            }
            return;
        };
        let same = |one: &[String], other: &[String]| one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>();
        if !same(&rule.conditions.hosts, &route.hosts) || !same(&rule.conditions.paths, &route.paths) {
            found.push(format!("{name}: rule {} asks for other hosts or paths than the configuration", route.priority));
        }
        let Some(weights) = self.world.weights(&key) else {
            let what = match &rule.action {
                RuleAction::Foreign(what) => what.as_str(),
                _ => "forwards to a target group that is no fleet of this environment",
            };
            found.push(format!("{name}: rule {} was changed outside adstage: {what}", route.priority));
            return;
        };
        match (weights.sole(), meant) {
            (Some(live), Some(meant)) if live != meant && !self.moving.contains(&live) => {
                found.push(format!("{name}: visitors get {live}, but the records say {meant}{}", self.late()));
            }
            (Some(live), None) if !self.moving.contains(&live) => {
                found.push(format!("{name}: visitors get {live}, but the records know of no release there"));
            }
            (None, _) if !weights.shares().is_empty() && self.moving.is_empty() => {
                found.push(format!("{name}: visitors are split ({weights}), and no operation is under way"));
            }
            (None, Some(meant)) if weights.shares().is_empty() => {
                found.push(format!("{name}: visitors get no release, but the records say {meant}"));
            }
            _ => {}
        }
        for release in weights.shares().keys() {
            self.standing(service, *release, "visitors get", found);
        }
    }

    fn worker(&self, service: &Service, found: &mut Vec<String>) {
        if let Some(meant) = self.meant(service) {
            self.standing(service, meant, "the records say", found);
        }
        if self.moving.is_empty() {
            self.activity(service, found);
        }
    }

    /// Of a worker that is held and made active by tags, exactly the release that is meant works.
    fn activity(&self, service: &Service, found: &mut Vec<String>) {
        let (name, meant) = (&service.name, self.meant(service));
        let told = self.world.fleets.iter().filter(|fleet| fleet.key.service == *name);
        let told: Vec<(ReleaseNumber, Activity)> = told.filter_map(|fleet| Some((fleet.key.release, fleet.activity()?))).collect();
        if told.is_empty() {
            return;
        }
        for (release, _) in told.iter().filter(|(_, activity)| *activity == Activity::Mixed) {
            found.push(format!("{name}: some instances of {release} are active and others are not{}", self.late()));
        }
        let working: Vec<ReleaseNumber> = told.iter().filter(|(_, activity)| activity.works()).map(|(release, _)| *release).collect();
        let held = meant.is_some_and(|meant| told.contains(&(meant, Activity::Held)));
        match (working.as_slice(), meant) {
            ([], Some(meant)) if held => {
                found.push(format!("{name}: nobody works: {meant} is held, and the records say it works{}", self.late()))
            }
            ([one], Some(meant)) if *one != meant => {
                found.push(format!("{name}: {one} is active, but the records say {meant}{}", self.late()))
            }
            ([_, _, ..], _) => {
                let all = working.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
                found.push(format!("{name}: {all} are active at once, and no operation is under way{}", self.late()));
            }
            _ => {}
        }
    }

    /// A release that serves must have a group with instances.
    fn standing(&self, service: &Service, release: ReleaseNumber, says: &str, found: &mut Vec<String>) {
        let fleet = self.world.fleet(&service.name, release).filter(|fleet| !fleet.groups.is_empty());
        match fleet {
            None => found.push(format!("{}: {says} {release}, but its Auto Scaling group is missing", service.name)),
            Some(fleet) if fleet.standing().next().is_none() => {
                found.push(format!("{}: {says} {release}, but its group is being deleted", service.name));
            }
            Some(fleet) if fleet.desired() == 0 && self.moving.is_empty() => {
                found.push(format!("{}: {says} {release}, but it sleeps: its group wants no instances", service.name));
            }
            Some(_) => {}
        }
    }

    /// Spot that was covered with on-demand instances, and spot that is missing. While an operation is under way, sizes move.
    fn kinds(&self, found: &mut Vec<String>) {
        let serves = |fleet: &&Fleet| {
            let meant = self.world.records.head.as_ref().and_then(|head| head.serving.get(&fleet.key.service));
            meant == Some(&fleet.key.release)
        };
        for fleet in self.world.fleets.iter().filter(serves).filter(|_| self.moving.is_empty()) {
            let Some(spot) = fleet.group(CapacityKind::Spot) else { continue };
            let service = self.environment.services.iter().find(|service| service.name == fleet.key.service);
            let (key, now) = (&fleet.key, fleet.share());
            let wanted = Share::of(now.total(), service.map_or(0, |service| service.spot));
            let command = |flag: &str| format!("`adstage scale {} {} {flag}`", self.environment.name, key.service);
            if now.spot < wanted.spot {
                found.push(format!("{key} has {now} instead of {wanted}: {} shares them as configured", command("--hand-back")));
            }
            if spot.present() < spot.desired {
                let (there, desired) = (spot.present(), spot.desired);
                found.push(format!("{key} has {there} of {desired} spot instances: {} covers the others", command("--fallback")));
            }
        }
    }

    /// The fleet that serves follows what its release pins, and nobody else follows anything. While an operation is under way, policies move.
    fn policies(&self, found: &mut Vec<String>) {
        let head = self.world.records.head.as_ref().filter(|_| self.moving.is_empty());
        for fleet in self.world.fleets.iter().filter(|_| head.is_some()) {
            let (service, release) = (&fleet.key.service, fleet.key.release);
            let serves = head.and_then(|head| head.serving.get(service)) == Some(&release);
            let spec = self.world.records.release(release).and_then(|record| record.release.services.get(service));
            let scaling = spec.filter(|_| serves).and_then(|spec| spec.scaling.as_ref());
            let wanted = scaling.map(|scaling| scaling.policies()).unwrap_or_default();
            for (kind, group) in fleet.standing() {
                let name = fleet.key.group(kind);
                let there = |wanted: &ScalingPolicy| group.policies.iter().any(|found| found.policy.as_ref() == Some(wanted));
                let missing = wanted.iter().filter(|wanted| !there(wanted));
                found.extend(
                    missing.map(|policy| format!("{name} does not follow {policy}, as {release} should; the next deploy puts it right")),
                );
                let extra = |found: &&GroupPolicy| !wanted.iter().any(|policy| policy.metric.policy_name() == found.name);
                found.extend(group.policies.iter().filter(extra).map(|policy| match policy.is_ours() {
                    true => format!("{name} follows scaling policy {}, and should not; the next deploy takes it off", policy.name),
                    false => format!("{name} follows scaling policy {}, which is not adstage's", policy.name),
                }));
            }
        }
    }

    /// What is left of fleets that an operation could not retire whole. While one is under way, fleets come and go.
    fn wrecks(&self, found: &mut Vec<String>) {
        let open = self.world.records.lock.as_ref().is_some_and(|lock| lock.open.is_some());
        let serves = |key: &FleetKey| {
            let meant = self.world.records.head.as_ref().and_then(|head| head.serving.get(&key.service));
            meant == Some(&key.release)
        };
        let wrecks = self.world.fleets.iter().filter(|fleet| fleet.groups.is_empty() && !open && !serves(&fleet.key));
        found.extend(
            wrecks.map(|fleet| format!("{} has no instances any more, but parts of it are left; the next deploy clears them", fleet.key)),
        );
    }

    /// Fleets of releases nobody recorded, and of services the configuration does not know.
    fn strangers(&self, found: &mut Vec<String>) {
        for FleetKey { service, release } in self.world.fleets.iter().map(|fleet| &fleet.key) {
            let known = self.world.records.release(*release).is_some() || self.moving.contains(release);
            if !known {
                found.push(format!("{service}-{release} exists, but the records know of no {release}"));
            } else if !self.environment.services.iter().any(|configured| configured.name == *service) {
                found.push(format!("{service}-{release} exists, but the configuration has no service {service} here"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
