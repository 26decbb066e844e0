use crate::model::{
    AppName, CapacityKind, Conditions, Confirm, DeployTiming, Fleet, Group, Head, HealthCheck, Hooks, ImageId, Listener, LoadBalancer,
    LockRecord, LockState, OperationId, OperationKind, OperationRecord, Records, Release, ReleaseRecord, RepositoryName, Rule, Scheme,
    Seconds, ServiceName, TargetGroup, Verdict, Watching,
};

use super::*;

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

/// `web` behind priority 10, and a worker.
fn environment() -> Environment {
    let service = |text: &str, route: Option<Route>| Service {
        name: name(text),
        repository: RepositoryName::new("shop").unwrap(),
        run: "run".into(),
        port: route.as_ref().map(|_| 8001),
        health_path: "/".into(),
        variables: BTreeMap::new(),
        secrets: BTreeMap::new(),
        release_command: None,
        route,
        instance_type: "m7i.large".into(),
        other_types: vec![],
        spot: 0,
        instances: 1,
        max_instances: 2,
        scaling: None,
        grace: Seconds(20),
        overlap: false,
    };
    let route = Route { priority: 10, hosts: vec![], paths: vec!["/*".into()] };
    Environment {
        app: AppName::new("shop").unwrap(),
        name: "production".parse().unwrap(),
        account: "111122223333".into(),
        region: "eu-central-1".into(),
        profile: None,
        state_table: "adstage".into(),
        confirm: Confirm::None,
        subnets: vec![],
        security_groups: vec![],
        instance_profile: None,
        load_balancer: LoadBalancer {
            name: "shop-production".into(),
            scheme: Scheme::Internal,
            subnets: vec![],
            security_groups: vec![],
            listener: Listener { port: 80, certificate: None },
        },
        services: vec![service("web", Some(route)), service("worker", None)],
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

fn fleet(service: &str, release: u32) -> Fleet {
    let key = FleetKey { service: name(service), release: ReleaseNumber(release) };
    let group =
        Group { name: key.to_string(), min: 1, max: 2, desired: 1, deleting: false, instances: vec![], activity: None, policies: vec![] };
    let target_group = TargetGroup { name: format!("tg-{key}"), arn: String::new(), targets: vec![] };
    Fleet { key, groups: [(CapacityKind::OnDemand, group)].into(), target_group: Some(target_group), template: None, test_rule: None }
}

fn record(number: u32) -> ReleaseRecord {
    let release = Release {
        number: ReleaseNumber(number),
        image: ImageId("ami-1".into()),
        image_name: "shop-1".into(),
        commits: BTreeMap::new(),
        services: BTreeMap::new(),
    };
    ReleaseRecord { release, verdict: Verdict::Good, by: "ana".into(), at: String::new(), operation: OperationId("1".into()) }
}

/// Both services have r41 and r42; the rule has these weights, the records mean this release.
fn world(weights: &[(u32, u16)], meant: u32) -> World {
    let groups = weights.iter().map(|(release, weight)| (format!("tg-web-r{release}"), *weight)).collect();
    let conditions = Conditions { paths: vec!["/*".into()], ..Conditions::default() };
    let meant = [name("web"), name("worker")].map(|service| (service, ReleaseNumber(meant)));
    World {
        listener: Some("listener".into()),
        address: None,
        rules: vec![Rule { arn: "rule".into(), priority: Some(10), conditions, action: RuleAction::Forward(groups) }],
        fleets: vec![fleet("web", 41), fleet("web", 42), fleet("worker", 41), fleet("worker", 42)],
        records: Records {
            head: Some(Head { serving: meant.into(), ..Head::default() }),
            releases: vec![record(42), record(41)],
            ..Records::default()
        },
        ..World::default()
    }
}

fn sentences(world: &World) -> Vec<String> {
    drift(&environment(), world).into_iter().map(|drift| drift.0).collect()
}

#[test]
fn agreement_is_silent() {
    assert_eq!(sentences(&world(&[(41, 0), (42, 100)], 42)), Vec::<String>::new());
}

#[test]
fn the_weights_say_who_serves_and_the_records_are_contradicted() {
    let moved = world(&[(41, 100), (42, 0)], 42);
    assert_eq!(serving(&environment(), &moved).to_string(), "r41 100 %");
    assert_eq!(sentences(&moved), ["web: visitors get r41, but the records say r42"]);
    let split = world(&[(41, 50), (42, 50)], 42);
    assert_eq!(serving(&environment(), &split).to_string(), "r42 50 % · r41 50 %");
    assert_eq!(sentences(&split), ["web: visitors are split (r41:50 r42:50), and no operation is under way"]);
    assert_eq!(sentences(&world(&[(41, 0), (42, 0)], 42)), ["web: visitors get no release, but the records say r42"]);
}

#[test]
fn what_an_open_operation_moves_is_no_drift() {
    let mut moving = world(&[(41, 0), (42, 100)], 41);
    let id = OperationId("op".into());
    moving.records.lock = Some(LockRecord { state: LockState::Held, open: Some(id.clone()), ..LockRecord::default() });
    moving.records.operations = vec![OperationRecord {
        id,
        kind: OperationKind::Deploy,
        release: Some(ReleaseNumber(42)),
        previous: Some(ReleaseNumber(41)),
        by: "joe".into(),
        at: String::new(),
        ended_at: None,
        ended: None,
        stage: "watch".into(),
        reason: None,
    }];
    assert_eq!(sentences(&moving), Vec::<String>::new());
}

#[test]
fn what_somebody_changed_by_hand_is_named() {
    let mut changed = world(&[(42, 100)], 42);
    changed.rules[0].action = RuleAction::Foreign("redirects to elsewhere".into());
    changed.fleets.retain(|fleet| fleet.key != FleetKey { service: name("worker"), release: ReleaseNumber(42) });
    changed.fleets.push(fleet("web", 99));
    assert_eq!(
        sentences(&changed),
        [
            "web: rule 10 was changed outside adstage: redirects to elsewhere",
            "worker: the records say r42, but its Auto Scaling group is missing",
            "web-r99 exists, but the records know of no r99",
        ]
    );
    changed.rules.clear();
    assert_eq!(sentences(&changed)[0], "web: its rule (priority 10) is missing, so visitors do not reach it");
    changed.listener = None;
    assert_eq!(sentences(&changed).len(), 1);
}

#[test]
fn before_the_first_release_nothing_is_wrong() {
    let mut fresh = world(&[], 1);
    fresh.rules[0].action = RuleAction::Fixed(503);
    fresh.records = Records::default();
    fresh.fleets.clear();
    assert_eq!(sentences(&fresh), Vec::<String>::new());
    assert_eq!(serving(&environment(), &fresh).to_string(), "nothing yet");
}

#[test]
fn a_serving_release_that_sleeps_and_the_remains_of_one_are_named() {
    let mut world = world(&[(42, 100)], 42);
    world.fleets[3].groups.get_mut(&CapacityKind::OnDemand).unwrap().desired = 0;
    assert_eq!(sentences(&world), ["worker: the records say r42, but it sleeps: its group wants no instances"]);
    world.fleets[3].groups.get_mut(&CapacityKind::OnDemand).unwrap().desired = 1;
    world.fleets[0].groups.clear();
    assert_eq!(sentences(&world), ["web-r41 has no instances any more, but parts of it are left; the next deploy clears them"]);
    // While somebody works, fleets come and go.
    world.records.lock = Some(LockRecord { open: Some(OperationId("1".into())), ..LockRecord::default() });
    assert_eq!(sentences(&world), [""; 0]);
}
