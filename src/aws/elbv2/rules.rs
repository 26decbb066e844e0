//! Rules of a listener: who matches, and where they lead.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    self, Action, ActionTypeEnum, FixedResponseActionConfig, ForwardActionConfig, HostHeaderConditionConfig, HttpHeaderConditionConfig,
    PathPatternConditionConfig, RuleCondition, TargetGroupTuple,
};

use super::{Elbv2, to_tags};
use crate::aws::clients::pages;
use crate::aws::gather::gather;
use crate::aws::retry::Repeat;
use crate::aws::{Error, Tags};
use crate::model::{Conditions, PROBE_HEADER, Rule, RuleAction};

/// A page the load balancer answers with by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// Plain text.
    pub body: String,
}

impl Elbv2 {
    /// Every rule of a listener, the default one included.
    pub async fn rules(&self, listener: &str) -> Result<Vec<Rule>, Error> {
        Ok(self.raw_rules(listener).await?.into_iter().map(rule).collect())
    }

    async fn raw_rules(&self, listener: &str) -> Result<Vec<types::Rule>, Error> {
        pages(|marker| async move {
            let call = || self.client().describe_rules().listener_arn(listener).set_marker(marker.clone()).send();
            let page = self.link.call("DescribeRules", Repeat::Safe, call).await?;
            Ok((page.rules.unwrap_or_default(), page.next_marker))
        })
        .await
    }

    /// The target groups (by name) of a load balancer that some visitor can reach: with weight in a rule of any listener, whoever made
    /// the rule and however it is made, test rules aside.
    pub async fn reachable(&self, load_balancer: &str) -> Result<BTreeSet<String>, Error> {
        let listeners = self.listeners(load_balancer).await?;
        let arns = listeners.iter().filter_map(|listener| listener.listener_arn.as_deref());
        let mut names = BTreeSet::new();
        for rules in gather(arns.map(|arn| self.raw_rules(arn))).await {
            for rule in rules? {
                let asks = conditions(rule.conditions.unwrap_or_default());
                let test = asks.header.is_some_and(|(name, _)| name.eq_ignore_ascii_case(PROBE_HEADER));
                if !test {
                    names.extend(rule.actions.iter().flatten().flat_map(weighted));
                }
            }
        }
        Ok(names)
    }

    /// Creates a rule that forwards, and answers with its ARN. Not repeatable: a repeat finds its priority in use.
    pub async fn create_forward_rule(
        &self,
        listener: &str,
        priority: u16,
        conditions: &Conditions,
        groups: &[(String, u16)],
        tags: &Tags,
    ) -> Result<String, Error> {
        self.create_rule(listener, priority, conditions, forward(groups), tags).await
    }

    /// Creates a rule that answers with a page, and answers with its ARN. Not repeatable either.
    pub async fn create_page_rule(
        &self,
        listener: &str,
        priority: u16,
        conditions: &Conditions,
        answer: &Page,
        tags: &Tags,
    ) -> Result<String, Error> {
        self.create_rule(listener, priority, conditions, page(answer), tags).await
    }

    async fn create_rule(
        &self,
        listener: &str,
        priority: u16,
        conditions: &Conditions,
        action: Action,
        tags: &Tags,
    ) -> Result<String, Error> {
        const ACTION: &str = "CreateRule";
        let call = || {
            let request = self.client().create_rule().listener_arn(listener).priority(i32::from(priority));
            request.set_conditions(Some(to_conditions(conditions))).actions(action.clone()).set_tags(Some(to_tags(tags))).send()
        };
        // Sent twice, the second one finds the priority taken and makes nothing: safe for us, and the caller adopts.
        let made = self.link.call(ACTION, Repeat::Safe, call).await?;
        let arn = made.rules.unwrap_or_default().into_iter().find_map(|rule| rule.rule_arn);
        arn.ok_or_else(|| Error::incomplete(ACTION, "rule ARN"))
    }

    /// Makes a rule forward to target groups (by ARN) with these weights. One call, one rule, at once for all its groups.
    pub async fn set_weights(&self, rule: &str, groups: &[(String, u16)]) -> Result<(), Error> {
        self.modify_rule(rule, forward(groups)).await
    }

    /// Makes a rule answer with a page.
    pub async fn set_page(&self, rule: &str, answer: &Page) -> Result<(), Error> {
        self.modify_rule(rule, page(answer)).await
    }

    async fn modify_rule(&self, rule: &str, action: Action) -> Result<(), Error> {
        let call = || self.client().modify_rule().rule_arn(rule).actions(action.clone()).send();
        // The whole list of actions is replaced, so a repeat changes nothing more. But only while nobody else has written in between:
        // an attempt that got no answer is settled by the caller, who reads first.
        self.link.call("ModifyRule", Repeat::Once, call).await.map(drop)
    }

    /// Deletes a rule; one that is gone is fine.
    pub async fn delete_rule(&self, rule: &str) -> Result<(), Error> {
        let call = || self.client().delete_rule().rule_arn(rule).send();
        match self.link.call("DeleteRule", Repeat::Safe, call).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn forward(groups: &[(String, u16)]) -> Action {
    let tuple = |(arn, weight): &(String, u16)| TargetGroupTuple::builder().target_group_arn(arn).weight(i32::from(*weight)).build();
    let config = ForwardActionConfig::builder().set_target_groups(Some(groups.iter().map(tuple).collect())).build();
    Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build()
}

pub(super) fn page(answer: &Page) -> Action {
    let config = FixedResponseActionConfig::builder().status_code(answer.status.to_string()).content_type("text/plain");
    let config = config.message_body(&answer.body).build();
    Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(config).build()
}

fn to_conditions(wanted: &Conditions) -> Vec<RuleCondition> {
    let mut conditions = Vec::new();
    if !wanted.hosts.is_empty() {
        let config = HostHeaderConditionConfig::builder().set_values(Some(wanted.hosts.clone())).build();
        conditions.push(RuleCondition::builder().field("host-header").host_header_config(config).build());
    }
    if !wanted.paths.is_empty() {
        let config = PathPatternConditionConfig::builder().set_values(Some(wanted.paths.clone())).build();
        conditions.push(RuleCondition::builder().field("path-pattern").path_pattern_config(config).build());
    }
    if let Some((name, value)) = &wanted.header {
        let config = HttpHeaderConditionConfig::builder().http_header_name(name).values(value).build();
        conditions.push(RuleCondition::builder().field("http-header").http_header_config(config).build());
    }
    conditions
}

fn rule(found: types::Rule) -> Rule {
    Rule {
        arn: found.rule_arn.unwrap_or_default(),
        // The default rule's priority is the word "default".
        priority: found.priority.and_then(|priority| priority.parse().ok()),
        conditions: conditions(found.conditions.unwrap_or_default()),
        action: action(found.actions.unwrap_or_default()),
    }
}

fn conditions(found: Vec<RuleCondition>) -> Conditions {
    let mut conditions = Conditions::default();
    for condition in found {
        // Older rules carry their values outside the config.
        let plain = condition.values.unwrap_or_default();
        match condition.field.as_deref() {
            Some("host-header") => conditions.hosts = condition.host_header_config.and_then(|config| config.values).unwrap_or(plain),
            Some("path-pattern") => conditions.paths = condition.path_pattern_config.and_then(|config| config.values).unwrap_or(plain),
            Some("http-header") => conditions.header = condition.http_header_config.and_then(header),
            _ => {}
        }
    }
    conditions
}

fn header(config: HttpHeaderConditionConfig) -> Option<(String, String)> {
    Some((config.http_header_name?, config.values?.into_iter().next()?))
}

fn action(found: Vec<Action>) -> RuleAction {
    let [only] = found.as_slice() else {
        return RuleAction::Foreign(format!("{} actions", found.len()));
    };
    match &only.r#type {
        Some(ActionTypeEnum::Forward) => forwards(only),
        Some(ActionTypeEnum::FixedResponse) => {
            let status = only.fixed_response_config.as_ref().and_then(|config| config.status_code.as_deref()?.parse().ok());
            status.map_or_else(|| RuleAction::Foreign("a page without a status".into()), RuleAction::Fixed)
        }
        Some(other) => RuleAction::Foreign(other.as_str().to_string()),
        None => RuleAction::Foreign("no action".into()),
    }
}

fn forwards(action: &Action) -> RuleAction {
    let config = action.forward_config.as_ref();
    let sticky = config.and_then(|config| config.target_group_stickiness_config.as_ref()).and_then(|config| config.enabled);
    if sticky == Some(true) {
        // Stickiness pins visitors to a group whatever its weight says, so weights would no longer tell the truth.
        return RuleAction::Foreign("forward with stickiness".into());
    }
    let groups = config.and_then(|config| config.target_groups.clone()).unwrap_or_default();
    let weighed = |group: &TargetGroupTuple| {
        let weight = u16::try_from(group.weight.unwrap_or(1)).ok()?;
        Some((group_name(group.target_group_arn.as_deref()?)?, weight))
    };
    let weights: Option<BTreeMap<String, u16>> = match (groups.as_slice(), &action.target_group_arn) {
        // A rule made without weights names its one group at the top level.
        ([], Some(arn)) => group_name(arn).map(|name| BTreeMap::from([(name, 1)])),
        (groups, _) => groups.iter().map(weighed).collect(),
    };
    match weights.filter(|weights| !weights.is_empty()) {
        Some(weights) => RuleAction::Forward(weights),
        None => RuleAction::Foreign("forward to nothing readable".into()),
    }
}

/// Names of the groups an action gives weight to, sticky or not.
fn weighted(action: &Action) -> Vec<String> {
    let groups = action.forward_config.iter().flat_map(|config| config.target_groups.iter().flatten());
    let with_weight = groups.filter(|group| group.weight.unwrap_or(1) > 0).filter_map(|group| group.target_group_arn.as_deref());
    let listed = action.forward_config.as_ref().and_then(|config| config.target_groups.as_ref()).is_some_and(|groups| !groups.is_empty());
    let single = action.target_group_arn.as_deref().filter(|_| !listed);
    with_weight.chain(single).filter_map(group_name).collect()
}

/// The name in `arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
pub(super) fn group_name(arn: &str) -> Option<String> {
    arn.split_once(":targetgroup/").and_then(|(_, rest)| rest.split_once('/')).map(|(name, _)| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/shop-production-web-r42/6d0ecf831eec9f09";

    #[test]
    fn an_action_reads_back_as_it_was_written() {
        assert_eq!(action(vec![forward(&[(WEB.into(), 0)])]), RuleAction::Forward([("shop-production-web-r42".to_string(), 0)].into()));
        assert_eq!(action(vec![page(&Page { status: 503, body: "soon".into() })]), RuleAction::Fixed(503));
        let conditions_wanted = Conditions { hosts: vec!["a.example".into()], paths: vec![], header: Some(("x".into(), "y".into())) };
        assert_eq!(conditions(to_conditions(&conditions_wanted)), conditions_wanted);
    }

    #[test]
    fn what_adstage_never_makes_is_foreign() {
        let sticky = types::TargetGroupStickinessConfig::builder().enabled(true).build();
        let tuple = TargetGroupTuple::builder().target_group_arn(WEB).weight(1).build();
        let config = ForwardActionConfig::builder().target_groups(tuple).target_group_stickiness_config(sticky).build();
        let action_found = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build();
        assert!(matches!(action(vec![action_found]), RuleAction::Foreign(_)));
        assert!(matches!(action(vec![]), RuleAction::Foreign(_)));
    }
}
