use insta::assert_snapshot;

use crate::model::*;

use super::super::DeployRequest;
use super::world::{image, name, operation, world};
use super::{deploy, deployed, said};

#[test]
fn first() {
    assert_snapshot!(deploy(&world("web:; worker:")), @"
    r1 (shop-new, ami-new) is the first release
      1 prepare   template from ami-new, m7i.large: web-r1, worker-r1
      2           target group: web-r1, worker-r1
      3           test rule no visitor can match: web-r1, worker-r1
      4 launch    fleet web-r1, 2 instances (at most 4)
      5           fleet worker-r1, 1 instance (at most 2), held
      6 await     2 of 2 healthy in web-r1 at the load balancer for 20s, within 10m
      7           1 of 1 healthy in worker-r1 at the load balancer for 20s, within 10m
      8 cut over  route web (rule 10): nothing -> r1:100
      9           make worker-r1 active
     10           1 of 1 healthy in worker-r1 at the load balancer for 20s, within 10m
     11 watch     web-r1 stays healthy, 2 of 2, for 5m
     12           worker-r1 stays healthy, 1 of 1, for 5m
     13 settle    web-r1 heals by the load balancer's checks, 2 to 4 instances
     14           worker-r1 heals by the load balancer's checks, 1 to 2 instances
    ");
}

#[test]
fn second() {
    assert_snapshot!(deploy(&world("web: r1 x3 live")), @"
    r2 (shop-new, ami-new) replaces r1
      note  web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
      1 prepare   template from ami-new, m7i.large: web-r2
      2           target group: web-r2
      3           test rule no visitor can match: web-r2
      4           route web (rule 10): r1:100 -> r1:100 r2:0
      5 launch    fleet web-r2, 3 instances (at most 4)
      6 await     3 of 3 healthy in web-r2 at the load balancer for 20s, within 10m
      7 verify    web-r2 has the vCPUs and memory of web-r1
      8 cut over  pin web-r1 at 3 (smallest size was 1)
      9           route web (rule 10): r1:100 r2:0 -> r1:0 r2:100
     10 watch     web-r2 stays healthy, 3 of 3, for 5m
     11 settle    web-r2 heals by the load balancer's checks, 2 to 4 instances
    ");
}

#[test]
fn third_keeps_one_release_warm_and_retires_the_one_before() {
    assert_snapshot!(deploy(&world("web: r40 x3 warm, r41 x3 live; admin: r40 x1 warm, r41 x1 live; worker: r40 x0, r41 x2 live")), @"
    r42 (shop-new, ami-new) replaces r41
      note  web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
      note  worker keeps the 2 instances it has now; the 1 of adstage.toml are for a first release
      note  worker-r42 is held until the cutover makes it active; r41 then finishes what it has and rests
      1 prepare   template from ami-new, m7i.large: web-r42, admin-r42, worker-r42
      2           target group: web-r42, admin-r42, worker-r42
      3           test rule no visitor can match: web-r42, admin-r42, worker-r42
      4           route web (rule 10): r40:0 r41:100 -> r40:0 r41:100 r42:0
      5           route admin (rule 20): r40:0 r41:100 -> r40:0 r41:100 r42:0
      6 launch    fleet web-r42, 3 instances (at most 4)
      7           fleet admin-r42, 1 instance (at most 2)
      8           fleet worker-r42, 2 instances (at most 2), held
      9 await     3 of 3 healthy in web-r42 at the load balancer for 20s, within 10m
     10           1 of 1 healthy in admin-r42 at the load balancer for 20s, within 10m
     11           2 of 2 healthy in worker-r42 at the load balancer for 20s, within 10m
     12 verify    web-r42 has the vCPUs and memory of web-r41
     13           admin-r42 has the vCPUs and memory of admin-r41
     14           worker-r42 has the vCPUs and memory of worker-r41
     15 cut over  pin web-r41 at 3 (smallest size was 1)
     16           pin admin-r41 at 1 (smallest size was 1)
     17           pin worker-r41 at 2 (smallest size was 1)
     18           route web (rule 10): r40:0 r41:100 r42:0 -> r40:0 r41:0 r42:100
     19           route admin (rule 20): r40:0 r41:100 r42:0 -> r40:0 r41:0 r42:100
     20           make worker-r42 active
     21           make worker-r41 inactive: it finishes what it has, and rests
     22           2 of 2 healthy in worker-r42 at the load balancer for 20s, within 10m
     23 watch     web-r42 stays healthy, 3 of 3, for 5m
     24           admin-r42 stays healthy, 1 of 1, for 5m
     25           worker-r42 stays healthy, 2 of 2, for 5m
     26 settle    web-r42 heals by the load balancer's checks, 2 to 4 instances
     27           admin-r42 heals by the load balancer's checks, 1 to 2 instances
     28           worker-r42 heals by the load balancer's checks, 1 to 2 instances
     29           take r40 out of route web (rule 10)
     30           take r40 out of route admin (rule 20)
     31           retire web-r40, drained for 30s (no way back)
     32           retire admin-r40, drained for 30s (no way back)
     33           retire worker-r40, drained for 30s (no way back)
    ");
}

#[test]
fn only_one_service() {
    let request = DeployRequest { services: vec![name("admin")], ..DeployRequest::default() };
    let plan = deployed(&world("web: r41 x3 live; admin: r41 x1 live"), &request).unwrap();
    let serving: Vec<_> = plan.serving.iter().map(|(service, release)| format!("{service} {release}")).collect();
    assert_eq!((serving, plan.left()), (vec!["admin r42".into(), "web r41".to_string()], vec![ReleaseNumber(41)]));
    assert_snapshot!(said(Ok(plan)), @"
    r42 (shop-new, ami-new) replaces r41
      1 prepare   template from ami-new, m7i.large: admin-r42
      2           target group: admin-r42
      3           test rule no visitor can match: admin-r42
      4           route admin (rule 20): r41:100 -> r41:100 r42:0
      5 launch    fleet admin-r42, 1 instance (at most 2)
      6 await     1 of 1 healthy in admin-r42 at the load balancer for 20s, within 10m
      7 verify    admin-r42 has the vCPUs and memory of admin-r41
      8 cut over  pin admin-r41 at 1 (smallest size was 1)
      9           route admin (rule 20): r41:100 r42:0 -> r41:0 r42:100
     10 watch     admin-r42 stays healthy, 1 of 1, for 5m
     11 settle    admin-r42 heals by the load balancer's checks, 1 to 2 instances
    ");
}

#[test]
fn the_remains_of_a_killed_deploy_are_cleared_first() {
    let (environment, mut world) = world("web: r41 x3 live, r42 x3 idle; worker: r41 x1 live, r42 x1 untried");
    world.records.operations = vec![operation(OperationKind::Deploy, 42, Some(41))];
    assert_snapshot!(deploy(&(environment, world)), @"
    r43 (shop-new, ami-new) replaces r41
      note  the deploy of r42 by ana is not through, and has not changed what is served
      note  web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
      note  worker-r43 is held until the cutover makes it active; r41 then finishes what it has and rests
      1 clear     take r42 out of route web (rule 10)
      2           retire web-r42, drained for 30s (no way back)
      3           retire worker-r42, drained for 30s (no way back)
      4 prepare   template from ami-new, m7i.large: web-r43, worker-r43
      5           target group: web-r43, worker-r43
      6           test rule no visitor can match: web-r43, worker-r43
      7           route web (rule 10): r41:100 -> r41:100 r43:0
      8 launch    fleet web-r43, 3 instances (at most 4)
      9           fleet worker-r43, 1 instance (at most 2), held
     10 await     3 of 3 healthy in web-r43 at the load balancer for 20s, within 10m
     11           1 of 1 healthy in worker-r43 at the load balancer for 20s, within 10m
     12 verify    web-r43 has the vCPUs and memory of web-r41
     13           worker-r43 has the vCPUs and memory of worker-r41
     14 cut over  pin web-r41 at 3 (smallest size was 1)
     15           pin worker-r41 at 1 (smallest size was 1)
     16           route web (rule 10): r41:100 r43:0 -> r41:0 r43:100
     17           make worker-r43 active
     18           make worker-r41 inactive: it finishes what it has, and rests
     19           1 of 1 healthy in worker-r43 at the load balancer for 20s, within 10m
     20 watch     web-r43 stays healthy, 3 of 3, for 5m
     21           worker-r43 stays healthy, 1 of 1, for 5m
     22 settle    web-r43 heals by the load balancer's checks, 2 to 4 instances
     23           worker-r43 heals by the load balancer's checks, 1 to 2 instances
    ");
}

#[test]
fn a_deploy_killed_after_its_cutover_is_finished_by_asking_for_it_again() {
    let mut world = world("web: r40 x3 warm, r41 x3 warm, r42 x3 100% untried, head=r41; worker: r41 x1 live, r42 x1 untried");
    world.1.records.operations = vec![operation(OperationKind::Deploy, 42, Some(41))];
    let request = DeployRequest { image: Some("ami-42".into()), ..DeployRequest::default() };
    let plan = deployed(&world, &request).unwrap();
    assert_eq!(plan.left(), [ReleaseNumber(41)]);
    assert_snapshot!(said(Ok(plan)), @"
    r42 (shop-42, ami-42) replaces r41
      note  the deploy of r42 by ana is not through, and its release has all visitors
      note  r42 has all visitors already; what the deploy of r42 by ana left undone is finished
      1 await     1 of 1 healthy in worker-r42 at the load balancer now, or within 10m
      2 cut over  make worker-r42 active
      3           make worker-r41 inactive: it finishes what it has, and rests
      4           1 of 1 healthy in worker-r42 at the load balancer for 20s, within 10m
      5 settle    web-r42 heals by the load balancer's checks, 2 to 4 instances
      6           worker-r42 heals by the load balancer's checks, 1 to 2 instances
      7           take r40 out of route web (rule 10)
      8           retire web-r40, drained for 30s (no way back)
    ");
}

#[test]
fn a_first_deploy_killed_after_its_cutover_is_recorded_when_it_is_finished() {
    let mut world = world("web: r1 x2 100% untried; worker: r1 x1 untried");
    world.1.records.head = Some(Head { next: 2, ..Head::default() });
    world.1.records.operations = vec![operation(OperationKind::Deploy, 1, None)];
    let request = DeployRequest { image: Some("ami-1".into()), ..DeployRequest::default() };
    let plan = deployed(&world, &request).unwrap();
    let everywhere = ["web", "worker"].map(|service| (service.parse().unwrap(), ReleaseNumber(1)));
    assert_eq!((plan.before, plan.serving), (Default::default(), everywhere.into()));
}

#[test]
fn already_live() {
    let request = DeployRequest { image: Some("shop-41".into()), ..DeployRequest::default() };
    let world = world("web: r40 x3 warm, r41 x3 live");
    assert_snapshot!(said(deployed(&world, &request)), @"
    r41 (shop-41, ami-41) stays live
      note  r41 is already live, nothing to do
    ");
    let forced = deployed(&world, &DeployRequest { force: true, ..request }).unwrap();
    assert!(forced.new_release && !forced.stages.is_empty());
}

#[test]
fn a_changed_configuration_is_a_new_release_of_the_same_image() {
    let (mut environment, world) = world("web: r41 x3 live");
    environment.services[0].variables.insert("GREETING".into(), "hi".into());
    let request = DeployRequest { image: Some("ami-41".into()), ..DeployRequest::default() };
    assert!(deployed(&(environment, world), &request).unwrap().new_release);
}

#[test]
fn without_a_network() {
    let (environment, mut world) = world("web:; admin:");
    world.rules.remove(0);
    assert_snapshot!(deploy(&(environment.clone(), world.clone())), @"
    REFUSED cannot deploy to production
      because  web has no rule on the listener yet
      next     adstage setup production
    ");
    world.listener = None;
    assert_snapshot!(deploy(&(environment, world)), @"
    REFUSED cannot deploy to production
      because  production has no listener yet
      next     adstage setup production
    ");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let (mut environment, mut world) = world("web: r41 x3 live; admin: r41 x1 live");
    environment.services[0].variables.insert("BIG".into(), "x".repeat(17_000));
    environment.services[1].repository = name("backoffice");
    world.rules[1].action = RuleAction::Foreign("redirects to https://example.com".into());
    let request = DeployRequest { services: vec![name("web"), name("admin"), name("wob")], ..DeployRequest::default() };
    assert_snapshot!(said(deployed(&(environment, world), &request)), @"
    REFUSED cannot deploy to production
      because  production has no service `wob`; it has web, admin
      because  rule 20, which admin is to be reached by, was not made by adstage: redirects to https://example.com
      because  image shop-new holds no repository `backoffice`, which admin runs from
      because  web: user data is 17187 bytes long; EC2 takes at most 16384: shorten the run commands and variables
      next     aws elbv2 describe-rules --rule-arns rule/admin
      next     adstage image bake --from-base
    ");
}

#[test]
fn images_that_must_not_be_deployed() {
    let refused = |change: fn(&mut Image)| {
        let (environment, mut world) = world("web: r41 x3 live");
        change(&mut world.images[0]);
        let request = DeployRequest { image: Some("ami-new".into()), ..DeployRequest::default() };
        deployed(&(environment, world), &request).unwrap_err().because.join("; ")
    };
    let all = [
        refused(|image| image.state = ImageState::Pending),
        refused(|image| image.state = ImageState::Unusable),
        refused(|image| image.provenance = Provenance::Failed),
        refused(|image| image.provenance = Provenance::Unproved),
        refused(|image| image.app = Some("bank".into())),
        refused(|image| image.app = None),
        refused(|image| image.id = ImageId("ami-else".into())),
    ];
    assert_snapshot!(all.join("\n"), @"
    image shop-new (ami-new) is still being captured
    image shop-new (ami-new) can never be launched: its capture failed, or it was removed
    image shop-new (ami-new) failed its proof: not every service came up on it
    image shop-new (ami-new) was never proved: its bake did not end
    image shop-new (ami-new) belongs to app `bank`, not `shop`
    image shop-new (ami-new) was not baked by adstage
    there is no image `ami-new` in account 444455556666, eu-central-1
    ");
}

#[test]
fn the_newest_proved_image_is_taken() {
    let (environment, mut world) = world("web: r41 x3 live");
    world.images.insert(0, Image { provenance: Provenance::Unproved, ..image("ami-newest") });
    let here = (environment, world);
    assert_eq!(deployed(&here, &DeployRequest::default()).unwrap().release.unwrap().image.0, "ami-new");
    let (environment, mut world) = here;
    world.images.clear();
    assert_snapshot!(deploy(&(environment, world)), @"
    REFUSED cannot deploy to production
      because  there is no image of shop yet
      next     adstage image bake --from-base
    ");
}

#[test]
fn what_was_marked_bad_needs_force() {
    let world = world("web: r41 x3 live, r42 x3 warm bad");
    let request = DeployRequest { image: Some("ami-42".into()), ..DeployRequest::default() };
    assert_snapshot!(said(deployed(&world, &request)), @"
    REFUSED cannot deploy to production
      because  the same image and configuration were r42, which is marked bad: checkout fails
      next     adstage deploy production --image ami-42 --force
    ");
    assert_eq!(deployed(&world, &DeployRequest { force: true, ..request }).unwrap().release.unwrap().number, ReleaseNumber(43));
}

#[test]
fn split_visitors_are_put_back_by_rollback() {
    assert_snapshot!(deploy(&world("web: r41 x3 50%, r42 x3 50% untried, head=r41")), @"
    REFUSED cannot deploy to production
      because  the visitors of web are split, r41:50 r42:50: a cutover was cut short
      next     adstage rollback production
    ");
    let (environment, mut world) = world("web: r41 x3 warm, r42 x3 100% untried, head=r41; admin: r41 x1 live, r42 x1 idle");
    world.records.operations = vec![operation(OperationKind::Deploy, 42, Some(41))];
    let resumed = said(super::super::reassert(&environment, &world));
    assert_snapshot!(deploy(&(environment, world)), @"
    REFUSED cannot deploy to production
      because  the deploy of r42 by ana was cut short after it had moved some routes and not others
      next     adstage rollback production
    ");
    // Nothing is open, so there is nothing to resume; but that is not all there is to say.
    assert_snapshot!(resumed, @"
    REFUSED cannot put production back to what its records say
      because  the deploy of r42 by ana was cut short after it had moved some routes and not others
      next     adstage rollback production
    ");
}

#[test]
fn a_freeze_and_a_drift_are_said() {
    let (environment, mut world) = world("web: r40 x3 100%, r41 x3 warm, head=r41");
    world.records.freeze =
        Some(FreezeRecord { who: "maya".into(), reason: "year-end close".into(), made: String::new(), until: Some("Monday".into()) });
    let plan = deployed(&(environment, world), &DeployRequest::default()).unwrap();
    assert_snapshot!(plan.notes.join("\n"), @r#"
    frozen by maya until Monday: "year-end close"
    web serves r40 by the load balancer and r41 by the records: the load balancer is believed
    web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
    "#);
}

#[test]
fn a_rule_never_forwards_to_more_than_five_target_groups() {
    let (mut environment, world) = world("web: r37 x3 warm, r38 x3 warm, r39 x3 warm bad, r40 x3 warm, r41 x3 live");
    environment.timing.keep_warm = 3;
    assert_snapshot!(deploy(&(environment, world)), @"
    r42 (shop-new, ami-new) replaces r41
      note  web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
      1 clear     take r39 out of route web (rule 10)
      2           retire web-r39, drained for 30s (no way back)
      3 prepare   template from ami-new, m7i.large: web-r42
      4           target group: web-r42
      5           test rule no visitor can match: web-r42
      6           route web (rule 10): r37:0 r38:0 r40:0 r41:100 -> r37:0 r38:0 r40:0 r41:100 r42:0
      7 launch    fleet web-r42, 3 instances (at most 4)
      8 await     3 of 3 healthy in web-r42 at the load balancer for 20s, within 10m
      9 verify    web-r42 has the vCPUs and memory of web-r41
     10 cut over  pin web-r41 at 3 (smallest size was 1)
     11           route web (rule 10): r37:0 r38:0 r40:0 r41:100 r42:0 -> r37:0 r38:0 r40:0 r41:0 r42:100
     12 watch     web-r42 stays healthy, 3 of 3, for 5m
     13 settle    web-r42 heals by the load balancer's checks, 2 to 4 instances
     14           take r37 out of route web (rule 10)
     15           retire web-r37, drained for 30s (no way back)
    ");
}

#[test]
fn a_worker_nobody_knows_is_left_alone_and_one_with_visitors_too() {
    let (environment, mut world) = world("web: r41 x3 live, r42 x3 out idle; worker: r7 x2 unknown, r41 x1 live");
    // Somebody leads visitors to web-r42 through a rule of their own.
    let forward = RuleAction::Forward([("shop-production-web-r42".to_string(), 1)].into());
    world.rules.push(Rule { arn: "rule/beta".into(), priority: Some(99), conditions: Conditions::default(), action: forward });
    let plan = deployed(&(environment, world), &DeployRequest::default()).unwrap();
    assert_eq!(plan.stages[0].name, super::super::StageName::Prepare);
    assert_snapshot!(plan.notes.join("\n"), @"
    a rule that is not adstage's leads visitors to web-r42: left alone
    worker-r7 runs, but no record says of what: left alone
    web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
    worker-r43 is held until the cutover makes it active; r41 then finishes what it has and rests
    ");
}

#[test]
fn a_table_that_counts_from_too_low() {
    let (environment, mut world) = world("web: r41 x3 live");
    world.records = Records::default();
    assert_snapshot!(deploy(&(environment, world)), @"
    REFUSED cannot deploy to production
      because  the state table adstage counts the next release as r1, but r41 exists: was it restored?
      next     adstage status production
    ");
}

#[test]
fn a_worker_that_may_overlap_is_not_held() {
    let (mut environment, world) = world("worker: r41 x2 live overlap");
    environment.services[0].overlap = true;
    assert_snapshot!(deploy(&(environment, world)), @"
    r42 (shop-new, ami-new) replaces r41
      note  worker keeps the 2 instances it has now; the 1 of adstage.toml are for a first release
      note  worker has no visitors to move: both releases work side by side until r41 is put to sleep at the end
      1 prepare   template from ami-new, m7i.large: worker-r42
      2           target group: worker-r42
      3           test rule no visitor can match: worker-r42
      4 launch    fleet worker-r42, 2 instances (at most 2)
      5 await     2 of 2 healthy in worker-r42 at the load balancer for 20s, within 10m
      6 verify    worker-r42 has the vCPUs and memory of worker-r41
      7 watch     worker-r42 stays healthy, 2 of 2, for 5m
      8 settle    worker-r42 heals by the load balancer's checks, 1 to 2 instances
      9           put worker-r41 to sleep: its 2 instances end, the rest of it stays
    ");
}

#[test]
fn workers_active_at_two_releases_are_not_deployed_over() {
    let (environment, mut world) = world("worker: r41 x1 active, r42 x1 part untried, head=r41");
    world.records.operations = vec![operation(OperationKind::Deploy, 42, Some(41))];
    assert_snapshot!(deploy(&(environment, world)), @"
    REFUSED cannot deploy to production
      because  r41 and r42 of worker are active, wholly or in part: a hand-over was cut short
      because  the deploy of r42 by ana was cut short after it had moved some routes and not others
      next     adstage rollback production
    ");
}
