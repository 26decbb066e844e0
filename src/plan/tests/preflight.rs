//! Whether there is room, for worlds that no sandbox would show.

use insta::assert_snapshot;

use super::world::{environment, world};
use crate::model::{CapacityKind, Environment, GroupInstance, Purchases, Quota, Reading, Room, RunningInstance, SubnetRoom, Used, World};
use crate::plan::{DeployRequest, RollbackRequest, launches, rollback};

/// Room for everything.
pub(super) fn room() -> Room {
    let types = [("m7i.large", 2), ("m7i.xlarge", 4), ("g5.xlarge", 4), ("mac2.metal", 8)];
    let quotas = ["L-1216C47A", "L-34B43A08", "L-DB2E81BA"];
    let subnet = |id: &str, zone: &str| SubnetRoom { id: id.into(), zone: zone.into(), free: 100 };
    Room {
        subnets: Reading::Known(vec![subnet("subnet-a", "a"), subnet("subnet-b", "b"), subnet("subnet-b2", "b")]),
        running: Reading::Known(Vec::new()),
        vcpus: Reading::Known(types.map(|(name, vcpus)| (name.to_string(), vcpus)).into()),
        quotas: quotas.map(|code| (code, Reading::Known(100))).into(),
        groups: Reading::Known(Used { used: 0, most: 500 }),
        limits: Reading::Known([("rules-per-application-load-balancer".to_string(), 100)].into()),
        rules: 0,
        attached: 0,
        target_groups: 0,
    }
}

/// Web with a live release, and this much room.
fn live(line: &str, change: impl FnOnce(&mut Environment, &mut World, &mut Room)) -> (Environment, World) {
    let (mut environment, mut world) = world(line);
    let mut room = room();
    change(&mut environment, &mut world, &mut room);
    world.room = Some(room);
    (environment, world)
}

/// What is refused, or what should be known.
fn told(at: &(Environment, World)) -> String {
    match super::deployed(at, &DeployRequest::default()) {
        Ok(plan) => plan.notes.into_iter().filter(|note| !note.contains("adstage.toml")).collect::<Vec<_>>().join("\n"),
        Err(refusal) => refusal.because.iter().map(|why| format!("REFUSED {why}")).collect::<Vec<_>>().join("\n"),
    }
}

fn running(id: &str, instance_type: &str, kind: CapacityKind) -> RunningInstance {
    RunningInstance { id: id.into(), instance_type: instance_type.into(), kind, subnet: "subnet-a".into() }
}

#[test]
fn only_what_counts_against_the_same_quota_is_in_its_way() {
    let at = live("web: r1 x3 live", |_, _, room| {
        let others = [("i-1", "m7i.xlarge", CapacityKind::Spot), ("i-2", "g5.xlarge", CapacityKind::OnDemand)];
        let own = [("i-3", "m7i.xlarge", CapacityKind::OnDemand), ("i-4", "unheard-of", CapacityKind::OnDemand)];
        let all = others.into_iter().chain(own).map(|(id, name, kind)| running(id, name, kind));
        room.running = Reading::Known(all.collect());
        room.quotas.insert("L-1216C47A", Reading::Known(10));
    });
    assert_snapshot!(told(&at), @"");
    let at = live("web: r1 x3 live", |_, _, room| _ = room.quotas.insert("L-1216C47A", Reading::Known(5)));
    assert_snapshot!(told(&at), @"REFUSED web-r2: 6 vCPUs are needed beside the 0 in use, and 5 are allowed (Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances)");
}

#[test]
fn what_goes_first_makes_room() {
    let wreck = |quota: u32, free: u32| {
        live("web: r1 x3 live, r2 x3 out untried", |_, world, room| {
            let mut all = Vec::new();
            for fleet in &mut world.fleets {
                for group in fleet.groups.values_mut() {
                    for number in 0..group.desired {
                        let id = format!("i-{}-{number}", fleet.key);
                        all.push(running(&id, "m7i.large", CapacityKind::OnDemand));
                        group.instances.push(GroupInstance { id, lifecycle: "InService".into(), healthy: true });
                    }
                }
            }
            room.running = Reading::Known(all);
            room.quotas.insert("L-1216C47A", Reading::Known(quota));
            room.subnets = Reading::Known(vec![SubnetRoom { id: "subnet-a".into(), zone: "a".into(), free }]);
            room.groups = Reading::Known(Used { used: 2, most: 2 });
            (room.rules, room.limits) = (4, Reading::Known([("rules-per-application-load-balancer".to_string(), 4)].into()));
        })
    };
    assert_snapshot!(told(&wreck(12, 0)), @"");
    assert_snapshot!(told(&wreck(11, 0)), @"REFUSED web-r3: 6 vCPUs are needed beside the 6 in use, and 11 are allowed (Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances)");
}

#[test]
fn types_to_choose_from_are_judged_by_what_is_certain() {
    let several = |percent: u32, quota: u32, others: &[&str]| {
        let others: Vec<String> = others.iter().map(|name| name.to_string()).collect();
        live("web: r1 x4 live", |environment, _, room| {
            (environment.services[0].spot, environment.services[0].other_types) = (percent, others);
            for code in ["L-1216C47A", "L-34B43A08"] {
                room.quotas.insert(code, Reading::Known(quota));
            }
        })
    };
    // On-demand, the first type is taken.
    assert_snapshot!(told(&several(0, 8, &["m7i.xlarge"])), @"");
    // Of spot, any may be.
    assert_snapshot!(told(&several(100, 8, &["m7i.xlarge"])), @"web-r2: the 8 vCPUs allowed may not do, should AWS choose the largest types (All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests)");
    assert_snapshot!(told(&several(100, 7, &["m7i.xlarge"])), @"REFUSED web-r2: 8 vCPUs are needed beside the 0 in use, and 7 are allowed (All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests)");
    assert_snapshot!(told(&several(100, 8, &["g5.xlarge"])), @"whether the vCPU quotas leave enough for web-r2 could not be judged: which of them m7i.large, g5.xlarge (spot) counts against is not known");
    assert_snapshot!(told(&several(0, 8, &["m7i.tiny"])), @"REFUSED web-r2: there is no instance type m7i.tiny in eu-central-1");
}

#[test]
fn a_family_nobody_has_heard_of_is_not_judged() {
    let at = live("web: r1 x4 live", |environment, _, _| environment.services[0].instance_type = "mac2.metal".into());
    assert_snapshot!(told(&at), @"whether the vCPU quotas leave enough for web-r2 could not be judged: which of them mac2.metal (on-demand) counts against is not known");
}

#[test]
fn what_could_not_be_read_is_said_once_and_refuses_nothing() {
    let at = live("web: r1 x4 live; admin: r1 x1 live", |_, _, room| {
        let unread = |denied: bool, action: &str| (action.to_string(), denied);
        let (action, denied) = unread(true, "ec2:DescribeSubnets");
        room.subnets = Reading::Unread { action, denied };
        let (action, denied) = unread(false, "ec2:DescribeInstances");
        room.running = Reading::Unread { action, denied };
        let (action, denied) = unread(true, "autoscaling:DescribeAccountLimits");
        room.groups = Reading::Unread { action, denied };
        let (action, denied) = unread(true, "elasticloadbalancing:DescribeAccountLimits");
        room.limits = Reading::Unread { action, denied };
    });
    assert_snapshot!(told(&at), @r"
    whether the subnets have enough free addresses could not be judged: the caller may not ec2:DescribeSubnets
    whether the vCPU quotas leave enough could not be judged: ec2:DescribeInstances did not answer
    whether there may be more Auto Scaling groups could not be judged: the caller may not autoscaling:DescribeAccountLimits
    whether the load balancer takes more rules and target groups could not be judged: the caller may not elasticloadbalancing:DescribeAccountLimits
    ");
}

#[test]
fn zones_are_filled_evenly() {
    let zones = |size: u32, a: u32, b: [u32; 2]| {
        live(&format!("web: r1 x{size} live"), |_, _, room| {
            let subnet = |id: &str, zone: &str, free: u32| SubnetRoom { id: id.into(), zone: zone.into(), free };
            room.subnets = Reading::Known(vec![subnet("subnet-a", "a", a), subnet("subnet-b", "b", b[0]), subnet("subnet-b2", "b", b[1])]);
        })
    };
    assert_eq!(told(&zones(4, 2, [1, 1])), "");
    assert_snapshot!(told(&zones(4, 1, [9, 9])), @"REFUSED web-r2: 2 addresses are needed, and a has 1 left (subnet-a)");
    assert_snapshot!(told(&zones(5, 2, [1, 2])), @"web-r2: the free addresses of a may not do, should one more come there than elsewhere");
    assert_snapshot!(told(&zones(5, 2, [1, 1])), @"REFUSED web-r2: 5 addresses are needed, and the subnets have 4 left (subnet-a, subnet-b, subnet-b2)");
}

#[test]
fn a_plan_says_what_it_launches() {
    let of = |line: &str| {
        let (environment, world) = world(line);
        launches(&rollback(&environment, &world, &RollbackRequest::default()).unwrap(), &world)
    };
    assert_eq!(of("web: r1 x4, r2 x4 live, before=r1"), Purchases::new(), "warm");
    assert_eq!(of("web: r1 x2, r2 x4 live, before=r1"), Purchases::from([("m7i.large".to_string(), CapacityKind::OnDemand)]), "grows");
    let mut environment = environment(&["web"]);
    environment.services[0].spot = 50;
    let codes = environment.purchases().into_iter().filter_map(|(name, kind)| Quota::of(&name, kind));
    assert_eq!(codes.map(|quota| quota.code).collect::<Vec<_>>(), ["L-1216C47A", "L-34B43A08"]);
}
