//! Which workers are active: what the groups' tags say, and those of their instances.

use std::collections::BTreeMap;

use super::tags_of;
use crate::aws::{Aws, Error, GroupInfo};
use crate::model::{Activity, Environment, tag};

/// The groups with their activity. Instances are only asked for if there is a group that can be held.
pub(super) async fn told(aws: &Aws, environment: &Environment, mut groups: Vec<GroupInfo>) -> Result<Vec<GroupInfo>, Error> {
    let can_be_held = |group: &GroupInfo| group.tags.contains_key(tag::ACTIVE);
    if !groups.iter().any(can_be_held) {
        return Ok(groups);
    }
    let instances = aws.ec2.instances_tagged(&tags_of(environment)).await?;
    // One that is on its way out works no longer, whatever its tag says.
    let there = instances.into_iter().filter(|instance| !instance.state.is_gone());
    let mut tags: BTreeMap<String, Option<String>> = there.map(|mut instance| (instance.id, instance.tags.remove(tag::ACTIVE))).collect();
    for found in groups.iter_mut().filter(|group| can_be_held(group)) {
        let own = found.group.instances.iter().filter_map(|instance| tags.remove(&instance.id)).collect::<Vec<_>>();
        let group = found.tags.get(tag::ACTIVE).map(String::as_str).unwrap_or_default();
        found.group.activity = Some(Activity::of(group, own.iter().map(Option::as_deref)));
    }
    Ok(groups)
}
