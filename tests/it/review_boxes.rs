//! Review boxes in virtual time: made, adopted, deleted, many at once, and refused.

use std::collections::BTreeSet;
use std::time::Duration;

use adstage::model::*;
use adstage::sandbox::{Inventory, Misfortune, Visit, When};

use crate::practice;
use crate::workshop::Workshop;
use crate::yard::{Operator, Went, Yard, review};

/// Set up for review boxes, with an image proved.
async fn ready() -> (Yard, Operator) {
    made(Yard::ready().await).await
}

async fn made(yard: Yard) -> (Yard, Operator) {
    let ana = yard.operator("ana").await;
    ana.setup_review().await.well();
    (yard, ana)
}

fn inventory(yard: &Yard) -> Inventory {
    yard.sandbox.inventory(&yard.environment.account, &yard.environment.region)
}

/// The target groups of boxes.
fn groups(inventory: &Inventory) -> BTreeSet<&str> {
    inventory.target_groups.iter().map(String::as_str).filter(|name| name.starts_with("shop-review-")).collect()
}

async fn visit(yard: &Yard, host: &str, path: &str) -> (u16, String) {
    let (account, region) = (&yard.environment.account, &yard.environment.region);
    let visit = Visit { account, region, load_balancer: "shop-review", host, path, headers: &[] };
    let visited = yard.sandbox.visit(&visit).await.expect("a listener");
    (visited.status, visited.target_group.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn a_box_is_made_found_and_deleted() {
    let (yard, ana) = ready().await;
    let before = inventory(&yard);
    ana.create_box("blue", Some("2")).await.well();
    let boxes = ana.boxes().await;
    let [blue] = boxes.as_slice() else { panic!("{boxes:#?}") };
    let there = blue.instance.as_ref().expect("an instance");
    assert_eq!((blue.name.as_str(), there.owner.as_str(), there.state.as_str()), ("blue", "ana", "running"));
    assert_eq!(there.commits.values().collect::<Vec<_>>(), [&"2".repeat(40)]);
    assert_eq!(there.asked.values().collect::<Vec<_>>(), ["feature-2"]);
    assert_eq!((blue.rules.len(), blue.target_groups.len()), (3, 3));
    let healthy = |group: &BoxTargetGroup| group.targets.iter().all(|target| target.state == TargetState::Healthy);
    assert!(blue.target_groups.iter().all(healthy), "{blue:#?}");
    assert_eq!(visit(&yard, "blue.review.example", "/").await, (200, "shop-review-blue-web".into()));
    assert_eq!(visit(&yard, "blue.review.example", "/admin/x").await, (200, "shop-review-blue-admin".into()));
    assert_eq!(visit(&yard, "green.review.example", "/").await.0, 404);

    let again = ana.create_box("blue", None).await;
    let Went::Refused(refusal) = again else { panic!("{again:?}") };
    assert!(refusal.because[0].starts_with("there is a box blue already: ana's, until "), "{refusal:?}");

    ana.delete_box("blue").await.well();
    assert_eq!(inventory(&yard), before);
    assert!(ana.boxes().await.is_empty());
    // The token of a name that was used before is not used again.
    ana.create_box("blue", Some("3")).await.well();
    ana.delete_box("blue").await.well();
    assert_eq!(inventory(&yard), before);
}

#[tokio::test(start_paused = true)]
async fn a_box_is_extended_and_ends_by_itself_and_what_is_left_is_seen() {
    let (yard, ana) = ready().await;
    ana.create_box("blue", None).await.well();
    let until = (yard.clock.wall() + jiff::SignedDuration::from_hours(20)).to_string();
    ana.extend_box("blue", &until).await.well();
    yard.clock.sleep(Duration::from_secs(10 * 3_600)).await;
    assert_eq!(ana.boxes().await[0].instance.as_ref().map(|there| there.expires.clone()), Some(until));
    yard.clock.sleep(Duration::from_secs(11 * 3_600)).await;
    let left = ana.boxes().await;
    assert!(left[0].instance.is_none() && left[0].rules.len() == 3, "{left:#?}");
    ana.delete_box("blue").await.well();
    assert!(ana.boxes().await.is_empty() && groups(&inventory(&yard)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_killed_create_is_finished_or_cleaned_by_the_next() {
    let calls = {
        let (yard, ana) = ready().await;
        let before = yard.sandbox.faults().calls().len();
        ana.create_box("blue", Some("2")).await.well();
        yard.sandbox.faults().calls().len() - before
    };
    for at in (1..calls).step_by(calls / 12) {
        for deletes in [false, true] {
            let (yard, ana) = ready().await;
            let before = inventory(&yard);
            let eve = yard.operator("eve").await;
            let from = yard.sandbox.faults().calls().len();
            let reached = async {
                while yard.sandbox.faults().calls().len() < from + at {
                    yard.clock.sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                _ = eve.create_box("blue", Some("2")) => {}
                () = reached => {}
            }
            eve.line.cut(true);
            if deletes {
                ana.delete_box("blue").await.well();
                assert_eq!(inventory(&yard), before, "cut at {at}");
            } else {
                let went = ana.create_box("blue", Some("2")).await;
                assert!(matches!(&went, Went::Ran(_, ending) if ending.failure.is_none()), "cut at {at}: {went:#?}");
                let found = inventory(&yard);
                assert_eq!((groups(&found).len(), found.instances.len()), (3, 1), "cut at {at}: {found:#?}");
                assert_eq!(visit(&yard, "blue.review.example", "/").await.0, 200);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_boxes_at_once_take_little_longer_than_one() {
    let (yard, ana) = made(Yard::lifelike().await).await;
    let started = yard.clock.moment();
    ana.create_box("alone", Some("2")).await.well();
    let one = yard.clock.since(started);
    let started = yard.clock.moment();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10 {
        let operator = yard.operator(&format!("dev-{number}")).await;
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        tasks.spawn(async move { operator.create_box(&format!("box-{}", names[number]), Some("3")).await.well() });
    }
    tasks.join_all().await;
    let ten = yard.clock.since(started);
    assert!(ten < one.mul_f64(1.5), "one took {one:?}, ten {ten:?}");
    let boxes = ana.boxes().await;
    assert_eq!(boxes.len(), 11);
    let whole = |found: &&ReviewBox| found.instance.is_some() && found.rules.len() == 3 && found.target_groups.len() == 3;
    assert_eq!(boxes.iter().filter(whole).count(), 11, "{boxes:#?}");
    let machines: BTreeSet<_> = boxes.iter().filter_map(|found| found.instance.as_ref()).map(|there| &there.id).collect();
    assert_eq!(machines.len(), 11);
    for found in &boxes {
        let (status, group) = visit(&yard, &format!("{}.review.example", found.name), "/").await;
        assert_eq!((status, group), (200, format!("shop-review-{}-web", found.name)));
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_who_want_one_name_the_second_is_told_whose_it_is() {
    let (yard, ana) = ready().await;
    let joe = yard.operator("joe").await;
    let (first, second) = tokio::join!(ana.create_box("blue", Some("2")), joe.create_box("blue", Some("3")));
    let (winner, loser) = if matches!(first, Went::Ran(..)) { (first, second) } else { (second, first) };
    winner.well();
    assert!(matches!(loser, Went::Refused(_) | Went::Blocked(_)), "{loser:?}");
    assert_eq!(groups(&inventory(&yard)).len(), 3);
}

/// Nothing is left of a box that could not be made, and the reason is said.
async fn fails(review: &Review, prepare: impl AsyncFnOnce(&Yard)) -> adstage::execute::Ending {
    let (yard, ana) = ready().await;
    let before = inventory(&yard);
    prepare(&yard).await;
    let ending = ana.create_box_as("blue", Some("2"), review).await.ending();
    assert_eq!(inventory(&yard), before);
    assert_eq!(ending.outcome, Outcome::RolledBack);
    ending
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_said_and_leaves_nothing() {
    let short = async |yard: &Yard| {
        let code = "InsufficientInstanceCapacity".to_string();
        yard.sandbox.faults().schedule(When::Action("RunInstances".into(), 1), Misfortune::Refuse(500, code));
    };
    let failure = fails(&review(), short).await.failure.expect("a failure");
    assert_eq!(failure.end.code(), 7);
    assert!(failure.because.iter().any(|why| why.contains("InsufficientInstanceCapacity")), "{failure:#?}");
    assert_eq!(failure.next, ["adstage review list"]);

    // Somebody else took the last of them since the plan was made.
    for (action, code) in [("CreateRule", "TooManyRules"), ("CreateTargetGroup", "TooManyTargetGroups")] {
        let full = async |yard: &Yard| {
            yard.sandbox.faults().schedule(When::Action(action.into(), 2), Misfortune::Refuse(400, code.to_string()));
        };
        let failure = fails(&review(), full).await.failure.expect("a failure");
        assert_eq!(failure.end.code(), 7);
        assert!(failure.because.iter().any(|why| why.contains(code)), "{failure:#?}");
    }

    let mut crashes = review();
    let web = crashes.environment.services.iter_mut().find(|service| service.name.as_str() == "web").unwrap();
    web.variables.insert("SANDBOX_SCRIPT".into(), "crash".into());
    let failure = fails(&crashes, async |_| ()).await.failure.expect("a failure");
    assert!(failure.because[0].starts_with("web exits as soon as it starts"), "{failure:#?}");
    assert!(failure.evidence.contains(&"| panic: scripted to crash".to_string()), "{failure:#?}");

    let mut hangs = Review { ready_within: Seconds(120), ..review() };
    let web = hangs.environment.services.iter_mut().find(|service| service.name.as_str() == "web").unwrap();
    web.variables.insert("SANDBOX_SCRIPT".into(), "hang".into());
    let failure = fails(&hangs, async |_| ()).await.failure.expect("a failure");
    assert!(failure.because[0].starts_with("blue was not ready within 2m"), "{failure:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_load_balancer_is_said_before_anything_is_paid_for() {
    let (yard, ana) = ready().await;
    let mut full = review();
    let web = full.environment.services.iter().find(|service| service.name.as_str() == "web").unwrap().clone();
    // Each of these is a rule and a target group.
    for number in 0..15 {
        let (name, priority) =
            (format!("web-{}", ["a", "b", "c"][number % 3].repeat(1 + number / 3)), 100 + u16::try_from(number).unwrap());
        let route = Some(Route { priority, hosts: Vec::new(), paths: vec![format!("/{number}/*")] });
        full.environment.services.push(Service { name: name.parse().unwrap(), port: Some(9_000 + priority), route, ..web.clone() });
    }
    for name in ["one", "two", "three", "four", "five"] {
        ana.create_box_as(name, None, &full).await.well();
    }
    let went = ana.create_box_as("six", None, &full).await;
    let Went::Refused(refusal) = went else { panic!("{went:?}") };
    assert_eq!(refusal.because[0], "the load balancer shop-review takes 100 rules: 90 are in use, and 18 more are needed");
    assert_eq!(inventory(&yard).instances.len(), 5);
}

const REVIEW: &str = r#"
[review]
environment = "production"
domain = "review.localhost"
security-groups = ["sg-00000000000000009"]
load-balancer.port = 8081
"#;

/// Real processes: a branch on a box, looked at, approved, extended, deleted, by what people type.
#[test]
fn a_branch_is_shown_to_a_colleague() {
    let company = Workshop::open(&format!("{}{REVIEW}", practice::config("none")));
    practice::next(&company, "one");
    let early = company.sandbox(&["review", "create", "blue"]).ends(6);
    assert!(early.stderr.contains("adstage --sandbox setup review"), "{}", early.stderr);
    company.sandbox(&["setup", "production"]).ends(0);
    company.sandbox(&["setup", "review"]).ends(0);
    company.sandbox(&["image", "bake", "--from-base"]).ends(0);
    let wrong = company.sandbox(&["review", "create", "blue", "--ref", "site=no-such-branch"]).ends(6);
    assert!(wrong.stderr.contains("`no-such-branch` cannot be found"), "{}", wrong.stderr);
    company.sandbox(&["review", "create", "Blue_1"]).ends(2);
    company.sandbox(&["review", "create", "blue", "--ttl", "1m"]).ends(2);
    practice::next(&company, "two");
    let made = company.sandbox(&["review", "create", "blue", "--ref", "site=main", "--output", "json"]).ends(0).json();
    assert_eq!((made["box"]["state"].as_str(), made["box"]["asked"]["site"].as_str()), (Some("ready"), Some("main")), "{made}");
    let listed = company.sandbox(&["review", "list"]).ends(0).stdout;
    assert!(listed.contains("blue") && listed.contains("1h of m7i.large") && listed.contains("site main "), "{listed}");
    let shown = company.sandbox(&["review", "show", "blue"]).ends(0).stdout;
    assert!(shown.contains("health    web healthy"), "{shown}");
    company.sandbox(&["review", "create", "blue"]).ends(6);
    company.sandbox(&["review", "approve", "blue"]).ends(0);
    let silent = company.sandbox(&["status", "production"]).ends(0).stderr;
    assert!(!silent.contains("your review box"), "{silent}");
    company.sandbox(&["review", "extend", "blue", "--ttl", "30m"]).ends(0);
    let warned = company.sandbox(&["status", "production"]).ends(0).stderr;
    assert!(warned.contains("your review box blue ends in 29m") && warned.contains("review extend blue --ttl 8h"), "{warned}");
    company.sandbox(&["review", "extend", "blue", "--ttl", "2d"]).ends(0);
    let shown = company.sandbox(&["review", "show", "blue", "--output", "json"]).ends(0).json();
    assert!(shown["left_s"].as_u64() > Some(47 * 3_600) && shown["approved"]["who"].is_string(), "{shown}");
    company.sandbox(&["review", "delete", "blue"]).ends(6);
    company.sandbox(&["review", "extend", "blue", "--ttl", "40m"]).ends(0);
    let gone = company.sandbox(&["review", "delete", "blue", "--yes"]).ends(0).stderr;
    assert!(!gone.contains("your review box"), "{gone}");
    assert!(company.sandbox(&["review", "list"]).ends(0).stdout.starts_with("There is no review box."));
    company.sandbox(&["review", "show", "blue"]).ends(6);
}
