//! Looks: read-only calls, concurrent and batched, into a [`World`]. Nothing is described twice.

mod activity;
mod boxes;
mod cpu;
mod room;
mod shelf;
mod uses;

pub use boxes::{box_world, boxes, leftovers};
pub use cpu::cpu;
pub use shelf::shelf_world;
pub use uses::uses;

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::{Aws, Error, GroupInfo, ListenerInfo, LoadBalancerInfo, Tags, TargetGroupInfo, TemplateInfo, gather};
use crate::journal;
use crate::lock;
use crate::model::{
    CapacityKind, Environment, Fleet, FleetKey, Group, GroupPolicy, Image, PROBE_HEADER, Purchases, Records, ReleaseNumber, Room, Rule,
    RuleAction, Scope, SecretReference, ServiceName, TargetGroup, TargetHealth, World, tag,
};

/// What to look at beyond fleets, rules and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants<'a> {
    /// The app's images too.
    pub images: bool,
    /// What is about to be launched: whether there is room for it, too.
    pub room: Option<&'a Purchases>,
}

/// One environment at this moment.
pub async fn world(aws: &Aws, environment: &Environment, scope: &Scope, wants: Wants<'_>) -> Result<World, Error> {
    let ours = tags_of(environment);
    let images = async {
        match wants.images {
            true => images(aws, environment).await,
            false => Ok(Vec::new()),
        }
    };
    let room = async { Ok(room::room(aws, environment, wants.room).await) };
    let (door, groups, policies, templates, (target_groups, all), images, journal, secrets, room) = tokio::try_join!(
        door(aws, environment, wants.room.is_some()),
        aws.autoscaling.groups_tagged(&ours),
        aws.autoscaling.policies(),
        aws.ec2.launch_templates_tagged(&ours),
        target_groups(aws, environment),
        images,
        journal::read(&aws.dynamodb, scope),
        secrets(aws, environment),
        room,
    )?;
    let room = room.map(|room| at_the_door(room, door.as_ref(), &all));
    // The lock last: whoever made what was just seen still has it, or is through.
    let records = with_lock(journal, lock::read(&aws.dynamodb, scope).await?);
    let (address, listener, rules) = match door {
        None => (None, None, Vec::new()),
        Some(door) => (Some(address(environment, &door.load_balancer)), door.listener.map(|listener| listener.arn), door.rules),
    };
    let groups = activity::told(aws, environment, with_policies(groups, policies)).await?;
    let fleets = fleets(groups, target_groups, templates, &rules);
    Ok(World { listener, address, rules, fleets, images, records, secrets, room, ..World::default() })
}

/// The groups with their scaling policies.
fn with_policies(mut groups: Vec<GroupInfo>, policies: Vec<(String, GroupPolicy)>) -> Vec<GroupInfo> {
    for (name, policy) in policies {
        if let Some(found) = groups.iter_mut().find(|found| found.group.name == name) {
            found.group.policies.push(policy);
        }
    }
    groups
}

/// The newest versions of what the environment's secrets are kept in. No value is asked for.
async fn secrets(aws: &Aws, environment: &Environment) -> Result<BTreeMap<String, String>, Error> {
    let (mut parameters, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for reference in environment.services.iter().flat_map(|service| service.secrets.values()) {
        match reference {
            SecretReference::Parameter { name, .. } => parameters.insert(name.clone()),
            SecretReference::Secret { name, .. } => secrets.insert(name.clone()),
        };
    }
    let (parameters, secrets) = (Vec::from_iter(parameters), Vec::from_iter(secrets));
    let (parameters, secrets) = tokio::try_join!(aws.ssm.versions(&parameters), aws.secretsmanager.current_versions(&secrets))?;
    let parameter = |(name, version): (String, u64)| (SecretReference::Parameter { name, version: None }.place(), version.to_string());
    let secret = |(name, version): (String, String)| (SecretReference::Secret { name, version: None }.place(), version);
    Ok(parameters.into_iter().map(parameter).chain(secrets.into_iter().map(secret)).collect())
}

/// The app's own images in this account and Region, newest first.
pub async fn images(aws: &Aws, environment: &Environment) -> Result<Vec<Image>, Error> {
    aws.ec2.images_tagged(&Tags::from([(tag::APP.to_string(), environment.app.to_string())])).await
}

/// A world in which only images matter, and who has the lock of this scope.
pub async fn image_world(aws: &Aws, environment: &Environment, scope: &Scope) -> Result<World, Error> {
    let (images, view) = tokio::try_join!(images(aws, environment), lock::read(&aws.dynamodb, scope))?;
    let records = Records { lock: view.lock, freeze: view.freeze, ..Records::default() };
    Ok(World { images, records, ..World::default() })
}

/// Everything the state table says about a scope.
pub async fn records(aws: &Aws, scope: &Scope) -> Result<Records, Error> {
    let journal = journal::read(&aws.dynamodb, scope).await?;
    Ok(with_lock(journal, lock::read(&aws.dynamodb, scope).await?))
}

fn with_lock(journal: journal::Journal, view: lock::View) -> Records {
    let journal::Journal { head, releases, operations } = journal;
    Records { lock: view.lock, freeze: view.freeze, head, releases, operations }
}

struct Door {
    load_balancer: LoadBalancerInfo,
    listener: Option<ListenerInfo>,
    rules: Vec<Rule>,
    /// Those of other listeners, if anybody wants to know.
    others: Vec<Rule>,
}

async fn door(aws: &Aws, environment: &Environment, all_rules: bool) -> Result<Option<Door>, Error> {
    let wanted = &environment.load_balancer;
    let Some(load_balancer) = aws.elbv2.load_balancer(&wanted.name).await? else { return Ok(None) };
    let listeners = aws.elbv2.all_listeners(&load_balancer.arn).await?;
    let (mut own, others): (Vec<_>, Vec<_>) = listeners.into_iter().partition(|listener| listener.port == wanted.listener.port);
    let listener = own.pop();
    let (rules, others) = tokio::join!(
        gather(listener.iter().map(|listener| aws.elbv2.rules(&listener.arn))),
        gather(others.iter().filter(|_| all_rules).map(|listener| aws.elbv2.rules(&listener.arn))),
    );
    let flat = |rules: Vec<Result<Vec<Rule>, Error>>| rules.into_iter().collect::<Result<Vec<_>, Error>>().map(|rules| rules.concat());
    Ok(Some(Door { load_balancer, listener, rules: flat(rules)?, others: flat(others)? }))
}

/// The room with what there is at the load balancer.
fn at_the_door(room: Room, door: Option<&Door>, all: &[TargetGroupInfo]) -> Room {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let rules = door.iter().flat_map(|door| door.rules.iter().chain(&door.others)).filter(|rule| rule.priority.is_some());
    let leads = |group: &&TargetGroupInfo| door.is_some_and(|door| group.load_balancer.as_ref() == Some(&door.load_balancer.arn));
    let (rules, attached) = (count(rules.count()), count(all.iter().filter(leads).count()));
    Room { rules, attached, target_groups: count(all.len()), ..room }
}

/// Where visitors come in, for people; a protocol's own port is left out.
fn address(environment: &Environment, load_balancer: &LoadBalancerInfo) -> String {
    let listener = &environment.load_balancer.listener;
    let (scheme, usual) = if listener.certificate.is_some() { ("https", 443) } else { ("http", 80) };
    match listener.port {
        port if port == usual => format!("{scheme}://{}", load_balancer.dns_name),
        port => format!("{scheme}://{}:{port}", load_balancer.dns_name),
    }
}

fn tags_of(environment: &Environment) -> Tags {
    let pairs = [(tag::APP, environment.app.as_str()), (tag::ENV, environment.name.as_str())];
    pairs.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// The environment's target groups with their verdicts, by fleet. There is no filter by tag, so those whose names can be ours are asked
/// for their tags (a long name keeps its first characters). Beside them, all there are.
async fn target_groups(aws: &Aws, environment: &Environment) -> Result<(BTreeMap<FleetKey, TargetGroup>, Vec<TargetGroupInfo>), Error> {
    let (tagged, all) = tagged(aws, &format!("{}-{}-", environment.app, environment.name)).await?;
    let ours: Vec<(FleetKey, TargetGroupInfo)> =
        tagged.into_iter().filter_map(|(group, tags)| Some((key(environment, &tags)?, group))).collect();
    let arns: Vec<String> = ours.iter().map(|(_, group)| group.arn.clone()).collect();
    let mut verdicts = aws.elbv2.target_healths(&arns).await?;
    let known = |(fleet, group): (FleetKey, TargetGroupInfo)| {
        // Gone since it was listed.
        let targets: Vec<TargetHealth> = verdicts.remove(&group.arn)?;
        Some((fleet, TargetGroup { name: group.name, arn: group.arn, targets }))
    };
    Ok((ours.into_iter().filter_map(known).collect(), all))
}

/// The target groups whose names begin like this, as far as short names do, with their tags; and all there are.
async fn tagged(aws: &Aws, prefix: &str) -> Result<(Vec<(TargetGroupInfo, Tags)>, Vec<TargetGroupInfo>), Error> {
    let prefix = prefix[..prefix.len().min(23)].trim_end_matches('-');
    let all = aws.elbv2.target_groups().await?;
    let named: Vec<TargetGroupInfo> = all.iter().filter(|group| group.name.starts_with(prefix)).cloned().collect();
    let arns: Vec<String> = named.iter().map(|group| group.arn.clone()).collect();
    let mut tags = existing_tags(aws, &arns).await?;
    let tagged = named.into_iter().filter_map(|group| Some((tags.remove(&group.arn)?, group))).map(|(tags, group)| (group, tags));
    Ok((tagged.collect(), all))
}

/// Tags by ARN. One group deleted meanwhile fails a whole batch, so then each is asked for by itself.
async fn existing_tags(aws: &Aws, arns: &[String]) -> Result<BTreeMap<String, Tags>, Error> {
    match aws.elbv2.tags(arns).await {
        Err(error) if error.is_not_found() => {}
        answer => return answer,
    }
    let mut found = BTreeMap::new();
    for arn in arns {
        match aws.elbv2.tags_of(arn).await {
            Ok(tags) => drop(found.insert(arn.clone(), tags)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The fleet that tags name, if they are this environment's.
fn key(environment: &Environment, tags: &Tags) -> Option<FleetKey> {
    let ours = tags_of(environment).iter().all(|(key, value)| tags.get(key) == Some(value));
    ours.then(|| fleet_key(tags)).flatten()
}

fn fleet_key(tags: &Tags) -> Option<FleetKey> {
    let service = ServiceName::new(tags.get(tag::SERVICES)?.as_str()).ok()?;
    let release: ReleaseNumber = tags.get(tag::RELEASE)?.parse().ok()?;
    Some(FleetKey { service, release })
}

/// The parts put together, oldest release first. Each part may be missing: a deploy may have been killed between any two of them.
fn fleets(
    groups: Vec<GroupInfo>,
    mut target_groups: BTreeMap<FleetKey, TargetGroup>,
    templates: Vec<TemplateInfo>,
    rules: &[Rule],
) -> Vec<Fleet> {
    let mut by_fleet: BTreeMap<FleetKey, BTreeMap<CapacityKind, Group>> = BTreeMap::new();
    for found in groups {
        if let Some(key) = fleet_key(&found.tags) {
            by_fleet.entry(key).or_default().insert(found.kind(), found.group);
        }
    }
    let mut templates: BTreeMap<FleetKey, TemplateInfo> =
        templates.into_iter().filter_map(|template| Some((fleet_key(&template.tags)?, template))).collect();
    let keys: BTreeSet<FleetKey> = by_fleet.keys().chain(target_groups.keys()).chain(templates.keys()).cloned().collect();
    let mut fleets: Vec<Fleet> = keys
        .into_iter()
        .map(|key| {
            let target_group = target_groups.remove(&key);
            let test_rule = target_group.as_ref().and_then(|group| test_rule(rules, &group.name));
            let groups = by_fleet.remove(&key).unwrap_or_default();
            let template = templates.remove(&key).map(|found| found.template);
            Fleet { key, groups, target_group, template, test_rule }
        })
        .collect();
    fleets.sort_by(|a, b| (a.key.release, &a.key.service).cmp(&(b.key.release, &b.key.service)));
    fleets
}

/// ARN of the rule that only a secret header value matches and that leads to this target group.
fn test_rule(rules: &[Rule], target_group: &str) -> Option<String> {
    let leads_there = |rule: &&Rule| {
        let secret = rule.conditions.header.as_ref().is_some_and(|(name, _)| name.eq_ignore_ascii_case(PROBE_HEADER));
        secret && matches!(&rule.action, RuleAction::Forward(groups) if groups.contains_key(target_group))
    };
    rules.iter().find(leads_there).map(|rule| rule.arn.clone())
}
