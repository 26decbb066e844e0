//! Any world at all, however it came about: what is planned for it meets every rule, and its visitors end up in one place.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::model::*;

use super::super::{DeployRequest, Plan, RollbackRequest, StageName, Step};
use super::world::{operation, world};
use super::{deployed, rolled_back};

fn fleets() -> impl Strategy<Value = String> {
    let weight = prop::sample::select(vec!["live", "warm", "warm", "50%", "idle", "out", "out untried"]);
    let trait_ = prop::sample::select(vec!["", "", "", "bad", "untried", "half", "unknown"]);
    let fleet = (1u32..6, 0u32..4, weight, trait_);
    (prop::collection::btree_map(1u32..6, fleet, 0..4), 0u32..6, 0u32..6).prop_map(|(fleets, head, before)| {
        let mut words: Vec<_> = fleets.iter().map(|(n, (_, size, weight, also))| format!("r{n} x{size} {weight} {also}")).collect();
        words.extend((head > 0).then(|| format!("head=r{head}")));
        words.extend((before > 0).then(|| format!("before=r{before}")));
        words.join(", ")
    })
}

fn worlds() -> impl Strategy<Value = (Environment, World)> {
    let unfinished = prop::option::of((any::<bool>(), 1u32..6));
    (fleets(), fleets(), fleets(), unfinished, 0u32..4, 0u16..3).prop_map(|(web, admin, worker, unfinished, keep_warm, shifts)| {
        let (mut environment, mut world) = world(&format!("web: {web}; admin: {admin}; worker: {worker}"));
        environment.timing.keep_warm = keep_warm;
        environment.services[0].spot = keep_warm * 30;
        for fleet in world.fleets.iter_mut().filter(|fleet| keep_warm > 1 && fleet.key.release.0 > 2) {
            let spot = fleet.groups.get(&CapacityKind::OnDemand).cloned();
            fleet.groups.extend(spot.map(|group| (CapacityKind::Spot, group)));
        }
        environment.timing.watch = Seconds(u64::from(keep_warm) * 30);
        let watch = environment.timing.watch.max(Seconds(10));
        let shift = |percent| Shift { percent, watch };
        environment.timing.watching.shifts = (0..shifts).map(|n| 10 + 40 * n).chain([100]).map(shift).collect();
        world.records.operations.extend(
            unfinished.map(|(back, release)| operation(if back { OperationKind::Rollback } else { OperationKind::Deploy }, release, None)),
        );
        (environment, world)
    })
}

/// Every cutover ends with all visitors of its route at what the plan promises, and nothing the plan relies on is removed.
fn keeps_its_word(plan: &Plan) {
    let mut moved = BTreeMap::new();
    for (stage, step) in plan.stages.iter().flat_map(|stage| stage.steps.iter().map(|step| (stage.name, step))) {
        match step {
            // Freed of an earlier operation's pin, before anything else.
            Step::SettleFleet { fleet, .. } if stage == StageName::Clear => {
                assert_eq!(plan.before.get(&fleet.service), Some(&fleet.release), "{plan:#?}");
            }
            Step::CutOverTraffic { rule, after, .. } => _ = moved.insert(rule.service.clone(), after.sole()),
            Step::SettleFleet { fleet, .. } => assert_eq!(plan.serving.get(&fleet.service), Some(&fleet.release), "{plan:#?}"),
            _ => {}
        }
    }
    for (service, sole) in moved {
        assert_eq!(sole.as_ref(), plan.serving.get(&service), "{plan:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn deploys(world in worlds(), force in any::<bool>(), old in prop::option::of(1u32..6)) {
        let image = old.map(|number| format!("ami-{number}"));
        if let Ok(plan) = deployed(&world, &DeployRequest { image, force, ..DeployRequest::default() }) {
            keeps_its_word(&plan);
        }
    }

    #[test]
    fn rollbacks(world in worlds(), to in prop::option::of(1u32..6)) {
        match rolled_back(&world, &RollbackRequest { to: to.map(ReleaseNumber) }) {
            Ok(plan) => keeps_its_word(&plan),
            Err(refusal) => prop_assert!(!refusal.because.is_empty() && !refusal.next.is_empty()),
        }
    }
}
