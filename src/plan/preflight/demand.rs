//! What steps need room for.

use std::collections::BTreeMap;

use crate::model::{CapacityKind, Fleet, FleetKey, World};
use crate::plan::Step;

/// Instances of one kind for one fleet, or a review box.
pub(super) struct Launch {
    /// The fleet, or the box.
    pub who: String,
    pub kind: CapacityKind,
    /// Types AWS may choose from, the usual one first; none if nobody knows.
    pub types: Vec<String>,
    pub count: u32,
    pub spread: Spread,
}

/// Which zones instances come to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    /// All, evenly.
    Evenly,
    /// Those that have the fewest of a group that is there.
    Fill,
    /// That of the first subnet.
    First,
}

/// All that is launched and made, beside what goes first.
#[derive(Default)]
pub(in crate::plan) struct Demand<'w> {
    pub(super) launches: Vec<Launch>,
    /// Auto Scaling groups.
    pub(super) groups: u32,
    /// Rules of the listener.
    pub rules: u32,
    /// Target groups.
    pub target_groups: u32,
    /// Fleets that are gone before the first launch.
    pub(super) cleared: Vec<&'w Fleet>,
}

impl<'w> Demand<'w> {
    /// What these steps need, in their order.
    pub fn of<'s>(world: &'w World, steps: impl IntoIterator<Item = &'s Step>) -> Self {
        let (mut demand, mut templates) = (Self::default(), BTreeMap::new());
        for step in steps {
            match step {
                Step::RetireFleet { fleet, .. } if demand.launches.is_empty() => {
                    demand.cleared.extend(world.fleet(&fleet.service, fleet.release));
                }
                Step::CreateLaunchTemplate { fleet, template } => _ = templates.insert(fleet, &template.instance_type),
                Step::CreateTargetGroup { .. } => demand.target_groups += 1,
                Step::CreateTestRule { .. } => demand.rules += 1,
                Step::LaunchFleet { fleet, kind, types, size, .. } => {
                    demand.groups += 1;
                    let only = templates.get(fleet).map(|kind| (*kind).clone());
                    let types = if types.is_empty() { only.into_iter().collect() } else { types.clone() };
                    demand.launch(fleet.to_string(), *kind, types, *size, Spread::Evenly);
                }
                Step::ResizeFleet { fleet, kind, size_before, size, .. } | Step::ScaleFleet { fleet, kind, size_before, size, .. } => {
                    let more = size.saturating_sub(*size_before);
                    demand.launch(fleet.to_string(), *kind, recorded(world, fleet), more, Spread::Fill);
                }
                Step::CreateBoxTargetGroups { groups, .. } => demand.target_groups += count(groups.len()),
                Step::CreateBoxRules { rules, .. } => demand.rules += count(rules.len()),
                Step::LaunchBox { name, launch } => {
                    let types = vec![launch.instance_type.clone()];
                    demand.launch(format!("box {name}"), CapacityKind::OnDemand, types, 1, Spread::First);
                }
                _ => {}
            }
        }
        demand
    }

    /// Without what of it is there already.
    pub fn without(mut self, machine: bool, rules: usize, target_groups: usize) -> Self {
        self.launches.retain(|_| !machine);
        self.rules = self.rules.saturating_sub(count(rules));
        self.target_groups = self.target_groups.saturating_sub(count(target_groups));
        self
    }

    fn launch(&mut self, who: String, kind: CapacityKind, types: Vec<String>, count: u32, spread: Spread) {
        if count > 0 {
            self.launches.push(Launch { who, kind, types, count, spread });
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.launches.is_empty() && self.groups + self.rules + self.target_groups == 0
    }

    /// Instances of the largest fleet.
    pub(super) fn largest(&self) -> u32 {
        let mut sizes: BTreeMap<&str, u32> = BTreeMap::new();
        for launch in &self.launches {
            *sizes.entry(&launch.who).or_default() += launch.count;
        }
        sizes.into_values().max().unwrap_or(0)
    }
}

/// What the fleet of a release was made from.
fn recorded(world: &World, fleet: &FleetKey) -> Vec<String> {
    let spec = world.records.release(fleet.release).and_then(|record| record.release.services.get(&fleet.service));
    spec.map(|spec| std::iter::once(&spec.instance_type).chain(&spec.other_types).cloned().collect()).unwrap_or_default()
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
