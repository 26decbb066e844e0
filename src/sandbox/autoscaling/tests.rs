//! Groups in virtual time, with lifelike latencies.

use std::time::Duration;

use crate::sandbox::balancer::Visit;
use crate::sandbox::caller::{ACCOUNT, Caller, IMAGE, REGION};
use crate::sandbox::engine::pause;
use crate::sandbox::latency::Speed;

const VISIT: Visit<'static> =
    Visit { account: ACCOUNT, region: REGION, load_balancer: "shop", host: "shop.example.com", path: "/", headers: &[] };

/// A load balancer, a target group with a rule, a group of two.
async fn shop(script: &str) -> (Caller, String) {
    let caller = Caller::new(Speed::Lifelike);
    let (_, listener) = caller.load_balancer("shop", 80).await;
    let target_group = caller.target_group("web-r1", 8001).await;
    caller.rule(&listener, "10", &[(&target_group, "1")]).await;
    let template = caller.template("web-r1", script).await;
    assert_eq!(caller.group("web-r1", &template, "2", &target_group).await.code(), "");
    (caller, target_group)
}

async fn activities(caller: &Caller, name: &str) -> Vec<(String, String)> {
    let reply = caller.asg("DescribeScalingActivities", &[("AutoScalingGroupName", name)]).await;
    reply.all("StatusCode").into_iter().zip(reply.all("Description")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_group_comes_up_in_service_long_before_it_is_healthy() {
    let (caller, target_group) = shop("").await;
    assert!(caller.describe_group("web-r1").await.all("LifecycleState").is_empty(), "it notices only after a while");
    caller.until_group("web-r1", &["Pending", "Pending"]).await;
    let up = caller.until_group("web-r1", &["InService", "InService"]).await;
    let zones = up.all("AvailabilityZone");
    assert_ne!(zones[0], zones[1], "spread over zones");
    let registering = "initial Elb.RegistrationInProgress";
    assert_eq!(caller.health(&target_group).await, [registering, registering]);
    // The app is not up yet: it first fails its checks, and then needs two passed ones.
    caller.until_health(&target_group, &["unhealthy Target.FailedHealthChecks"; 2]).await;
    caller.until_health(&target_group, &["healthy", "healthy"]).await;
    assert_eq!(caller.engine.visit(&VISIT).await.map(|visited| visited.status), Some(200));
    let tags = caller.ec2("DescribeTags", &[("Filter.1.Name", "key"), ("Filter.1.Value.1", "aws:autoscaling:groupName")]).await;
    assert_eq!(tags.all("value"), ["web-r1", "web-r1"]);
}

#[tokio::test(start_paused = true)]
async fn scaling_in_deregisters_first_and_waits_the_whole_delay() {
    let (caller, target_group) = shop("").await;
    caller.until_health(&target_group, &["healthy", "healthy"]).await;
    let fields = [("AutoScalingGroupName", "web-r1"), ("MinSize", "1"), ("DesiredCapacity", "1")];
    assert_eq!(caller.asg("UpdateAutoScalingGroup", &fields).await.code(), "");
    caller.until_group("web-r1", &["Terminating", "InService"]).await;
    assert!(caller.health(&target_group).await.contains(&"draining Target.DeregistrationInProgress".to_string()));
    // For five minutes nothing ends, and visitors only meet the one that stays.
    pause(Duration::from_secs(290)).await;
    let states = caller.ec2("DescribeInstances", &[]).await;
    assert_eq!(states.body.matches("<name>running</name>").count(), 2);
    for _ in 0..20 {
        assert_eq!(caller.engine.visit(&VISIT).await.map(|visited| visited.status), Some(200));
    }
    caller.until_group("web-r1", &["InService"]).await;
    assert_eq!(caller.health(&target_group).await, ["healthy"]);
    assert_eq!(activities(&caller, "web-r1").await[0].0, "Successful");
}

#[tokio::test(start_paused = true)]
async fn a_dead_instance_is_replaced() {
    let (caller, target_group) = shop("").await;
    caller.until_health(&target_group, &["healthy", "healthy"]).await;
    let victim = caller.describe_group("web-r1").await.one("InstanceId");
    caller.ec2("TerminateInstances", &[("InstanceId.1", &victim)]).await;
    caller.until_group("web-r1", &["Terminating", "InService", "Pending"]).await;
    let healed = caller.until_group("web-r1", &["InService", "InService"]).await;
    assert!(!healed.all("InstanceId").contains(&victim));
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_replaced_again_and_again_only_if_the_group_heeds_the_load_balancer() {
    let (caller, target_group) = shop("unhealthy").await;
    caller.until_health(&target_group, &["unhealthy Target.ResponseCodeMismatch"; 2]).await;
    pause(Duration::from_secs(600)).await;
    assert_eq!(activities(&caller, "web-r1").await.len(), 2, "health type EC2 leaves it alone");
    caller.asg("UpdateAutoScalingGroup", &[("AutoScalingGroupName", "web-r1"), ("HealthCheckType", "EC2,ELB")]).await;
    // One at a time: the group is small.
    caller.until_group("web-r1", &["Terminating", "InService", "Pending"]).await;
    pause(Duration::from_secs(3_600)).await;
    assert!(activities(&caller, "web-r1").await.len() > 6);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_gone_shows_in_the_activities() {
    let caller = Caller::new(Speed::Lifelike);
    let builder = [("ImageId", IMAGE), ("InstanceType", "m7i.large"), ("MinCount", "1"), ("MaxCount", "1")];
    let builder = caller.ec2("RunInstances", &builder).await.one("instanceId");
    pause(Duration::from_secs(30)).await;
    let image = caller.ec2("CreateImage", &[("InstanceId", &builder), ("Name", "shop-1")]).await.one("imageId");
    pause(Duration::from_secs(300)).await;
    let template = caller.template_of("web-r1", "", &image).await;
    let target_group = caller.target_group("web-r1", 8001).await;
    assert_eq!(caller.group("web-r1", &template, "2", &target_group).await.code(), "");
    caller.until_group("web-r1", &["InService", "InService"]).await;
    assert_eq!(caller.ec2("DeregisterImage", &[("ImageId", &image)]).await.code(), "");
    caller.asg("SetDesiredCapacity", &[("AutoScalingGroupName", "web-r1"), ("DesiredCapacity", "3")]).await;
    pause(Duration::from_secs(10)).await;
    let reply = caller.asg("DescribeScalingActivities", &[("AutoScalingGroupName", "web-r1")]).await;
    assert_eq!(reply.one("StatusCode"), "Failed");
    assert!(reply.one("StatusMessage").contains(&image), "{}", reply.body);
    pause(Duration::from_secs(300)).await;
    assert!((4..10).contains(&activities(&caller, "web-r1").await.len()), "it tries again, later and later");
    // A new group with it is refused at once.
    assert_eq!(caller.group("web-r2", &template, "2", &target_group).await.code(), "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn a_target_group_that_is_gone_blocks_every_launch() {
    let caller = Caller::new(Speed::Lifelike);
    let target_group = caller.target_group("web-r1", 8001).await;
    let template = caller.template("web-r1", "").await;
    caller.group("web-r1", &template, "2", &target_group).await;
    assert_eq!(caller.elb("DeleteTargetGroup", &[("TargetGroupArn", &target_group)]).await.code(), "");
    pause(Duration::from_secs(10)).await;
    let reply = caller.asg("DescribeScalingActivities", &[("AutoScalingGroupName", "web-r1")]).await;
    assert!(reply.one("StatusMessage").starts_with("One or more target groups not found"), "{}", reply.body);
    let fields = [("AutoScalingGroupName", "web-r1"), ("TrafficSources.member.1.Identifier", &target_group)];
    assert_eq!(caller.asg("DetachTrafficSources", &fields).await.code(), "");
    caller.until_group("web-r1", &["InService", "InService"]).await;
}

#[tokio::test(start_paused = true)]
async fn deleting() {
    let (caller, target_group) = shop("").await;
    caller.until_health(&target_group, &["healthy", "healthy"]).await;
    let name = ("AutoScalingGroupName", "web-r1");
    assert_eq!(caller.asg("DeleteAutoScalingGroup", &[name]).await.code(), "ResourceInUse");
    caller.asg("UpdateAutoScalingGroup", &[name, ("MinSize", "0"), ("DesiredCapacity", "0")]).await;
    caller.until_group("web-r1", &["Terminating", "Terminating"]).await;
    assert_eq!(caller.asg("DeleteAutoScalingGroup", &[name]).await.code(), "ScalingActivityInProgress");
    caller.until_group("web-r1", &[]).await;
    assert_eq!(caller.asg("DeleteAutoScalingGroup", &[name]).await.code(), "");
    assert_eq!(caller.describe_group("web-r1").await.one("Status"), "Delete in progress");
    let template = caller.template("again", "").await;
    assert_eq!(caller.group("web-r1", &template, "2", &target_group).await.code(), "AlreadyExists");
    pause(Duration::from_secs(30)).await;
    assert!(caller.describe_group("web-r1").await.all("AutoScalingGroupName").is_empty());
    assert_eq!(caller.group("web-r1", &template, "2", &target_group).await.code(), "");
    caller.until_group("web-r1", &["InService", "InService"]).await;
    // Force takes the instances with it, without draining.
    assert_eq!(caller.asg("DeleteAutoScalingGroup", &[name, ("ForceDelete", "true")]).await.code(), "");
    pause(Duration::from_secs(60)).await;
    assert!(caller.describe_group("web-r1").await.all("AutoScalingGroupName").is_empty());
}

#[tokio::test(start_paused = true)]
async fn sizes_names_and_templates_are_checked() {
    let (caller, target_group) = shop("").await;
    let name = ("AutoScalingGroupName", "web-r1");
    assert_eq!(caller.asg("SetDesiredCapacity", &[name, ("DesiredCapacity", "7")]).await.code(), "ValidationError");
    assert_eq!(
        caller.asg("SetDesiredCapacity", &[("AutoScalingGroupName", "none"), ("DesiredCapacity", "1")]).await.code(),
        "ValidationError"
    );
    assert_eq!(caller.group("web-r2", "lt-0000000000000dead", "2", &target_group).await.code(), "ValidationError");
    let raised = caller.asg("UpdateAutoScalingGroup", &[name, ("MinSize", "3")]).await;
    assert_eq!(raised.code(), "");
    assert_eq!(caller.describe_group("web-r1").await.one("DesiredCapacity"), "3");
    assert_eq!(caller.asg("PutWarmPool", &[name]).await.code(), "SandboxUnsupported");
    let filter = [("Filters.member.1.Name", "tag:adstage:services"), ("Filters.member.1.Values.member.1", "web")];
    assert_eq!(caller.asg("DescribeAutoScalingGroups", &filter).await.all("AutoScalingGroupName"), ["web-r1"]);
}

#[tokio::test(start_paused = true)]
async fn suspended_processes_do_nothing() {
    let (caller, target_group) = shop("").await;
    let name = ("AutoScalingGroupName", "web-r1");
    caller.asg("SuspendProcesses", &[name, ("ScalingProcesses.member.1", "AddToLoadBalancer")]).await;
    caller.until_group("web-r1", &["InService", "InService"]).await;
    assert!(caller.health(&target_group).await.is_empty());
    caller.asg("ResumeProcesses", &[name]).await;
    pause(Duration::from_secs(60)).await;
    assert!(caller.health(&target_group).await.is_empty(), "resuming does not make up for it");
    caller.asg("SuspendProcesses", &[name, ("ScalingProcesses.member.1", "Launch")]).await;
    caller.asg("SetDesiredCapacity", &[name, ("DesiredCapacity", "4")]).await;
    pause(Duration::from_secs(60)).await;
    assert_eq!(caller.describe_group("web-r1").await.all("LifecycleState").len(), 2);
}
