//! Verdicts, weights and refusals, in virtual time with lifelike latencies.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::sandbox::balancer::Visit;
use crate::sandbox::caller::{ACCOUNT, Caller, REGION, SUBNETS};
use crate::sandbox::engine::pause;
use crate::sandbox::latency::Speed;

const VISIT: Visit<'static> =
    Visit { account: ACCOUNT, region: REGION, load_balancer: "shop", host: "example.com", path: "/", headers: &[] };

/// A load balancer, and two target groups with a group of `script`ed machines each.
struct Shop {
    caller: Caller,
    listener: String,
    old: String,
    new: String,
}

async fn shop(old_script: &str, new_script: &str) -> Shop {
    let caller = Caller::new(Speed::Lifelike);
    let (_, listener) = caller.load_balancer("shop", 80).await;
    let (old, new) = (caller.target_group("web-r1", 8001).await, caller.target_group("web-r2", 8001).await);
    for (name, script, target_group) in [("web-r1", old_script, &old), ("web-r2", new_script, &new)] {
        let template = caller.template(name, script).await;
        assert_eq!(caller.group(name, &template, "2", target_group).await.code(), "");
    }
    Shop { caller, listener, old, new }
}

/// Who answered, and how, in a hundred visits.
async fn visits(caller: &Caller) -> BTreeMap<(String, u16), u32> {
    let mut seen = BTreeMap::new();
    for _ in 0..100 {
        let visited = caller.engine.visit(&VISIT).await.unwrap();
        *seen.entry((visited.target_group.unwrap_or_default(), visited.status)).or_default() += 1;
    }
    seen
}

fn only(target_group: &str, status: u16) -> BTreeMap<(String, u16), u32> {
    BTreeMap::from([((target_group.to_string(), status), 100)])
}

#[tokio::test(start_paused = true)]
async fn a_target_group_no_rule_names_stays_unused_for_ever() {
    let Shop { caller, listener, old, new } = shop("", "").await;
    caller.until_group("web-r2", &["InService", "InService"]).await;
    pause(Duration::from_secs(3_600)).await;
    assert_eq!(caller.health(&new).await, ["unused Target.NotInUse"; 2]);
    // Weight 0 is enough to be checked, and to get nobody.
    let rule = caller.rule(&listener, "10", &[(&old, "100"), (&new, "0")]).await;
    caller.until_health(&new, &["healthy", "healthy"]).await;
    caller.until_health(&old, &["healthy", "healthy"]).await;
    assert_eq!(visits(&caller).await, only("web-r1", 200));
    // Out of every rule again: nothing is known any more.
    caller.shares(&rule, &[(&old, "100")]).await;
    pause(Duration::from_secs(2)).await;
    assert_eq!(caller.health(&new).await, ["unused Target.NotInUse"; 2]);
    caller.shares(&rule, &[(&old, "100"), (&new, "0")]).await;
    assert_eq!(caller.health(&new).await, ["initial Elb.RegistrationInProgress"; 2]);
}

#[tokio::test(start_paused = true)]
async fn new_weights_reach_one_node_before_the_other() {
    let Shop { caller, listener, old, new } = shop("", "").await;
    let rule = caller.rule(&listener, "10", &[(&old, "100"), (&new, "0")]).await;
    caller.until_health(&old, &["healthy", "healthy"]).await;
    caller.until_health(&new, &["healthy", "healthy"]).await;
    let changed = caller.shares(&rule, &[(&old, "0"), (&new, "100")]).await;
    assert_eq!(changed.all("Weight"), ["0", "100"], "the API shows the new weights at once");
    assert_eq!(changed.all("TargetGroupArn").len(), 2, "no TargetGroupArn at the top when there are several");
    let mut disagreed = false;
    for _ in 0..40 {
        disagreed |= visits(&caller).await.len() == 2;
        pause(Duration::from_millis(50)).await;
    }
    assert!(disagreed);
    pause(Duration::from_secs(2)).await;
    assert_eq!(visits(&caller).await, only("web-r2", 200));
}

#[tokio::test(start_paused = true)]
async fn weights_do_not_fail_over_and_nobody_healthy_means_everybody() {
    let Shop { caller, listener, old, new } = shop("", "unhealthy").await;
    let rule = caller.rule(&listener, "10", &[(&old, "1"), (&new, "1")]).await;
    caller.until_health(&old, &["healthy", "healthy"]).await;
    caller.until_health(&new, &["unhealthy Target.ResponseCodeMismatch"; 2]).await;
    let seen = visits(&caller).await;
    assert!(seen[&("web-r1".to_string(), 200)] > 20 && seen[&("web-r2".to_string(), 503)] > 20, "fail-open: {seen:?}");
    caller.shares(&rule, &[(&old, "0"), (&new, "0")]).await;
    pause(Duration::from_secs(3)).await;
    assert_eq!(visits(&caller).await, only("", 503));
    let empty = caller.target_group("empty", 8001).await;
    caller.shares(&rule, &[(&empty, "1")]).await;
    pause(Duration::from_secs(3)).await;
    assert_eq!(visits(&caller).await, only("", 503));
}

#[tokio::test(start_paused = true)]
async fn a_header_rule_leads_to_a_fleet_no_visitor_can_reach() {
    let Shop { caller, listener, old, new } = shop("", "").await;
    caller.rule(&listener, "10", &[(&old, "1")]).await;
    let fields = [
        ("ListenerArn", listener.as_str()),
        ("Priority", "5"),
        ("Conditions.member.1.Field", "http-header"),
        ("Conditions.member.1.HttpHeaderConfig.HttpHeaderName", "x-adstage-probe"),
        ("Conditions.member.1.HttpHeaderConfig.Values.member.1", "secret"),
        ("Actions.member.1.Type", "forward"),
        ("Actions.member.1.TargetGroupArn", &new),
    ];
    let made = caller.elb("CreateRule", &fields).await;
    assert_eq!(made.all("TargetGroupArn").len(), 2, "at the top and in ForwardConfig: {}", made.body);
    assert_eq!(caller.elb("CreateRule", &fields).await.code(), "PriorityInUse");
    caller.until_health(&new, &["healthy", "healthy"]).await;
    assert_eq!(visits(&caller).await, only("web-r1", 200));
    let probe = Visit { headers: &[("X-Adstage-Probe", "secret")], ..VISIT };
    assert_eq!(caller.engine.visit(&probe).await.unwrap().target_group.as_deref(), Some("web-r2"));
}

#[tokio::test(start_paused = true)]
async fn late_machines_pay_and_well_ones_are_healthy_after_one_check() {
    let caller = Caller::new(Speed::Lifelike);
    let (_, listener) = caller.load_balancer("shop", 80).await;
    let target_group = caller.target_group("web-r1", 8001).await;
    caller.rule(&listener, "10", &[(&target_group, "1")]).await;
    let template = caller.template("web-r1", "").await;
    let other = caller.target_group("nobody", 8001).await;
    caller.group("web-r1", &template, "1", &other).await;
    let id = caller.until_group("web-r1", &["InService"]).await.one("InstanceId");
    pause(Duration::from_secs(120)).await;
    // Its app has long been up when it is registered: one passed check, though the threshold is two.
    let target = [("TargetGroupArn", target_group.as_str()), ("Targets.member.1.Id", &id)];
    assert_eq!(caller.elb("RegisterTargets", &target).await.code(), "");
    pause(Duration::from_secs(7)).await;
    assert_eq!(caller.health(&target_group).await, ["healthy"]);
    // Leaving: draining for the whole delay although nothing is under way, then gone.
    assert_eq!(caller.elb("DeregisterTargets", &target).await.code(), "");
    pause(Duration::from_secs(290)).await;
    assert_eq!(caller.health(&target_group).await, ["draining Target.DeregistrationInProgress"]);
    assert_eq!(visits(&caller).await, only("", 503));
    pause(Duration::from_secs(15)).await;
    assert!(caller.health(&target_group).await.is_empty());
    let asked = caller.elb("DescribeTargetHealth", &target).await;
    assert_eq!(asked.one("Reason"), "Target.NotRegistered");
    let unknown = [target[0], ("Targets.member.1.Id", "i-0dead")];
    assert_eq!(caller.elb("DescribeTargetHealth", &unknown).await.code(), "InvalidTarget");
    assert_eq!(caller.elb("RegisterTargets", &unknown).await.code(), "InvalidTarget");
}

#[tokio::test(start_paused = true)]
async fn creating_twice() {
    let caller = Caller::new(Speed::Lifelike);
    let (balancer, listener) = caller.load_balancer("shop", 80).await;
    assert_eq!(caller.load_balancer("shop", 80).await, (balancer.clone(), listener.clone()), "the same again is the same");
    let first = caller.target_group("web-r1", 8001).await;
    assert_eq!(caller.target_group("web-r1", 8001).await, first);
    let other = [("Name", "web-r1"), ("Protocol", "HTTP"), ("Port", "9"), ("VpcId", "vpc-00000000000000001")];
    assert_eq!(caller.elb("CreateTargetGroup", &other).await.code(), "DuplicateTargetGroupName");
    let named = "a-name-of-thirty-three-characters";
    let long = [("Name", named), ("Protocol", "HTTP"), ("Port", "9"), ("VpcId", "vpc-00000000000000001")];
    assert_eq!(caller.elb("CreateTargetGroup", &long).await.code(), "ValidationError");
    let https =
        [("LoadBalancerArn", balancer.as_str()), ("Protocol", "HTTPS"), ("Port", "443"), ("DefaultActions.member.1.Type", "forward")];
    assert_eq!(caller.elb("CreateListener", &https).await.code(), "ValidationError");
    // A listener made a moment ago may be missing for a while.
    let (_, fresh) = caller.load_balancer("second", 80).await;
    let mut codes = Vec::new();
    for _ in 0..30 {
        codes.push(caller.elb("DescribeListeners", &[("ListenerArns.member.1", &fresh)]).await.code());
        pause(Duration::from_millis(100)).await;
    }
    assert_eq!((codes.first().map(String::as_str), codes.last().map(String::as_str)), (Some("ListenerNotFound"), Some("")));
}

#[tokio::test(start_paused = true)]
async fn target_groups_in_use_stay_and_belong_to_one_load_balancer() {
    let caller = Caller::new(Speed::Lifelike);
    let (_, listener) = caller.load_balancer("shop", 80).await;
    let (_, second) = caller.load_balancer("second", 80).await;
    let target_group = caller.target_group("web-r1", 8001).await;
    let rule = caller.rule(&listener, "10", &[(&target_group, "0")]).await;
    assert_eq!(caller.elb("DeleteTargetGroup", &[("TargetGroupArn", &target_group)]).await.code(), "ResourceInUse");
    let elsewhere = [
        ("ListenerArn", second.as_str()),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", &target_group),
    ];
    assert_eq!(caller.elb("ModifyListener", &elsewhere).await.code(), "TargetGroupAssociationLimit");
    let six: Vec<String> = (0..6).map(|number| format!("tg-{number}")).collect();
    let mut shares = Vec::new();
    for name in &six {
        shares.push((caller.target_group(name, 8001).await, "1"));
    }
    let shares: Vec<(&str, &str)> = shares.iter().map(|(arn, weight)| (arn.as_str(), *weight)).collect();
    assert_eq!(caller.shares(&rule, &shares).await.code(), "TooManyTargetGroups");
    assert_eq!(caller.shares(&rule, &shares[..5]).await.code(), "");
    assert_eq!(caller.elb("DeleteTargetGroup", &[("TargetGroupArn", &target_group)]).await.code(), "");
    assert_eq!(caller.elb("DeleteRule", &[("RuleArn", &rule)]).await.code(), "");
    assert_eq!(caller.elb("DeleteRule", &[("RuleArn", &rule)]).await.code(), "RuleNotFound");
}

#[tokio::test(start_paused = true)]
async fn what_the_sandbox_does_not_have_is_refused_loudly() {
    let caller = Caller::new(Speed::Quick);
    let network = [("Name", "shop"), ("Type", "network"), ("Subnets.member.1", SUBNETS[0]), ("Subnets.member.2", SUBNETS[1])];
    assert_eq!(caller.elb("CreateLoadBalancer", &network).await.code(), "SandboxUnsupported");
    assert_eq!(caller.elb("CreateTrustStore", &[]).await.code(), "SandboxUnsupported");
    assert_eq!(caller.elb("DescribeTargetGroups", &[("Nonsense", "1")]).await.code(), "SandboxUnsupported");
    let target_group = caller.target_group("web-r1", 8001).await;
    let sticky = [
        ("TargetGroupArn", target_group.as_str()),
        ("Attributes.member.1.Key", "stickiness.enabled"),
        ("Attributes.member.1.Value", "true"),
    ];
    assert_eq!(caller.elb("ModifyTargetGroupAttributes", &sticky).await.code(), "SandboxUnsupported");
}
