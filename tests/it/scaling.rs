//! Fleets that follow their load by themselves, in virtual time and with everything as late as AWS is: who follows what, and when.

use std::time::Duration;

use adstage::model::*;
use aws_sdk_autoscaling::types::{MetricType, PredefinedMetricSpecification, TargetTrackingConfiguration};
use insta::assert_snapshot;

use crate::yard::{Visitors, Yard};

fn follows(cpu: Option<u32>, requests: Option<u32>) -> Option<Scaling> {
    Some(Scaling { cpu, requests, min: 2, warmup: Seconds(60) })
}

/// Two to six instances of web.
async fn ready(scaling: Option<Scaling>, script: &str) -> Yard {
    let mut yard = Yard::lifelike().await;
    let web = &mut yard.environment.services[1];
    (web.instances, web.max_instances, web.scaling) = (2, 6, scaling);
    web.variables.insert("SANDBOX_SCRIPT".into(), script.into());
    yard.operator("ana").await.deploy().await.well();
    yard
}

fn greet(yard: &mut Yard, greeting: &str) {
    yard.environment.services[1].variables.insert("GREETING".into(), greeting.into());
}

/// Two requests a second each.
fn crowd(yard: &Yard, count: usize) -> Vec<Visitors> {
    (0..count).map(|_| yard.visitors()).collect()
}

async fn gone(crowd: Vec<Visitors>) {
    for visitors in crowd {
        assert_eq!(visitors.gone().await.failed, [""; 0]);
    }
}

async fn pass(yard: &Yard, minutes: u64) {
    yard.clock.sleep(Duration::from_secs(60 * minutes)).await;
}

/// The groups of web: sizes, and what each follows.
async fn groups(yard: &Yard) -> String {
    let world = yard.operator("onlooker").await.world().await;
    let web = world.fleets.iter().filter(|fleet| fleet.key.service.as_str() == "web");
    let group = |fleet: &Fleet, kind: CapacityKind, group: &Group| {
        let name = |found: &GroupPolicy| found.policy.map_or_else(|| found.name.clone(), |policy| policy.to_string());
        let mut policies: Vec<String> = group.policies.iter().map(name).collect();
        policies.sort();
        let follows = if policies.is_empty() { "nothing".to_string() } else { policies.join(" and ") };
        format!("{}: {} of {} to {}, follows {follows}", fleet.key.group(kind), group.desired, group.min, group.max)
    };
    web.flat_map(|fleet| fleet.standing().map(move |(kind, found)| group(fleet, kind, found))).collect::<Vec<_>>().join("\n")
}

async fn drifts(yard: &Yard) -> Vec<String> {
    let world = yard.operator("onlooker").await.world().await;
    drift(&yard.environment, &world).into_iter().map(|drift| drift.0).collect()
}

#[tokio::test(start_paused = true)]
async fn the_fleet_that_serves_follows_its_load_and_the_others_follow_nothing() {
    let mut yard = ready(follows(None, Some(300)), "").await;
    assert_snapshot!(groups(&yard).await, @"web-r1: 2 of 2 to 6, follows 300 requests a minute per instance");
    let visitors = crowd(&yard, 10);
    pass(&yard, 8).await;
    assert_snapshot!(groups(&yard).await, @"web-r1: 4 of 2 to 6, follows 300 requests a minute per instance");

    // The next release starts at what is live now, and what it leaves is kept as it is.
    greet(&mut yard, "two");
    yard.environment.services[1].scaling = follows(Some(50), Some(400));
    yard.operator("joe").await.deploy().await.well();
    assert_snapshot!(groups(&yard).await, @"
    web-r1: 4 of 4 to 6, follows nothing
    web-r2: 4 of 2 to 6, follows 400 requests a minute per instance and 50 % CPU
    ");
    gone(visitors).await;
    let visitors = crowd(&yard, 1);
    pass(&yard, 90).await;
    assert_snapshot!(groups(&yard).await, @"
    web-r1: 4 of 4 to 6, follows nothing
    web-r2: 2 of 2 to 6, follows 400 requests a minute per instance and 50 % CPU
    ");

    // What the release followed comes back with it.
    yard.operator("maya").await.rollback().await.well();
    assert_snapshot!(groups(&yard).await, @"
    web-r1: 4 of 2 to 6, follows 300 requests a minute per instance
    web-r2: 2 of 2 to 6, follows nothing
    ");
    assert_eq!(drifts(&yard).await, [""; 0]);

    // Nothing configured, nothing followed.
    greet(&mut yard, "three");
    yard.environment.services[1].scaling = None;
    yard.operator("joe").await.deploy().await.well();
    assert_snapshot!(groups(&yard).await, @"
    web-r1: 4 of 4 to 6, follows nothing
    web-r3: 4 of 2 to 6, follows nothing
    ");
    gone(visitors).await;
}

#[tokio::test(start_paused = true)]
async fn cpu_is_followed_by_both_kinds_of_capacity_in_proportion() {
    let mut yard = Yard::lifelike().await;
    let web = &mut yard.environment.services[1];
    (web.instances, web.max_instances, web.spot, web.scaling) = (4, 12, 75, follows(Some(10), None));
    web.variables.insert("SANDBOX_SCRIPT".into(), "cpu=80".into());
    yard.operator("ana").await.deploy().await.well();
    let visitors = crowd(&yard, 10);
    pass(&yard, 40).await;
    // 20 requests a second of 80 ms are 1.6 processors of 8: twice what is wanted.
    assert_snapshot!(groups(&yard).await, @"
    web-r1: 2 of 1 to 12, follows 10 % CPU
    web-r1-spot: 6 of 1 to 12, follows 10 % CPU
    ");
    gone(visitors).await;
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_is_undone_leaves_the_live_fleet_following_and_free_to_shrink() {
    let mut yard = ready(follows(None, Some(300)), "").await;
    let visitors = crowd(&yard, 10);
    pass(&yard, 8).await;
    let before = groups(&yard).await;
    yard.environment.services[1].variables.insert("SANDBOX_SCRIPT".into(), "fails=2".into());
    let timing = &mut yard.environment.timing;
    (timing.watching.on_trouble, timing.watch) = (OnTrouble::Rollback, Seconds(300));
    let ending = yard.operator("joe").await.deploy().await.ending();
    assert_eq!(ending.outcome, Outcome::RolledBack, "{ending:?}");
    assert_eq!(groups(&yard).await, before);
    for visitors in visitors {
        drop(visitors.gone().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_policy_is_named_and_put_back_and_a_strangers_is_named_and_left() {
    let yard = ready(follows(Some(50), Some(300)), "").await;
    let (client, group) = (yard.autoscaling(), "shop-production-web-r1");
    client.delete_policy().auto_scaling_group_name(group).policy_name("adstage-cpu").send().await.unwrap();
    let metric = PredefinedMetricSpecification::builder().predefined_metric_type(MetricType::AsgAverageCpuUtilization).build();
    let tracks = TargetTrackingConfiguration::builder().predefined_metric_specification(metric).target_value(70.0).build();
    let put = client.put_scaling_policy().auto_scaling_group_name(group).policy_name("night-shift");
    put.policy_type("TargetTrackingScaling").target_tracking_configuration(tracks).send().await.unwrap();
    assert_snapshot!(drifts(&yard).await.join("\n"), @"
    web-r1 does not follow 50 % CPU, as r1 should; the next deploy puts it right
    web-r1 follows scaling policy night-shift, which is not adstage's
    ");
    let plan = yard.operator("joe").await.deploy().await.well();
    assert_snapshot!(plan.notes.join("\n"), @"r1 is already live, only its scaling policies are put right");
    assert_snapshot!(groups(&yard).await, @"web-r1: 2 of 2 to 6, follows 300 requests a minute per instance and 50 % CPU and night-shift");
    assert_snapshot!(drifts(&yard).await.join("\n"), @"web-r1 follows scaling policy night-shift, which is not adstage's");
}
