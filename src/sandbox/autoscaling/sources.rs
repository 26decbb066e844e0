//! The target groups a group registers its instances with: attach, detach, and how far that is.

use super::state::{Phase, Source};
use super::{answer, group, invalid, page};
use crate::sandbox::elbv2;
use crate::sandbox::engine::{Answer, Call, Context, State};
use crate::sandbox::wire::{AwsError, Params, leaf, list};

/// Most target groups of one group.
const MOST: usize = 50;

/// The target groups a request names, in either way of naming them.
pub(super) fn asked(state: &State, params: &Params) -> Result<Vec<String>, AwsError> {
    let mut arns: Vec<String> = params.texts("TargetGroupARNs").into_iter().map(str::to_string).collect();
    for source in params.list("TrafficSources") {
        if let Some(kind) = source.get("Type").filter(|kind| *kind != "elbv2") {
            return Err(AwsError::unsupported(format!("traffic sources of type {kind}")));
        }
        arns.push(source.required("Identifier")?.to_string());
    }
    if let Some(missing) = arns.iter().find(|arn| !elbv2::target_group_exists(state, arn)) {
        return Err(invalid(format!("Provided Target Groups may not be valid. One or more target groups not found: {missing}")));
    }
    if arns.len() > MOST {
        return Err(AwsError::bad("LimitExceeded", format!("A group can have at most {MOST} target groups")));
    }
    Ok(arns)
}

pub(super) fn attach_target_groups(call: &mut Call<'_>) -> Answer {
    attach(call)
}

pub(super) fn attach(call: &mut Call<'_>) -> Answer {
    let arns = asked(call.state, call.params)?;
    check_number(&arns)?;
    let group = group(call)?;
    for arn in arns {
        let source = group.sources.entry(arn).or_insert(Source::Adding);
        if *source == Source::Removing {
            *source = Source::Adding;
        }
    }
    answer([])
}

pub(super) fn detach_target_groups(call: &mut Call<'_>) -> Answer {
    detach(call)
}

/// Instances leave the target group and drain there; the group itself keeps them.
pub(super) fn detach(call: &mut Call<'_>) -> Answer {
    // A target group that is gone can still be detached: that is how a blocked group is freed.
    let named = call.params.texts("TargetGroupARNs").into_iter();
    let sources = call.params.list("TrafficSources");
    let arns: Vec<String> = named.chain(sources.iter().filter_map(|one| one.get("Identifier"))).map(str::to_string).collect();
    check_number(&arns)?;
    let context = call.context();
    let group = group(call)?;
    let members: Vec<String> = group.members.iter().map(|member| member.id.clone()).collect();
    for arn in &arns {
        let source = group.sources.get_mut(arn).ok_or_else(|| invalid(format!("The target group {arn} is not attached to the group")))?;
        *source = Source::Removing;
    }
    for arn in arns {
        for id in &members {
            elbv2::deregister(call.state, &arn, id, context);
        }
    }
    answer([])
}

fn check_number(arns: &[String]) -> Result<(), AwsError> {
    match arns.len() {
        1..=10 => Ok(()),
        _ => Err(invalid("Between 1 and 10 target groups can be named in one call")),
    }
}

/// Moves sources on. New ones get the instances that are in service; ones being removed are gone when nobody drains there any more.
pub(super) fn advance(group: &mut super::Group, state: &mut State, _context: Context<'_>) {
    let serving: Vec<String> =
        group.members.iter().filter(|member| member.phase == Phase::InService).map(|member| member.id.clone()).collect();
    let may_add = !group.suspends("AddToLoadBalancer");
    let members: Vec<String> = group.members.iter().map(|member| member.id.clone()).collect();
    group.sources.retain(|arn, source| {
        match source {
            Source::Adding if may_add => {
                // An instance that stopped meanwhile cannot be registered; its own health check deals with it.
                let refused = serving.iter().filter(|id| elbv2::register(state, arn, id).is_err()).count();
                if refused == 0 {
                    *source = Source::Added;
                }
            }
            Source::Added => {
                let healthy = |id: &String| elbv2::standing(state, arn, id).is_some_and(|standing| standing.state == "healthy");
                if serving.iter().any(healthy) {
                    *source = Source::InService;
                }
            }
            Source::Removing => return !members.iter().all(|id| elbv2::drained(state, arn, id)),
            Source::Adding | Source::InService => {}
        }
        true
    });
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    if let Some(kind) = call.params.get("TrafficSourceType").filter(|kind| *kind != "elbv2") {
        return Err(AwsError::unsupported(format!("traffic sources of type {kind}")));
    }
    let shown: Vec<_> = group(call)?
        .sources
        .iter()
        .map(|(arn, source)| vec![leaf("TrafficSource", arn), leaf("Identifier", arn), leaf("Type", "elbv2"), leaf("State", source.name())])
        .collect();
    let (shown, next) = page(shown, call.params)?;
    answer([list("TrafficSources", "member", shown)].into_iter().chain(next))
}

pub(super) fn describe_target_groups(call: &mut Call<'_>) -> Answer {
    let sources = group(call)?.sources.iter();
    let shown: Vec<_> = sources.map(|(arn, source)| vec![leaf("LoadBalancerTargetGroupARN", arn), leaf("State", source.name())]).collect();
    let (shown, next) = page(shown, call.params)?;
    answer([list("LoadBalancerTargetGroups", "member", shown)].into_iter().chain(next))
}
