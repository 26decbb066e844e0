//! What a release needs of its instances' CPU, against the one before it: in virtual time, and with basic monitoring as late as it is.

use std::time::Duration;

use adstage::health::{Compared, Need};
use adstage::journal;
use adstage::model::*;
use adstage::observe;
use adstage::sandbox::{Misfortune, When};

use crate::yard::{Operator, Visitors, Yard};

/// r1 serves four requests a second at web with so much CPU each, and has done so for twenty minutes.
async fn ready(script: &str, watch: u64) -> (Yard, Vec<Visitors>) {
    let mut yard = Yard::lifelike().await;
    release(&mut yard, script);
    yard.operator("ana").await.deploy().await.well();
    yard.environment.timing.watch = Seconds(watch);
    let crowd = (0..2).map(|_| yard.visitors()).collect();
    pass(&yard, 20).await;
    (yard, crowd)
}

fn release(yard: &mut Yard, script: &str) {
    let variables = &mut yard.environment.services[1].variables;
    variables.insert("SANDBOX_SCRIPT".into(), script.into());
    variables.insert("GREETING".into(), format!("{script} at last"));
}

async fn pass(yard: &Yard, minutes: u64) {
    yard.clock.sleep(Duration::from_secs(60 * minutes)).await;
}

async fn gone(crowd: Vec<Visitors>) {
    for visitors in crowd {
        assert_eq!(visitors.gone().await.failed, [""; 0]);
    }
}

/// What the watch of web was recorded to have found.
async fn watched(operator: &Operator) -> String {
    let scope = Scope::of(&operator.environment);
    let newest = operator.world().await.records.operations[0].id.clone();
    let (_, events) = journal::operation(&operator.aws.dynamodb, &scope, &newest).await.unwrap().unwrap();
    let said = events.iter().map(|event| format!("{event:?}")).find(|event| event.contains("web-r2 stayed healthy"));
    said.unwrap_or_else(|| panic!("{events:?}"))
}

/// What `status` asks.
async fn asked(operator: &Operator) -> Vec<Compared> {
    let world = operator.world().await;
    observe::cpu(&operator.aws, &operator.environment, &world, operator.clock.wall()).await.unwrap()
}

fn of_web(all: &[Compared]) -> &Compared {
    all.iter().find(|one| one.fleet.service.as_str() == "web").unwrap()
}

#[tokio::test(start_paused = true)]
async fn three_times_the_cpu_for_the_same_requests_is_said_by_the_watch_and_by_status_and_fails_nothing() {
    let (mut yard, crowd) = ready("cpu=100", 15 * 60).await;
    release(&mut yard, "cpu=300");
    let joe = yard.operator("joe").await;
    joe.deploy().await.well();
    let said = watched(&joe).await;
    // Four requests a second of 100 ms for two instances of two processors each: a tenth of them.
    let numbers = "web-r2 uses 30 % CPU per instance at 120 requests a minute; web-r1 used 10 % at 120";
    assert!(said.contains(&format!("{numbers}: 3.0 times as much for the same traffic")), "{said}");
    assert!(said.contains("as well served as by web-r1"), "{said}");

    pass(&yard, 20).await;
    let maya = yard.operator("maya").await;
    let all = asked(&maya).await;
    // By the hour before, in which visitors were yet to come.
    let (said, start) = (of_web(&all).said().unwrap(), numbers.rsplit_once(' ').unwrap().0);
    assert!(said.starts_with(start) && said.ends_with(": 3.0 times as much for the same traffic"), "{said}");
    let others: Vec<_> = all.iter().filter(|one| matches!(one.need(), Need::More(_))).map(|one| one.fleet.to_string()).collect();
    assert_eq!(others, ["web-r2"]);

    // No news for ever: a day later there is nothing to ask.
    let tomorrow = maya.clock.wall() + Duration::from_secs(24 * 3_600);
    let world = maya.world().await;
    assert_eq!(observe::cpu(&maya.aws, &maya.environment, &world, tomorrow).await.unwrap(), []);
    gone(crowd).await;
}

#[tokio::test(start_paused = true)]
async fn as_much_cpu_is_no_news() {
    let (mut yard, crowd) = ready("cpu=100", 15 * 60).await;
    yard.environment.services[1].variables.insert("GREETING".into(), "hello".into());
    let joe = yard.operator("joe").await;
    joe.deploy().await.well();
    let said = watched(&joe).await;
    assert!(said.contains("web-r2 uses 10 % CPU per instance at 120 requests a minute; web-r1 used 10 % at 120"), "{said}");
    assert!(!said.contains("times as much") && !said.contains("known"), "{said}");
    pass(&yard, 20).await;
    assert_eq!(of_web(&asked(&joe).await).need(), Need::AsMuch);
    gone(crowd).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_before_cloudwatch_knows_says_so_and_status_knows_later() {
    let (mut yard, crowd) = ready("cpu=100", 5 * 60).await;
    release(&mut yard, "cpu=300");
    let joe = yard.operator("joe").await;
    joe.deploy().await.well();
    let said = watched(&joe).await;
    assert!(said.contains("how much CPU it needs is not known yet") && !said.contains("% CPU"), "{said}");
    assert_eq!(of_web(&asked(&joe).await).need(), Need::Unknown);
    pass(&yard, 20).await;
    assert!(matches!(of_web(&asked(&joe).await).need(), Need::More(_)));
    gone(crowd).await;
}

#[tokio::test(start_paused = true)]
async fn spot_is_counted_as_on_demand_is() {
    let mut yard = Yard::lifelike().await;
    let web = &mut yard.environment.services[1];
    (web.instances, web.max_instances, web.spot) = (4, 8, 100);
    release(&mut yard, "cpu=200");
    yard.operator("ana").await.deploy().await.well();
    let crowd: Vec<_> = (0..2).map(|_| yard.visitors()).collect();
    pass(&yard, 20).await;
    release(&mut yard, "cpu=600");
    let joe = yard.operator("joe").await;
    joe.deploy().await.well();
    pass(&yard, 20).await;
    let said = of_web(&asked(&joe).await).said().unwrap();
    assert!(said.starts_with("web-r2 uses 30 % CPU per instance at 60 requests a minute; web-r1 used 10 % at "), "{said}");
    gone(crowd).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_cloudwatch_is_an_error_of_its_own() {
    let (mut yard, crowd) = ready("cpu=100", 60).await;
    release(&mut yard, "cpu=300");
    let joe = yard.operator("joe").await;
    joe.deploy().await.well();
    let world = joe.world().await;
    let denied = Misfortune::Refuse(403, "AccessDenied".into());
    yard.sandbox.faults().schedule(When::Action("GetMetricData".into(), 1), denied);
    let error = observe::cpu(&joe.aws, &joe.environment, &world, joe.clock.wall()).await.unwrap_err();
    assert_eq!((error.action, error.code.as_str()), ("GetMetricData", "AccessDenied"));
    gone(crowd).await;
}
