//! Nobody is led to a review box any more.

use std::time::Duration;

use super::wait::{ended, failed};
use super::{Cx, Done, StepError, listener};
use crate::health::{Look, Waiting};
use crate::model::{BoxName, Rule, RuleAction};

/// A deleted rule is not seen any more after this long.
const GONE: Duration = Duration::from_secs(60);

pub(super) async fn run(cx: &Cx, name: &BoxName, target_groups: &[String]) -> Done {
    delete(cx, name, target_groups).await?;
    Ok(format!("no rule leads to {name}"))
}

/// Deletes every rule that leads to one of these target groups, until none is seen.
pub(super) async fn delete(cx: &Cx, name: &BoxName, target_groups: &[String]) -> Result<(), StepError> {
    let Some(door) = listener::find(cx).await? else { return Ok(()) };
    let leads_there = |rule: &&Rule| match &rule.action {
        RuleAction::Forward(groups) => target_groups.iter().any(|group| groups.contains_key(group)),
        _ => false,
    };
    let look = || async {
        let rules = match cx.aws.elbv2.rules(&door.listener).await {
            Ok(rules) => rules,
            Err(error) => return failed(error, "read the listener's rules"),
        };
        let own: Vec<&Rule> = rules.iter().filter(leads_there).collect();
        for rule in &own {
            if let Err(error) = cx.aws.elbv2.delete_rule(&rule.arn).await {
                return failed(error, &format!("delete a rule of {name}"));
            }
        }
        match own.len() {
            0 => Look::Done(()),
            count => Look::Waiting(Waiting::new(format!("{count} rules of {name} are being deleted"))),
        }
    };
    cx.wait(GONE, look).await.map_err(|stop| ended(stop, || format!("the rules of {name} do not go away")))
}
