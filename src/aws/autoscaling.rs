//! EC2 Auto Scaling groups. One token bucket is shared by all calls of an account and Region, so describes are batched.

mod policies;

use std::collections::BTreeMap;

use aws_sdk_autoscaling::types::{
    self, Filter, InstancesDistribution, LaunchTemplate, LaunchTemplateOverrides, LaunchTemplateSpecification, MixedInstancesPolicy,
    ScalingActivityStatusCode,
};
use jiff::Timestamp;

use super::clients::{pages, service};
use super::gather::gather;
use super::retry::Repeat;
use super::{Error, Tags};
use crate::model::{CapacityKind, Group, GroupInstance, Used, tag};

service! {
    /// EC2 Auto Scaling.
    Autoscaling, aws_sdk_autoscaling
}

/// A group as it is, with what the model has no use for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// The group.
    pub group: Group,
    /// ARNs of its target groups.
    pub target_groups: Vec<String>,
    /// What it replaces instances for: `EC2`, `EC2,ELB`.
    pub health_type: String,
    /// Instance types of its instances.
    pub instance_types: BTreeMap<String, String>,
    /// When it was created, by AWS's clock.
    pub created: Timestamp,
    /// Tags.
    pub tags: Tags,
}

impl GroupInfo {
    /// The kind of capacity it is for.
    pub fn kind(&self) -> CapacityKind {
        self.tags
            .get(tag::CAPACITY)
            .filter(|kind| **kind == CapacityKind::Spot.to_string())
            .map_or(CapacityKind::OnDemand, |_| CapacityKind::Spot)
    }
}

/// A group to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// Name.
    pub name: String,
    /// Launch template id.
    pub template: String,
    /// How its instances are bought.
    pub kind: CapacityKind,
    /// Instance types it may choose from, best first; none for the template's own.
    pub types: Vec<String>,
    /// Its version, a number: with `$Latest` a warm fleet would heal itself with another image.
    pub version: i64,
    /// Subnets.
    pub subnets: Vec<String>,
    /// ARN of the target group its instances are registered in.
    pub target_group: String,
    /// Smallest size.
    pub min: u32,
    /// Largest size.
    pub max: u32,
    /// Wanted size.
    pub desired: u32,
    /// Tags, passed on to the instances.
    pub tags: Tags,
}

/// Something a group tried and failed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedActivity {
    /// What it tried: `Launching a new EC2 instance`.
    pub what: String,
    /// Why it failed.
    pub why: String,
}

impl Autoscaling {
    /// The groups of these names that exist.
    pub async fn groups_named(&self, names: &[String]) -> Result<Vec<GroupInfo>, Error> {
        let batches = gather(names.chunks(50).map(|batch| self.describe(Some(batch.to_vec()), None))).await;
        Ok(batches.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// One group, if it exists.
    pub async fn group(&self, name: &str) -> Result<Option<GroupInfo>, Error> {
        Ok(self.groups_named(&[name.to_string()]).await?.into_iter().next())
    }

    /// The groups that carry all these tags.
    pub async fn groups_tagged(&self, tags: &Tags) -> Result<Vec<GroupInfo>, Error> {
        let filter = |(key, value): (&String, &String)| Filter::builder().name(format!("tag:{key}")).values(value).build();
        self.describe(None, Some(tags.iter().map(filter).collect())).await
    }

    async fn describe(&self, names: Option<Vec<String>>, filters: Option<Vec<Filter>>) -> Result<Vec<GroupInfo>, Error> {
        let (names, filters) = (&names, &filters);
        let found = pages(|token| async move {
            let call = || {
                let request = self.client().describe_auto_scaling_groups().max_records(100).set_next_token(token.clone());
                request.set_auto_scaling_group_names(names.clone()).set_filters(filters.clone()).send()
            };
            let page = self.link.call("DescribeAutoScalingGroups", Repeat::Safe, call).await?;
            Ok((page.auto_scaling_groups.unwrap_or_default(), page.next_token))
        })
        .await?;
        Ok(found.into_iter().filter_map(info).collect())
    }

    /// Creates a group. There is no token: a repeat finds the name taken.
    pub async fn create_group(&self, wanted: &NewGroup) -> Result<(), Error> {
        let template = LaunchTemplateSpecification::builder().launch_template_id(&wanted.template).version(wanted.version.to_string());
        let template = template.build();
        let mixed = mixed(wanted, &template);
        let call = || {
            let request = self.client().create_auto_scaling_group().auto_scaling_group_name(&wanted.name);
            let request = match &mixed {
                None => request.launch_template(template.clone()),
                Some(mixed) => request.mixed_instances_policy(mixed.clone()),
            };
            // Spot capacity about to be taken back is replaced before it is gone.
            let request = request.set_capacity_rebalance((wanted.kind == CapacityKind::Spot).then_some(true));
            let request = request.vpc_zone_identifier(wanted.subnets.join(","));
            let request = request.min_size(size(wanted.min)).max_size(size(wanted.max)).desired_capacity(size(wanted.desired));
            let request = request.target_group_arns(&wanted.target_group);
            // A release that does not answer must not be replaced over and over while it is being judged.
            let request = request.health_check_type("EC2").health_check_grace_period(0);
            request.set_tags(Some(to_tags(&wanted.name, &wanted.tags))).send()
        };
        self.link.call("CreateAutoScalingGroup", Repeat::Safe, call).await.map(drop)
    }

    /// Sets all three sizes. Absolute values, so repeatable. Lowering one is for `steps::traffic_guard`'s callers only.
    pub async fn resize(&self, name: &str, min: u32, max: u32, desired: u32) -> Result<(), Error> {
        let call = || {
            let request = self.client().update_auto_scaling_group().auto_scaling_group_name(name);
            request.min_size(size(min)).max_size(size(max)).desired_capacity(size(desired)).send()
        };
        self.link.call("UpdateAutoScalingGroup", Repeat::Safe, call).await.map(drop)
    }

    /// Ends one instance of a group, which wants one fewer from then on. False: it is in no group any more, or the group has its smallest
    /// size. Repeating it ends no other instance.
    pub async fn end_instance(&self, instance: &str) -> Result<bool, Error> {
        let call = || {
            let request = self.client().terminate_instance_in_auto_scaling_group().instance_id(instance);
            request.should_decrement_desired_capacity(true).send()
        };
        match self.link.call("TerminateInstanceInAutoScalingGroup", Repeat::Safe, call).await {
            Err(error) if error.code == "ValidationError" => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    /// Sets the smallest and largest size and leaves the wanted one to whoever scales (AWS raises it to `min` if it is below).
    pub async fn set_bounds(&self, name: &str, min: u32, max: u32) -> Result<(), Error> {
        let call = || {
            let request = self.client().update_auto_scaling_group().auto_scaling_group_name(name);
            request.min_size(size(min)).max_size(size(max)).send()
        };
        self.link.call("UpdateAutoScalingGroup", Repeat::Safe, call).await.map(drop)
    }

    /// Sets what the group replaces instances for, and how long a new one is spared.
    pub async fn set_health_type(&self, name: &str, health_type: &str, grace_seconds: u32) -> Result<(), Error> {
        let call = || {
            let request = self.client().update_auto_scaling_group().auto_scaling_group_name(name);
            request.health_check_type(health_type).health_check_grace_period(size(grace_seconds)).send()
        };
        self.link.call("UpdateAutoScalingGroup", Repeat::Safe, call).await.map(drop)
    }

    /// Sets a tag of a group, which instances launched from now on get too; those there are keep theirs.
    pub async fn set_tag(&self, name: &str, key: &str, value: &str) -> Result<(), Error> {
        let tags = to_tags(name, &Tags::from([(key.to_string(), value.to_string())]));
        let call = || self.client().create_or_update_tags().set_tags(Some(tags.clone())).send();
        self.link.call("CreateOrUpdateTags", Repeat::Safe, call).await.map(drop)
    }

    /// Deletes an empty group. Never by force: that would skip draining.
    pub async fn delete_group(&self, name: &str) -> Result<(), Error> {
        let call = || self.client().delete_auto_scaling_group().auto_scaling_group_name(name).send();
        self.link.call("DeleteAutoScalingGroup", Repeat::Safe, call).await.map(drop)
    }

    /// How many groups the account and Region has, and how many it may have.
    pub async fn limits(&self) -> Result<Used, Error> {
        const ACTION: &str = "DescribeAccountLimits";
        let found = self.link.call(ACTION, Repeat::Safe, || self.client().describe_account_limits().send()).await?;
        let most = found.max_number_of_auto_scaling_groups.ok_or_else(|| Error::incomplete(ACTION, "limit of groups"))?;
        Ok(Used { used: number(found.number_of_auto_scaling_groups), most: number(Some(most)) })
    }

    /// What a group failed at since then, newest first. `since` is AWS's own time (the group's creation), not this machine's.
    pub async fn failed_activities(&self, name: &str, since: Timestamp) -> Result<Vec<FailedActivity>, Error> {
        let call = || self.client().describe_scaling_activities().auto_scaling_group_name(name).max_records(50).send();
        let found = self.link.call("DescribeScalingActivities", Repeat::Safe, call).await?;
        let recent = found.activities.unwrap_or_default().into_iter().filter(|activity| {
            let failed = activity.status_code == Some(ScalingActivityStatusCode::Failed);
            failed && activity.start_time.as_ref().and_then(timestamp).is_some_and(|started| started >= since)
        });
        Ok(recent.map(failed).collect())
    }
}

/// How to choose between several types, or to buy spot; none where there is nothing to choose.
fn mixed(wanted: &NewGroup, template: &LaunchTemplateSpecification) -> Option<MixedInstancesPolicy> {
    let spot = wanted.kind == CapacityKind::Spot;
    if !spot && wanted.types.is_empty() {
        return None;
    }
    let overrides = wanted.types.iter().map(|kind| LaunchTemplateOverrides::builder().instance_type(kind).build()).collect();
    let template = LaunchTemplate::builder().launch_template_specification(template.clone()).set_overrides(Some(overrides)).build();
    let distribution = InstancesDistribution::builder().on_demand_base_capacity(0);
    let distribution = distribution.on_demand_percentage_above_base_capacity(if spot { 0 } else { 100 });
    // No highest price: it is the on-demand one, and a lower one only gets instances taken back more often.
    let distribution = match spot {
        true => distribution.spot_allocation_strategy("price-capacity-optimized"),
        false => distribution.on_demand_allocation_strategy("prioritized"),
    };
    let policy = MixedInstancesPolicy::builder().launch_template(template);
    Some(policy.instances_distribution(distribution.build()).build())
}

fn failed(activity: types::Activity) -> FailedActivity {
    let why = activity.status_message.or(activity.cause).unwrap_or_default();
    FailedActivity { what: activity.description.unwrap_or_default(), why }
}

fn size(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn number(size: Option<i32>) -> u32 {
    size.and_then(|size| u32::try_from(size).ok()).unwrap_or_default()
}

fn timestamp(time: &aws_sdk_autoscaling::primitives::DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

fn to_tags(group: &str, tags: &Tags) -> Vec<types::Tag> {
    let tag = |(key, value): (&String, &String)| {
        let tag = types::Tag::builder().key(key).value(value).propagate_at_launch(true);
        tag.resource_id(group).resource_type("auto-scaling-group").build()
    };
    tags.iter().map(tag).collect()
}

fn info(found: types::AutoScalingGroup) -> Option<GroupInfo> {
    let instances = found.instances.unwrap_or_default();
    let instance_types = instances.iter().filter_map(|instance| Some((instance.instance_id.clone()?, instance.instance_type.clone()?)));
    let instance_types = instance_types.collect();
    let tags = found.tags.unwrap_or_default().into_iter();
    Some(GroupInfo {
        group: Group {
            name: found.auto_scaling_group_name?,
            min: number(found.min_size),
            max: number(found.max_size),
            desired: number(found.desired_capacity),
            // The only status there is says that it is being deleted.
            deleting: found.status.is_some_and(|status| !status.is_empty()),
            instances: instances.into_iter().filter_map(instance).collect(),
            // What its instances say is asked elsewhere.
            activity: None,
            // They are asked for elsewhere.
            policies: Vec::new(),
        },
        target_groups: found.target_group_arns.unwrap_or_default(),
        health_type: found.health_check_type.unwrap_or_default(),
        instance_types,
        created: found.created_time.as_ref().and_then(timestamp).unwrap_or(Timestamp::UNIX_EPOCH),
        tags: tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect(),
    })
}

fn instance(found: types::Instance) -> Option<GroupInstance> {
    Some(GroupInstance {
        id: found.instance_id?,
        lifecycle: found.lifecycle_state.map(|state| state.as_str().to_string()).unwrap_or_default(),
        healthy: found.health_status.as_deref() == Some("Healthy"),
    })
}
