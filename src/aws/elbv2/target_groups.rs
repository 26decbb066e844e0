//! Target groups and the load balancer's verdicts on their targets.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    self, Matcher, ProtocolEnum, TargetDescription, TargetGroupAttribute, TargetHealthDescription, TargetHealthStateEnum, TargetTypeEnum,
};

use super::{Elbv2, to_tags};
use crate::aws::clients::pages;
use crate::aws::gather::gather;
use crate::aws::retry::Repeat;
use crate::aws::{Error, Tags};
use crate::model::{Seconds, TargetHealth, TargetState};
use crate::plan::TargetGroupSpec;

/// A target group as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroupInfo {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Port of the targets.
    pub port: u16,
    /// Health check path.
    pub path: String,
    /// ARN of the load balancer whose rules name it, if one does.
    pub load_balancer: Option<String>,
}

impl Elbv2 {
    /// Every target group of the account and Region.
    pub async fn target_groups(&self) -> Result<Vec<TargetGroupInfo>, Error> {
        let found = pages(|marker| async move {
            let call = || self.client().describe_target_groups().page_size(400).set_marker(marker.clone()).send();
            let page = self.link.call("DescribeTargetGroups", Repeat::Safe, call).await?;
            Ok((page.target_groups.unwrap_or_default(), page.next_marker))
        })
        .await?;
        Ok(found.into_iter().filter_map(info).collect())
    }

    /// The target group of this name, if there is one.
    pub async fn target_group(&self, name: &str) -> Result<Option<TargetGroupInfo>, Error> {
        let call = || self.client().describe_target_groups().names(name).send();
        match self.link.call("DescribeTargetGroups", Repeat::Safe, call).await {
            Ok(found) => Ok(found.target_groups.unwrap_or_default().into_iter().find_map(info)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// ARNs of the target groups of these names, in their order; none unless all are there.
    pub async fn target_group_arns(&self, names: &[String]) -> Result<Option<Vec<String>>, Error> {
        let distinct: BTreeSet<String> = names.iter().cloned().collect();
        let call = || self.client().describe_target_groups().set_names(Some(distinct.iter().cloned().collect())).send();
        let found: Vec<TargetGroupInfo> = match self.link.call("DescribeTargetGroups", Repeat::Safe, call).await {
            Ok(found) => found.target_groups.unwrap_or_default().into_iter().filter_map(info).collect(),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let arn = |name: &String| found.iter().find(|group| group.name == *name).map(|group| group.arn.clone());
        Ok(names.iter().map(arn).collect())
    }

    /// Creates a target group for instances. AWS accepts a repeat with the same settings.
    pub async fn create_target_group(&self, name: &str, vpc: &str, spec: &TargetGroupSpec, tags: &Tags) -> Result<String, Error> {
        const ACTION: &str = "CreateTargetGroup";
        let call = || {
            let request = self.client().create_target_group().name(name).vpc_id(vpc).target_type(TargetTypeEnum::Instance);
            let request = request.protocol(ProtocolEnum::Http).port(i32::from(spec.port));
            let request = request.health_check_protocol(ProtocolEnum::Http).health_check_path(&spec.path);
            let request = request.health_check_interval_seconds(whole(spec.health.interval));
            let request = request.health_check_timeout_seconds(whole(spec.health.timeout));
            let request = request.healthy_threshold_count(count(spec.health.healthy_count));
            let request = request.unhealthy_threshold_count(count(spec.health.unhealthy_count));
            request.matcher(Matcher::builder().http_code("200-299").build()).set_tags(Some(to_tags(tags))).send()
        };
        let made = self.link.call(ACTION, Repeat::Safe, call).await?;
        let first = made.target_groups.unwrap_or_default().into_iter().find_map(|group| group.target_group_arn);
        first.ok_or_else(|| Error::incomplete(ACTION, "target group ARN"))
    }

    /// Sets how long a leaving target's connections may take to end.
    pub async fn set_drain(&self, target_group: &str, drain: Seconds) -> Result<(), Error> {
        let delay = TargetGroupAttribute::builder().key("deregistration_delay.timeout_seconds").value(drain.0.to_string()).build();
        let call = || self.client().modify_target_group_attributes().target_group_arn(target_group).attributes(delay.clone()).send();
        self.link.call("ModifyTargetGroupAttributes", Repeat::Safe, call).await.map(drop)
    }

    /// Puts a running instance behind it, at the group's port; one that is there already stays.
    pub async fn register_target(&self, target_group: &str, instance: &str) -> Result<(), Error> {
        let target = TargetDescription::builder().id(instance).build();
        let call = || self.client().register_targets().target_group_arn(target_group).targets(target.clone()).send();
        self.link.call("RegisterTargets", Repeat::Safe, call).await.map(drop)
    }

    /// Deletes a target group; one that is gone is fine.
    pub async fn delete_target_group(&self, target_group: &str) -> Result<(), Error> {
        let call = || self.client().delete_target_group().target_group_arn(target_group).send();
        match self.link.call("DeleteTargetGroup", Repeat::Safe, call).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The verdict on every target of one group.
    pub async fn target_health(&self, target_group: &str) -> Result<Vec<TargetHealth>, Error> {
        let call = || self.client().describe_target_health().target_group_arn(target_group).send();
        let found = self.link.call("DescribeTargetHealth", Repeat::Safe, call).await?;
        Ok(found.target_health_descriptions.unwrap_or_default().into_iter().filter_map(health).collect())
    }

    /// The same for several groups at the same time, by ARN. A group that was deleted meanwhile is left out.
    pub async fn target_healths(&self, target_groups: &[String]) -> Result<BTreeMap<String, Vec<TargetHealth>>, Error> {
        let answers = gather(target_groups.iter().map(|arn| self.target_health(arn))).await;
        let mut found = BTreeMap::new();
        for (arn, answer) in target_groups.iter().zip(answers) {
            match answer {
                Ok(targets) => drop(found.insert(arn.clone(), targets)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

fn whole(span: Seconds) -> i32 {
    i32::try_from(span.0).unwrap_or(i32::MAX)
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn info(found: types::TargetGroup) -> Option<TargetGroupInfo> {
    Some(TargetGroupInfo {
        name: found.target_group_name?,
        arn: found.target_group_arn?,
        port: found.port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
        path: found.health_check_path.unwrap_or_default(),
        load_balancer: found.load_balancer_arns.unwrap_or_default().into_iter().next(),
    })
}

fn health(found: TargetHealthDescription) -> Option<TargetHealth> {
    let verdict = found.target_health?;
    let state = match verdict.state {
        Some(TargetHealthStateEnum::Healthy) => TargetState::Healthy,
        Some(TargetHealthStateEnum::Initial) => TargetState::Initial,
        Some(TargetHealthStateEnum::Unhealthy) => TargetState::Unhealthy,
        Some(TargetHealthStateEnum::Unused) => TargetState::Unused,
        Some(TargetHealthStateEnum::Draining | TargetHealthStateEnum::UnhealthyDraining) => TargetState::Draining,
        // Whatever AWS invents next is no verdict either.
        _ => TargetState::Unavailable,
    };
    Some(TargetHealth {
        instance: found.target?.id?,
        state,
        reason: verdict.reason.map(|reason| reason.as_str().to_string()).unwrap_or_default(),
        description: verdict.description.unwrap_or_default(),
    })
}
