//! Scaling policies of groups. Only target tracking ones are made here; CloudWatch alarms behind them are AWS's own, and go with them.

use aws_sdk_autoscaling::types::{self, MetricType, PredefinedMetricSpecification, TargetTrackingConfiguration};

use super::{Autoscaling, number, size};
use crate::aws::Error;
use crate::aws::clients::pages;
use crate::aws::retry::Repeat;
use crate::model::{GroupPolicy, ScalingMetric, ScalingPolicy, Seconds};

const TRACKING: &str = "TargetTrackingScaling";

impl Autoscaling {
    /// Every scaling policy of the account and Region, with the name of its group: there is no filter by tag, and one call for all is
    /// cheaper than one per group.
    pub async fn policies(&self) -> Result<Vec<(String, GroupPolicy)>, Error> {
        self.describe_policies(None).await
    }

    /// Those of one group. None if it does not exist, which AWS calls invalid.
    pub async fn policies_of(&self, group: &str) -> Result<Vec<GroupPolicy>, Error> {
        Ok(self.describe_policies(Some(group)).await?.into_iter().map(|(_, policy)| policy).collect())
    }

    async fn describe_policies(&self, group: Option<&str>) -> Result<Vec<(String, GroupPolicy)>, Error> {
        pages(|token| async move {
            let call = || {
                let request = self.client().describe_policies().max_records(100).set_next_token(token.clone());
                request.set_auto_scaling_group_name(group.map(String::from)).send()
            };
            let page = self.link.call("DescribePolicies", Repeat::Safe, call).await?;
            Ok((page.scaling_policies.unwrap_or_default().into_iter().filter_map(found).collect::<Vec<_>>(), page.next_token))
        })
        .await
    }

    /// Puts a policy of adstage's own on a group, switched on. One of the same name is overwritten, so this is repeatable. `label` names
    /// load balancer and target group, for a policy that follows requests.
    pub async fn put_policy(&self, group: &str, policy: &ScalingPolicy, label: Option<&str>) -> Result<(), Error> {
        let metric = match policy.metric {
            ScalingMetric::Cpu => MetricType::AsgAverageCpuUtilization,
            ScalingMetric::Requests => MetricType::AlbRequestCountPerTarget,
        };
        let metric = PredefinedMetricSpecification::builder().predefined_metric_type(metric).set_resource_label(label.map(String::from));
        let follows = TargetTrackingConfiguration::builder().predefined_metric_specification(metric.build());
        let follows = follows.target_value(policy.target.into()).build();
        let call = || {
            let request = self.client().put_scaling_policy().auto_scaling_group_name(group).policy_name(policy.metric.policy_name());
            let request = request.policy_type(TRACKING).target_tracking_configuration(follows.clone()).enabled(true);
            request.estimated_instance_warmup(size(u32::try_from(policy.warmup.0).unwrap_or(u32::MAX))).send()
        };
        self.link.call("PutScalingPolicy", Repeat::Safe, call).await.map(drop)
    }

    /// Takes a policy off a group.
    pub async fn delete_policy(&self, group: &str, name: &str) -> Result<(), Error> {
        let call = || self.client().delete_policy().auto_scaling_group_name(group).policy_name(name).send();
        self.link.call("DeletePolicy", Repeat::Safe, call).await.map(drop)
    }
}

fn found(policy: types::ScalingPolicy) -> Option<(String, GroupPolicy)> {
    let name = policy.policy_name.clone()?;
    let group = policy.auto_scaling_group_name.clone()?;
    let policy = ScalingMetric::of_policy(&name).and_then(|metric| ours(metric, &policy));
    Some((group, GroupPolicy { name, policy }))
}

/// What a policy of adstage's name says, unless somebody made something else of it.
fn ours(metric: ScalingMetric, policy: &types::ScalingPolicy) -> Option<ScalingPolicy> {
    let follows = policy.target_tracking_configuration.as_ref()?;
    let kind = &follows.predefined_metric_specification.as_ref()?.predefined_metric_type;
    let same = match metric {
        ScalingMetric::Cpu => *kind == Some(MetricType::AsgAverageCpuUtilization),
        ScalingMetric::Requests => *kind == Some(MetricType::AlbRequestCountPerTarget),
    };
    let whole = follows.target_value.is_some_and(|target| target.fract() == 0.0) && !follows.disable_scale_in.unwrap_or(false);
    let warmup = Seconds(number(policy.estimated_instance_warmup).into());
    let target = follows.target_value.filter(|_| whole)? as u32;
    (same && policy.enabled != Some(false)).then_some(ScalingPolicy { metric, target, warmup })
}
