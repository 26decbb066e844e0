//! The candidate joins its route's forward action at weight 0: the load balancer checks it, no visitor reaches it.

use super::{Cx, Done, Undone, route};
use crate::model::{RuleKey, Weights};

pub(super) async fn run(cx: &Cx, rule: &RuleKey, before: &Weights, after: &Weights) -> Done {
    route::shift(cx, rule, before, after).await?;
    Ok(format!("route {rule}: {after}"))
}

pub(super) async fn undo(cx: &Cx, rule: &RuleKey, before: &Weights, after: &Weights) -> Undone {
    route::shift(cx, rule, after, before).await
}
