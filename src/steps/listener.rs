//! The environment's door: its load balancer and listener, found by name and port when they are used.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::error::During;
use super::{Cx, StepError};
use crate::model::{PROBE_HEADER, Rule, RuleKey};

#[derive(Debug, Clone)]
pub(super) struct Door {
    /// ARN of the listener visitors use.
    pub listener: String,
}

/// The door once it was found. An ARN never changes and a listener that is gone is an error at its next use, so looking for it again in
/// every step would only spend the reads that AWS allows per second; what rules say is read fresh each time.
#[derive(Debug, Clone, Default)]
pub struct KnownDoor(Arc<OnceCell<Door>>);

/// The door, if it is there.
pub(super) async fn find(cx: &Cx) -> Result<Option<Door>, StepError> {
    let wanted = &cx.environment.load_balancer;
    let found = cx.aws.elbv2.load_balancer(&wanted.name).await.during(&format!("look for load balancer {}", wanted.name))?;
    let Some(load_balancer) = found else { return Ok(None) };
    let listener = cx.aws.elbv2.listener(&load_balancer.arn, wanted.listener.port).await.during("look for its listener")?;
    Ok(listener.map(|listener| Door { listener: listener.arn }))
}

/// The door; without one there is nothing a deploy could do.
pub(super) async fn door(cx: &Cx) -> Result<Door, StepError> {
    let wanted = &cx.environment.load_balancer;
    let missing = || {
        let what = format!("load balancer {} has no listener at port {}", wanted.name, wanted.listener.port);
        StepError::new(what).because(format!("`adstage setup {}` creates it", cx.environment.name))
    };
    let look = || async { find(cx).await?.ok_or_else(missing) };
    cx.door.0.get_or_try_init(look).await.cloned()
}

/// Every rule of the listener.
pub(super) async fn rules(cx: &Cx, door: &Door) -> Result<Vec<Rule>, StepError> {
    cx.aws.elbv2.rules(&door.listener).await.during("read the listener's rules")
}

/// The rule of a route.
pub(super) async fn rule(cx: &Cx, key: &RuleKey) -> Result<Rule, StepError> {
    let door = door(cx).await?;
    let found = rules(cx, &door).await?.into_iter().find(|rule| rule.priority == Some(key.priority));
    let missing = || {
        let what = format!("there is no rule {} for {}", key.priority, key.service);
        StepError::new(what).because(format!("`adstage setup {}` creates it", cx.environment.name))
    };
    found.ok_or_else(missing)
}

/// True for the rule that only a secret header value matches and that leads to this target group.
pub(super) fn tests(rule: &Rule, target_group: &str) -> bool {
    let by_header = rule.conditions.header.as_ref().is_some_and(|(name, _)| name.eq_ignore_ascii_case(PROBE_HEADER));
    by_header && rule.action.leads_to(target_group)
}
