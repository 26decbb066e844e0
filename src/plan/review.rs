//! Review boxes. Made: target groups and rules first, since they cost nothing and may be refused, then the one instance, then patience.
//! Removed: rules, instance, target groups, the agent's rule first of all. What an earlier command left of a box is adopted if its instance
//! is there, was meant to be the same and was not being deleted, and removed first if not.

use std::collections::BTreeMap;

use crate::model::{
    AGENT_PORT, Approval, BoxInstance, BoxName, Checkout, Environment, Image, OperationKind, OperationRecord, Repository, RepositoryName,
    Review, ReviewBox, Seconds, Service, ServiceName, UserBox, UserDataError, World, box_target_group,
};

use super::candidate::{spec, told};
use super::preflight::{self, Demand};
use super::refusal::Reasons;
use super::{BoxGroup, BoxLaunch, BoxRule, Plan, Refusal, Stage, StageName, Step, TargetGroupSpec, select};

/// A rule asks for at most five values: a host, and so many paths.
const PATHS: usize = 4;
/// Tags an instance may have, and how many of a box's are no repository's.
const TAGS: usize = 50;
const OWN_TAGS: usize = 9;

/// What a repository was asked to be at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Branch, tag or commit, as typed.
    pub reference: String,
    /// The commit it stands for.
    pub commit: String,
}

/// The box that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct BoxRequest<'a> {
    /// How boxes are.
    pub review: &'a Review,
    /// Where repositories come from.
    pub repositories: &'a BTreeMap<RepositoryName, Repository>,
    /// Its name.
    pub name: &'a BoxName,
    /// The image, by name or id; none: the newest that is proved.
    pub image: Option<&'a str>,
    /// Repositories that are not to be as on the image.
    pub wanted: &'a BTreeMap<RepositoryName, Wanted>,
    /// When its fuse burns down, RFC 3339.
    pub expires: &'a str,
}

/// The plan that makes a whole box, or every reason why there must not be one.
pub fn create_box(request: &BoxRequest<'_>, world: &World) -> Result<Plan, Refusal> {
    let BoxRequest { review, name, .. } = *request;
    let environment = &review.environment;
    let mut reasons = Reasons::default();
    let found = world.boxes.iter().find(|found| found.name == *name);
    let halved = found.filter(|found| found.instance.is_some() && was_going(world));
    let there = found.and_then(|found| found.instance.as_ref()).filter(|_| halved.is_none());
    // What was begun goes on from the image it was begun with.
    let begun = there.filter(|_| unfinished(world));
    let image = select::for_box(environment, world, begun.map(|begun| begun.image.0.as_str()).or(request.image), &mut reasons);
    let commits = image.map(|image| commits(image, request.wanted)).unwrap_or_default();
    if world.listener.is_none() {
        reasons.add("review boxes have no load balancer yet", "adstage setup review");
    }
    if environment.subnets.is_empty() {
        reasons.add("there is no subnet to launch it in", "adstage config check");
    }
    for unknown in request.wanted.keys().filter(|repository| !request.repositories.contains_key(*repository)) {
        reasons.add(format!("there is no repository `{unknown}` in [image.repositories]"), "");
    }
    match there {
        // Whoever wants it gone says so: it may hold somebody's data.
        Some(there) if begun.is_none() && found.is_some_and(|found| !led_to_agent(found, world)) => {
            reasons.add(
                format!("there is a box {name}, {}'s, of which some rules are gone", there.owner),
                format!("adstage review delete {name}"),
            );
        }
        Some(there) => in_the_way(name, there, begun.is_some(), &commits, request, &mut reasons),
        None => {}
    }
    if OWN_TAGS + commits.len() + request.wanted.len() > TAGS {
        reasons.add(
            format!("{} repositories and {} asked for are more than the tags of an instance can say", commits.len(), request.wanted.len()),
            "",
        );
    }
    let launch = image.map(|image| launch(request, image, commits));
    if let Some(Err(error)) = &launch {
        reasons.add(format!("{error}"), "");
    }
    let made = launch.and_then(Result::ok).map(|launch| making(request, groups(review, name), rules(review, name), launch));
    let made = made.unwrap_or_default();
    let mut plan = Plan { notes: room(review, world, found, &made, &mut reasons), ..empty() };
    reasons.verdict(format!("cannot create review box {name}"))?;
    if let Some(left) = found.filter(|found| found.instance.is_none()) {
        plan.notes.push(format!("something was left of an earlier {name}: it is removed first"));
        plan.stages.extend(removal(left));
    }
    if let Some(halved) = halved {
        plan.notes.push(format!("an earlier {name} was being deleted: that is finished first"));
        plan.stages.extend(removal(halved));
    }
    if begun.is_some() {
        plan.notes.push(format!("{name} was begun before and not finished: it is finished now"));
    }
    plan.stages.extend(made);
    Ok(plan)
}

fn making(request: &BoxRequest<'_>, groups: Vec<BoxGroup>, rules: Vec<BoxRule>, launch: BoxLaunch) -> Vec<Stage> {
    let name = || request.name.clone();
    let named: Vec<String> = groups.iter().map(|group| group.target_group.clone()).collect();
    let named = || named.clone();
    vec![
        one(StageName::Prepare, Step::CreateBoxTargetGroups { name: name(), groups }),
        one(StageName::Prepare, Step::CreateBoxRules { name: name(), rules }),
        one(StageName::Launch, Step::LaunchBox { name: name(), launch }),
        one(StageName::Launch, Step::RegisterBox { name: name(), target_groups: named() }),
        one(StageName::Await, Step::AwaitBox { name: name(), target_groups: named(), within: request.review.ready_within }),
    ]
}

/// There is an instance of this name.
fn in_the_way(
    name: &BoxName,
    there: &BoxInstance,
    begun: bool,
    commits: &BTreeMap<RepositoryName, String>,
    request: &BoxRequest<'_>,
    reasons: &mut Reasons,
) {
    let whose = format!("{}'s, until {}", there.owner, there.expires);
    if !begun {
        reasons.add(format!("there is a box {name} already: {whose}"), format!("adstage review show {name}"));
    } else if there.commits != *commits && !request.wanted.is_empty() {
        reasons.add(format!("another box {name} was begun, {whose}, at other commits"), "");
    } else {
        return;
    }
    reasons.offer(format!("adstage review delete {name}"));
}

/// Whether there is room for the box, what is there of it not counted: an instance that goes first leaves its place to the new one.
fn room(review: &Review, world: &World, found: Option<&ReviewBox>, stages: &[Stage], reasons: &mut Reasons) -> Vec<String> {
    let demand = Demand::of(world, stages.iter().flat_map(|stage| &stage.steps));
    let demand = match found {
        Some(found) => demand.without(found.instance.is_some(), found.rules.len(), found.target_groups.len()),
        None => demand,
    };
    preflight::check(&review.environment, world, &demand, reasons)
}

/// An operation on this box stopped before its end.
fn unfinished(world: &World) -> bool {
    world.records.operations.iter().any(|operation| operation.ended.is_none())
}

/// Its deletion was begun, and nothing else since.
fn was_going(world: &World) -> bool {
    let clearing = |operation: &OperationRecord| operation.ended.is_none() && operation.stage == StageName::Clear.to_string();
    world.records.operations.iter().any(clearing)
}

/// The first rule to come, and the first to go, is its agent's.
fn led_to_agent(found: &ReviewBox, world: &World) -> bool {
    let mut agents = found.target_groups.iter().filter(|group| group.service.is_none());
    agents.any(|group| world.rules.iter().any(|rule| rule.action.leads_to(&group.name)))
}

fn commits(image: &Image, wanted: &BTreeMap<RepositoryName, Wanted>) -> BTreeMap<RepositoryName, String> {
    let mut commits = image.commits.clone();
    commits.extend(wanted.iter().map(|(name, wanted)| (name.clone(), wanted.commit.clone())));
    commits
}

fn launch(request: &BoxRequest<'_>, image: &Image, commits: BTreeMap<RepositoryName, String>) -> Result<BoxLaunch, UserDataError> {
    let BoxRequest { review, repositories, wanted, .. } = *request;
    let environment = &review.environment;
    let differs = |(name, _): &(&RepositoryName, &Wanted)| image.commits.get(*name) != commits.get(*name);
    let checkouts = wanted.iter().filter(differs).filter_map(|(name, wanted)| {
        let Repository { source, build, .. } = repositories.get(name)?.clone();
        let Wanted { reference, commit } = wanted.clone();
        Some((name.clone(), Checkout { source, reference, commit, build }))
    });
    let services = environment.services.iter().map(|service| (service.name.clone(), spec(service, &environment.timing))).collect();
    let told = told(environment, None, &services).of_box(UserBox {
        name: request.name.clone(),
        checkouts: checkouts.collect(),
        backing: review.backing.clone(),
        needs: review.needs.clone(),
    });
    Ok(BoxLaunch {
        image: image.id.clone(),
        instance_type: review.instance_type.clone(),
        user_data: told.render()?,
        services: environment.services.iter().map(|service| service.name.clone()).collect(),
        asked: wanted.iter().map(|(name, wanted)| (name.clone(), wanted.reference.clone())).collect(),
        commits,
        expires: request.expires.to_string(),
    })
}

/// One target group per service with a port, and the agent's, which is healthy when everything on the box is.
fn groups(review: &Review, name: &BoxName) -> Vec<BoxGroup> {
    let environment = &review.environment;
    let group = |service: Option<&Service>, port: u16, path: &str| {
        let service = service.map(|service| service.name.clone());
        let health = environment.timing.health.clone();
        let spec = TargetGroupSpec { port, path: path.to_string(), health, drain: Seconds(0) };
        BoxGroup { target_group: group_name(environment, name, service.as_ref()), service, spec }
    };
    let routed = environment.services.iter().filter(|service| service.route.is_some());
    let with_port = routed.filter_map(|service| Some(group(Some(service), service.port?, &service.health_path)));
    with_port.chain([group(None, AGENT_PORT, "/health")]).collect()
}

fn group_name(environment: &Environment, name: &BoxName, service: Option<&ServiceName>) -> String {
    box_target_group(&environment.app, name, service)
}

/// The agent's first, then the routes in the order of their priorities.
fn rules(review: &Review, name: &BoxName) -> Vec<BoxRule> {
    let environment = &review.environment;
    let agent = BoxRule {
        target_group: group_name(environment, name, None),
        host: format!("{name}.{}", review.domain),
        paths: Vec::new(),
        test: true,
    };
    let mut rules = vec![agent];
    for (service, route, host) in review.hosts(name) {
        let rule = |paths: &[String]| BoxRule {
            target_group: group_name(environment, name, Some(&service.name)),
            host: host.clone(),
            paths: paths.to_vec(),
            test: false,
        };
        match route.paths.is_empty() {
            true => rules.push(rule(&[])),
            false => rules.extend(route.paths.chunks(PATHS).map(rule)),
        }
    }
    rules
}

/// The plan that removes whatever there is of a box.
pub fn delete_box(name: &BoxName, world: &World) -> Plan {
    let mut plan = empty();
    match world.boxes.iter().find(|found| found.name == *name) {
        None => plan.notes.push(format!("there is no box {name}")),
        Some(found) => plan.stages = removal(found),
    }
    plan
}

/// The same, but only if the box's instance is gone and nobody is at work on it.
pub fn sweep_box(name: &BoxName, world: &World) -> Plan {
    let living = |found: &ReviewBox| found.name == *name && found.instance.is_some();
    if world.boxes.iter().any(living) { empty() } else { delete_box(name, world) }
}

fn removal(found: &ReviewBox) -> Vec<Stage> {
    let name = || found.name.clone();
    let named = || found.target_groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
    let mut stages = Vec::new();
    if !named().is_empty() {
        stages.push(one(StageName::Clear, Step::DeleteBoxRules { name: name(), target_groups: named() }));
    }
    if found.instance.is_some() {
        stages.push(one(StageName::Clear, Step::TerminateBox { name: name() }));
    }
    if !named().is_empty() {
        stages.push(one(StageName::Clear, Step::DeleteBoxTargetGroups { name: name(), target_groups: named() }));
    }
    stages
}

/// The plan that moves a box's deadline.
pub fn extend_box(name: &BoxName, until: &str, world: &World) -> Result<Plan, Refusal> {
    let there = living(name, world, "extend")?;
    let step = Step::ExtendBox { name: name.clone(), from: there.expires.clone(), until: until.to_string() };
    Ok(Plan { stages: vec![one(StageName::Settle, step)], ..empty() })
}

/// The plan that writes an approval on a box.
pub fn approve_box(name: &BoxName, approval: &Approval, world: &World) -> Result<Plan, Refusal> {
    let there = living(name, world, "approve")?;
    let mut plan = empty();
    match &there.approved {
        Some(earlier) if earlier.commits == approval.commits => {
            plan.notes.push(format!("{name} is approved already, by {} at {}", earlier.who, earlier.at));
        }
        _ => plan.stages.push(one(StageName::Settle, Step::ApproveBox { name: name.clone(), approval: approval.clone() })),
    }
    Ok(plan)
}

/// A box that is there and whole.
fn living<'w>(name: &BoxName, world: &'w World, verb: &str) -> Result<&'w BoxInstance, Refusal> {
    let mut reasons = Reasons::default();
    let there = world.boxes.iter().find(|found| found.name == *name).and_then(|found| found.instance.as_ref());
    match there {
        None => reasons.add(format!("there is no box {name}"), "adstage review list"),
        Some(there) if there.state != "running" => reasons.add(format!("{name} is {}", there.state), format!("adstage review show {name}")),
        Some(there) => return Ok(there),
    }
    Err(reasons.refusal(format!("cannot {verb} {name}")))
}

fn one(name: StageName, step: Step) -> Stage {
    Stage { name, steps: vec![step] }
}

fn empty() -> Plan {
    Plan {
        kind: OperationKind::Review,
        release: None,
        previous: None,
        new_release: false,
        divided: false,
        before: BTreeMap::new(),
        serving: BTreeMap::new(),
        notes: Vec::new(),
        stages: Vec::new(),
    }
}

/// What a plan about a box comes to, in one line.
pub(super) fn header(plan: &Plan) -> String {
    let steps = || plan.stages.iter().flat_map(|stage| &stage.steps);
    let says = |step: &Step| match step {
        Step::LaunchBox { name, .. } => Some(format!("review box {name} is created")),
        Step::ExtendBox { name, .. } => Some(format!("review box {name} lives on")),
        Step::ApproveBox { name, .. } => Some(format!("review box {name} is approved")),
        _ => None,
    };
    let removed = |step: &Step| match step {
        Step::TerminateBox { name } => Some(format!("review box {name} is deleted")),
        Step::DeleteBoxTargetGroups { name, .. } => Some(format!("what is left of review box {name} is removed")),
        _ => None,
    };
    steps().find_map(says).or_else(|| steps().find_map(removed)).unwrap_or_else(|| "nothing to do".to_string())
}
