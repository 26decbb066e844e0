//! Before anything is launched: whether there is room for it. In virtual time, in an account whose quotas are small.

use adstage::model::*;
use adstage::plan::{Refusal, ScaleRequest, Sizes};
use adstage::sandbox::{Misfortune, When};
use insta::assert_snapshot;

use crate::yard::{Operator, Went, Yard};

const ON_DEMAND: &str = "L-1216C47A";
const SPOT: &str = "L-34B43A08";
const SUBNETS: [&str; 2] = ["subnet-0000000000000000a", "subnet-0000000000000000b"];

fn allow(yard: &Yard, what: &str, most: u32) {
    yard.sandbox.allow(&yard.environment.account, &yard.environment.region, what, most);
}

fn leave(yard: &Yard, [a, b]: [u32; 2]) {
    for (subnet, left) in SUBNETS.into_iter().zip([a, b]) {
        yard.sandbox.leave_addresses(&yard.environment.account, &yard.environment.region, subnet, left);
    }
}

fn greet(yard: &mut Yard, greeting: &str) {
    for service in &mut yard.environment.services {
        service.variables.insert("GREETING".into(), greeting.into());
    }
}

/// One instance of admin, two of web, one of worker, 2 vCPUs each; and something new to deploy.
async fn live() -> Yard {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    greet(&mut yard, "two");
    yard
}

/// Changes that were made since so many calls, and calls of one action.
fn since(yard: &Yard, calls: usize, action: &str) -> (Vec<String>, usize) {
    let calls = yard.sandbox.faults().calls().split_off(calls);
    let changes = calls.iter().filter(|call| call.mutating).map(|call| call.action.clone()).collect();
    (changes, calls.iter().filter(|call| call.action == action).count())
}

fn said(refusal: &Refusal) -> String {
    let because = refusal.because.iter().map(|why| format!("because {why}"));
    because.chain(refusal.next.iter().map(|next| format!("next {next}"))).collect::<Vec<_>>().join("\n")
}

/// What is refused, and that nothing at all was written for it.
async fn refused(yard: &Yard, went: impl AsyncFnOnce(Operator) -> Went) -> String {
    let (joe, before) = (yard.operator("joe").await, yard.sandbox.faults().calls().len());
    let Went::Refused(refusal) = went(joe).await else { panic!("not refused") };
    assert_eq!(since(yard, before, "").0, [""; 0]);
    said(&refusal)
}

async fn deploy(operator: Operator) -> Went {
    operator.deploy().await
}

#[tokio::test(start_paused = true)]
async fn a_doubled_fleet_that_does_not_fit_the_quota_is_refused_before_anything_is_made() {
    let mut yard = live().await;
    allow(&yard, ON_DEMAND, 15);
    assert_snapshot!(refused(&yard, deploy).await, @r"
    because admin-r2, web-r2, worker-r2: 8 vCPUs are needed beside the 8 in use, and 15 are allowed (Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances)
    next aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A --desired-value 16 --region eu-central-1
    ");
    // One more, and it fits to the last.
    allow(&yard, ON_DEMAND, 16);
    let plan = yard.operator("joe").await.deploy().await.well();
    assert!(!plan.notes.iter().any(|note| note.contains("vCPU")), "{:?}", plan.notes);
    // The one before it is warm, and runs.
    greet(&mut yard, "three");
    assert!(refused(&yard, deploy).await.starts_with("because admin-r3, web-r3, worker-r3: 8 vCPUs are needed beside the 16 in use"));
    // Nothing to launch, nothing to refuse.
    greet(&mut yard, "two");
    assert!(yard.operator("joe").await.deploy().await.well().stages.is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_read_quotas_is_told_so_and_aws_has_the_last_word() {
    let mut yard = live().await;
    let deny = |yard: &Yard, action: &str, nth: usize| {
        yard.sandbox.faults().schedule(When::Action(action.into(), nth), Misfortune::Refuse(400, "AccessDeniedException".into()));
    };
    allow(&yard, ON_DEMAND, 15);
    deny(&yard, "GetServiceQuota", 1);
    let joe = yard.operator("joe").await;
    let Went::Ran(plan, ending) = joe.deploy().await else { panic!("not begun") };
    let told = "whether the vCPU quotas leave enough could not be judged: the caller may not servicequotas:GetServiceQuota";
    assert_eq!(plan.notes.last().map(String::as_str), Some(told));
    assert_eq!(ending.outcome, Outcome::RolledBack);
    let failure = ending.failure.expect("a failure");
    let why = failure.because.iter().chain(&failure.evidence).any(|line| line.contains("current vCPU limit of 15"));
    assert!(why, "{failure:#?}");
    // It says nothing about the release: that may be deployed again.
    let records = yard.operator("joe").await.world().await.records;
    assert_eq!(records.release(ReleaseNumber(2)).map(|record| &record.verdict), Some(&Verdict::Untried));

    greet(&mut yard, "three");
    allow(&yard, ON_DEMAND, 100);
    // Two services have an action of this name.
    for (action, nth) in [("DescribeSubnets", 1), ("DescribeAccountLimits", 1), ("DescribeAccountLimits", 2)] {
        deny(&yard, action, nth);
    }
    let plan = yard.operator("joe").await.deploy().await;
    let Went::Ran(plan, ending) = plan else { panic!("{plan:?}") };
    assert_eq!((ending.outcome, ending.failure.is_none()), (Outcome::Deployed, true));
    assert_snapshot!(plan.notes.join("\n"), @r"
    worker-r3 is held until the cutover makes it active; r1 then finishes what it has and rests
    whether the subnets have enough free addresses could not be judged: the caller may not ec2:DescribeSubnets
    whether there may be more Auto Scaling groups could not be judged: the caller may not autoscaling:DescribeAccountLimits
    whether the load balancer takes more rules and target groups could not be judged: the caller may not elasticloadbalancing:DescribeAccountLimits
    ");
}

#[tokio::test(start_paused = true)]
async fn addresses_are_counted_as_they_are_used_and_zone_by_zone() {
    let yard = live().await;
    let free = async || {
        let found = yard.operator("joe").await.aws.ec2.subnets(&SUBNETS.map(String::from)).await.unwrap();
        found.iter().map(|subnet| subnet.free).sum::<u32>()
    };
    // AWS keeps five of each; a load balancer has one in each; then there are four instances.
    assert_eq!(free().await, 2 * 251 - 2 - 4);
    leave(&yard, [2, 1]);
    assert_eq!(free().await, 3);
    assert_snapshot!(refused(&yard, deploy).await, @r"
    because admin-r2, web-r2, worker-r2: 4 addresses are needed, and the subnets have 3 left (subnet-0000000000000000a, subnet-0000000000000000b)
    next aws ec2 describe-subnets --subnet-ids subnet-0000000000000000a subnet-0000000000000000b --region eu-central-1
    ");
    leave(&yard, [10, 0]);
    assert_snapshot!(refused(&yard, deploy).await, @r"
    because web-r2: 1 address is needed, and eu-central-1b has 0 left (subnet-0000000000000000b)
    next aws ec2 describe-subnets --subnet-ids subnet-0000000000000000b --region eu-central-1
    ");
    leave(&yard, [2, 2]);
    let plan = yard.operator("joe").await.deploy().await;
    let Went::Ran(plan, _) = plan else { panic!("{plan:?}") };
    assert_snapshot!(plan.notes.join("\n"), @r"
    worker-r2 is held until the cutover makes it active; r1 then finishes what it has and rests
    admin-r2, web-r2, worker-r2: the free addresses of eu-central-1a may not do, should one more come there than elsewhere
    admin-r2, web-r2, worker-r2: the free addresses of eu-central-1b may not do, should one more come there than elsewhere
    ");
}

#[tokio::test(start_paused = true)]
async fn rules_groups_and_quotas_are_refused_all_at_once() {
    let yard = live().await;
    // Two routes and three test rules, and somebody else's on another listener of the same load balancer.
    let joe = yard.operator("joe").await;
    let balancer = joe.aws.elbv2.load_balancer("shop-production").await.unwrap().unwrap();
    let listener = Listener { port: 8_080, certificate: None };
    let made = joe.aws.elbv2.create_listener(&balancer.arn, &listener, &Default::default()).await.unwrap();
    let (asks, page) =
        (Conditions { paths: vec!["/*".into()], ..Conditions::default() }, adstage::aws::Page { status: 200, body: "hi".into() });
    joe.aws.elbv2.create_page_rule(&made.arn, 1, &asks, &page, &Default::default()).await.unwrap();
    yard.clock.sleep(std::time::Duration::from_secs(5)).await;
    allow(&yard, "rules-per-application-load-balancer", 8);
    allow(&yard, "target-groups-per-application-load-balancer", 5);
    allow(&yard, "target-groups", 4);
    allow(&yard, "targets-per-application-load-balancer", 7);
    allow(&yard, "targets-per-target-group", 1);
    allow(&yard, "auto-scaling-groups", 5);
    allow(&yard, ON_DEMAND, 10);
    leave(&yard, [0, 0]);
    assert_snapshot!(refused(&yard, deploy).await, @r"
    because admin-r2, web-r2, worker-r2: 4 addresses are needed, and the subnets have 0 left (subnet-0000000000000000a, subnet-0000000000000000b)
    because admin-r2, web-r2, worker-r2: 8 vCPUs are needed beside the 8 in use, and 10 are allowed (Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances)
    because eu-central-1 takes 5 Auto Scaling groups of this account: 3 are there, and 3 more are needed
    because the load balancer shop-production takes 8 rules: 6 are in use, and 3 more are needed
    because the load balancer shop-production takes 5 target groups: 3 are in use, and 3 more are needed
    because the load balancer shop-production takes 7 targets: 4 are in use, and 4 more are needed
    because eu-central-1 takes 4 target groups: 3 are in use, and 3 more are needed
    because a target group takes 1 targets: 0 are in use, and 2 more are needed
    next aws ec2 describe-subnets --subnet-ids subnet-0000000000000000a subnet-0000000000000000b --region eu-central-1
    next aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A --desired-value 16 --region eu-central-1
    next aws autoscaling describe-account-limits --region eu-central-1
    next aws service-quotas list-service-quotas --service-code elasticloadbalancing --region eu-central-1
    ");
}

#[tokio::test(start_paused = true)]
async fn spot_has_a_quota_of_its_own_and_what_would_stand_in_for_it_is_a_note() {
    let mut yard = Yard::ready().await;
    (yard.environment.services[1].spot, yard.environment.services[1].instances, yard.environment.services[1].max_instances) = (50, 8, 16);
    yard.environment.services[1].other_types = vec!["m7i.xlarge".into()];
    allow(&yard, SPOT, 7);
    assert_snapshot!(refused(&yard, deploy).await, @r"
    because web-r1: 8 vCPUs are needed beside the 0 in use, and 7 are allowed (All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests)
    next aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-34B43A08 --desired-value 8 --region eu-central-1
    ");
    allow(&yard, SPOT, 8);
    // Four of web, one of admin and one of worker; four more would be web's in the stead of spot.
    allow(&yard, ON_DEMAND, 12);
    let plan = yard.operator("joe").await.deploy().await;
    let Went::Ran(plan, _) = plan else { panic!("{plan:?}") };
    assert_snapshot!(plan.notes.join("\n"), @r"
    web-r1: the 8 vCPUs allowed may not do, should AWS choose the largest types (All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests)
    web-r1: should there be no spot, the 12 vCPUs allowed do not cover all of it on demand (Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances)
    ");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_asks_only_if_it_has_to_launch() {
    let mut yard = live().await;
    yard.operator("joe").await.deploy().await.well();
    let before = yard.sandbox.faults().calls().len();
    yard.operator("maya").await.rollback().await.well();
    assert_eq!(since(&yard, before, "GetServiceQuota").1, 0, "all was warm");

    yard.environment.timing.keep_warm = 0;
    greet(&mut yard, "three");
    yard.operator("joe").await.deploy().await.well();
    yard.clock.sleep(std::time::Duration::from_secs(600)).await;
    allow(&yard, ON_DEMAND, 15);
    let back = async |maya: Operator| maya.rollback().await;
    assert_snapshot!(refused(&yard, back).await, @r"
    because admin-r1, web-r1, worker-r1: 8 vCPUs are needed beside the 8 in use, and 15 are allowed (Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances)
    next aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A --desired-value 16 --region eu-central-1
    ");
    allow(&yard, ON_DEMAND, 16);
    let before = yard.sandbox.faults().calls().len();
    yard.operator("maya").await.rollback().await.well();
    assert_eq!(since(&yard, before, "GetServiceQuota").1, 1);
}

#[tokio::test(start_paused = true)]
async fn more_instances_need_room_and_fewer_do_not() {
    let yard = live().await;
    let to = |on_demand| {
        let to = Sizes::Of { on_demand: Some(on_demand), spot: None };
        ScaleRequest { service: "web".parse().unwrap(), to, wait: true, force: false }
    };
    allow(&yard, ON_DEMAND, 11);
    assert_snapshot!(refused(&yard, async |maya: Operator| maya.scale(&to(4)).await).await, @r"
    because web-r1: 4 vCPUs are needed beside the 8 in use, and 11 are allowed (Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances)
    next aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A --desired-value 12 --region eu-central-1
    ");
    yard.operator("maya").await.scale(&to(3)).await.well();
    allow(&yard, ON_DEMAND, 1);
    yard.operator("maya").await.scale(&to(1)).await.well();
}

#[tokio::test(start_paused = true)]
async fn a_review_box_needs_room_too() {
    let yard = Yard::ready().await;
    let ana = yard.operator("ana").await;
    ana.setup_review().await.well();
    ana.create_box("blue", None).await.well();
    allow(&yard, ON_DEMAND, 3);
    allow(&yard, "rules-per-application-load-balancer", 5);
    leave(&yard, [0, 9]);
    assert_snapshot!(refused(&yard, async |ana: Operator| ana.create_box("red", None).await).await, @r"
    because box red: 1 address is needed, and the subnet has 0 left (subnet-0000000000000000a)
    because box red: 2 vCPUs are needed beside the 2 in use, and 3 are allowed (Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances)
    because the load balancer shop-review takes 5 rules: 3 are in use, and 3 more are needed
    next aws ec2 describe-subnets --subnet-ids subnet-0000000000000000a --region eu-central-1
    next aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A --desired-value 4 --region eu-central-1
    next adstage review list
    next aws service-quotas list-service-quotas --service-code elasticloadbalancing --region eu-central-1
    ");
    allow(&yard, ON_DEMAND, 4);
    allow(&yard, "rules-per-application-load-balancer", 6);
    leave(&yard, [1, 0]);
    ana.create_box("red", None).await.well();
}
