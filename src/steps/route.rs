//! The weights of a route: read, compare, write, read again. AWS has no compare-and-set, so this order and the lock are what there is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::During;
use super::wait::ended;
use super::{Cx, StepError, listener};
use crate::aws::{ErrorKind, Page, gather};
use crate::health::{Look, Waiting};
use crate::model::{FleetKey, Rule, RuleAction, RuleKey, Weights};

/// Weights by name of target group; empty stands for the page that says that nothing is released yet.
pub(super) type Named = BTreeMap<String, u16>;

/// How long a write may take to show in a read.
const SHOWS: Duration = Duration::from_secs(30);
/// Writes whose reply was lost are tried this often.
const TRIES: u32 = 3;

/// What a route answers before anything is released.
pub(super) fn nothing_yet() -> Page {
    Page { status: 503, body: "nothing released yet\n".into() }
}

/// Moves a route from one set of weights to another. Already there is success; anything else than `from` or `to` was changed by
/// somebody else, and is left alone.
pub(super) async fn shift(cx: &Cx, key: &RuleKey, from: &Weights, to: &Weights) -> Result<(), StepError> {
    let rule = listener::rule(cx, key).await?;
    put(cx, key, &rule, &named(cx, key, from), &named(cx, key, to)).await
}

/// The same with the rule already read and target groups by name.
pub(super) async fn put(cx: &Cx, key: &RuleKey, rule: &Rule, from: &Named, to: &Named) -> Result<(), StepError> {
    let now = current(key, rule)?;
    if now == *to {
        return Ok(());
    }
    if now != *from {
        return Err(changed(key, &now, from, to));
    }
    if !to.is_empty() && to.values().all(|weight| *weight == 0) {
        // What AWS does then is undocumented.
        return Err(StepError::new(format!("route {key} would be left without anybody to serve it")));
    }
    write(cx, key, rule, from, to).await?;
    verify(cx, key, from, to).await
}

/// One write. A lost reply is settled by reading: done, or tried again from the same start.
async fn write(cx: &Cx, key: &RuleKey, rule: &Rule, from: &Named, to: &Named) -> Result<(), StepError> {
    let groups = arns(cx, to).await?;
    for left in (0..TRIES).rev() {
        let answer = match groups.is_empty() {
            true => cx.aws.elbv2.set_page(&rule.arn, &nothing_yet()).await,
            false => cx.aws.elbv2.set_weights(&rule.arn, &groups).await,
        };
        let lost = answer.as_ref().is_err_and(|error| matches!(error.kind, ErrorKind::Network | ErrorKind::Other));
        if !lost || left == 0 {
            return answer.during(&format!("write the weights of route {key}"));
        }
        let now = current(key, &listener::rule(cx, key).await?)?;
        match () {
            () if now == *to => return Ok(()),
            () if now == *from => {}
            () => return Err(changed(key, &now, from, to)),
        }
    }
    Ok(())
}

/// Reads until the write shows.
async fn verify(cx: &Cx, key: &RuleKey, from: &Named, to: &Named) -> Result<(), StepError> {
    let look = || async {
        let now = match listener::rule(cx, key).await {
            Ok(rule) => current(key, &rule),
            Err(error) => Err(error),
        };
        match now {
            Err(error) => Look::Failed(error),
            Ok(now) if now == *to => Look::Done(()),
            Ok(now) if now == *from => Look::Waiting(Waiting::new(format!("route {key} still shows {}", said(&now)))),
            Ok(now) => Look::Failed(changed(key, &now, from, to)),
        }
    };
    cx.wait(SHOWS, look).await.map_err(|stop| ended(stop, || format!("the new weights of route {key} do not show")))
}

/// What a rule does now, if adstage can have made it so.
pub(super) fn current(key: &RuleKey, rule: &Rule) -> Result<Named, StepError> {
    match &rule.action {
        RuleAction::Forward(groups) => Ok(groups.clone()),
        RuleAction::Fixed(_) => Ok(Named::new()),
        RuleAction::Foreign(what) => Err(StepError::new(format!("route {key} was changed outside adstage: it now does {what}"))),
    }
}

/// Weights by the names of the fleets' target groups.
pub(super) fn named(cx: &Cx, key: &RuleKey, weights: &Weights) -> Named {
    let name = |release| cx.target_group_name(&FleetKey { service: key.service.clone(), release });
    weights.0.iter().map(|(release, weight)| (name(*release), *weight)).collect()
}

async fn arns(cx: &Cx, to: &Named) -> Result<Vec<(String, u16)>, StepError> {
    let found = gather(to.keys().map(|name| cx.aws.elbv2.target_group(name))).await;
    let mut arns = Vec::new();
    for ((name, weight), answer) in to.iter().zip(found) {
        let group = answer.during(&format!("look for target group {name}"))?;
        let group = group.ok_or_else(|| StepError::new(format!("target group {name} does not exist")))?;
        arns.push((group.arn, *weight));
    }
    Ok(arns)
}

fn changed(key: &RuleKey, now: &Named, from: &Named, to: &Named) -> StepError {
    let what = format!("route {key} was changed outside adstage");
    StepError::new(what).because(format!("it serves {}; expected {} or {}", said(now), said(from), said(to)))
}

fn said(weights: &Named) -> String {
    match weights.is_empty() {
        true => "nothing".to_string(),
        false => weights.iter().map(|(name, weight)| format!("{name}:{weight}")).collect::<Vec<_>>().join(" "),
    }
}
