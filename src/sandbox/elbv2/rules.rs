//! Rules of a listener: create, describe, modify, delete, reorder.

use super::actions::Action;
use super::state::{Elbv2, Rule};
use super::{actions, answer, conditions, no_listener, no_rule, page, spread, suffix, tags};
use crate::sandbox::engine::{Answer, Call, State};
use crate::sandbox::wire::{AwsError, Node, Params, leaf, list};

fn priority(params: &Params) -> Result<u16, AwsError> {
    let number = params.number("Priority")?.ok_or_else(|| AwsError::bad("ValidationError", "A rule priority must be specified"))?;
    let fits = u16::try_from(number).ok().filter(|number| (1..=50_000).contains(number));
    fits.ok_or_else(|| AwsError::bad("ValidationError", format!("Priority '{number}' must be between 1 and 50000")))
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let params = call.params;
    let listener = params.required("ListenerArn")?.to_string();
    let elbv2 = &call.state.elbv2;
    let found = elbv2.listeners.get(&listener).ok_or_else(|| no_listener(&listener))?;
    let load_balancer = found.load_balancer.clone();
    let priority = priority(params)?;
    if elbv2.rules_of(&listener).iter().any(|rule| rule.priority == Some(priority)) {
        return Err(AwsError::bad("PriorityInUse", format!("Priority '{priority}' is currently in use")));
    }
    let all = elbv2.listeners_of(&load_balancer).into_iter().flat_map(|one| elbv2.rules_of(&one.arn));
    let most = call.state.quotas.limit("rules-per-application-load-balancer");
    if all.filter(|rule| rule.priority.is_some()).count() >= most {
        return Err(AwsError::bad("TooManyRules", format!("A load balancer can have at most {most} rules")));
    }
    let conditions = conditions::read(&params.list("Conditions"))?;
    let action = actions::read(&params.list("Actions"), elbv2, &load_balancer)?;
    check_attached(call.state, &load_balancer, &action)?;
    let tags = tags::read(params)?;
    let path = listener.split_once(":listener/").map(|(_, path)| path.to_string()).unwrap_or_default();
    let id = suffix(call.state);
    let arn = super::arn(call.state, &format!("listener-rule/{path}/{id}"));
    let visible_at = call.state.sometime(call.now, call.latencies.visible);
    let rule = Rule { arn: arn.clone(), listener, priority: Some(priority), conditions, action, tags, visible_at };
    call.state.elbv2.rules.insert(arn.clone(), rule);
    spread::spread(call.state, &load_balancer, call.context());
    shown(&call.state.elbv2, &[&arn])
}

/// Rules of a load balancer lead to only so many different target groups.
fn check_attached(state: &State, load_balancer: &str, action: &Action) -> Result<(), AwsError> {
    let (elbv2, most) = (&state.elbv2, state.quotas.limit("target-groups-per-application-load-balancer"));
    let Action::Forward(groups) = action else { return Ok(()) };
    let attached = |arn: &&String| elbv2.used_by(arn).into_iter().any(|used_by| used_by == load_balancer);
    let is_new = |arn: &String| !attached(&arn);
    let new = groups.iter().filter(|group| is_new(&group.target_group)).count();
    if new > 0 && elbv2.target_groups.keys().filter(attached).count() + new > most {
        let message = format!("A load balancer can have at most {most} unique target groups");
        return Err(AwsError::bad("TooManyUniqueTargetGroupsPerLoadBalancer", message));
    }
    Ok(())
}

fn shown(elbv2: &Elbv2, arns: &[&str]) -> Answer {
    let rules = arns.iter().filter_map(|arn| elbv2.rules.get(*arn)).map(show);
    answer([list("Rules", "member", rules)])
}

fn show(rule: &Rule) -> Vec<Node> {
    vec![
        leaf("RuleArn", &rule.arn),
        leaf("Priority", rule.priority.map_or_else(|| "default".to_string(), |priority| priority.to_string())),
        list("Conditions", "member", rule.conditions.iter().map(conditions::Condition::show)),
        list("Actions", "member", [rule.action.show()]),
        leaf("IsDefault", rule.priority.is_none()),
    ]
}

/// A rule made a moment ago may not be there yet: `RuleNotFound`, or missing in the list.
pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let (params, elbv2, now) = (call.params, &call.state.elbv2, call.now);
    let arns = params.texts("RuleArns");
    let mut found: Vec<&Rule> = match (params.get("ListenerArn"), arns.is_empty()) {
        (Some(_), false) => return Err(AwsError::bad("ValidationError", "You must specify either rule ARNs or a listener ARN, not both")),
        (None, true) => return Err(AwsError::bad("ValidationError", "You must specify either rule ARNs or a listener ARN")),
        (Some(arn), true) if elbv2.listeners.get(arn).is_none_or(|one| now < one.visible_at) => return Err(no_listener(arn)),
        (Some(arn), true) => elbv2.rules_of(arn),
        (None, false) => elbv2.rules.values().filter(|rule| arns.contains(&rule.arn.as_str())).collect(),
    };
    found.retain(|rule| now >= rule.visible_at);
    if let Some(missing) = arns.iter().find(|arn| !found.iter().any(|rule| rule.arn == **arn)) {
        return Err(no_rule(missing));
    }
    let (found, next) = page(found, params)?;
    answer([list("Rules", "member", found.into_iter().map(show))].into_iter().chain(next))
}

fn load_balancer_of<'a>(elbv2: &'a Elbv2, arn: &str) -> Result<(&'a Rule, String), AwsError> {
    let rule = elbv2.rules.get(arn).ok_or_else(|| no_rule(arn))?;
    let listener = elbv2.listeners.get(&rule.listener).ok_or_else(|| no_rule(arn))?;
    Ok((rule, listener.load_balancer.clone()))
}

fn not_default(rule: &Rule, verb: &str) -> Result<(), AwsError> {
    if rule.priority.is_none() {
        return Err(AwsError::bad("OperationNotPermitted", format!("Default rule '{}' cannot be {verb}", rule.arn)));
    }
    Ok(())
}

/// Conditions and the action are each replaced as a whole; what is not sent stays.
pub(super) fn modify(call: &mut Call<'_>) -> Answer {
    let params = call.params;
    let arn = params.required("RuleArn")?.to_string();
    let (rule, load_balancer) = load_balancer_of(&call.state.elbv2, &arn)?;
    not_default(rule, "modified")?;
    let (sent_conditions, sent_actions) = (params.list("Conditions"), params.list("Actions"));
    if sent_conditions.is_empty() && sent_actions.is_empty() {
        return Err(AwsError::bad("ValidationError", "Either conditions or actions must be specified"));
    }
    let conditions = if sent_conditions.is_empty() { rule.conditions.clone() } else { conditions::read(&sent_conditions)? };
    let action =
        if sent_actions.is_empty() { rule.action.clone() } else { actions::read(&sent_actions, &call.state.elbv2, &load_balancer)? };
    check_attached(call.state, &load_balancer, &action)?;
    if let Some(rule) = call.state.elbv2.rules.get_mut(&arn) {
        rule.conditions = conditions;
        rule.action = action;
    }
    spread::spread(call.state, &load_balancer, call.context());
    shown(&call.state.elbv2, &[&arn])
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("RuleArn")?;
    let (rule, load_balancer) = load_balancer_of(&call.state.elbv2, arn)?;
    not_default(rule, "deleted")?;
    call.state.elbv2.rules.remove(arn);
    spread::spread(call.state, &load_balancer, call.context());
    answer([])
}

/// All priorities change together or none does, so two rules can trade places.
pub(super) fn set_priorities(call: &mut Call<'_>) -> Answer {
    let mut wanted: Vec<(String, u16)> = Vec::new();
    for pair in call.params.list("RulePriorities") {
        let arn = pair.required("RuleArn")?;
        not_default(load_balancer_of(&call.state.elbv2, arn)?.0, "reordered")?;
        wanted.push((arn.to_string(), priority(pair)?));
    }
    let elbv2 = &mut call.state.elbv2;
    let listener = |arn: &str| elbv2.rules.get(arn).map(|rule| rule.listener.clone());
    for (arn, number) in &wanted {
        let taken = |other: &&Rule| {
            let new = wanted.iter().find(|(arn, _)| *arn == other.arn).map(|(_, number)| *number);
            other.arn != *arn && Some(&other.listener) == listener(arn).as_ref() && new.or(other.priority) == Some(*number)
        };
        if elbv2.rules.values().any(|other| taken(&other)) {
            return Err(AwsError::bad("PriorityInUse", format!("Priority '{number}' is currently in use")));
        }
    }
    let mut balancers = std::collections::BTreeSet::new();
    for (arn, number) in &wanted {
        balancers.insert(load_balancer_of(elbv2, arn)?.1);
        if let Some(rule) = elbv2.rules.get_mut(arn) {
            rule.priority = Some(*number);
        }
    }
    for load_balancer in balancers {
        spread::spread(call.state, &load_balancer, call.context());
    }
    let arns: Vec<&str> = wanted.iter().map(|(arn, _)| arn.as_str()).collect();
    shown(&call.state.elbv2, &arns)
}
