//! Fleets of two kinds of capacity, in virtual time: spot that cannot be had, spot that is taken back, and other sizes, while visitors
//! come by.

use std::collections::BTreeSet;
use std::time::Duration;

use adstage::model::*;
use adstage::plan::{ScaleRequest, Sizes, render};
use insta::assert_snapshot;

use crate::yard::{Operator, Went, Yard};

/// Ten instances of web, of which so many percent are spot.
async fn ready(percent: u32) -> Yard {
    let mut yard = Yard::lifelike().await;
    let web = &mut yard.environment.services[1];
    (web.spot, web.instances, web.max_instances) = (percent, 10, 20);
    web.other_types = vec!["m7i.xlarge".into()];
    yard
}

fn scarce(yard: &Yard, spot: bool, left: Option<u32>) {
    yard.sandbox.scarce(&yard.environment.account, &yard.environment.region, spot, None, left);
}

/// The wanted sizes of web's fleets, and how many are healthy.
async fn sizes(yard: &Yard) -> String {
    let world = yard.operator("onlooker").await.world().await;
    let web = world.fleets.iter().filter(|fleet| fleet.key.service.as_str() == "web");
    web.map(|fleet| format!("{}: {}, {} healthy", fleet.key.release, fleet.share(), fleet.healthy())).collect::<Vec<_>>().join("; ")
}

/// The instances of web's fleets.
async fn members(yard: &Yard) -> BTreeSet<String> {
    let world = yard.operator("onlooker").await.world().await;
    let web = world.fleets.iter().filter(|fleet| fleet.key.service.as_str() == "web");
    web.flat_map(Fleet::standing).flat_map(|(_, group)| &group.instances).map(|member| member.id.clone()).collect()
}

/// What the steps of an operator's last operation answered.
fn told(operator: &Operator, word: &str) -> Vec<String> {
    let events = operator.events.lock().unwrap();
    let lines = events.iter().map(|event| format!("{event:?}")).filter(|line| line.contains(word));
    lines.collect()
}

fn greet(yard: &mut Yard, greeting: &str) {
    yard.environment.services[1].variables.insert("GREETING".into(), greeting.into());
}

async fn scale(yard: &Yard, to: Sizes) -> Went {
    let request = ScaleRequest { service: "web".parse().unwrap(), to, wait: true, force: false };
    yard.operator("maya").await.scale(&request).await
}

fn of(on_demand: u32, spot: u32) -> Sizes {
    Sizes::Of { on_demand: Some(on_demand), spot: Some(spot) }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_is_shared_between_its_kinds() {
    let mut yard = ready(80).await;
    yard.operator("ana").await.deploy().await.well();
    assert_snapshot!(sizes(&yard).await, @"r1: 2 on-demand and 8 spot, 10 healthy");
    greet(&mut yard, "two");
    let visitors = yard.visitors();
    yard.operator("joe").await.deploy().await.well();
    assert_snapshot!(sizes(&yard).await, @"r1: 2 on-demand and 8 spot, 10 healthy; r2: 2 on-demand and 8 spot, 10 healthy");
    // The worker's old instance is gone by then.
    yard.clock.sleep(Duration::from_secs(300)).await;
    yard.operator("maya").await.rollback().await.well();
    greet(&mut yard, "three");
    yard.operator("joe").await.deploy().await.well();
    assert_snapshot!(sizes(&yard).await, @"r1: 2 on-demand and 8 spot, 10 healthy; r3: 2 on-demand and 8 spot, 10 healthy");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn spot_that_cannot_be_had_is_covered_and_handed_back_later() {
    let mut yard = ready(80).await;
    yard.operator("ana").await.deploy().await.well();
    greet(&mut yard, "two");
    scarce(&yard, true, Some(3));
    let visitors = yard.visitors();
    let joe = yard.operator("joe").await;
    joe.deploy().await.well();
    assert_snapshot!(sizes(&yard).await, @"r1: 2 on-demand and 8 spot, 10 healthy; r2: 7 on-demand and 3 spot, 10 healthy");
    assert!(!told(&joe, "only 3 of 8 spot instances can be had").is_empty(), "{:#?}", told(&joe, "spot"));
    let world = joe.world().await;
    let drift: Vec<_> = drift(&yard.environment, &world).into_iter().map(|drift| drift.0).collect();
    assert_snapshot!(drift.join("\n"), @"web-r2 has 7 on-demand and 3 spot instead of 2 on-demand and 8 spot: `adstage scale production web --hand-back` shares them as configured");

    // There is none yet: as before.
    let ending = scale(&yard, Sizes::HandBack).await.ending();
    assert_eq!(ending.outcome, Outcome::RolledBack, "{ending:#?}");
    yard.clock.sleep(Duration::from_secs(60)).await;
    assert!(sizes(&yard).await.ends_with("r2: 7 on-demand and 3 spot, 10 healthy"), "{}", sizes(&yard).await);

    scarce(&yard, true, None);
    scale(&yard, Sizes::HandBack).await.well();
    yard.clock.sleep(Duration::from_secs(120)).await;
    assert!(sizes(&yard).await.ends_with("r2: 2 on-demand and 8 spot, 10 healthy"), "{}", sizes(&yard).await);
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn spot_that_comes_but_does_not_become_healthy_is_let_go_and_what_covers_it_stays() {
    let mut yard = ready(80).await;
    // Every instance of web takes two minutes more than the hand-back below has patience for.
    yard.environment.services[1].variables.insert("SANDBOX_SCRIPT".into(), "late".into());
    scarce(&yard, true, Some(3));
    yard.operator("ana").await.deploy().await.well();
    assert_snapshot!(sizes(&yard).await, @"r1: 7 on-demand and 3 spot, 10 healthy");
    scarce(&yard, true, None);
    yard.environment.timing.healthy_within = Seconds(60);
    let (visitors, serving) = (yard.visitors(), members(&yard).await);
    let ending = scale(&yard, Sizes::HandBack).await.ending();
    assert_eq!(ending.outcome, Outcome::RolledBack, "{ending:#?}");
    yard.clock.sleep(Duration::from_secs(120)).await;
    assert_eq!(members(&yard).await, serving, "those leave that never became healthy");
    assert_snapshot!(sizes(&yard).await, @"r1: 7 on-demand and 3 spot, 10 healthy");
    assert_eq!(visitors.gone().await.failed, [""; 0]);

    // With patience it is handed back after all.
    yard.environment.timing.healthy_within = Seconds(300);
    scale(&yard, Sizes::HandBack).await.well();
    yard.clock.sleep(Duration::from_secs(120)).await;
    assert_snapshot!(sizes(&yard).await, @"r1: 2 on-demand and 8 spot, 10 healthy");
}

#[tokio::test(start_paused = true)]
async fn a_total_shortage_is_undone_and_nobody_saw_it() {
    let mut yard = ready(80).await;
    yard.operator("ana").await.deploy().await.well();
    let before = sizes(&yard).await;
    greet(&mut yard, "two");
    let visitors = yard.visitors();
    for spot in [true, false] {
        scarce(&yard, spot, Some(1));
    }
    let ending = yard.operator("joe").await.deploy().await.ending();
    assert_eq!(ending.outcome, Outcome::RolledBack, "{ending:#?}");
    assert_eq!(sizes(&yard).await, before);

    // What AWS did not have says nothing about the release: it is deployed again without being forced.
    let world = yard.operator("onlooker").await.world().await;
    let verdict = |release: &ReleaseRecord| (release.release.number.to_string(), release.verdict.clone());
    let verdicts: Vec<_> = world.records.releases.iter().map(verdict).collect();
    assert!(verdicts.contains(&("r2".to_string(), Verdict::Untried)), "{verdicts:?}");
    for spot in [true, false] {
        scarce(&yard, spot, None);
    }
    yard.operator("joe").await.deploy().await.well();
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn spot_taken_back_fails_no_deploy_and_drops_no_request() {
    let mut yard = ready(100).await;
    let (account, region) = (yard.environment.account.clone(), yard.environment.region.clone());
    yard.operator("ana").await.deploy().await.well();
    assert_snapshot!(sizes(&yard).await, @"r1: 0 on-demand and 10 spot, 10 healthy");
    greet(&mut yard, "two");
    let live = yard.sandbox.spot_instances(&account, &region);
    let (sandbox, visitors) = (yard.sandbox.clone(), yard.visitors());
    let reclaims = async {
        // Three of the live ones, then three of the candidate's as soon as they run, and two once they serve.
        live.iter().take(3).for_each(|id| assert!(sandbox.reclaim(&account, &region, id)));
        for pause in [75, 90] {
            yard.clock.sleep(Duration::from_secs(pause)).await;
            let new: Vec<_> = sandbox.spot_instances(&account, &region).into_iter().filter(|id| !live.contains(id)).collect();
            assert!(new.len() > 3);
            new.iter().rev().take(3).for_each(|id| assert!(sandbox.reclaim(&account, &region, id)));
        }
    };
    let joe = yard.operator("joe").await;
    let (went, ()) = tokio::join!(joe.deploy(), reclaims);
    went.well();
    yard.clock.sleep(Duration::from_secs(180)).await;
    assert_snapshot!(sizes(&yard).await, @"r1: 0 on-demand and 10 spot, 10 healthy; r2: 0 on-demand and 10 spot, 10 healthy");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn up_and_down_and_not_to_nothing() {
    let yard = ready(50).await;
    yard.operator("ana").await.deploy().await.well();
    let visitors = yard.visitors();
    let plan = scale(&yard, of(8, 5)).await.well();
    assert_snapshot!(render(&plan).join("\n"), @"
    other sizes
      note  web-r1 has 5 on-demand and 5 spot now, and 8 on-demand and 5 spot after
      1 launch    web-r1 from 5 instances to 8
      2 await     13 of 13 healthy in web-r1 at the load balancer for 10s, within 5m
    ");
    assert_snapshot!(sizes(&yard).await, @"r1: 8 on-demand and 5 spot, 13 healthy");
    assert!(scale(&yard, of(8, 5)).await.well().stages.is_empty());
    scale(&yard, of(3, 6)).await.well();
    yard.clock.sleep(Duration::from_secs(60)).await;
    assert_snapshot!(sizes(&yard).await, @"r1: 3 on-demand and 6 spot, 9 healthy");
    let refused = scale(&yard, of(0, 0)).await;
    assert!(matches!(&refused, Went::Refused(refusal) if refusal.because[0].contains("nobody would be left")), "{refused:?}");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_falls_back_to_on_demand() {
    let yard = ready(50).await;
    let (account, region) = (yard.environment.account.clone(), yard.environment.region.clone());
    yard.operator("ana").await.deploy().await.well();
    scarce(&yard, true, Some(0));
    yard.sandbox.spot_instances(&account, &region).iter().take(2).for_each(|id| assert!(yard.sandbox.reclaim(&account, &region, id)));
    yard.clock.sleep(Duration::from_secs(300)).await;
    assert_snapshot!(sizes(&yard).await, @"r1: 5 on-demand and 5 spot, 8 healthy");
    let visitors = yard.visitors();
    scale(&yard, Sizes::Fallback).await.well();
    assert_snapshot!(sizes(&yard).await, @"r1: 7 on-demand and 3 spot, 10 healthy");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}
