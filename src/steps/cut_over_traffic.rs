//! THE switch: the one file that moves live traffic. One write per route, compared before and read again after.

use super::error::During;
use super::route::Named;
use super::{Cx, Done, StepError, Undone, listener, route};
use crate::aws::gather;
use crate::model::{FleetKey, RuleKey, TargetState, Weights};

pub(super) async fn run(cx: &Cx, rule: &RuleKey, before: &Weights, after: &Weights) -> Done {
    gainers_are_alive(cx, rule, before, after).await?;
    route::shift(cx, rule, before, after).await?;
    Ok(format!("route {rule}: {before} -> {after}"))
}

/// The way back needs no proof: those visitors were there before. If every visitor is where they were, nothing is written, even if the
/// idle ones of the rule are others by now. From a later shift one write leads to where the first began; the earlier ones find it done.
pub(super) async fn undo(cx: &Cx, key: &RuleKey, before: &Weights, after: &Weights, origin: Option<&Weights>) -> Undone {
    let rule = listener::rule(cx, key).await?;
    let to = route::named(cx, key, origin.unwrap_or(before));
    let now = route::current(key, &rule)?;
    if with_visitors(&now).eq(with_visitors(&to)) {
        return Ok(());
    }
    // A shift that was begun and not written leaves visitors where the one before it took them.
    let unwritten = route::named(cx, key, before);
    let from = if now == unwritten { unwritten } else { route::named(cx, key, after) };
    route::put(cx, key, &rule, &from, &to).await
}

fn with_visitors(weights: &Named) -> impl Iterator<Item = (&String, &u16)> {
    weights.iter().filter(|(_, weight)| **weight > 0)
}

/// A target group without a healthy target answers 503, or fails open to sick ones. Verification was a moment ago; this is the last look
/// before visitors depend on it.
async fn gainers_are_alive(cx: &Cx, rule: &RuleKey, before: &Weights, after: &Weights) -> Result<(), StepError> {
    let had = |release| before.0.get(&release).copied().unwrap_or_default();
    let gainers = after.0.iter().filter(|(release, weight)| **weight > had(**release));
    let fleets: Vec<FleetKey> = gainers.map(|(release, _)| FleetKey { service: rule.service.clone(), release: *release }).collect();
    for checked in gather(fleets.iter().map(|fleet| is_alive(cx, fleet, "it gets no visitors"))).await {
        checked?;
    }
    Ok(())
}

/// The load balancer calls one of its instances healthy; if not, `otherwise` is what follows.
pub(super) async fn is_alive(cx: &Cx, fleet: &FleetKey, otherwise: &str) -> Result<(), StepError> {
    let what = format!("read the health of {fleet}");
    let group = cx.aws.elbv2.target_group(&cx.target_group_name(fleet)).await.during(&what)?;
    let targets = match group {
        Some(group) => cx.aws.elbv2.target_health(&group.arn).await.during(&what)?,
        None => Vec::new(),
    };
    match targets.iter().any(|target| target.state == TargetState::Healthy) {
        true => Ok(()),
        false => Err(StepError::new(format!("{fleet} has no healthy instance at the load balancer: {otherwise}"))),
    }
}
