//! A worker's fleet is made active, or held: the group's tag first, so that whatever it launches from then on is right, then those of the
//! instances there are. It is looked at afterwards until every instance has it: one may have been launched between the two writes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cut_over_traffic::is_alive;
use super::error::During;
use super::pin_size::groups;
use super::wait::{ended, failed};
use super::{Cx, Done, StepError, Undone};
use crate::aws::{GroupInfo, Tags};
use crate::health::{Look, Waiting};
use crate::model::{CapacityKind, FleetKey, instances, tag};

/// How long the tags may take to show.
const SHOWN: Duration = Duration::from_secs(120);

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, active: bool) -> Done {
    let found = groups(cx, fleet).await?;
    if active {
        // Verification was a moment ago; this is the last look before the work depends on it.
        is_alive(cx, fleet, "it is not made active").await?;
    }
    let mut count = 0;
    for group in &found {
        count += set(cx, fleet, group, active).await?;
    }
    let count = instances(u32::try_from(count).unwrap_or(u32::MAX));
    Ok(match active {
        true => format!("{fleet} is active, {count}"),
        false => format!("{fleet} is inactive, {count} finishing what they have"),
    })
}

/// The other way round; nothing if there is no such fleet any more.
pub(super) async fn undo(cx: &Cx, fleet: &FleetKey, active: bool) -> Undone {
    let names = CapacityKind::ALL.map(|kind| cx.group_name(fleet, kind));
    let found = cx.aws.autoscaling.groups_named(&names).await.during(&format!("look for the groups of {fleet}"))?;
    for group in found.iter().filter(|found| cx.owns(fleet, &found.tags) && !found.group.deleting) {
        set(cx, fleet, group, !active).await?;
    }
    Ok(())
}

/// Tags group and instances, and answers how many of these there are.
async fn set(cx: &Cx, fleet: &FleetKey, found: &GroupInfo, active: bool) -> Result<usize, StepError> {
    let name = &found.group.name;
    let value = if active { tag::YES } else { tag::NO };
    cx.aws.autoscaling.set_tag(name, tag::ACTIVE, value).await.during(&format!("tag group {name}"))?;
    let look = || async {
        match behind(cx, name, value).await {
            Ok((count, behind)) if behind.is_empty() => Look::Done(count),
            Ok((_, behind)) => {
                let behind: Vec<String> = behind.into_iter().collect();
                let tags = Tags::from([(tag::ACTIVE.to_string(), value.to_string())]);
                match cx.aws.ec2.create_tags(&behind, &tags).await {
                    // One has ended meanwhile: the next look tells.
                    Err(error) if !error.is_not_found() => failed(error, &format!("tag the instances of {fleet}")),
                    _ => Look::Waiting(Waiting::new(format!("{fleet}: {} tagged", behind.join(", ")))),
                }
            }
            Err(error) => failed(error, &format!("look at the instances of {fleet}")),
        }
    };
    cx.wait(SHOWN, look).await.map_err(|stop| ended(stop, || format!("the instances of {fleet} do not show that they are tagged")))
}

/// How many instances the group has, and those whose tag is another.
async fn behind(cx: &Cx, name: &str, value: &str) -> Result<(usize, BTreeSet<String>), crate::aws::Error> {
    let group = cx.aws.autoscaling.group(name).await?;
    let ids: Vec<String> = group.iter().flat_map(|found| &found.group.instances).map(|instance| instance.id.clone()).collect();
    let there = cx.aws.ec2.instances_by_id(&ids).await?.into_iter().filter(|instance| !instance.state.is_gone());
    let (right, wrong): (Vec<_>, Vec<_>) = there.partition(|instance| instance.tags.get(tag::ACTIVE).is_some_and(|tag| tag == value));
    Ok((right.len() + wrong.len(), wrong.into_iter().map(|instance| instance.id).collect()))
}
