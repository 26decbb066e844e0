//! Review boxes: whatever of them is there, by the tags of their instances and target groups.

use std::collections::BTreeMap;

use super::room::room;
use super::{address, at_the_door, door, images, tagged, tags_of, with_lock};
use crate::aws::{Aws, Error, InstanceInfo, Tags, TargetGroupInfo};
use crate::journal;
use crate::lock;
use crate::model::{
    Approval, BoxInstance, BoxName, BoxTargetGroup, Environment, ImageId, Purchases, REVIEW, RepositoryName, ReviewBox, Rule, Scope,
    ServiceName, World, tag,
};

/// Every review box with the load balancer's verdicts, by name; also those of which something is left although their instance is gone.
pub async fn boxes(aws: &Aws, environment: &Environment) -> Result<Vec<ReviewBox>, Error> {
    let (door, (mut boxes, _)) = tokio::try_join!(door(aws, environment, false), parts(aws, environment, None))?;
    give_rules(&mut boxes, &door.map(|door| door.rules).unwrap_or_default());
    let groups = || boxes.iter().flat_map(|found| &found.target_groups);
    let arns: Vec<String> = groups().map(|group| group.arn.clone()).collect();
    let mut verdicts = aws.elbv2.target_healths(&arns).await?;
    for group in boxes.iter_mut().flat_map(|found| &mut found.target_groups) {
        group.targets = verdicts.remove(&group.arn).unwrap_or_default();
    }
    Ok(boxes)
}

/// What is left of boxes whose instance is gone, by their target groups: no more than that is looked at.
pub async fn leftovers(aws: &Aws, environment: &Environment) -> Result<Vec<ReviewBox>, Error> {
    Ok(parts(aws, environment, None).await?.0.into_iter().filter(|found| found.instance.is_none()).collect())
}

/// A world in which only one box matters, with the listener's rules, the app's images and the box's own records; without verdicts.
/// What is about to be launched, if anything, is looked for room for.
pub async fn box_world(
    aws: &Aws,
    environment: &Environment,
    scope: &Scope,
    name: &BoxName,
    wanted: Option<&Purchases>,
) -> Result<World, Error> {
    let room = async { Ok(room(aws, environment, wanted).await) };
    let (door, (mut boxes, all), images, journal, room) = tokio::try_join!(
        door(aws, environment, wanted.is_some()),
        parts(aws, environment, Some(name)),
        images(aws, environment),
        journal::read(&aws.dynamodb, scope),
        room,
    )?;
    let room = room.map(|room| at_the_door(room, door.as_ref(), &all));
    let records = with_lock(journal, lock::read(&aws.dynamodb, scope).await?);
    let (address, listener, rules) = match door {
        None => (None, None, Vec::new()),
        Some(door) => (Some(address(environment, &door.load_balancer)), door.listener.map(|listener| listener.arn), door.rules),
    };
    give_rules(&mut boxes, &rules);
    Ok(World { listener, address, rules, images, boxes, records, room, ..World::default() })
}

/// Instances and target groups; of one box, or of all. Beside them, all target groups there are.
async fn parts(aws: &Aws, environment: &Environment, only: Option<&BoxName>) -> Result<(Vec<ReviewBox>, Vec<TargetGroupInfo>), Error> {
    let mut wanted = tags_of(environment);
    wanted.insert(tag::MODE.into(), REVIEW.into());
    let mut prefix = format!("{}-{REVIEW}-", environment.app);
    if let Some(name) = only {
        wanted.insert(tag::BOX.into(), name.to_string());
        prefix += &format!("{name}-");
    }
    let (instances, (groups, all)) = tokio::try_join!(aws.ec2.instances_tagged(&wanted), tagged(aws, &prefix))?;
    let mut boxes = BTreeMap::new();
    for instance in instances.into_iter().filter(|instance| !instance.state.is_gone()) {
        if let Some(name) = name_of(&instance.tags) {
            part_of(&mut boxes, name).instance.get_or_insert_with(|| as_instance(instance));
        }
    }
    for (group, tags) in groups {
        let ours = wanted.iter().all(|(key, value)| tags.get(key) == Some(value));
        if let Some(name) = name_of(&tags).filter(|_| ours) {
            part_of(&mut boxes, name).target_groups.push(as_group(group, &tags));
        }
    }
    Ok((boxes.into_values().collect(), all))
}

fn name_of(tags: &Tags) -> Option<BoxName> {
    BoxName::new(tags.get(tag::BOX)?.as_str()).ok()
}

fn part_of(boxes: &mut BTreeMap<BoxName, ReviewBox>, name: BoxName) -> &mut ReviewBox {
    let empty = || ReviewBox { name: name.clone(), instance: None, rules: Vec::new(), target_groups: Vec::new() };
    boxes.entry(name.clone()).or_insert_with(empty)
}

fn as_group(group: TargetGroupInfo, tags: &Tags) -> BoxTargetGroup {
    let service = tags.get(tag::SERVICES).and_then(|name| ServiceName::new(name.as_str()).ok());
    BoxTargetGroup { service, name: group.name, arn: group.arn, targets: Vec::new() }
}

fn as_instance(instance: InstanceInfo) -> BoxInstance {
    let text = |key: &str| instance.tags.get(key).cloned().unwrap_or_default();
    BoxInstance {
        state: instance.state.word().into(),
        image: ImageId(instance.image),
        owner: text(tag::OWNER),
        expires: text(tag::EXPIRES),
        commits: by_repository(&instance.tags, tag::REF_PREFIX),
        asked: by_repository(&instance.tags, tag::ASKED_PREFIX),
        approved: instance.tags.get(tag::APPROVED).and_then(|text| Approval::of_tag(text)),
        id: instance.id,
        address: instance.address,
        instance_type: instance.instance_type,
        launched: instance.launched,
    }
}

fn by_repository(tags: &Tags, prefix: &str) -> BTreeMap<RepositoryName, String> {
    let one = |(key, value): (&String, &String)| Some((RepositoryName::new(key.strip_prefix(prefix)?).ok()?, value.clone()));
    tags.iter().filter_map(one).collect()
}

/// A rule is the box's whose target group it leads to: no target group goes before its rules do.
fn give_rules(boxes: &mut [ReviewBox], rules: &[Rule]) {
    for found in boxes {
        let leads_here = |rule: &&Rule| found.target_groups.iter().any(|own| rule.action.leads_to(&own.name));
        found.rules = rules.iter().filter(leads_here).map(|rule| rule.arn.clone()).collect();
    }
}
