use std::collections::BTreeMap;

use insta::assert_snapshot;

use crate::model::*;

use super::super::{BoxRequest, Plan, Refusal, Wanted, approve_box, create_box, delete_box, extend_box, lint, sweep_box};
use super::preflight::room;
use super::said;
use super::world::{environment, image, name, operation};

fn review() -> Review {
    let like = environment(&["web", "admin", "worker"]);
    Review {
        environment: Environment { name: name(REVIEW), ..like },
        domain: "review.example.com".into(),
        instance_type: "m7i.large".into(),
        ttl: Seconds(8 * 3_600),
        ready_within: Seconds(900),
        backing: BTreeMap::new(),
        needs: BTreeMap::new(),
        shell: Vec::new(),
        run: Vec::new(),
        clean: None,
    }
}

fn repositories() -> BTreeMap<RepositoryName, Repository> {
    let repository =
        Repository { source: Source::Url("https://example.com/storefront".into()), reference: "main".into(), build: Some("make".into()) };
    BTreeMap::from([(name("storefront"), repository)])
}

fn wanted(commit: &str) -> BTreeMap<RepositoryName, Wanted> {
    BTreeMap::from([(name("storefront"), Wanted { reference: "feature-x".into(), commit: commit.repeat(10) })])
}

fn planned(review: &Review, world: &World, image: Option<&str>, wanted: &BTreeMap<RepositoryName, Wanted>) -> Result<Plan, Refusal> {
    let (blue, repositories) = (name("blue"), repositories());
    let expires = "2026-11-22T20:00:00Z";
    let request = BoxRequest { review, repositories: &repositories, name: &blue, image, wanted, expires };
    let plan = create_box(&request, world)?;
    assert_eq!(lint(&plan, None), []);
    assert_eq!(create_box(&request, world).as_ref(), Ok(&plan));
    Ok(plan)
}

fn create(world: &World, commit: &str) -> String {
    said(planned(&review(), world, None, &wanted(commit)))
}

fn ready() -> World {
    World { listener: Some("listener".into()), images: vec![image("ami-new")], ..World::default() }
}

fn group(service: Option<&str>) -> BoxTargetGroup {
    let service = service.map(name);
    let called = box_target_group(&name("shop"), &name("blue"), service.as_ref());
    BoxTargetGroup { service, arn: format!("tg/{called}"), name: called, targets: Vec::new() }
}

/// A whole box at this commit.
fn blue(commit: &str) -> ReviewBox {
    let instance = BoxInstance {
        id: "i-blue".into(),
        state: "running".into(),
        address: None,
        instance_type: "m7i.large".into(),
        image: ImageId("ami-new".into()),
        owner: "maya".into(),
        launched: "2026-11-22T10:00:00Z".into(),
        expires: "2026-11-22T18:00:00Z".into(),
        commits: BTreeMap::from([(name("storefront"), commit.repeat(10))]),
        asked: BTreeMap::new(),
        approved: None,
    };
    let target_groups = [Some("admin"), Some("web"), None].map(group).to_vec();
    ReviewBox { name: name("blue"), instance: Some(instance), rules: vec!["r1".into(), "r2".into(), "r3".into()], target_groups }
}

/// What leads to its agent, and so says that it is not being deleted.
fn agents_rule() -> Rule {
    let action = RuleAction::Forward(BTreeMap::from([(group(None).name, 1)]));
    Rule { arn: "r1".into(), priority: Some(1), conditions: Conditions::default(), action }
}

fn left() -> ReviewBox {
    ReviewBox { instance: None, ..blue("abcd") }
}

fn cut_short(world: World) -> World {
    let mut world = world;
    world.records.operations.push(OperationRecord { release: None, ..operation(OperationKind::Review, 1, None) });
    world
}

#[test]
fn a_new_box() {
    assert_snapshot!(create(&ready(), "abcd"));
    let plan = planned(&review(), &ready(), None, &wanted("abcd")).unwrap();
    let launch = plan.stages.iter().flat_map(|stage| &stage.steps).find_map(|step| match step {
        super::super::Step::LaunchBox { launch, .. } => Some(launch.clone()),
        _ => None,
    });
    let launch = launch.unwrap();
    let told = UserData::parse(launch.user_data.as_bytes()).unwrap().review.unwrap();
    assert_eq!(told.checkouts[&name::<RepositoryName>("storefront")].commit, "abcd".repeat(10));
    assert_eq!(launch.commits[&name::<RepositoryName>("storefront")], "abcd".repeat(10));
    // What is on the image already needs no checkout.
    let same = planned(&review(), &ready(), None, &wanted("4f2c")).unwrap();
    assert!(!format!("{same:?}").contains("checkouts"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut wrong = review();
    wrong.environment.subnets.clear();
    wrong.environment.services[0].variables.insert("BIG".into(), "x".repeat(17_000));
    assert_snapshot!(said(planned(&wrong, &World { images: vec![image("ami-new")], ..World::default() }, None, &wanted("abcd"))));
    let unproved = Image { provenance: Provenance::Unproved, ..image("ami-new") };
    let world = World { images: vec![unproved], ..ready() };
    assert_snapshot!(said(planned(&review(), &world, None, &BTreeMap::new())));
    assert_snapshot!(said(planned(&review(), &world, Some("shop-nowhere"), &BTreeMap::new())));
}

#[test]
fn one_that_is_there() {
    let there = World { boxes: vec![blue("abcd")], rules: vec![agents_rule()], ..ready() };
    assert_snapshot!(create(&there, "abcd"));
    // It was begun, and not finished: at these commits it is finished, at others it is in the way.
    assert_snapshot!(create(&cut_short(there.clone()), "abcd"));
    assert_snapshot!(create(&cut_short(there), "ef01"));
}

#[test]
fn what_is_left_of_an_earlier_one_is_removed_first() {
    assert_snapshot!(create(&World { boxes: vec![left()], ..ready() }, "abcd"));
}

#[test]
fn one_that_was_being_deleted_is_not_revived() {
    let there = World { boxes: vec![blue("abcd")], rules: vec![agents_rule()], ..ready() };
    let mut begun = cut_short(there.clone());
    begun.records.operations[0].stage = "clear".into();
    assert_snapshot!(create(&begun, "ef01"));
    // Nobody is deleting it now: nothing of somebody's is ended without a word.
    let halved = create(&World { rules: Vec::new(), ..there }, "ef01");
    assert!(halved.contains("of which some rules are gone") && halved.contains("next     adstage review delete blue"), "{halved}");
}

#[test]
fn a_load_balancer_without_room() {
    let limits = ["rules-per-application-load-balancer", "target-groups-per-application-load-balancer"];
    let limits = Reading::Known(limits.map(|name| (name.to_string(), 100)).into());
    let room = Room { rules: 98, attached: 98, limits, ..room() };
    assert_snapshot!(create(&World { room: Some(room), ..ready() }, "abcd"));
}

#[test]
fn hosts_follow_those_of_the_environment() {
    let mut review = review();
    let blue: BoxName = name("blue");
    let hosts =
        |review: &Review| review.hosts(&blue).into_iter().map(|(service, _, host)| format!("{} {host}", service.name)).collect::<Vec<_>>();
    assert_eq!(hosts(&review), ["web blue.review.example.com", "admin blue.review.example.com"]);
    review.environment.services[1].route.as_mut().unwrap().hosts = vec!["admin.example.com".into()];
    assert_eq!(hosts(&review), ["web blue.review.example.com", "admin blue--admin.review.example.com"]);
}

#[test]
fn deleted_extended_approved_swept() {
    let (name, there) = (name("blue"), World { boxes: vec![blue("abcd")], ..ready() });
    assert_snapshot!(said(Ok(delete_box(&name, &there))));
    assert_snapshot!(said(Ok(delete_box(&name, &ready()))));
    assert!(sweep_box(&name, &there).stages.is_empty());
    assert_snapshot!(said(Ok(sweep_box(&name, &World { boxes: vec![left()], ..ready() }))));
    assert_snapshot!(said(extend_box(&name, "2026-11-23T18:00:00Z", &there)));
    assert_snapshot!(said(extend_box(&name, "2026-11-23T18:00:00Z", &ready())));
    let approval = Approval { who: "quinn".into(), at: "2026-11-22T12:00:00Z".into(), commits: commits_hash(&BTreeMap::new()) };
    assert_snapshot!(said(approve_box(&name, &approval, &there)));
    assert_eq!(Approval::of_tag(&approval.tag()), Some(approval));
}
