//! What must hold after every story, whatever befell it: one function each, one sentence each.

use std::collections::{BTreeMap, BTreeSet};

use adstage::journal::{self, Deed, Entry};
use adstage::model::{Environment, Image, ImageState, Provenance, Scope, Service, drift};
use adstage::plan::SPREAD;
use adstage::sandbox::{GroupFacts, Inventory, Visit};

use super::stage::BOX;
use super::story::{ELSEWHERE, HALF, Scene};
use crate::yard::review;

/// Everything that is not as it must be.
pub async fn all(scene: &mut Scene) -> Vec<String> {
    scene.wires.quiet().await;
    scene.yard.clock.sleep(SPREAD.duration()).await;
    let mut found = scene.trouble.lock().unwrap().clone();
    found.extend(holders(scene));
    found.extend(locks(scene));
    found.extend(journals(scene).await);
    let inventory = scene.yard.sandbox.inventory(&scene.yard.environment.account, &scene.yard.environment.region);
    found.extend(serving(scene, &inventory));
    found.extend(working(scene, &inventory));
    found.extend(left_behind(scene, &inventory));
    found.extend(boxes(scene, &inventory).await);
    found.extend(images(scene).await);
    found.extend(drifting(scene).await);
    found.extend(covered(scene, &inventory).await);
    found.extend(hooked(scene).await);
    found.extend(migrated(scene));
    if let Some(visitors) = scene.visitors.take() {
        found.extend(visitors.gone().await.failed.iter().take(5).map(|failed| format!("a visitor failed: {failed}")));
    }
    found
}

/// Whoever changes anything holds the lock at that instant, and fences never fall.
fn holders(scene: &Scene) -> Vec<String> {
    let (mut found, mut last) = (Vec::new(), BTreeMap::new());
    for (number, call) in scene.wires.calls().iter().enumerate().filter(|(_, call)| call.acts()) {
        let owner = format!("01{}", call.by.to_uppercase());
        match call.holders.iter().find(|(_, holder, _)| *holder == owner) {
            Some((scope, _, fence)) => {
                let last = last.insert(scope, *fence).unwrap_or_default();
                if *fence < last {
                    found.push(format!("call {number}, {} of {}: fence {fence} after {last}", call.action, call.by));
                }
            }
            None => found.push(format!("call {number}, {} of {}: the lock is held by {:?}", call.action, call.by, call.holders)),
        }
    }
    found
}

/// The lock is free, and nothing is unfinished.
fn locks(scene: &Scene) -> Vec<String> {
    if scene.settled() { Vec::new() } else { vec![format!("not settled: {:?}", scene.row(&scene.scopes[0], "LOCK"))] }
}

/// Every operation has ended, and its events are whole and legal.
async fn journals(scene: &Scene) -> Vec<String> {
    let (onlooker, mut found) = (scene.yard.operator("onlooker").await, Vec::new());
    for pk in &scene.scopes {
        let scope = Scope { table: scene.yard.environment.state_table.clone(), pk: pk.clone() };
        let read = journal::read(&onlooker.aws.dynamodb, &scope).await.expect("a journal");
        for record in read.operations {
            let (_, events) = journal::operation(&onlooker.aws.dynamodb, &scope, &record.id).await.expect("rows").expect("an operation");
            match journal::fold(&events) {
                Ok(status) if status.ended.is_some() && status.ended == record.ended => {}
                Ok(status) => {
                    found.push(format!("{} by {} ended {:?}, by its events {:?}", record.id, record.by, record.ended, status.ended))
                }
                Err(illegal) => found.push(format!("{} by {}: {illegal}", record.id, record.by)),
            }
        }
    }
    found
}

/// What the records say serves, by service: number of the release.
fn meant(scene: &Scene) -> BTreeMap<String, u64> {
    let Some(head) = scene.row(&scene.scopes[0], "HEAD") else { return BTreeMap::new() };
    let serving = head["serving"]["M"].as_object().cloned().unwrap_or_default();
    let number = |value: &serde_json::Value| {
        value["N"].as_str().or(value["S"].as_str()).and_then(|text| text.trim_start_matches('r').parse().ok()).expect("a release")
    };
    serving.iter().map(|(service, release)| (service.clone(), number(release))).collect()
}

fn fleet(scene: &Scene, service: &str, release: u64) -> String {
    format!("{}-{}-{service}-r{release}", scene.yard.environment.app, scene.yard.environment.name)
}

/// One release serves everybody on every route, whole and at its usual size, and the records say so.
fn serving(scene: &Scene, inventory: &Inventory) -> Vec<String> {
    let (meant, mut found) = (meant(scene), Vec::new());
    if meant.values().collect::<BTreeSet<_>>().len() > 1 {
        found.push(format!("several releases serve: {meant:?}"));
    }
    for service in scene.yard.environment.services.iter().filter(|_| !meant.is_empty()) {
        let Some(release) = meant.get(service.name.as_str()) else {
            found.push(format!("{} is not in the records", service.name));
            continue;
        };
        let live = fleet(scene, service.name.as_str(), *release);
        if let Some(route) = &service.route {
            let rule = inventory.rules.iter().find(|rule| rule.priority == Some(route.priority));
            let weighted: Vec<_> =
                rule.iter().flat_map(|rule| &rule.weights).filter(|(_, weight)| **weight > 0).map(|(name, _)| name).collect();
            if weighted != [&live] {
                found.push(format!("{} should serve, but the route has {:?}", live, rule.map(|rule| &rule.weights)));
            }
        }
        found.extend(unusual(service, &live, &scene.sizes(*release), inventory));
        let own = fleet(scene, service.name.as_str(), 0);
        let others = |name: &str| name.starts_with(&own[..own.len() - 1]) && !name.starts_with(&live);
        let idle = inventory.groups.iter().filter(|(name, group)| others(name) && !group.policies.is_empty());
        found.extend(idle.map(|(name, group)| format!("{name} does not serve, and follows {:?}", group.policies)));
    }
    found
}

/// The groups of a fleet are neither pinned nor leaving nor short of instances, together as many as there may be, and follow what their
/// service follows.
fn unusual(service: &Service, live: &str, spot_sizes: &BTreeSet<u32>, inventory: &Inventory) -> Option<String> {
    let kinds = ["", "-spot"].map(|kind| inventory.groups.get(&format!("{live}{kind}")));
    let (sizes, least) = match service.spot {
        0 => ((service.instances..=service.max_instances).collect(), [service.instances, 0]),
        _ => (spot_sizes.clone(), [HALF, HALF]),
    };
    let follows = service.scaling.iter().flat_map(|scaling| scaling.policies());
    let follows: BTreeSet<String> = follows.map(|policy| policy.metric.policy_name().to_string()).collect();
    let whole = |(group, least): (&GroupFacts, u32)| {
        let bounds = group.min <= least.min(group.desired) && group.max == service.max_instances;
        bounds && group.in_service as u32 == group.desired && !group.deleting && group.policies == follows
    };
    let there = kinds.iter().zip(least).filter_map(|(group, least)| Some(((*group)?, least)));
    let free = service.spot > 0 || kinds[0].is_some_and(|group| group.min == service.instances);
    let expected = if service.spot == 0 { 1 } else { 2 };
    let total: u32 = kinds.iter().flatten().map(|group| group.desired).sum();
    let usual = kinds.iter().flatten().count() == expected && there.clone().all(whole) && free && sizes.contains(&total);
    (!usual).then(|| format!("{live} is not as usual, of {sizes:?}: {kinds:?}"))
}

/// Releases of a worker of which something works, by the tags its machines see.
pub fn at_work<'a>(environment: &Environment, service: &Service, inventory: &'a Inventory) -> Vec<&'a String> {
    let prefix = format!("{}-{}-{}-r", environment.app, environment.name, service.name);
    let works = |group: &GroupFacts| group.active.as_ref().is_none_or(|(_, machines)| machines.contains("yes"));
    let own = inventory.groups.iter().filter(|(name, group)| name.starts_with(&prefix) && works(group));
    own.map(|(name, _)| name).collect()
}

/// Exactly one release of each worker is active, the one the records name: its group says so, and each of its machines.
fn working(scene: &Scene, inventory: &Inventory) -> Vec<String> {
    let (meant, mut found) = (meant(scene), Vec::new());
    let environment = &scene.yard.environment;
    for service in environment.services.iter().filter(|service| service.held()) {
        let working = at_work(environment, service, inventory);
        let live = meant.get(service.name.as_str()).map(|release| fleet(scene, service.name.as_str(), *release));
        let all = |group: &GroupFacts| group.active.as_ref().is_some_and(|(own, there)| own == "yes" && there.iter().eq(["yes"]));
        let whole = live.as_ref().is_none_or(|live| inventory.groups.get(live).is_some_and(all));
        if working != live.iter().collect::<Vec<_>>() || !whole {
            let tags: Vec<_> = inventory.groups.iter().filter_map(|(name, group)| Some((name, group.active.as_ref()?))).collect();
            found.push(format!("{} should work, alone and wholly, not {working:?}: {tags:?}", live.as_deref().unwrap_or("nothing")));
        }
    }
    found
}

/// Nothing is there that no record accounts for: whole fleets of the release that serves and of those to go back to, their rules,
/// their machines; no builder, no suspended process.
fn left_behind(scene: &Scene, inventory: &Inventory) -> Vec<String> {
    let (meant, mut found) = (meant(scene), Vec::new());
    let mut fleets: BTreeSet<String> = inventory.groups.keys().map(|name| name.trim_end_matches("-spot").to_string()).collect();
    fleets.extend(inventory.target_groups.iter().filter(|name| !name.starts_with(&of_box(scene))).cloned());
    fleets.extend(inventory.templates.iter().cloned());
    let routes: BTreeSet<_> = scene.yard.environment.services.iter().filter_map(|service| Some(service.route.as_ref()?.priority)).collect();
    let tests: BTreeSet<String> = inventory
        .rules
        .iter()
        .filter(|rule| rule.priority.is_some_and(|priority| !routes.contains(&priority)))
        .filter(|rule| !rule.weights.keys().any(|name| name.starts_with(&of_box(scene))))
        .flat_map(|rule| rule.weights.keys().cloned().chain(rule.weights.is_empty().then(|| format!("rule {:?}", rule.priority))))
        .collect();
    fleets.extend(tests.iter().cloned());
    for name in &fleets {
        let parts = [
            inventory.groups.contains_key(name),
            inventory.target_groups.contains(name),
            inventory.templates.contains(name),
            tests.contains(name),
        ];
        if parts != [true; 4] {
            found.push(format!("{name} is not whole: group, target group, template, test rule: {parts:?}"));
        }
    }
    for service in &scene.yard.environment.services {
        let own =
            |name: &&String| name.starts_with(&fleet(scene, service.name.as_str(), 0)[..fleet(scene, service.name.as_str(), 0).len() - 1]);
        let count = fleets.iter().filter(own).count();
        // The one that serves, the one to go back to, and after a rollback the one that was left.
        let most = if meant.is_empty() { 0 } else { 3 };
        if count > most {
            found.push(format!("{count} fleets of {}: {:?}", service.name, fleets.iter().filter(own).collect::<Vec<_>>()));
        }
    }
    let wanted: u32 = inventory.groups.values().map(|group| group.desired).sum();
    let boxes = usize::from(inventory.target_groups.iter().any(|name| name.starts_with(&of_box(scene))));
    if inventory.instances.len() != wanted as usize + boxes {
        found.push(format!("{} machines, but groups of {wanted}: {:?}", inventory.instances.len(), inventory.instances));
    }
    found.extend(
        inventory
            .groups
            .iter()
            .filter(|(_, group)| !group.suspended.is_empty())
            .map(|(name, group)| format!("{name} suspends {:?}", group.suspended)),
    );
    found
}

/// What begins so is a review box's.
fn of_box(scene: &Scene) -> String {
    format!("{}-review-", scene.yard.environment.app)
}

/// A review box is there as a whole or not at all, as was said last, and it answers.
async fn boxes(scene: &Scene, inventory: &Inventory) -> Vec<String> {
    let own = |name: &&String| name.starts_with(&of_box(scene));
    let groups = inventory.target_groups.iter().filter(own).count();
    let rules = inventory.rules.iter().filter(|rule| rule.weights.keys().any(|name| own(&name))).count();
    let wanted: u32 = inventory.groups.values().map(|group| group.desired).sum();
    let machines = inventory.instances.len() - (wanted as usize).min(inventory.instances.len());
    match (groups, rules, machines) {
        (0, 0, 0) if scene.boxed != Some(true) => Vec::new(),
        (3, 3, 1) if scene.boxed != Some(false) => unanswered(scene).await,
        parts => vec![format!("a review box is not whole: target groups, rules, machines: {parts:?}, and {:?}", scene.boxed)],
    }
}

async fn unanswered(scene: &Scene) -> Vec<String> {
    let (account, region) = (&scene.yard.environment.account, &scene.yard.environment.region);
    let host = format!("{BOX}.{}", review().domain);
    let mut found = Vec::new();
    for path in ["/", "/admin/x"] {
        let visit = Visit { account, region, load_balancer: "shop-review", host: &host, path, headers: &[] };
        let status = scene.yard.sandbox.visit(&visit).await.map(|visited| visited.status);
        if status != Some(200) {
            found.push(format!("a review box answers {path} with {status:?}"));
        }
    }
    found
}

/// Every image, here and where copies go, can be launched, and is proved or says why not; its copies have its name; no snapshot is stray.
async fn images(scene: &Scene) -> Vec<String> {
    let (onlooker, mut found) = (scene.yard.operator("onlooker").await, Vec::new());
    for region in [&scene.yard.environment.region, ELSEWHERE] {
        let images = onlooker.images_in(region).await;
        let fit = |image: &&Image| image.state == ImageState::Available && image.provenance != Provenance::Unproved;
        let unfit = images.iter().filter(|image| !fit(image));
        found.extend(unfit.map(|image| format!("image {} in {region} is {:?}, {:?}", image.name, image.state, image.provenance)));
        let all = scene.yard.sandbox.inventory(&scene.yard.environment.account, region);
        let known = |name: &&String| !images.iter().any(|image| image.name == **name);
        found.extend(all.images.iter().filter(known).map(|name| format!("image {name} in {region} has lost its tags")));
        found.extend(all.stray_snapshots.iter().map(|id| format!("snapshot {id} in {region} belongs to no image")));
    }
    found
}

/// `status` has nothing to report.
async fn drifting(scene: &Scene) -> Vec<String> {
    let onlooker = scene.yard.operator("onlooker").await;
    scene.drifts(&onlooker).await.into_iter().map(|drift| format!("drift: {drift}")).collect()
}

/// What is covered with on-demand instances is said, with what hands it back; and nothing is said that is not so.
async fn covered(scene: &Scene, inventory: &Inventory) -> Vec<String> {
    let world = scene.yard.operator("onlooker").await.world().await;
    let said = drift(&scene.yard.environment, &world).iter().any(|drift| drift.0.contains("--hand-back"));
    let lacks = |(service, release): (&String, &u64)| {
        let spot = inventory.groups.get(&format!("{}-spot", fleet(scene, service, *release)))?;
        let own = inventory.groups.get(&fleet(scene, service, *release))?;
        Some(spot.desired < (spot.desired + own.desired) / 2)
    };
    let lacks = meant(scene).iter().filter_map(lacks).any(|lacks| lacks);
    if said == lacks { Vec::new() } else { vec![format!("covered: {lacks}, said: {said}")] }
}

/// No hook that its operation's journal knows to have passed runs again where it runs once, and none runs twice in one process.
async fn hooked(scene: &Scene) -> Vec<String> {
    let (onlooker, mut found) = (scene.yard.operator("onlooker").await, Vec::new());
    let scope = Scope { table: scene.yard.environment.state_table.clone(), pk: scene.scopes[0].clone() };
    for record in journal::read(&onlooker.aws.dynamodb, &scope).await.expect("a journal").operations {
        let (_, events) = journal::operation(&onlooker.aws.dynamodb, &scope, &record.id).await.expect("rows").expect("an operation");
        let mut passed = BTreeSet::new();
        for event in &events {
            match &event.entry {
                Entry::Step(key, Deed::Succeeded { .. }) => _ = passed.insert(key.clone()),
                Entry::Step(key, Deed::Started { .. }) if passed.contains(key) => {
                    let once = ["before-deploy hook", "once on one instance"].iter().any(|what| key.step.contains(what));
                    found.extend(once.then(|| format!("{} by {}: {} ran again", record.id, record.by, key.step)));
                }
                _ => {}
            }
        }
    }
    let mut runs = BTreeMap::new();
    for (who, operation, run, _) in scene.ran.lock().unwrap().iter() {
        *runs.entry((who.clone(), operation.clone(), run.clone())).or_insert(0) += 1;
    }
    found.extend(runs.iter().filter(|(_, count)| **count > 1).map(|(run, count)| format!("{run:?} ran {count} times")));
    found
}

/// A release's own command runs on one of its machines, once.
fn migrated(scene: &Scene) -> Vec<String> {
    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    for console in scene.yard.sandbox.consoles() {
        for line in console.lines().filter(|line| line.contains("\"release-command\"")) {
            let told: serde_json::Value = serde_json::from_str(line.trim_start_matches("adstage-agent ")).expect("a line of an agent");
            *ran.entry(told["operation"].as_str().expect("an operation").to_string()).or_default() += 1;
        }
    }
    let twice = ran.iter().filter(|(_, count)| **count > 1);
    let mut found: Vec<String> = twice.map(|(operation, count)| format!("the release command of {operation} ran {count} times")).collect();
    let wanted = scene.yard.environment.services.iter().filter(|service| service.release_command.is_some());
    let serving: BTreeMap<String, u64> = meant(scene);
    // r1 and r2 came before there was one.
    let new = wanted.filter(|service| serving.get(service.name.as_str()).is_some_and(|release| *release > 2)).count();
    if new > 0 && ran.is_empty() {
        found.push("a release serves, and its command never ran".to_string());
    }
    found
}
