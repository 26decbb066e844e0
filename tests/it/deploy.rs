//! Whole deploys and rollbacks in the sandbox, in virtual time, with visitors who must not notice.

use std::time::Duration;

use adstage::aws::NewTemplate;
use adstage::execute::Interrupt;
use adstage::failure::End;
use adstage::lock::Blocked;
use adstage::model::*;
use adstage::plan::{DeployRequest, SPREAD, TargetGroupSpec, TemplateSpec};
use adstage::sandbox::{Misfortune, When};
use insta::assert_snapshot;

use crate::yard::{Went, Yard, shown};

/// Scripted machines of this release behave so (`sandbox::host::scripted`).
fn scripted(yard: &mut Yard, service: &str, script: &str) {
    let service = yard.environment.services.iter_mut().find(|found| found.name.as_str() == service).unwrap();
    service.variables.insert("SANDBOX_SCRIPT".into(), script.into());
}

async fn state(yard: &Yard) -> String {
    shown(&yard.environment, &yard.operator("onlooker").await.world().await)
}

#[tokio::test(start_paused = true)]
async fn first_second_third_and_back() {
    let mut yard = Yard::ready().await;
    let first = yard.operator("ana").await;
    first.deploy().await.well();
    assert_snapshot!(first.saw().join(", "), @"prepare …, prepare ok, launch …, launch ok, await …, await ok, cut over …, cut over ok, watch …, watch ok, settle …, settle ok");
    assert_snapshot!(state(&yard).await, @"admin: r1 x1 at 100; web: r1 x2 at 100; worker: r1 x1; head: admin r1 web r1 worker r1; r1 good");

    let visitors = yard.visitors();
    for greeting in ["two", "three"] {
        yard.environment.services[1].variables.insert("GREETING".into(), greeting.into());
        yard.environment.services[2].variables.insert("GREETING".into(), greeting.into());
        yard.operator("joe").await.deploy().await.well();
    }
    assert_snapshot!(state(&yard).await, @"admin: r2 x1 at 0, r3 x1 at 100; web: r2 x2 at 0, r3 x2 at 100; worker: r2 x1, r3 x1; head: admin r3 web r3 worker r3; r1 good, r2 good, r3 good");

    let oncall = yard.operator("maya").await;
    let began = oncall.clock.moment();
    oncall.rollback().await.well();
    let took = oncall.clock.since(began);
    assert_snapshot!(state(&yard).await, @"admin: r2 x1 at 100, r3 x1 at 0; web: r2 x2 at 100, r3 x2 at 0; worker: r2 x1, r3 x1; head: admin r2 web r2 worker r2; r1 good, r2 good, r3 bad");
    assert!(took < Duration::from_secs(120), "{took:?}");

    let seen = visitors.gone().await;
    assert_eq!(seen.failed, [""; 0], "of {}", seen.count);
    assert!(seen.count > 100);
}

#[tokio::test(start_paused = true)]
async fn what_is_live_is_not_deployed_again() {
    let yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    let again = yard.operator("ana").await.deploy().await.well();
    assert!(again.stages.is_empty() && !again.new_release);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_crashes_is_undone_and_nobody_saw_it() {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    let before = state(&yard).await;
    let visitors = yard.visitors();
    scripted(&mut yard, "web", "crash");
    let joe = yard.operator("joe").await;
    let ending = joe.deploy().await.ending();
    assert_eq!(ending.outcome, Outcome::RolledBack);
    let failure = ending.failure.unwrap();
    assert_eq!(failure.end, End::RolledBack);
    assert_snapshot!(format!("{}\n{}\n{}", failure.what, failure.because.join("\n"), failure.evidence[1..].join("\n")), @"
    the deploy of r2 failed at await, so it was undone
    web-r2: web exits as soon as it starts (3 restarts)
    | starting
    | panic: scripted to crash
    ");
    assert_snapshot!(joe.saw().join(", "), @"prepare …, prepare ok, launch …, launch ok, await …, await failed: web-r2: web exits as soon as it starts (3 restarts), unwind …, unwind ok");
    assert_eq!(state(&yard).await, format!("{before}, r2 bad"));
    let seen = visitors.gone().await;
    assert_eq!((seen.failed, seen.groups), (vec![], vec!["shop-production-web-r1".to_string()]));
    // And again only when somebody insists.
    let refused = yard.operator("joe").await.deploy().await;
    assert!(format!("{refused:?}").contains("marked bad"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_candidate_with_less_capacity_is_refused_before_the_cutover_with_the_numbers() {
    let mut yard = Yard::ready().await;
    yard.environment.services[1].instance_type = "m7i.xlarge".into();
    yard.operator("ana").await.deploy().await.well();
    let before = state(&yard).await;
    // As many instances, half as large.
    yard.environment.services[1].instance_type = "m7i.large".into();
    let visitors = yard.visitors();
    let ending = yard.operator("joe").await.deploy().await.ending();
    let failure = ending.failure.unwrap();
    assert_eq!((ending.outcome, failure.end), (Outcome::RolledBack, End::RolledBack));
    assert_eq!(failure.because[..2], ["web-r2 is smaller than web-r1", "4 vCPUs and 16384 MiB against 8 vCPUs and 32768 MiB"]);
    assert_eq!(state(&yard).await, format!("{before}, r2 bad"));
    assert_eq!(visitors.gone().await.groups, ["shop-production-web-r1"]);
    // Somebody knows better.
    yard.environment.timing.min_capacity = 50;
    yard.environment.services[1].variables.insert("GREETING".into(), "again".into());
    yard.operator("joe").await.deploy().await.well();
}

#[tokio::test(start_paused = true)]
async fn a_cutover_that_fails_half_way_puts_every_route_back() {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    let before = state(&yard).await;
    yard.environment.services[1].variables.insert("GREETING".into(), "two".into());
    let visitors = yard.visitors();
    // Two rules take the candidate in at weight 0, then one of them moves, and the other does not.
    let refuse = Misfortune::Refuse(400, "TargetGroupAssociationLimit".into());
    yard.sandbox.faults().schedule(When::Action("ModifyRule".into(), 4), refuse);
    let joe = yard.operator("joe").await;
    let ending = joe.deploy().await.ending();
    assert_eq!((ending.outcome, ending.failure.unwrap().end), (Outcome::RolledBack, End::RolledBack));
    assert!(joe.saw().contains(&"unwind ok".to_string()));
    assert_eq!(state(&yard).await, format!("{before}, r2 untried"));
    let seen = visitors.gone().await;
    assert_eq!(seen.failed, [""; 0], "of {}", seen.count);
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_before_the_cutover_leaves_nothing() {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    let before = state(&yard).await;
    scripted(&mut yard, "web", "late");
    let joe = yard.operator("joe").await;
    let press = async {
        joe.clock.sleep(Duration::from_secs(60)).await;
        joe.interrupt.send_replace(Some(Interrupt::Keyboard));
    };
    let (went, ()) = tokio::join!(joe.deploy(), press);
    let ending = went.ending();
    assert_eq!((ending.outcome, ending.failure.unwrap().end), (Outcome::RolledBack, End::Interrupted));
    assert!(ending.took < Seconds(110), "did not wait for the release: {}", ending.took);
    assert_eq!(state(&yard).await, format!("{before}, r2 untried"));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_sickens_after_its_cutover_is_said_and_rolled_back_by_hand() {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    yard.environment.timing.watch = Seconds(180);
    scripted(&mut yard, "web", "sick-after=90");
    let ending = yard.operator("joe").await.deploy().await.ending();
    assert_eq!((ending.outcome, ending.failure.as_ref().unwrap().end), (Outcome::Deployed, End::Trouble));
    assert_snapshot!(ending.failure.unwrap().next.join("; "), @"adstage rollback production; adstage status production");
    assert!(yard.visit("/").await.1.ends_with("web-r2"));
    yard.operator("maya").await.rollback().await.well();
    yard.clock.sleep(SPREAD.duration()).await;
    assert_eq!(yard.visit("/").await, (200, "shop-production-web-r1".to_string()));
    assert_snapshot!(state(&yard).await, @"admin: r1 x1 at 100, r2 x1 at 0; web: r1 x2 at 100, r2 x2 at 0; worker: r1 x1, r2 x1; head: admin r1 web r1 worker r1; r1 good, r2 bad");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_vanishes_before_the_cutover_is_undone_before_the_next_deploy() {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    let visitors = yard.visitors();
    scripted(&mut yard, "web", "late");
    vanish(&yard, 60).await;
    yard.environment.services[1].variables.remove("SANDBOX_SCRIPT");
    yard.environment.services[1].variables.insert("GREETING".into(), "again".into());
    let maya = yard.operator("maya").await;
    assert!(matches!(maya.deploy().await, Went::Blocked(Blocked::Unfinished(_))));
    assert_eq!(maya.resume(true).await.ending().failure, None);
    let plan = maya.deploy().await.well();
    assert_ne!(plan.stages[0].name.to_string(), "clear", "nothing is left");
    assert_snapshot!(state(&yard).await, @"admin: r1 x1 at 0, r3 x1 at 100; web: r1 x2 at 0, r3 x2 at 100; worker: r1 x1, r3 x1; head: admin r3 web r3 worker r3; r1 good, r2 untried, r3 good");
    assert_eq!(visitors.gone().await.failed, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_vanishes_before_the_cutover_is_cleared_up_by_a_rollback() {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    let before = state(&yard).await;
    scripted(&mut yard, "web", "late");
    vanish(&yard, 60).await;
    yard.operator("maya").await.rollback().await.well();
    assert_eq!(state(&yard).await, format!("{before}, r2 untried"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_vanishes_while_watching_is_resumed_or_rolled_back() {
    for back in [false, true] {
        let mut yard = Yard::ready().await;
        yard.operator("ana").await.deploy().await.well();
        let visitors = yard.visitors();
        yard.environment.services[1].variables.insert("GREETING".into(), "two".into());
        let joe = yard.operator("joe").await;
        let watching = async {
            while !joe.saw().iter().any(|line| line == "watch …") {
                joe.clock.sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            went = joe.deploy() => panic!("{went:?}"),
            () = watching => {}
        }
        joe.line.cut(true);
        let maya = yard.operator("maya").await;
        let went = if back { maya.rollback().await } else { maya.resume(false).await };
        went.well();
        let (release, other) = if back { ("r1", "r2 bad") } else { ("r2", "r2 good") };
        yard.clock.sleep(SPREAD.duration()).await;
        assert_eq!(yard.visit("/").await.1, format!("shop-production-web-{release}"));
        let state = state(&yard).await;
        assert!(state.contains(&format!("web {release}")) && state.contains(other), "{state}");
        assert_eq!(visitors.gone().await.failed, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn only_one_service_and_back_again() {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    yard.environment.services[0].variables.insert("GREETING".into(), "two".into());
    let request = DeployRequest { services: vec!["admin".parse().unwrap()], ..DeployRequest::default() };
    yard.operator("ana").await.deploy_as(&request).await.well();
    assert_snapshot!(state(&yard).await, @"admin: r1 x1 at 0, r2 x1 at 100; web: r1 x2 at 100; worker: r1 x1; head: admin r2 web r1 worker r1; r1 good, r2 good");
    yard.operator("ana").await.rollback().await.well();
    assert_snapshot!(state(&yard).await, @"admin: r1 x1 at 100, r2 x1 at 0; web: r1 x2 at 100; worker: r1 x1; head: admin r1 web r1 worker r1; r1 good, r2 bad");
}

#[tokio::test(start_paused = true)]
async fn a_bake_that_fails_leaves_its_image_with_the_reason_and_nothing_else() {
    let yard = Yard::ready().await;
    let mut spoilt = yard.environment.clone();
    spoilt.services[2].variables.insert("SANDBOX_SCRIPT".into(), "crash".into());
    let yard = Yard { environment: spoilt, ..yard };
    let ending = yard.operator("ana").await.bake("2").await.ending();
    assert_eq!(ending.outcome, Outcome::RolledBack, "{ending:?}");
    let images = yard.operator("ana").await.world().await.images;
    let states: Vec<_> = images.iter().map(|image| image.provenance).collect();
    assert_eq!(states, [Provenance::Failed, Provenance::Verified], "{images:?}");
    let inventory = yard.sandbox.inventory(&yard.environment.account, &yard.environment.region);
    assert!(inventory.instances.is_empty() && inventory.stray_snapshots.is_empty(), "{inventory:?}");
}

/// A deploy whose process is gone this long after it began: no unwinding, no release of the lock.
async fn vanish(yard: &Yard, seconds: u64) {
    let joe = yard.operator("joe").await;
    tokio::select! {
        went = joe.deploy() => panic!("{went:?}"),
        () = joe.clock.sleep(Duration::from_secs(seconds)) => {}
    }
    joe.line.cut(true);
}

#[tokio::test(start_paused = true)]
async fn m24_a_strangers_thing_under_a_name_of_ours_is_refused_before_anything_is_made() {
    let mut yard = Yard::ready().await;
    let ana = yard.operator("ana").await;
    ana.deploy().await.well();
    for service in &mut yard.environment.services {
        service.variables.insert("GREETING".into(), "two".into());
    }
    let theirs = yard.operator("stranger").await;
    let subnets = theirs.aws.ec2.subnets(&yard.environment.subnets).await.unwrap();
    let health = yard.environment.timing.health.clone();
    let spec = TargetGroupSpec { port: 80, path: "/".into(), health, drain: Seconds(20) };
    theirs
        .aws
        .elbv2
        .create_target_group("shop-production-web-r2", &subnets[0].vpc, &spec, &std::collections::BTreeMap::new())
        .await
        .unwrap();
    let image = ana.world().await.images[0].id.clone();
    let template = NewTemplate {
        name: "shop-production-admin-r2".into(),
        spec: TemplateSpec { image, instance_type: "t3.small".into(), user_data: String::new() },
        security_groups: Vec::new(),
        instance_profile: None,
        tags: std::collections::BTreeMap::new(),
        token: "theirs".into(),
    };
    theirs.aws.ec2.create_launch_template(&template).await.unwrap();
    // Until EC2 lists it.
    yard.clock.sleep(Duration::from_secs(60)).await;
    let changes = || yard.sandbox.faults().calls().iter().filter(|call| call.mutating && call.service != "dynamodb").count();
    let (before, looks) = (changes(), yard.sandbox.faults().calls().len());
    let ending = yard.operator("joe").await.deploy().await.ending();
    let failure = ending.failure.unwrap();
    assert_eq!((ending.outcome, failure.end), (Outcome::Refused, End::Refused), "{failure:?}");
    let template = "launch template shop-production-admin-r2 is there and not adstage's";
    assert_eq!(failure.because, [format!("{template}; target group shop-production-web-r2 is there and not adstage's")]);
    assert_eq!(changes(), before);
    // Two looks at everything, and one question per kind of thing, for three services.
    let asked = |action: &str| yard.sandbox.faults().calls()[looks..].iter().filter(|call| call.action == action).count();
    assert_eq!((asked("DescribeLaunchTemplates"), asked("DescribeTargetGroups")), (3, 3));
    let world = ana.world().await;
    assert_eq!(world.records.lock.and_then(|lock| lock.open), None);
}
