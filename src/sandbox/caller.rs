//! A caller of the sandbox in its own tests: form fields in, texts of XML elements out.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::engine::{Engine, Options, Seed, pause};
use super::host::Host;
use super::host::scripted::Scripted;
use super::latency::Speed;

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const REGION: &str = "eu-central-1";
/// What every account has from the start.
pub(super) const SUBNETS: [&str; 2] = ["subnet-0000000000000000a", "subnet-0000000000000000b"];
pub(super) const CERTIFICATE: &str = "arn:aws:acm:eu-central-1:111122223333:certificate/shop";
pub(super) const IMAGE: &str = "ami-00000000000000001";

pub(super) struct Caller {
    pub engine: Arc<Engine>,
}

/// An answer.
pub(super) struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    /// The texts of all elements with this name, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let parts = self.body.split(&open).skip(1);
        parts.filter_map(|part| part.split_once(&close).map(|(text, _)| text.to_string())).collect()
    }

    /// The text of the first element with this name.
    pub fn one(&self, name: &str) -> String {
        self.all(name).into_iter().next().unwrap_or_default()
    }

    /// The error code; empty if all went well.
    pub fn code(&self) -> String {
        if self.status < 400 { String::new() } else { self.one("Code") }
    }
}

impl Caller {
    pub fn new(speed: Speed) -> Self {
        Self::on(speed, Arc::new(Scripted::new(speed)))
    }

    pub fn on(speed: Speed, host: Arc<dyn Host>) -> Self {
        let network = Seed { account: ACCOUNT.into(), region: REGION.into(), certificates: vec![CERTIFICATE.into()], ..Seed::default() };
        Self { engine: Engine::new(Options { speed, seeds: vec![network], ..Options::default() }, host) }
    }

    async fn ask(&self, service: &str, version: &str, action: &str, fields: &[(&str, &str)]) -> Reply {
        let all = [("Action", action), ("Version", version)];
        let body = serde_urlencoded::to_string(all.iter().chain(fields).collect::<Vec<_>>()).unwrap();
        let credential = format!("AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host");
        let request = http::Request::post("/").header("authorization", credential).body(Bytes::from(body)).unwrap();
        let response = self.engine.call(request).await.unwrap();
        Reply { status: response.status().as_u16(), body: String::from_utf8(response.into_body().to_vec()).unwrap() }
    }

    pub async fn ec2(&self, action: &str, fields: &[(&str, &str)]) -> Reply {
        self.ask("ec2", "2016-11-15", action, fields).await
    }

    pub async fn elb(&self, action: &str, fields: &[(&str, &str)]) -> Reply {
        self.ask("elasticloadbalancing", "2015-12-01", action, fields).await
    }

    pub async fn asg(&self, action: &str, fields: &[(&str, &str)]) -> Reply {
        self.ask("autoscaling", "2011-01-01", action, fields).await
    }

    /// A load balancer with a listener that answers 404 by itself; their ARNs.
    pub async fn load_balancer(&self, name: &str, port: u16) -> (String, String) {
        let fields = [("Name", name), ("Subnets.member.1", SUBNETS[0]), ("Subnets.member.2", SUBNETS[1])];
        let balancer = self.elb("CreateLoadBalancer", &fields).await.one("LoadBalancerArn");
        let fields = [
            ("LoadBalancerArn", balancer.as_str()),
            ("Protocol", "HTTP"),
            ("Port", &port.to_string()),
            ("DefaultActions.member.1.Type", "fixed-response"),
            ("DefaultActions.member.1.FixedResponseConfig.StatusCode", "404"),
        ];
        let listener = self.elb("CreateListener", &fields).await.one("ListenerArn");
        (balancer, listener)
    }

    /// A target group checked every 5 s on `/up`, two and two; its ARN.
    pub async fn target_group(&self, name: &str, port: u16) -> String {
        let fields = [
            ("Name", name),
            ("Protocol", "HTTP"),
            ("Port", &port.to_string()),
            ("VpcId", "vpc-00000000000000001"),
            ("HealthCheckPath", "/up"),
            ("HealthCheckIntervalSeconds", "5"),
            ("HealthCheckTimeoutSeconds", "2"),
            ("HealthyThresholdCount", "2"),
            ("UnhealthyThresholdCount", "2"),
        ];
        self.elb("CreateTargetGroup", &fields).await.one("TargetGroupArn")
    }

    /// A rule for every path; its ARN.
    pub async fn rule(&self, listener: &str, priority: &str, shares: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("ListenerArn".to_string(), listener.to_string()),
            ("Priority".into(), priority.into()),
            ("Conditions.member.1.Field".into(), "path-pattern".into()),
            ("Conditions.member.1.Values.member.1".into(), "/*".into()),
        ];
        fields.extend(forward(shares));
        self.elb("CreateRule", &borrowed(&fields)).await.one("RuleArn")
    }

    /// Changes the shares of a rule.
    pub async fn shares(&self, rule: &str, shares: &[(&str, &str)]) -> Reply {
        let mut fields = vec![("RuleArn".to_string(), rule.to_string())];
        fields.extend(forward(shares));
        self.elb("ModifyRule", &borrowed(&fields)).await
    }

    /// States of all targets, in the order of their ids.
    pub async fn health(&self, target_group: &str) -> Vec<String> {
        let reply = self.elb("DescribeTargetHealth", &[("TargetGroupArn", target_group)]).await;
        let word = |part: &String| {
            let reply = Reply { status: 200, body: part.clone() };
            [reply.one("State"), reply.one("Reason")].join(" ").trim().to_string()
        };
        reply.all("TargetHealth").iter().map(word).collect()
    }

    /// Waits (virtually, if time is paused) until the states of all targets are these.
    pub async fn until_health(&self, target_group: &str, wanted: &[&str]) {
        for _ in 0..600 {
            if self.health(target_group).await == wanted {
                return;
            }
            pause(Duration::from_millis(500)).await;
        }
        panic!("never {wanted:?}: {:?}", self.health(target_group).await);
    }

    /// A launch template of a web machine: a service on port 8001, scripted as said.
    pub async fn template(&self, name: &str, script: &str) -> String {
        self.template_of(name, script, IMAGE).await
    }

    /// The same from another image.
    pub async fn template_of(&self, name: &str, script: &str, image: &str) -> String {
        let variables = serde_json::json!({ "SANDBOX_SCRIPT": script });
        let user_data = serde_json::json!({ "adstage": 1, "services": { "web": { "port": 8001, "variables": variables } } });
        let fields = [
            ("LaunchTemplateName", name),
            ("LaunchTemplateData.ImageId", image),
            ("LaunchTemplateData.InstanceType", "m7i.large"),
            ("LaunchTemplateData.UserData", &BASE64.encode(user_data.to_string())),
            ("LaunchTemplateData.MetadataOptions.InstanceMetadataTags", "enabled"),
        ];
        self.ec2("CreateLaunchTemplate", &fields).await.one("launchTemplateId")
    }

    /// A group of web machines in both subnets.
    pub async fn group(&self, name: &str, template: &str, size: &str, target_group: &str) -> Reply {
        let subnets = SUBNETS.join(",");
        let fields = [
            ("AutoScalingGroupName", name),
            ("LaunchTemplate.LaunchTemplateId", template),
            ("LaunchTemplate.Version", "1"),
            ("MinSize", size),
            ("MaxSize", "6"),
            ("VPCZoneIdentifier", &subnets),
            ("TargetGroupARNs.member.1", target_group),
            ("Tags.member.1.Key", "adstage:services"),
            ("Tags.member.1.Value", "web"),
            ("Tags.member.1.PropagateAtLaunch", "true"),
        ];
        self.asg("CreateAutoScalingGroup", &fields).await
    }

    pub async fn describe_group(&self, name: &str) -> Reply {
        self.asg("DescribeAutoScalingGroups", &[("AutoScalingGroupNames.member.1", name)]).await
    }

    /// Waits until the group's instances have these lifecycle states.
    pub async fn until_group(&self, name: &str, wanted: &[&str]) -> Reply {
        for _ in 0..1200 {
            let reply = self.describe_group(name).await;
            if reply.all("LifecycleState") == wanted {
                return reply;
            }
            pause(Duration::from_millis(500)).await;
        }
        panic!("never {wanted:?}: {}", self.describe_group(name).await.body);
    }
}

fn forward(shares: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut fields = vec![("Actions.member.1.Type".to_string(), "forward".to_string())];
    for (index, (target_group, weight)) in shares.iter().enumerate() {
        let member = format!("Actions.member.1.ForwardConfig.TargetGroups.member.{}", index + 1);
        fields.push((format!("{member}.TargetGroupArn"), target_group.to_string()));
        fields.push((format!("{member}.Weight"), weight.to_string()));
    }
    fields
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
