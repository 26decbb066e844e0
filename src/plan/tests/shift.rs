//! Visitors little by little.

use insta::assert_snapshot;

use crate::model::*;

use super::super::lint::*;
use super::super::{DeployRequest, Plan, StageName, Step, lint};
use super::world::{operation, world};
use super::{deploy, deployed, rollback};

fn gradual(line: &str, shifts: &[(u16, u64)]) -> (Environment, World) {
    let (mut environment, world) = world(line);
    let shift = |(percent, watch): &(u16, u64)| Shift { percent: *percent, watch: Seconds(*watch) };
    environment.timing.watching.shifts = shifts.iter().map(shift).collect();
    (environment, world)
}

const SHIFTS: [(u16, u64); 3] = [(10, 180), (50, 120), (100, 300)];

#[test]
fn each_shift_is_one_write_per_route_all_routes_together_and_is_watched() {
    let said = deploy(&gradual("web: r41 x2 live; admin: r41 x1 live; worker: r41 x1 live", &SHIFTS));
    let cutover = said.lines().skip_while(|line| !line.contains("cut over")).take_while(|line| !line.contains("settle"));
    assert_snapshot!(cutover.collect::<Vec<_>>().join("\n"), @"
    15 cut over  pin web-r41 at 2 (smallest size was 1)
    16           pin admin-r41 at 1 (smallest size was 1)
    17           pin worker-r41 at 1 (smallest size was 1)
    18           route web (rule 10): r41:100 r42:0 -> r41:90 r42:10
    19           route admin (rule 20): r41:100 r42:0 -> r41:90 r42:10
    20 watch     web-r42 stays healthy, 2 of 2, for 3m at 10 %
    21           admin-r42 stays healthy, 1 of 1, for 3m at 10 %
    22 cut over  route web (rule 10): r41:90 r42:10 -> r41:50 r42:50
    23           route admin (rule 20): r41:90 r42:10 -> r41:50 r42:50
    24 watch     web-r42 stays healthy, 2 of 2, for 2m at 50 %
    25           admin-r42 stays healthy, 1 of 1, for 2m at 50 %
    26 cut over  route web (rule 10): r41:50 r42:50 -> r41:0 r42:100
    27           route admin (rule 20): r41:50 r42:50 -> r41:0 r42:100
    28           make worker-r42 active
    29           make worker-r41 inactive: it finishes what it has, and rests
    30           1 of 1 healthy in worker-r42 at the load balancer for 20s, within 10m
    31 watch     web-r42 stays healthy, 2 of 2, for 5m
    32           admin-r42 stays healthy, 1 of 1, for 5m
    33           worker-r42 stays healthy, 1 of 1, for 5m
    ");
}

#[test]
fn a_first_release_gets_everybody_at_once() {
    let plan = deployed(&gradual("web: ", &SHIFTS), &DeployRequest::default()).unwrap();
    let moves = plan.stages.iter().flat_map(|stage| &stage.steps).filter(|step| matches!(step, Step::CutOverTraffic { .. }));
    assert_eq!(moves.count(), 1);
}

#[test]
fn undoing_any_shift_leads_to_where_the_first_began() {
    let plan = deployed(&gradual("web: r41 x2 live", &SHIFTS), &DeployRequest::default()).unwrap();
    let origins: Vec<_> = plan
        .stages
        .iter()
        .flat_map(|stage| &stage.steps)
        .filter_map(|step| match step {
            Step::CutOverTraffic { before, origin, .. } => Some(origin.as_ref().unwrap_or(before).to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(origins, ["r41:100 r42:0"; 3]);
}

#[test]
fn a_deploy_that_was_cut_short_in_a_shift_is_gone_back_from_by_one_write() {
    let (environment, mut world) = gradual("web: r41 x2 90%, r42 x2 10% untried, head=r41", &SHIFTS);
    world.records.operations.push(operation(OperationKind::Deploy, 42, Some(41)));
    let world = (environment, world);
    assert_snapshot!(deploy(&world), @"
    REFUSED cannot deploy to production
      because  the visitors of web are split, r41:90 r42:10: a cutover was cut short
      because  the deploy of r42 by ana was cut short while its visitors were coming little by little
      next     adstage rollback production
    ");
    assert_snapshot!(rollback(&world), @"
    back from r42 to r41 (shop-41, ami-41)
      note  the deploy of r42 by ana is not through, and has moved some visitors and not others
      note  this puts an end to the deploy of r42 by ana
      note  r42 will be marked bad: deploying it again needs --force
      1 await     2 of 2 healthy in web-r41 at the load balancer now, or within 30s
      2 cut over  pin web-r42 at 2 (smallest size was 1)
      3           route web (rule 10): r41:90 r42:10 -> r41:100 r42:0
      4 settle    web-r41 heals by the load balancer's checks, 2 to 4 instances
    ");
}

/// The rules a spoilt plan breaks.
fn broken(spoil: impl Fn(&mut Plan)) -> Vec<&'static str> {
    let (environment, world) = gradual("web: r41 x2 live", &SHIFTS);
    let mut plan = deployed(&(environment, world.clone()), &DeployRequest::default()).unwrap();
    spoil(&mut plan);
    let mut rules: Vec<_> = lint(&plan, Some(&world)).into_iter().map(|flaw| flaw.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn shifts_rise_are_watched_and_end_with_everybody() {
    let first_watch = |plan: &Plan| plan.stages.iter().position(|stage| stage.name == StageName::Watch).unwrap();
    let last_move = |plan: &Plan| plan.stages.iter().rposition(|stage| stage.name == StageName::CutOver).unwrap();
    assert_eq!(broken(|_| {}), [""; 0]);
    assert_eq!(broken(|plan| _ = plan.stages.remove(first_watch(plan))), [WATCHED]);
    assert!(broken(|plan| plan.stages.truncate(last_move(plan))).contains(&ONE_RELEASE));
    let falls = broken(|plan| {
        let at = last_move(plan);
        for step in &mut plan.stages[at].steps {
            if let Step::CutOverTraffic { after, .. } = step {
                *after = Weights([(ReleaseNumber(41), 95), (ReleaseNumber(42), 5)].into());
            }
        }
    });
    assert!(falls.contains(&RISING), "{falls:?}");
}
