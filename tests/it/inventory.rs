//! Everything adstage can make in an account, read with the plain SDK: what is there before and after tells what was left behind.

use std::collections::BTreeSet;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_ec2::types::{InstanceType, ResourceType, Tag, TagSpecification};
use aws_sdk_elasticloadbalancingv2::types::{Action, ForwardActionConfig, TargetGroupTuple};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A connection to a loopback sandbox that shares no code with adstage's own.
pub struct Account {
    sdk: SdkConfig,
}

impl Account {
    pub fn at(endpoint: &str) -> Self {
        let keys = Credentials::new("123456789012", "sandbox", None, None, "test");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-central-1"))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(aws_smithy_async::rt::sleep::TokioSleep::new()))
            .build();
        Self { sdk }
    }

    /// One line per group, target group, rule, launch template, living instance, image.
    pub async fn inventory(&self) -> BTreeSet<String> {
        let ec2 = aws_sdk_ec2::Client::new(&self.sdk);
        let groups = aws_sdk_autoscaling::Client::new(&self.sdk).describe_auto_scaling_groups().send().await.unwrap();
        let templates = ec2.describe_launch_templates().send().await.unwrap();
        let instances = ec2.describe_instances().send().await.unwrap();
        let images = ec2.describe_images().owners("self").send().await.unwrap();
        let mut lines: BTreeSet<String> = self.rules().await.into_iter().map(|rule| format!("rule {rule}")).collect();
        lines.extend(self.target_groups().await.into_iter().map(|(name, _)| format!("target group {name}")));
        lines.extend(
            groups.auto_scaling_groups().iter().filter_map(|group| group.auto_scaling_group_name()).map(|name| format!("group {name}")),
        );
        lines.extend(
            templates
                .launch_templates()
                .iter()
                .filter_map(|template| template.launch_template_name())
                .map(|name| format!("template {name}")),
        );
        lines.extend(images.images().iter().filter_map(|image| image.name()).map(|name| format!("image {name}")));
        let alive = instances.reservations().iter().flat_map(|reservation| reservation.instances()).filter(|instance| {
            instance.state().and_then(|state| state.name()).is_some_and(|name| !matches!(name.as_str(), "terminated" | "shutting-down"))
        });
        lines.extend(alive.filter_map(|instance| instance.instance_id()).map(|id| format!("instance {id}")));
        lines
    }

    /// An instance of the base image that nobody's command made, with tags of adstage's, whose keys are given without `adstage:`.
    pub async fn launch_by_hand(&self, user_data: &str, tags: &[(&str, &str)]) {
        let tag = |(key, value): &(&str, &str)| Tag::builder().key(format!("adstage:{key}")).value(*value).build();
        let tags = TagSpecification::builder().resource_type(ResourceType::Instance).set_tags(Some(tags.iter().map(tag).collect()));
        let ran = aws_sdk_ec2::Client::new(&self.sdk).run_instances().image_id("ami-00000000000000001").min_count(1).max_count(1);
        let ran = ran.instance_type(InstanceType::T3Micro).user_data(BASE64.encode(user_data)).tag_specifications(tags.build());
        ran.send().await.unwrap();
    }

    /// Gives the instance of a review box other tags.
    pub async fn tag_by_hand(&self, name: &str, tags: &[(&str, &str)]) {
        let ec2 = aws_sdk_ec2::Client::new(&self.sdk);
        let id = instance_of(&ec2, name).await;
        let tag = |(key, value): &(&str, &str)| Tag::builder().key(format!("adstage:{key}")).value(*value).build();
        ec2.create_tags().resources(id).set_tags(Some(tags.iter().map(tag).collect())).send().await.unwrap();
    }

    /// Switches the instance of a review box off and on again.
    pub async fn reboot_by_hand(&self, name: &str) {
        let ec2 = aws_sdk_ec2::Client::new(&self.sdk);
        let id = instance_of(&ec2, name).await;
        let clock = adstage::clock::Clock::real();
        ec2.stop_instances().instance_ids(&id).send().await.unwrap();
        loop {
            let started = ec2.start_instances().instance_ids(&id).send().await;
            match started.map_err(aws_sdk_ec2::Error::from) {
                Ok(_) => return,
                // It is still being stopped.
                Err(error) => assert_eq!(error.code(), Some("IncorrectInstanceState"), "{error}"),
            }
            clock.sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Name and ARN.
    async fn target_groups(&self) -> Vec<(String, String)> {
        let found = aws_sdk_elasticloadbalancingv2::Client::new(&self.sdk).describe_target_groups().send().await.unwrap();
        let named = found
            .target_groups()
            .iter()
            .filter_map(|group| Some((group.target_group_name()?.to_string(), group.target_group_arn()?.to_string())));
        named.collect()
    }

    async fn rules(&self) -> Vec<String> {
        self.rules_of_every_listener().await.into_iter().map(|(priority, arn)| format!("{priority} {arn}")).collect()
    }

    async fn rules_of_every_listener(&self) -> Vec<(String, String)> {
        let elb = aws_sdk_elasticloadbalancingv2::Client::new(&self.sdk);
        let mut rules = Vec::new();
        for balancer in elb.describe_load_balancers().send().await.unwrap().load_balancers() {
            let listeners = elb.describe_listeners().load_balancer_arn(balancer.load_balancer_arn().unwrap()).send().await.unwrap();
            for listener in listeners.listeners() {
                let found = elb.describe_rules().listener_arn(listener.listener_arn().unwrap()).send().await.unwrap();
                rules.extend(found.rules().iter().map(|rule| (rule.priority().unwrap().to_string(), rule.rule_arn().unwrap().to_string())));
            }
        }
        rules
    }

    /// What the rule of this priority forwards to: target group names with their weights.
    pub async fn weights(&self, priority: &str) -> Vec<(String, i32)> {
        let groups = self.target_groups().await;
        let rules = self.rules_of_every_listener().await;
        let (_, arn) = rules.iter().find(|(found, _)| found == priority).unwrap();
        let elb = aws_sdk_elasticloadbalancingv2::Client::new(&self.sdk);
        let described = elb.describe_rules().rule_arns(arn).send().await.unwrap();
        let forward = described.rules()[0].actions()[0].forward_config().unwrap();
        let named = |tuple: &TargetGroupTuple| {
            let name = groups.iter().find(|(_, arn)| Some(arn.as_str()) == tuple.target_group_arn()).unwrap().0.clone();
            (name, tuple.weight().unwrap_or_default())
        };
        forward.target_groups().iter().map(named).collect()
    }

    /// The state of each target of a group, as the load balancer judges it.
    pub async fn health(&self, group: &str) -> Vec<String> {
        let groups = self.target_groups().await;
        let arn = groups.iter().find(|(name, _)| name == group).unwrap().1.clone();
        let elb = aws_sdk_elasticloadbalancingv2::Client::new(&self.sdk);
        let described = elb.describe_target_health().target_group_arn(arn).send().await.unwrap();
        let states = described.target_health_descriptions().iter().filter_map(|target| target.target_health()?.state());
        states.map(|state| state.as_str().to_string()).collect()
    }

    /// Every row of a table.
    pub async fn rows(&self, table: &str) -> BTreeSet<String> {
        let db = aws_sdk_dynamodb::Client::new(&self.sdk);
        let pages: Result<Vec<_>, _> = db.scan().table_name(table).consistent_read(true).into_paginator().items().send().collect().await;
        pages.unwrap().into_iter().map(|row| shown(&AttributeValue::M(row))).collect()
    }

    /// Somebody at the console: the rule of this priority now has these weights, by target group name.
    pub async fn set_weights_by_hand(&self, priority: &str, weights: &[(&str, i32)]) {
        let groups = self.target_groups().await;
        let arn = |name: &str| groups.iter().find(|(found, _)| found == name).unwrap().1.clone();
        let tuples = weights.iter().map(|(name, weight)| TargetGroupTuple::builder().target_group_arn(arn(name)).weight(*weight).build());
        let forward = ForwardActionConfig::builder().set_target_groups(Some(tuples.collect())).build();
        let action = Action::builder().r#type("forward".into()).forward_config(forward).build();
        let rules = self.rules_of_every_listener().await;
        let (_, rule) = rules.iter().find(|(found, _)| found == priority).unwrap();
        let elb = aws_sdk_elasticloadbalancingv2::Client::new(&self.sdk);
        elb.modify_rule().rule_arn(rule).actions(action).send().await.unwrap();
    }
}

/// The same text for the same value, whatever order its attributes came in.
fn shown(value: &AttributeValue) -> String {
    match value {
        AttributeValue::M(map) => {
            let sorted: std::collections::BTreeMap<_, _> = map.iter().map(|(name, value)| (name, shown(value))).collect();
            format!("{sorted:?}")
        }
        AttributeValue::L(list) => format!("{:?}", list.iter().map(shown).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

/// The id of a review box's instance.
async fn instance_of(ec2: &aws_sdk_ec2::Client, name: &str) -> String {
    let of_box = aws_sdk_ec2::types::Filter::builder().name("tag:adstage:box").values(name).build();
    let found = ec2.describe_instances().filters(of_box).send().await.unwrap();
    found.reservations()[0].instances()[0].instance_id().unwrap().to_string()
}
