//! A release without visitors leaves its route's forward action.

use super::error::During;
use super::{Cx, Done, StepError, Undone, listener, route};
use crate::model::{FleetKey, ReleaseNumber, RuleKey};

pub(super) async fn run(cx: &Cx, key: &RuleKey, release: ReleaseNumber) -> Done {
    let name = cx.target_group_name(&FleetKey { service: key.service.clone(), release });
    let rule = listener::rule(cx, key).await?;
    let now = route::current(key, &rule)?;
    match now.get(&name) {
        None => return Ok(format!("{release} is not in route {key}")),
        Some(0) => {}
        Some(weight) => return Err(StepError::new(format!("{release} has visitors on route {key} (weight {weight}): it does not leave"))),
    }
    let mut after = now.clone();
    after.remove(&name);
    route::put(cx, key, &rule, &now, &after).await?;
    Ok(format!("{release} left route {key}"))
}

pub(super) async fn undo(cx: &Cx, key: &RuleKey, release: ReleaseNumber) -> Undone {
    let name = cx.target_group_name(&FleetKey { service: key.service.clone(), release });
    let rule = listener::rule(cx, key).await?;
    let now = route::current(key, &rule)?;
    let exists = cx.aws.elbv2.target_group(&name).await.during(&format!("look for target group {name}"))?.is_some();
    if now.is_empty() || now.contains_key(&name) || !exists {
        return Ok(());
    }
    let mut after = now.clone();
    after.insert(name, 0);
    route::put(cx, key, &rule, &now, &after).await
}
