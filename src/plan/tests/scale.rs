use crate::model::*;

use super::super::{DeployRequest, Plan, ScaleRequest, Sizes, Step};
use super::deployed;
use super::world::{name, world};

/// web serves r41: these sizes, of which so many spot instances are there.
fn serving(on_demand: u32, spot: u32, there: u32) -> (Environment, World) {
    let (mut environment, mut world) = world(&format!("web: r41 x{on_demand} live"));
    environment.services[0].spot = 80;
    let instance = |number| GroupInstance { id: format!("i-{number}"), lifecycle: "InService".into(), healthy: true };
    let groups = &mut world.fleets[0].groups;
    let group = Group { desired: spot, instances: (0..there).map(instance).collect(), ..groups[&CapacityKind::OnDemand].clone() };
    groups.insert(CapacityKind::Spot, group);
    (environment, world)
}

fn scaled((environment, world): &(Environment, World), to: Sizes, force: bool) -> Result<Plan, super::Refusal> {
    let plan = super::super::scale(environment, world, &ScaleRequest { service: name("web"), to, wait: false, force })?;
    assert_eq!(super::super::lint(&plan, Some(world)), []);
    Ok(plan)
}

/// Each group's way, in the order of the stages.
fn ways(plan: &Plan) -> Vec<String> {
    let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    steps.map(|step| step.to_string().split(" at the load").next().unwrap().to_string()).collect()
}

#[test]
fn spot_is_given_back_before_on_demand_goes() {
    let plan = scaled(&serving(7, 3, 3), Sizes::HandBack, false).unwrap();
    let wanted = ["web-r41-spot from 3 instances to 8", "15 of 15 healthy in web-r41", "web-r41 from 7 instances to 2"];
    assert_eq!(ways(&plan), wanted);
    assert!(scaled(&serving(2, 8, 8), Sizes::HandBack, false).unwrap().stages.is_empty());
}

#[test]
fn missing_spot_falls_back_to_on_demand() {
    let plan = scaled(&serving(2, 8, 5), Sizes::Fallback, false).unwrap();
    assert_eq!(ways(&plan), ["web-r41 from 2 instances to 5", "web-r41-spot from 8 instances to 5"]);
    assert!(scaled(&serving(2, 8, 8), Sizes::Fallback, false).unwrap().stages.is_empty());
}

#[test]
fn nothing_only_when_somebody_insists() {
    let (nothing, world) = (Sizes::Of { on_demand: Some(0), spot: Some(0) }, serving(2, 8, 8));
    let refusal = scaled(&world, nothing, false).unwrap_err();
    assert_eq!(refusal.next, ["adstage scale production web --on-demand 0 --spot 0 --force"]);
    assert_eq!(ways(&scaled(&world, nothing, true).unwrap()), ["web-r41 from 2 instances to 0", "web-r41-spot from 8 instances to 0"]);
}

#[test]
fn a_deploy_has_a_group_of_each_kind_and_covers_what_it_does_not_get() {
    let plan = deployed(&serving(2, 8, 8), &DeployRequest::default()).unwrap();
    let steps: Vec<&Step> = plan.stages.iter().flat_map(|stage| &stage.steps).collect();
    let launched = |kind: CapacityKind, wanted: u32| {
        steps.iter().any(|step| matches!(step, Step::LaunchFleet { kind: of, size, .. } if *of == kind && *size == wanted))
    };
    assert!(launched(CapacityKind::OnDemand, 2) && launched(CapacityKind::Spot, 8), "{steps:#?}");
    let place = |is: fn(&Step) -> bool| plan.stages.iter().position(|stage| stage.steps.iter().any(is)).unwrap();
    let look = place(|step| matches!(step, Step::AwaitSpot { .. }));
    let cover = place(|step| matches!(step, Step::CoverSpot { share: Share { on_demand: 2, spot: 8 }, .. }));
    let awaited = place(|step| matches!(step, Step::AwaitHealthy { count: 10, .. }));
    assert!(look < cover && cover < awaited);
}
