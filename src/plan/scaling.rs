//! Who follows scaling policies: the fleet that serves, and nobody else. They are put on when a release is settled and taken off whatever
//! it leaves. Until then the fleet that serves keeps its own: pinned, it can grow under load and cannot shrink for want of it.

use std::collections::BTreeMap;

use crate::model::{CapacityKind, Group, ReleaseNumber, ScalingPolicy, ServiceName, Share, follows};

use super::Step;
use super::situation::{Cut, Situation, Standing};

/// The release serves from now on: its sizes are free, and it follows its load.
pub(super) fn serves(standing: &Standing, number: ReleaseNumber, size: u32) -> Vec<Step> {
    settled(standing, number, size).into_iter().chain(followed(standing, number, size)).collect()
}

/// Each group may shrink to its share of the configured size, and grow to all there may be: one kind stands in for the other.
fn settled(standing: &Standing, number: ReleaseNumber, size: u32) -> Vec<Step> {
    let shares = standing.shares_of(number, size);
    let alone = shares.len() == 1;
    let least = Share::of(standing.least(number).min(size), if alone { 0 } else { standing.service.spot });
    let step = |(kind, size): (CapacityKind, u32)| {
        let min = if alone { least.total() } else { least.kind(kind) };
        Step::SettleFleet { fleet: standing.key(number), kind, min: min.min(size), max: standing.max(size) }
    };
    shares.into_iter().map(step).collect()
}

/// The release follows what its record pins; no other fleet of the service follows anything. No step where that is so already.
pub(super) fn followed(standing: &Standing, number: ReleaseNumber, size: u32) -> Vec<Step> {
    let wanted = standing.scaling(number).map(|scaling| scaling.policies()).unwrap_or_default();
    let own = standing.groups(number);
    let group = |kind: CapacityKind| own.iter().find(|(other, _)| *other == kind).map(|(_, group)| *group);
    let kinds = standing.shares_of(number, size).into_iter().map(|(kind, _)| kind);
    let live = kinds.filter_map(|kind| step(standing, number, kind, group(kind), &wanted));
    let others = standing.by_worth().into_iter().filter(|release| *release != number);
    let off = others.flat_map(|release| standing.groups(release).into_iter().map(move |(kind, group)| (release, kind, group)));
    live.chain(off.filter_map(|(release, kind, group)| step(standing, release, kind, Some(group), &[]))).collect()
}

fn step(standing: &Standing, release: ReleaseNumber, kind: CapacityKind, group: Option<&Group>, wanted: &[ScalingPolicy]) -> Option<Step> {
    let there = group.map(|group| group.policies.as_slice()).unwrap_or_default();
    let before = there.iter().filter_map(|found| found.policy).collect();
    let step = || Step::SetScaling { fleet: standing.key(release), kind, before, policies: wanted.to_vec() };
    (!follows(there, wanted)).then(step)
}

/// An operation that was cut short may have left fleets pinned that serve, and go on serving: this frees their sizes.
pub(super) fn freed(situation: &Situation) -> Vec<Step> {
    let live =
        situation.standings.iter().filter(|_| situation.cut != Cut::None).filter_map(|standing| Some((standing, standing.live_fleet()?)));
    let pinned = |(standing, live): (&Standing, ReleaseNumber)| {
        let groups = standing.groups(live);
        let min = |kind: CapacityKind| groups.iter().find(|(other, _)| *other == kind).map_or(0, |(_, group)| group.min);
        let mut steps = settled(standing, live, standing.desired(live));
        steps.retain(|step| matches!(step, Step::SettleFleet { kind, min: least, .. } if min(*kind) > *least));
        steps
    };
    live.flat_map(pinned).collect()
}

/// The same beside these steps, for services that stay where they are or are not spoken of.
pub(super) fn free_others(situation: &Situation, targets: &BTreeMap<ServiceName, ReleaseNumber>, steps: &mut Vec<Step>) {
    let stays = |step: &Step| step.fleet().is_some_and(|fleet| targets.get(&fleet.service).is_none_or(|to| *to == fleet.release));
    let spoken_of = |step: &Step| steps.iter().any(|other| other.fleet() == step.fleet());
    let more: Vec<_> = freed(situation).into_iter().filter(|step| stays(step) && !spoken_of(step)).collect();
    steps.extend(more);
}

/// The smallest size a group goes back to when its pin is undone: what it has, unless that is what an operation that was cut short left.
pub(super) fn unpinned(situation: &Situation, standing: &Standing, release: ReleaseNumber, kind: CapacityKind, group: &Group) -> u32 {
    if situation.cut == Cut::None {
        return group.min;
    }
    let least = settled(standing, release, standing.desired(release)).into_iter().find_map(|step| match step {
        Step::SettleFleet { kind: other, min, .. } if other == kind => Some(min),
        _ => None,
    });
    least.map_or(group.min, |least| least.min(group.min))
}
