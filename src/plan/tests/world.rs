//! Worlds in a line: `web: r40 x3 warm, r41 x3 live; worker: r41 x2 live`.
//!
//! Words after a fleet: `live` (all visitors, in `HEAD`), `warm` (weight 0), `50%` (that weight), `idle` (weight 0, never tried), `out`
//! (in no route), `resting` or `active` (a worker's, that is not live), `part` (active in part), `bad` (marked bad), `untried`, `half` (no group), `unknown` (no record). `head=r40` after a service overrides `HEAD`;
//! `before=r39` sets what served before. Releases come from image `ami-NN` of their number; `ami-new` is newer and proved.

use std::collections::BTreeMap;

use crate::model::*;

use super::super::candidate::spec;

pub fn name<T: std::str::FromStr<Err = NameError>>(text: &str) -> T {
    text.parse().unwrap()
}

pub fn service(which: &str) -> Service {
    let (port, priority, instances) = match which {
        "web" => (Some(8001), 10, 2),
        "admin" => (Some(8002), 20, 1),
        _ => (None, 0, 1),
    };
    Service {
        name: name(which),
        repository: name("storefront"),
        run: format!("bin/{which}"),
        port,
        health_path: "/up".into(),
        variables: BTreeMap::new(),
        secrets: BTreeMap::new(),
        release_command: None,
        route: port.map(|_| Route { priority, hosts: Vec::new(), paths: vec![if which == "web" { "/*" } else { "/admin/*" }.into()] }),
        instance_type: "m7i.large".into(),
        other_types: Vec::new(),
        spot: 0,
        instances,
        max_instances: instances * 2,
        scaling: None,
        grace: Seconds(20),
        overlap: false,
    }
}

pub fn environment(services: &[&str]) -> Environment {
    Environment {
        app: name("shop"),
        name: name("production"),
        account: "444455556666".into(),
        region: "eu-central-1".into(),
        profile: None,
        state_table: "adstage".into(),
        confirm: Confirm::None,
        subnets: vec!["subnet-a".into()],
        security_groups: Vec::new(),
        instance_profile: None,
        load_balancer: LoadBalancer {
            name: "shop-production".into(),
            scheme: Scheme::InternetFacing,
            subnets: Vec::new(),
            security_groups: Vec::new(),
            listener: Listener { port: 80, certificate: None },
        },
        services: services.iter().map(|which| service(which)).collect(),
        timing: DeployTiming {
            health: HealthCheck { interval: Seconds(5), timeout: Seconds(2), healthy_count: 2, unhealthy_count: 2 },
            healthy_within: Seconds(600),
            stable_for: Seconds(20),
            watch: Seconds(300),
            drain: Seconds(30),
            keep_warm: 1,
            min_capacity: 100,
            watching: Watching::default(),
        },
        hooks: Hooks::default(),
    }
}

pub fn image(id: &str) -> Image {
    Image {
        id: ImageId(id.into()),
        name: format!("shop-{}", &id[4..]),
        state: ImageState::Available,
        provenance: Provenance::Verified,
        commits: BTreeMap::from([(name("storefront"), "4f2c".repeat(10))]),
        created: String::new(),
        app: Some("shop".into()),
        origin: Origin::default(),
    }
}

pub fn release(environment: &Environment, number: u32, services: &[ServiceName], verdict: Verdict) -> ReleaseRecord {
    let image = image(&format!("ami-{number}"));
    let here = environment.services.iter().filter(|service| services.contains(&service.name));
    let release = Release {
        number: ReleaseNumber(number),
        image: image.id,
        image_name: image.name,
        commits: image.commits,
        services: here.map(|service| (service.name.clone(), spec(service, &environment.timing))).collect(),
    };
    ReleaseRecord { release, verdict, by: "ana".into(), at: String::new(), operation: OperationId(format!("01OP{number}")) }
}

pub fn operation(kind: OperationKind, release: u32, previous: Option<u32>) -> OperationRecord {
    OperationRecord {
        id: OperationId(format!("01OP{release}")),
        kind,
        release: Some(ReleaseNumber(release)),
        previous: previous.map(ReleaseNumber),
        by: "ana".into(),
        at: String::new(),
        ended_at: None,
        ended: None,
        stage: String::new(),
        reason: None,
    }
}

/// The environment and the world of a line.
pub fn world(line: &str) -> (Environment, World) {
    let parts: Vec<(&str, &str)> = line.split(';').map(|part| part.split_once(':').unwrap()).map(|(a, b)| (a.trim(), b.trim())).collect();
    let environment = environment(&parts.iter().map(|(which, _)| *which).collect::<Vec<_>>());
    let mut known: BTreeMap<u32, (Vec<ServiceName>, Verdict)> = BTreeMap::new();
    let mut head = Head { next: 1, ..Head::default() };
    let (mut fleets, mut rules) = (Vec::new(), Vec::new());
    for (which, text) in &parts {
        let service = service(which);
        let mut forward = BTreeMap::new();
        for words in text.split(',').map(|fleet| fleet.split_whitespace().collect::<Vec<_>>()).filter(|words| !words.is_empty()) {
            let has = |word: &str| words.contains(&word);
            for (key, map) in [("head=", &mut head.serving), ("before=", &mut head.before)] {
                if let Some(number) = words[0].strip_prefix(key) {
                    map.insert(service.name.clone(), name(number));
                }
            }
            let Ok(number) = words[0].parse::<ReleaseNumber>() else { continue };
            let size = words[1][1..].parse().unwrap();
            let mut fleet = fleet(&environment, FleetKey { service: service.name.clone(), release: number }, size, has("half"));
            for group in fleet.groups.values_mut().filter(|_| service.route.is_none()) {
                group.activity = match () {
                    () if has("part") => Some(Activity::Mixed),
                    () if has("active") => Some(Activity::Active),
                    () if has("resting") => Some(Activity::Held),
                    () if size == 0 || has("overlap") => None,
                    () => Some(if has("live") { Activity::Active } else { Activity::Held }),
                };
            }
            let weight = words.iter().find_map(|word| word.strip_suffix('%')).map(|weight| weight.parse().unwrap());
            let weight = if has("live") {
                Some(100)
            } else if has("out") {
                None
            } else {
                weight.or(Some(0))
            };
            if let (Some(weight), Some(group)) = (weight, &fleet.target_group) {
                forward.insert(group.name.clone(), weight);
            }
            if has("live") {
                head.serving.entry(service.name.clone()).or_insert(number);
            }
            let untried = has("idle") || has("untried");
            let verdict = match () {
                () if has("bad") => Verdict::Bad { reason: "checkout fails".into() },
                () if untried => Verdict::Untried,
                () => Verdict::Good,
            };
            if !has("unknown") {
                known.entry(number.0).or_insert((Vec::new(), verdict)).0.push(service.name.clone());
            }
            head.next = head.next.max(number.0 + 1);
            fleets.push(fleet);
        }
        if let Some(route) = &service.route {
            let action = if forward.is_empty() { RuleAction::Fixed(503) } else { RuleAction::Forward(forward) };
            let conditions = Conditions { paths: route.paths.clone(), ..Conditions::default() };
            rules.push(Rule { arn: format!("rule/{which}"), priority: Some(route.priority), conditions, action });
        }
    }
    let mut images: Vec<_> = known.keys().rev().map(|number| image(&format!("ami-{number}"))).collect();
    images.insert(0, image("ami-new"));
    let releases = known.into_iter().rev().map(|(number, (services, verdict))| release(&environment, number, &services, verdict)).collect();
    let head = (head.next > 1).then_some(head);
    fleets.sort_by_key(|fleet: &Fleet| (fleet.key.release, fleet.key.service.clone()));
    let records = Records { head, releases, ..Records::default() };
    (environment, World { listener: Some("listener".into()), address: None, rules, fleets, images, records, ..World::default() })
}

fn fleet(environment: &Environment, key: FleetKey, size: u32, half: bool) -> Fleet {
    let resource = key.name(&environment.app, &environment.name);
    let target_group = key.target_group_name(&environment.app, &environment.name);
    let group = Group {
        name: resource.clone(),
        min: 1,
        max: size.max(4),
        desired: size,
        deleting: false,
        instances: Vec::new(),
        activity: None,
        policies: vec![],
    };
    Fleet {
        groups: (!half).then_some((CapacityKind::OnDemand, group)).into_iter().collect(),
        target_group: Some(TargetGroup { arn: format!("tg/{target_group}"), name: target_group, targets: Vec::new() }),
        template: Some(Template { id: format!("lt-{key}"), name: resource }),
        test_rule: Some(format!("test/{key}")),
        key,
    }
}
