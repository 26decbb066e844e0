//! Nobody is led to a review box any more.

use std::time::Duration;

use super::error::During;
use super::wait::settled;
use super::{Cx, Done, StepError, listener};
use crate::model::{BoxName, Rule};

/// A deleted rule is not seen any more after so many looks; a machine that sleeps looks no less often.
const LOOKS: usize = 60;
/// Between two looks.
const PACE: Duration = Duration::from_secs(1);

pub(super) async fn run(cx: &Cx, name: &BoxName, target_groups: &[String]) -> Done {
    delete(cx, name, target_groups).await?;
    Ok(format!("no rule leads to {name}"))
}

/// Deletes every rule that leads to one of these target groups, until none is seen: more than once, since one that was made a moment ago
/// may be missing from the first look.
pub(super) async fn delete(cx: &Cx, name: &BoxName, target_groups: &[String]) -> Result<(), StepError> {
    let Some(door) = listener::find(cx).await? else { return Ok(()) };
    let leads_there = |rule: &Rule| target_groups.iter().any(|group| rule.action.leads_to(group));
    let own = || async {
        let rules = cx.aws.elbv2.rules(&door.listener).await?;
        Ok(Some(rules.into_iter().filter(leads_there).collect::<Vec<_>>()).filter(|own| !own.is_empty()))
    };
    let mut looks = 0;
    while let Some(mut own) = settled(cx, &format!("rules of {name}"), own).await? {
        if looks >= LOOKS {
            return Err(StepError::new(format!("the rules of {name} do not go away")).because(format!("{} are there still", own.len())));
        }
        looks += 1;
        // The agent's first: without it the box is known to be going.
        own.sort_by_key(|rule| rule.priority);
        for rule in &own {
            cx.aws.elbv2.delete_rule(&rule.arn).await.during(&format!("delete a rule of {name}"))?;
        }
        cx.clock.sleep(PACE).await;
    }
    Ok(())
}
