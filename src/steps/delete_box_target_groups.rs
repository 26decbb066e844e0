//! A review box's target groups are not needed any more.

use std::time::Duration;

use super::wait::{ended, failed, settled};
use super::{Cx, Done, StepError};
use crate::aws::{Error, ErrorKind, TargetGroupInfo, gather};
use crate::health::{Look, Waiting};
use crate::model::BoxName;

/// How long a rule that is gone may still keep a group in use.
const RELEASED: Duration = Duration::from_secs(180);

pub(super) async fn run(cx: &Cx, name: &BoxName, target_groups: &[String]) -> Done {
    gather(target_groups.iter().map(|group| delete(cx, name, group))).await.into_iter().collect::<Result<Vec<()>, StepError>>()?;
    Ok(format!("target groups of {name} are gone"))
}

/// Deletes one, if it is there and ours.
pub(super) async fn delete(cx: &Cx, name: &BoxName, group: &str) -> Result<(), StepError> {
    let found = settled(cx, &format!("target group {group}"), || ours(cx, name, group)).await?;
    let Some(found) = found else { return Ok(()) };
    let look = || async {
        match cx.aws.elbv2.delete_target_group(&found.arn).await {
            Ok(()) => Look::Done(()),
            Err(error) if error.kind == ErrorKind::InUse => Look::Waiting(Waiting::new(format!("{group} is still named by a rule"))),
            Err(error) => failed(error, &format!("delete target group {group}")),
        }
    };
    cx.wait(RELEASED, look).await.map_err(|stop| ended(stop, || format!("target group {group} cannot be deleted")))
}

async fn ours(cx: &Cx, name: &BoxName, group: &str) -> Result<Option<TargetGroupInfo>, Error> {
    let Some(found) = cx.aws.elbv2.target_group(group).await? else { return Ok(None) };
    match cx.aws.elbv2.tags_of(&found.arn).await {
        Ok(tags) => Ok(Some(found).filter(|_| cx.owns_of_box(name, &tags))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
