//! Whether there is room for what is to be launched: addresses, vCPUs, groups, rules and target groups, beside all that runs already.
//!
//! A launch is refused for what is known not to fit, all of it at once and with the numbers. What might not fit, and what could not be
//! read, is a note. Notes hold no number that changes by itself: a plan that was shown must be the plan that is run.

mod addresses;
mod demand;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{CapacityKind, Environment, Fleet, Purchases, Quota, REVIEW, Reading, Room, Used, World};

use super::refusal::Reasons;
use super::{Plan, Stage};
pub(super) use demand::Demand;
use demand::{Launch, Spread};

/// What a plan launches, and what might have to stand in for it.
pub fn launches(plan: &Plan, world: &World) -> Purchases {
    let mut wanted = Purchases::new();
    for launch in Demand::of(world, plan.stages.iter().flat_map(|stage| &stage.steps)).launches {
        for kind in [launch.kind, CapacityKind::OnDemand] {
            wanted.extend(launch.types.iter().map(|instance_type| (instance_type.clone(), kind)));
        }
    }
    wanted
}

/// Enters why it cannot be launched, and says what else should be known.
pub(super) fn check(environment: &Environment, world: &World, demand: &Demand, reasons: &mut Reasons) -> Vec<String> {
    let Some(room) = world.room.as_ref().filter(|_| !demand.is_nothing()) else { return Vec::new() };
    let cleared = demand.cleared.iter().flat_map(|fleet| fleet.groups.values()).flat_map(|group| &group.instances);
    let cleared = cleared.map(|instance| instance.id.as_str()).collect();
    let mut check = Check { environment, world, room, demand, cleared, reasons, notes: Vec::new() };
    check.addresses();
    check.vcpus();
    check.groups();
    check.balancer();
    check.notes
}

/// The same for all that these stages launch and make.
pub(super) fn check_stages(environment: &Environment, world: &World, stages: &[Stage], reasons: &mut Reasons) -> Vec<String> {
    check(environment, world, &Demand::of(world, stages.iter().flat_map(|stage| &stage.steps)), reasons)
}

struct Check<'c> {
    environment: &'c Environment,
    world: &'c World,
    room: &'c Room,
    demand: &'c Demand<'c>,
    /// Instances that are gone before the first launch.
    cleared: BTreeSet<&'c str>,
    reasons: &'c mut Reasons,
    notes: Vec<String>,
}

/// What a quota is asked for.
#[derive(Default)]
struct Asked<'c> {
    who: BTreeSet<&'c str>,
    /// vCPUs, whichever type AWS chooses.
    least: u32,
    /// If it chooses the largest.
    most: u32,
}

impl<'c> Check<'c> {
    /// What was read; of what was not, a note is made.
    fn known<T>(&mut self, what: &str, reading: &'c Reading<T>) -> Option<&'c T> {
        match reading {
            Reading::Known(value) => return Some(value),
            Reading::Unread { action, denied } => {
                let why = if *denied { format!("the caller may not {action}") } else { format!("{action} did not answer") };
                self.note(format!("whether {what} could not be judged: {why}"));
            }
        }
        None
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn vcpus(&mut self) {
        const WHAT: &str = "the vCPU quotas leave enough";
        let room = self.room;
        let Some(running) = self.known(WHAT, &room.running) else { return };
        let Some(sizes) = self.known(WHAT, &room.vcpus) else { return };
        let mut used: BTreeMap<&str, u32> = BTreeMap::new();
        for instance in running.iter().filter(|instance| !self.cleared.contains(instance.id.as_str())) {
            if let Some(quota) = Quota::of(&instance.instance_type, instance.kind) {
                *used.entry(quota.code).or_default() += sizes.get(&instance.instance_type).copied().unwrap_or(0);
            }
        }
        let mut asked: BTreeMap<&str, (Quota, Asked)> = BTreeMap::new();
        for launch in &self.demand.launches {
            let Some((quota, least, most)) = self.size(launch, sizes) else { continue };
            let (_, asked) = asked.entry(quota.code).or_insert_with(|| (quota, Asked::default()));
            asked.who.insert(&launch.who);
            asked.least += least;
            asked.most += most;
        }
        for (code, (quota, asked)) in &asked {
            let Some(reading) = room.quotas.get(code) else { continue };
            let Some(most) = self.known(WHAT, reading).copied() else { continue };
            self.quota(*quota, asked, Used { used: used.get(code).copied().unwrap_or(0), most });
        }
        self.fallback(&used, &asked, sizes);
    }

    /// The quota a launch counts against, and how many vCPUs of it AWS may take; none if that cannot be told.
    fn size(&mut self, launch: &'c Launch, sizes: &BTreeMap<String, u32>) -> Option<(Quota, u32, u32)> {
        if launch.types.is_empty() {
            self.note(format!(
                "whether the vCPU quotas leave enough could not be judged: what {} was made from is not recorded",
                launch.who
            ));
            return None;
        }
        let (who, region) = (&launch.who, &self.environment.region);
        for missing in launch.types.iter().filter(|kind| !sizes.contains_key(*kind)) {
            let next = format!("aws ec2 describe-instance-type-offerings --filters Name=instance-type,Values={missing} --region {region}");
            self.reasons.add(format!("{who}: there is no instance type {missing} in {region}"), next);
        }
        // On-demand, the first type is taken as long as it is there; of spot, what AWS has most of.
        let types = if launch.kind.is_on_demand() { &launch.types[..1] } else { &launch.types[..] };
        let quotas: BTreeSet<Option<&str>> = types.iter().map(|kind| Quota::of(kind, launch.kind).map(|quota| quota.code)).collect();
        let Some(quota) = Quota::of(&types[0], launch.kind).filter(|_| quotas.len() == 1) else {
            let why = format!("which of them {} ({}) counts against is not known", types.join(", "), launch.kind);
            self.note(format!("whether the vCPU quotas leave enough for {who} could not be judged: {why}"));
            return None;
        };
        let each = || types.iter().filter_map(|kind| sizes.get(kind)).map(|vcpus| vcpus.saturating_mul(launch.count));
        Some((quota, each().min()?, each().max()?))
    }

    fn quota(&mut self, quota: Quota, asked: &Asked, there: Used) {
        let Asked { who, least, most } = asked;
        let who = names(who.iter().copied());
        let Used { used, most: limit } = there;
        if used + least > limit {
            let text = format!("{who}: {least} vCPUs are needed beside the {used} in use, and {limit} are allowed ({})", quota.name);
            let next = format!("aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {}", quota.code);
            self.reasons.add(text, format!("{next} --desired-value {} --region {}", used + least, self.environment.region));
        } else if used + most > limit {
            let text = format!("{who}: the {limit} vCPUs allowed may not do, should AWS choose the largest types ({})", quota.name);
            self.notes.push(text);
        }
    }

    /// What is missing of spot is to be made up for on demand.
    fn fallback(&mut self, used: &BTreeMap<&str, u32>, asked: &BTreeMap<&str, (Quota, Asked)>, sizes: &BTreeMap<String, u32>) {
        let mut missing: BTreeMap<&str, (Quota, Asked)> = BTreeMap::new();
        for launch in self.demand.launches.iter().filter(|launch| !launch.kind.is_on_demand()) {
            let first = launch.types.first().and_then(|kind| Some((Quota::of(kind, CapacityKind::OnDemand)?, sizes.get(kind)?)));
            let Some((quota, vcpus)) = first else { continue };
            let (_, missing) = missing.entry(quota.code).or_insert_with(|| (quota, Asked::default()));
            missing.who.insert(&launch.who);
            missing.least += vcpus.saturating_mul(launch.count);
        }
        for (code, (quota, missing)) in missing {
            let Some(limit) = self.room.quotas.get(code).and_then(Reading::known) else { continue };
            let beside = used.get(code).copied().unwrap_or(0) + asked.get(code).map_or(0, |(_, asked)| asked.least);
            if beside + missing.least > *limit && beside <= *limit {
                let who = names(missing.who.iter().copied());
                let text =
                    format!("{who}: should there be no spot, the {limit} vCPUs allowed do not cover all of it on demand ({})", quota.name);
                self.notes.push(text);
            }
        }
    }

    fn groups(&mut self) {
        let wanted = self.demand.groups;
        if wanted == 0 {
            return;
        }
        let room = self.room;
        let Some(Used { used, most }) = self.known("there may be more Auto Scaling groups", &room.groups).copied() else { return };
        let leaving = count(self.demand.cleared.iter().map(|fleet| fleet.groups.len()).sum());
        let (used, region) = (used.saturating_sub(leaving), &self.environment.region);
        if used + wanted > most {
            let text = format!("{region} takes {most} Auto Scaling groups of this account: {used} are there, and {wanted} more are needed");
            self.reasons.add(text, format!("aws autoscaling describe-account-limits --region {region}"));
        }
    }

    fn balancer(&mut self) {
        let demand = self.demand;
        if demand.rules + demand.target_groups == 0 && demand.launches.is_empty() {
            return;
        }
        let room = self.room;
        let Some(limits) = self.known("the load balancer takes more rules and target groups", &room.limits) else { return };
        let (name, region) = (&self.environment.load_balancer.name, &self.environment.region);
        let leaving = |has: fn(&Fleet) -> bool| count(demand.cleared.iter().filter(|fleet| has(fleet)).count());
        let (rules, groups) = (leaving(|fleet| fleet.test_rule.is_some()), leaving(|fleet| fleet.target_group.is_some()));
        let targets = |fleet: &Fleet| fleet.target_group.as_ref().map_or(0, |group| group.targets.len());
        // Of target groups that are not this environment's, nobody asks for the targets: it is what there is at least.
        let stays = |fleet: &&Fleet| !demand.cleared.iter().any(|cleared| cleared.key == fleet.key);
        let there = count(self.world.fleets.iter().filter(stays).map(targets).sum());
        let balancer = format!("the load balancer {name}");
        let all = demand.launches.iter().filter(|launch| launch.spread != Spread::First).map(|launch| launch.count).sum();
        let asked = [
            ("rules-per-application-load-balancer", &balancer, "rules", room.rules.saturating_sub(rules), demand.rules),
            (
                "target-groups-per-application-load-balancer",
                &balancer,
                "target groups",
                room.attached.saturating_sub(groups),
                demand.target_groups,
            ),
            ("targets-per-application-load-balancer", &balancer, "targets", there, all),
            ("target-groups", region, "target groups", room.target_groups.saturating_sub(groups), demand.target_groups),
            ("targets-per-target-group", &"a target group".to_string(), "targets", 0, demand.largest()),
        ];
        for (limit, whose, what, used, wanted) in asked {
            let Some(most) = limits.get(limit).filter(|most| wanted > 0 && used + wanted > **most) else { continue };
            let text = format!("{whose} takes {most} {what}: {used} are in use, and {wanted} more are needed");
            if self.environment.name.as_str() == REVIEW {
                self.reasons.offer("adstage review list".to_string());
            }
            self.reasons.add(text, format!("aws service-quotas list-service-quotas --service-code elasticloadbalancing --region {region}"));
        }
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<BTreeSet<&str>>().into_iter().collect::<Vec<_>>().join(", ")
}
