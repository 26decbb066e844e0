//! ELBv2: load balancers, listeners, rules, target groups, and the verdicts of their health checks.
//!
//! The control plane lives here and in nothing else: what the API shows is the truth in [`state`]; what visitors meet is decided by
//! [`routing`] from what each node has heard so far ([`spread`]). Sockets are in `balancer`. Auto Scaling registers through
//! [`register`] and [`deregister`], as the real one calls this service.

mod actions;
mod attributes;
mod conditions;
mod health;
mod listeners;
mod load_balancers;
mod routing;
mod rules;
mod spread;
mod state;
mod tags;
mod target_groups;
mod targets;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::BTreeMap;

use super::engine::{Answer, Call, Context, State};
use super::inventory::{Inventory, RuleFacts};
use super::wire::{AwsError, Node, Params, branch, leaf, list};

use actions::Action;
pub(super) use actions::Redirect;
pub(super) use conditions::Asked;
pub(super) use routing::{Decision, Forwarded, route};
pub(super) use spread::NODES;
use state::Rule;
pub(super) use state::{Elbv2, LoadBalancer};
pub(super) use targets::{deregister, drained, register, standing};
pub use traffic::{GroupTraffic, LoadBalancerStatus};
pub(super) use traffic::{Tally, boxes, count, count_refusal, requests_per_target, status, tallies};

type Handler = fn(&mut Call<'_>) -> Answer;

/// Every action: its name, the parameters it takes, its handler.
#[rustfmt::skip]
const ACTIONS: [(&str, &[&str], Handler); 27] = [
    ("CreateLoadBalancer", &["Name", "Subnets", "SubnetMappings", "SecurityGroups", "Scheme", "Tags", "Type", "IpAddressType"], load_balancers::create),
    ("DescribeAccountLimits", &["Marker", "PageSize"], describe_limits),
    ("DescribeLoadBalancers", &["LoadBalancerArns", "Names", "Marker", "PageSize"], load_balancers::describe),
    ("DeleteLoadBalancer", &["LoadBalancerArn"], load_balancers::delete),
    ("ModifyLoadBalancerAttributes", &["LoadBalancerArn", "Attributes"], attributes::modify_load_balancer),
    ("DescribeLoadBalancerAttributes", &["LoadBalancerArn"], attributes::describe_load_balancer),
    ("CreateListener", &["LoadBalancerArn", "Protocol", "Port", "SslPolicy", "Certificates", "DefaultActions", "Tags"], listeners::create),
    ("DescribeListeners", &["LoadBalancerArn", "ListenerArns", "Marker", "PageSize"], listeners::describe),
    ("ModifyListener", &["ListenerArn", "Protocol", "Port", "SslPolicy", "Certificates", "DefaultActions"], listeners::modify),
    ("DeleteListener", &["ListenerArn"], listeners::delete),
    ("CreateRule", &["ListenerArn", "Conditions", "Priority", "Actions", "Tags"], rules::create),
    ("DescribeRules", &["ListenerArn", "RuleArns", "Marker", "PageSize"], rules::describe),
    ("ModifyRule", &["RuleArn", "Conditions", "Actions"], rules::modify),
    ("DeleteRule", &["RuleArn"], rules::delete),
    ("SetRulePriorities", &["RulePriorities"], rules::set_priorities),
    ("CreateTargetGroup", &[
        "Name", "Protocol", "ProtocolVersion", "Port", "VpcId", "HealthCheckProtocol", "HealthCheckPort", "HealthCheckEnabled", "HealthCheckPath",
        "HealthCheckIntervalSeconds", "HealthCheckTimeoutSeconds", "HealthyThresholdCount", "UnhealthyThresholdCount", "Matcher", "TargetType", "Tags",
    ], target_groups::create),
    ("DescribeTargetGroups", &["LoadBalancerArn", "TargetGroupArns", "Names", "Marker", "PageSize"], target_groups::describe),
    ("ModifyTargetGroup", &[
        "TargetGroupArn", "HealthCheckProtocol", "HealthCheckPort", "HealthCheckPath", "HealthCheckEnabled", "HealthCheckIntervalSeconds",
        "HealthCheckTimeoutSeconds", "HealthyThresholdCount", "UnhealthyThresholdCount", "Matcher",
    ], target_groups::modify),
    ("DeleteTargetGroup", &["TargetGroupArn"], target_groups::delete),
    ("ModifyTargetGroupAttributes", &["TargetGroupArn", "Attributes"], attributes::modify_target_group),
    ("DescribeTargetGroupAttributes", &["TargetGroupArn"], attributes::describe_target_group),
    ("RegisterTargets", &["TargetGroupArn", "Targets"], targets::register_all),
    ("DeregisterTargets", &["TargetGroupArn", "Targets"], targets::deregister_all),
    ("DescribeTargetHealth", &["TargetGroupArn", "Targets"], targets::describe_health),
    ("AddTags", &["ResourceArns", "Tags"], tags::add),
    ("RemoveTags", &["ResourceArns", "TagKeys"], tags::remove),
    ("DescribeTags", &["ResourceArns"], tags::describe),
];

/// Dispatch.
pub(super) fn call(call: &mut Call<'_>, action: &str) -> Answer {
    let unknown = || AwsError::unsupported(format!("the Elastic Load Balancing action {action}"));
    let (_, parameters, handler) = ACTIONS.iter().find(|(name, _, _)| *name == action).ok_or_else(unknown)?;
    call.params.without(&["Action", "Version"]).only(action, parameters)?;
    handler(call)
}

fn describe_limits(call: &mut Call<'_>) -> Answer {
    let (limits, next) = page(call.state.quotas.limits(), call.params)?;
    let limits = limits.into_iter().map(|(name, most)| vec![leaf("Name", name), leaf("Max", most)]);
    answer([list("Limits", "member", limits)].into_iter().chain(next))
}

/// Adds what there is of target groups and rules.
pub(super) fn inventory(state: &State, found: &mut Inventory) {
    let elbv2 = &state.elbv2;
    found.target_groups = elbv2.target_groups.values().map(|group| group.name.clone()).collect();
    let name = |arn: &String| elbv2.target_groups.get(arn).map_or_else(|| arn.clone(), |group| group.name.clone());
    let weights = |rule: &Rule| match &rule.action {
        Action::Forward(groups) => groups.iter().map(|group| (name(&group.target_group), group.weight)).collect(),
        _ => BTreeMap::new(),
    };
    found.rules = elbv2.rules.values().map(|rule| RuleFacts { priority: rule.priority, weights: weights(rule) }).collect();
    found.rules.sort_by_key(|rule| rule.priority);
}

/// Moves states on: checks that are due, targets whose delay is over, sockets of new listeners.
pub(super) fn tick(state: &mut State, context: Context<'_>) {
    targets::let_go(state, context);
    health::tick(state, context);
    super::balancer::open_sockets(state, context);
}

/// True if a target group with this ARN exists.
pub(super) fn target_group_exists(state: &State, arn: &str) -> bool {
    state.elbv2.target_groups.contains_key(arn)
}

fn no_target_group(arn: &str) -> AwsError {
    AwsError::bad("TargetGroupNotFound", format!("Target groups '{arn}' not found"))
}

fn no_load_balancer(arn: &str) -> AwsError {
    AwsError::bad("LoadBalancerNotFound", format!("Load balancers '[{arn}]' not found"))
}

fn no_listener(arn: &str) -> AwsError {
    AwsError::bad("ListenerNotFound", format!("One or more listeners not found: '{arn}'"))
}

fn no_rule(arn: &str) -> AwsError {
    AwsError::bad("RuleNotFound", format!("One or more rules not found: '{arn}'"))
}

/// An answer with these fields.
fn answer(fields: impl IntoIterator<Item = Node>) -> Answer {
    Ok(branch("Result", fields))
}

/// An ARN in this service; `rest` is all after the account.
fn arn(state: &State, rest: &str) -> String {
    format!("arn:aws:elasticloadbalancing:{}:{}:{rest}", state.place.region, state.place.account)
}

/// The 16 hex digits AWS ends its ARNs with.
fn suffix(state: &mut State) -> String {
    format!("{:016x}", state.rng.u64(..))
}

/// One page of a list: `PageSize` (at most 400) items after `Marker`, and the next marker, which here is an index.
fn page<T>(items: Vec<T>, params: &Params) -> Result<(Vec<T>, Option<Node>), AwsError> {
    let size = params.number("PageSize")?.unwrap_or(400);
    let size = usize::try_from(size).ok().filter(|size| (1..=400).contains(size));
    let size = size.ok_or_else(|| AwsError::bad("ValidationError", "PageSize must be between 1 and 400"))?;
    let from: usize = match params.get("Marker").filter(|marker| !marker.is_empty()) {
        Some(marker) => marker.parse().map_err(|_| AwsError::bad("ValidationError", format!("'{marker}' is not a valid marker")))?,
        None => 0,
    };
    let next = (from + size < items.len()).then(|| leaf("NextMarker", from + size));
    Ok((items.into_iter().skip(from).take(size).collect(), next))
}

/// A load balancer's or target group's name: 32 letters, digits and hyphens, no hyphen at the ends.
fn check_name(name: &str, what: &str) -> Result<(), AwsError> {
    if name.len() > 32 {
        return Err(AwsError::bad("ValidationError", format!("{what} name '{name}' cannot be longer than '32' characters")));
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        let message = format!("{what} name '{name}' can only contain characters that are alphanumeric characters and hyphens(-)");
        return Err(AwsError::bad("ValidationError", message));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(AwsError::bad("ValidationError", format!("{what} name '{name}' cannot begin or end with '-'")));
    }
    Ok(())
}
