//! Every step against the sandbox in virtual time: run twice, undone twice, cut off from its replies, in the way of somebody else.

mod images;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use adstage::aws::{Aws, Connection, ErrorKind, Tags};
use adstage::clock::Clock;
use adstage::model::{
    Builder, CapacityKind, Confirm, DeployTiming, Environment, FleetKey, HealthCheck, Hooks, ImageId, Listener, LoadBalancer, OperationId,
    Provenance, ReleaseNumber, Repository, Route, RuleKey, ScalingMetric, ScalingPolicy, Scheme, Scope, Seconds, Service, ServiceName,
    Source, UserData, UserService, Watching, Weights, World,
};
use adstage::observe::{self, Wants};
use adstage::plan::{Judging, Step, TargetGroupSpec, TemplateSpec};
use adstage::sandbox::{Misfortune, Options, Sandbox, Speed, When};
use adstage::steps::{self, Cx, StepError};

fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

fn health() -> HealthCheck {
    HealthCheck { interval: Seconds(5), timeout: Seconds(2), healthy_count: 2, unhealthy_count: 2 }
}

fn environment() -> Environment {
    let web = Service {
        name: service("web"),
        repository: "storefront".parse().unwrap(),
        run: "bin/web".into(),
        port: Some(8001),
        health_path: "/up".into(),
        variables: BTreeMap::new(),
        secrets: BTreeMap::new(),
        release_command: None,
        route: Some(Route { priority: 10, hosts: vec![], paths: vec![] }),
        instance_type: "m7i.large".into(),
        other_types: vec![],
        spot: 0,
        instances: 2,
        max_instances: 4,
        scaling: None,
        grace: Seconds(20),
        overlap: false,
    };
    let worker = Service { name: service("worker"), port: None, route: None, ..web.clone() };
    let subnets = vec!["subnet-0000000000000000a".to_string(), "subnet-0000000000000000b".to_string()];
    let security_groups = vec!["sg-00000000000000001".to_string()];
    Environment {
        app: "shop".parse().unwrap(),
        name: "staging".parse().unwrap(),
        account: "111122223333".into(),
        region: "eu-central-1".into(),
        profile: None,
        state_table: "adstage".into(),
        confirm: Confirm::None,
        subnets: subnets.clone(),
        security_groups: security_groups.clone(),
        instance_profile: None,
        load_balancer: LoadBalancer {
            name: "shop-staging".into(),
            scheme: Scheme::InternetFacing,
            subnets,
            security_groups,
            listener: Listener { port: 80, certificate: None },
        },
        services: vec![web, worker],
        timing: DeployTiming {
            health: health(),
            healthy_within: Seconds(600),
            stable_for: Seconds(20),
            watch: Seconds(60),
            drain: Seconds(30),
            keep_warm: 1,
            min_capacity: 100,
            watching: Watching::default(),
        },
        hooks: Hooks::default(),
    }
}

/// One account, one operator.
struct Bench {
    sandbox: Sandbox,
    cx: Cx,
    told: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    async fn new() -> Self {
        Self::at(Speed::Quick).await
    }

    async fn at(speed: Speed) -> Self {
        let (sandbox, clock) = (Sandbox::in_process(Options { speed, ..Options::default() }), Clock::for_tests());
        let connection = Connection {
            region: "eu-central-1".into(),
            profile: None,
            endpoint: Some("http://sandbox.invalid".into()),
            account_keys: Some("111122223333".into()),
            http: Some(sandbox.http_client()),
            clock: clock.clone(),
            seed: 1,
        };
        let aws = Aws::connect(connection).await;
        aws.dynamodb.create_table("adstage").await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = told.clone();
        let cx = Cx {
            aws,
            clock,
            environment: Arc::new(environment()),
            operation: OperationId("01JD0000000000000000000001".into()),
            owner: "ana <ana@example.com>".into(),
            door: steps::KnownDoor::default(),
            errands: steps::Errands::default(),
            commands: steps::Commands::default(),
            consult: steps::Consult::default(),
            progress: Arc::new(move |progress| listener.lock().unwrap().push(progress.text)),
        };
        Self { sandbox, cx, told }
    }

    /// With load balancer, listener and rule.
    async fn set_up() -> Self {
        let bench = Self::new().await;
        bench.run_all(&network()).await;
        bench
    }

    /// With a first release that has the visitors.
    async fn live() -> Self {
        Self::live_at(Speed::Quick).await
    }

    async fn live_at(speed: Speed) -> Self {
        let bench = Self::at(speed).await;
        bench.run_all(&network()).await;
        bench.run_all(&candidate("web", 1, "")).await;
        bench.run(&cut_over(&[], &[(1, 100)])).await.unwrap();
        bench
    }

    async fn run(&self, step: &Step) -> Result<String, StepError> {
        steps::run(step, &self.cx).await
    }

    async fn undo(&self, step: &Step) -> Result<(), StepError> {
        steps::undo(step, &self.cx).await
    }

    async fn run_all(&self, steps: &[Step]) {
        for step in steps {
            self.run(step).await.unwrap_or_else(|error| panic!("{step}: {error} {:?}", error.evidence));
        }
    }

    async fn world(&self) -> World {
        let environment = &self.cx.environment;
        let scope = Scope::environment("adstage", &environment.app, &environment.name);
        observe::world(&self.cx.aws, environment, &scope, Wants { images: true, room: None }).await.unwrap()
    }

    async fn weights(&self) -> Weights {
        self.world().await.weights(&rule()).unwrap()
    }

    fn lose_reply(&self, action: &str) {
        self.sandbox.faults().schedule(When::Action(action.into(), 1), Misfortune::LoseReply);
    }

    fn mutations(&self) -> usize {
        self.sandbox.faults().calls().iter().filter(|call| call.mutating).count()
    }
}

fn fleet(name: &str, release: u32) -> FleetKey {
    FleetKey { service: service(name), release: ReleaseNumber(release) }
}

fn rule() -> RuleKey {
    RuleKey { service: service("web"), priority: 10 }
}

fn weights(pairs: &[(u32, u16)]) -> Weights {
    Weights(pairs.iter().map(|(release, weight)| (ReleaseNumber(*release), *weight)).collect())
}

fn cut_over(before: &[(u32, u16)], after: &[(u32, u16)]) -> Step {
    Step::CutOverTraffic { rule: rule(), before: weights(before), after: weights(after), origin: None }
}

fn idle(before: &[(u32, u16)], after: &[(u32, u16)]) -> Step {
    Step::IdleInRoute { rule: rule(), before: weights(before), after: weights(after) }
}

fn network() -> Vec<Step> {
    let route = environment().services[0].route.clone().unwrap();
    vec![Step::CreateLoadBalancer, Step::CreateListener, Step::CreateRouteRule { service: service("web"), route }]
}

/// What makes a fleet, with a script for its machines.
fn candidate(name: &str, release: u32, script: &str) -> Vec<Step> {
    let (fleet, port) = (fleet(name, release), (name == "web").then_some(8001));
    let variables = BTreeMap::from([("SANDBOX_SCRIPT".to_string(), script.to_string())]);
    let told = UserService {
        repository: "storefront".parse().unwrap(),
        run: "bin/it".into(),
        port,
        health_path: "/up".into(),
        variables,
        secrets: BTreeMap::new(),
        release_command: None,
        grace: None,
    };
    let environment = environment();
    let user_data = UserData::new(environment.app, environment.name, Some(fleet.release), BTreeMap::from([(service(name), told)]));
    let template = TemplateSpec {
        image: ImageId("ami-00000000000000001".into()),
        instance_type: "m7i.large".into(),
        user_data: user_data.render().unwrap(),
    };
    let path = if port.is_some() { "/up" } else { "/health" };
    let spec = TargetGroupSpec { port: port.unwrap_or(7600), path: path.into(), health: health(), drain: Seconds(30) };
    vec![
        Step::CreateLaunchTemplate { fleet: fleet.clone(), template },
        Step::CreateTargetGroup { fleet: fleet.clone(), spec },
        Step::CreateTestRule { fleet: fleet.clone() },
        Step::LaunchFleet { fleet: fleet.clone(), kind: CapacityKind::OnDemand, types: vec![], size: 2, max: 4, held: false },
        Step::AwaitHealthy { fleet, count: 2, within: Seconds(600), stable_for: Seconds(20) },
    ]
}

/// A whole deploy of r2 over r1, in the order of a plan.
fn second_release() -> Vec<Step> {
    let mut steps = candidate("web", 2, "");
    steps.insert(3, idle(&[(1, 100)], &[(1, 100), (2, 0)]));
    steps.extend([
        Step::CompareCapacity { candidate: fleet("web", 2), live: fleet("web", 1), share: 100 },
        Step::PinSize { fleet: fleet("web", 1), kind: CapacityKind::OnDemand, min_before: 2, size: 2 },
        cut_over(&[(1, 100), (2, 0)], &[(1, 0), (2, 100)]),
        Step::WatchFleet { fleet: fleet("web", 2), count: 2, span: Seconds(60), judging: Judging::default() },
        Step::SettleFleet { fleet: fleet("web", 2), kind: CapacityKind::OnDemand, min: 2, max: 4 },
    ]);
    steps
}

/// Fleets with their sizes, rules with their actions: what must be as before.
async fn what_is(bench: &Bench) -> (Vec<(String, Option<(u32, u32, u32)>)>, Vec<String>) {
    let world = bench.world().await;
    let size = |fleet: &adstage::model::Fleet| fleet.group(CapacityKind::OnDemand).map(|group| (group.min, group.max, group.desired));
    let fleets = world.fleets.iter().map(|fleet| (fleet.key.to_string(), size(fleet))).collect();
    (fleets, world.rules.iter().map(|rule| format!("{:?} {:?} {:?}", rule.priority, rule.conditions, rule.action)).collect())
}

#[tokio::test(start_paused = true)]
async fn a_deploy_run_twice_and_undone_twice_leaves_everything_as_it_was() {
    there_and_back(Bench::live().await).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_with_an_aws_as_slow_as_the_real_one() {
    there_and_back(Bench::live_at(Speed::Lifelike).await).await;
}

async fn there_and_back(bench: Bench) {
    let before = what_is(&bench).await;
    let steps = second_release();
    for step in &steps {
        bench.run(step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        bench.run(step).await.unwrap_or_else(|error| panic!("again, {step}: {error}"));
    }
    assert_eq!(bench.weights().await, weights(&[(1, 0), (2, 100)]));
    for step in steps.iter().rev() {
        bench.undo(step).await.unwrap_or_else(|error| panic!("undo {step}: {error}"));
        bench.undo(step).await.unwrap_or_else(|error| panic!("undo again, {step}: {error}"));
    }
    assert_eq!(what_is(&bench).await, before);
    assert!(bench.told.lock().unwrap().iter().any(|text| text == "web-r2 2/2 healthy, must stay so for 20s"));
}

#[tokio::test(start_paused = true)]
async fn undoing_what_never_ran_does_nothing() {
    let bench = Bench::live().await;
    let before = what_is(&bench).await;
    for step in second_release().iter().rev() {
        bench.undo(step).await.unwrap_or_else(|error| panic!("undo {step}: {error}"));
    }
    assert_eq!(what_is(&bench).await, before);
}

#[tokio::test(start_paused = true)]
async fn setup_can_be_repeated() {
    let bench = Bench::set_up().await;
    let before = what_is(&bench).await;
    let changed = bench.mutations();
    bench.run_all(&network()).await;
    assert_eq!((what_is(&bench).await, bench.mutations()), (before, changed));
    assert_eq!(bench.weights().await, Weights::default());
}

#[tokio::test(start_paused = true)]
async fn the_first_release_replaces_the_page_and_its_undo_brings_the_page_back() {
    let bench = Bench::live().await;
    assert_eq!(bench.weights().await, weights(&[(1, 100)]));
    bench.undo(&cut_over(&[], &[(1, 100)])).await.unwrap();
    assert_eq!(bench.weights().await, Weights::default());
}

#[tokio::test(start_paused = true)]
async fn the_old_fleet_leaves_and_is_retired_twice() {
    let bench = Bench::live().await;
    bench.run_all(&second_release()).await;
    let leave = Step::LeaveRoute { rule: rule(), release: ReleaseNumber(1) };
    let retire = Step::RetireFleet { fleet: fleet("web", 1), drain: Seconds(30) };
    bench.run(&leave).await.unwrap();
    bench.run(&leave).await.unwrap();
    bench.undo(&leave).await.unwrap();
    bench.undo(&leave).await.unwrap();
    assert_eq!(bench.weights().await, weights(&[(1, 0), (2, 100)]));
    bench.run_all(&[leave, retire.clone(), retire]).await;
    let left: Vec<String> = bench.world().await.fleets.iter().map(|fleet| fleet.key.to_string()).collect();
    assert_eq!(left, ["web-r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_checked_through_its_test_rule_and_put_to_sleep() {
    let bench = Bench::set_up().await;
    bench.run_all(&candidate("worker", 1, "")).await;
    let sleep = Step::ResizeFleet { fleet: fleet("worker", 1), kind: CapacityKind::OnDemand, size_before: 2, size: 0, max: 4 };
    bench.run_all(&[sleep.clone(), sleep.clone()]).await;
    assert_eq!(bench.world().await.fleets[0].desired(), 0);
    bench.undo(&sleep).await.unwrap();
    bench.undo(&sleep).await.unwrap();
    assert_eq!(bench.world().await.fleets[0].desired(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_step_makes_a_fleet_with_visitors_smaller() {
    let bench = Bench::live().await;
    let before = what_is(&bench).await;
    let fleet = || fleet("web", 1);
    let refused = [
        bench.run(&Step::RetireFleet { fleet: fleet(), drain: Seconds(30) }).await.unwrap_err(),
        bench.run(&Step::ResizeFleet { fleet: fleet(), kind: CapacityKind::OnDemand, size_before: 2, size: 1, max: 4 }).await.unwrap_err(),
        bench
            .undo(&Step::LaunchFleet { fleet: fleet(), kind: CapacityKind::OnDemand, types: vec![], size: 2, max: 4, held: false })
            .await
            .unwrap_err(),
        bench.undo(&Step::ResizeFleet { fleet: fleet(), kind: CapacityKind::OnDemand, size_before: 1, size: 2, max: 4 }).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.what, "web-r1 has visitors: it is not made smaller");
    }
    let leave = bench.run(&Step::LeaveRoute { rule: rule(), release: ReleaseNumber(1) }).await.unwrap_err();
    assert_eq!(leave.what, "r1 has visitors on route web (rule 10) (weight 100): it does not leave");
    assert_eq!(what_is(&bench).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_rule_somebody_else_changed_is_left_alone() {
    let bench = Bench::live().await;
    bench.run_all(&second_release()[..7]).await;
    let world = bench.world().await;
    let arn = |release: usize| world.fleets[release - 1].target_group.as_ref().unwrap().arn.clone();
    let by_hand = [(arn(1), 50), (arn(2), 50)];
    bench.cx.aws.elbv2.set_weights(&world.rule(&rule()).unwrap().arn, &by_hand).await.unwrap();
    let moved = cut_over(&[(1, 100), (2, 0)], &[(1, 0), (2, 100)]);
    let error = bench.run(&moved).await.unwrap_err();
    assert_eq!(error.what, "route web (rule 10) was changed outside adstage");
    assert!(bench.undo(&moved).await.is_err());
    assert_eq!(bench.weights().await, weights(&[(1, 50), (2, 50)]));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_without_a_healthy_instance_gets_no_visitors() {
    let bench = Bench::live().await;
    bench.run_all(&candidate("web", 2, "unhealthy")[..4]).await;
    bench.run(&idle(&[(1, 100)], &[(1, 100), (2, 0)])).await.unwrap();
    let error = bench.run(&cut_over(&[(1, 100), (2, 0)], &[(1, 0), (2, 100)])).await.unwrap_err();
    assert_eq!(error.what, "web-r2 has no healthy instance at the load balancer: it gets no visitors");
    assert_eq!(bench.weights().await, weights(&[(1, 100), (2, 0)]));
}

#[tokio::test(start_paused = true)]
async fn scaling_policies_are_put_on_and_taken_off_twice_and_a_strangers_stays() {
    let bench = Bench::live().await;
    let policy = |metric, target| ScalingPolicy { metric, target, warmup: Seconds(60) };
    let (cpu, requests) = (policy(ScalingMetric::Cpu, 60), policy(ScalingMetric::Requests, 900));
    let step = |before: &[ScalingPolicy], policies: &[ScalingPolicy]| Step::SetScaling {
        fleet: fleet("web", 1),
        kind: CapacityKind::OnDemand,
        before: before.to_vec(),
        policies: policies.to_vec(),
    };
    let there = async || {
        let mut found = bench.cx.aws.autoscaling.policies_of("shop-staging-web-r1").await.unwrap();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.into_iter().map(|found| found.policy.ok_or(found.name)).collect::<Vec<_>>()
    };
    let on = step(&[], &[cpu, requests]);
    for action in ["PutScalingPolicy", "DescribePolicies"] {
        bench.lose_reply(action);
        bench.run(&on).await.unwrap();
        assert_eq!(there().await, [Ok(cpu), Ok(requests)]);
    }
    // One of adstage's name that somebody made something else of is made right again.
    let other = policy(ScalingMetric::Cpu, 10);
    bench.cx.aws.autoscaling.put_policy("shop-staging-web-r1", &other, None).await.unwrap();
    bench.run(&on).await.unwrap();
    assert_eq!(there().await, [Ok(cpu), Ok(requests)]);
    let off = step(&[cpu, requests], &[]);
    bench.lose_reply("DeletePolicy");
    bench.run(&off).await.unwrap();
    bench.run(&off).await.unwrap();
    assert_eq!(there().await, []);
    bench.undo(&off).await.unwrap();
    bench.undo(&off).await.unwrap();
    assert_eq!(there().await, [Ok(cpu), Ok(requests)]);
    bench.undo(&on).await.unwrap();
    assert_eq!(there().await, []);
    // What is gone follows nothing; what is not there cannot follow anything.
    let gone = |policies: &[ScalingPolicy]| Step::SetScaling {
        fleet: fleet("web", 7),
        kind: CapacityKind::OnDemand,
        before: Vec::new(),
        policies: policies.to_vec(),
    };
    bench.run(&gone(&[])).await.unwrap();
    bench.undo(&gone(&[cpu])).await.unwrap();
    assert_eq!(bench.run(&gone(&[cpu])).await.unwrap_err().to_string(), "group shop-staging-web-r7 does not exist");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_makes_nothing_twice() {
    let bench = Bench::new().await;
    let mut steps = network();
    steps.extend(candidate("web", 1, ""));
    steps.push(cut_over(&[], &[(1, 100)]));
    let replies = ["CreateLoadBalancer", "CreateListener", "CreateRule", "CreateLaunchTemplate", "CreateTargetGroup", "CreateRule"];
    let replies = replies.into_iter().map(Some).chain([Some("CreateAutoScalingGroup"), None, Some("ModifyRule")]);
    for (step, reply) in steps.iter().zip(replies) {
        reply.into_iter().for_each(|action| bench.lose_reply(action));
        bench.run(step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
    }
    let world = bench.world().await;
    assert_eq!((world.fleets.len(), world.rules.len()), (1, 3));
    assert_eq!(bench.weights().await, weights(&[(1, 100)]));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_made_is_refused_and_survives_the_undo() {
    let bench = Bench::set_up().await;
    let aws = &bench.cx.aws;
    let name = "shop-staging-web-r1";
    let steps = candidate("web", 1, "");
    let Step::CreateTargetGroup { spec, .. } = &steps[1] else { panic!() };
    let vpc = aws.ec2.subnets(&bench.cx.environment.subnets).await.unwrap()[0].vpc.clone();
    aws.elbv2.create_target_group(name, &vpc, spec, &Tags::new()).await.unwrap();
    let error = bench.run(&steps[1]).await.unwrap_err();
    assert_eq!(error.what, "target group shop-staging-web-r1 exists already and was not made by adstage for this");
    bench.undo(&steps[1]).await.unwrap();
    assert!(aws.elbv2.target_group(name).await.unwrap().is_some());

    // The same for a template and a group: ours by name, another release's by tags.
    let Step::CreateLaunchTemplate { template, .. } = &steps[0] else { panic!() };
    let theirs = adstage::aws::NewTemplate {
        name: name.into(),
        spec: template.clone(),
        security_groups: vec![],
        instance_profile: None,
        tags: Tags::from([("adstage:app".to_string(), "other".to_string())]),
        token: "theirs".into(),
    };
    aws.ec2.create_launch_template(&theirs).await.unwrap();
    assert!(bench.run(&steps[0]).await.unwrap_err().what.contains("was not made by adstage"));
    bench.undo(&steps[0]).await.unwrap();
    assert!(aws.ec2.launch_template(name).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_crashes_ends_the_wait_with_what_it_said() {
    let bench = Bench::set_up().await;
    let steps = candidate("web", 1, "crash");
    bench.run_all(&steps[..4]).await;
    let started = bench.cx.clock.moment();
    let error = bench.run(&steps[4]).await.unwrap_err();
    assert!(error.what.starts_with("web-r1: "), "{error}");
    assert!(!error.evidence.is_empty(), "{error:?}");
    assert!(bench.cx.clock.since(started).as_secs() < 300, "it waited for the deadline");
    for step in steps.iter().rev() {
        bench.undo(step).await.unwrap();
    }
    assert!(bench.world().await.fleets.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_never_answers_well_ends_at_the_deadline_with_the_load_balancers_reason() {
    let bench = Bench::set_up().await;
    let steps = candidate("web", 1, "unhealthy");
    bench.run_all(&steps[..4]).await;
    let error = bench.run(&steps[4]).await.unwrap_err();
    assert_eq!(error.what, "web-r1 did not become healthy within 10m");
    assert_eq!(error.because, ["web-r1 0/2 healthy"]);
    assert!(error.evidence.iter().any(|line| line.contains("Target.ResponseCodeMismatch")), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn trouble_after_the_cutover_is_seen_and_said() {
    let bench = Bench::set_up().await;
    bench.run_all(&candidate("web", 1, "sick-after=90")).await;
    let error = bench
        .run(&Step::WatchFleet { fleet: fleet("web", 1), count: 2, span: Seconds(300), judging: Judging::default() })
        .await
        .unwrap_err();
    assert!(error.what.starts_with("web-r1 has visitors and only "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_nothing_that_changes_is_sent() {
    let bench = Bench::set_up().await;
    let before = bench.mutations();
    let cx = Cx { aws: bench.cx.aws.guarded(Arc::new(|| Err("the lease ran out".to_string()))), ..bench.cx.clone() };
    let error = steps::run(&candidate("web", 1, "")[0], &cx).await.unwrap_err();
    assert_eq!(error.kind, Some(ErrorKind::Guard));
    assert_eq!(error.because, ["CreateLaunchTemplate: the lease ran out"]);
    assert_eq!(bench.mutations(), before);
}

fn builder(script: &str) -> Builder {
    let repository = Repository { source: Source::Url("https://example.com/shop.git".into()), reference: "main".into(), build: None };
    Builder {
        base: "ami-00000000000000001".into(),
        instance_type: "m7i.large".into(),
        setup: Some(format!("# SANDBOX_SCRIPT={script}")),
        time_limit: Seconds(3600),
        environment: "staging".parse().unwrap(),
        repositories: BTreeMap::from([("storefront".parse().unwrap(), repository)]),
    }
}

fn bake(script: &str) -> Vec<Step> {
    let (bake, name, within) = ("0123456789ab".to_string(), "shop-0123456789ab".to_string(), Seconds(3600));
    let commits = BTreeMap::from([("storefront".to_string(), "1".repeat(40))]);
    let environment = environment();
    let told = UserService {
        repository: "storefront".parse().unwrap(),
        run: "bin/it".into(),
        port: None,
        health_path: "/".into(),
        variables: BTreeMap::new(),
        secrets: BTreeMap::new(),
        release_command: None,
        grace: None,
    };
    let user_data = UserData::new(environment.app, environment.name, None, BTreeMap::from([(service("web"), told)])).render().unwrap();
    vec![
        Step::LaunchBuilder { bake: bake.clone(), builder: builder(script), commits: commits.clone() },
        Step::AwaitProvision { bake: bake.clone(), within },
        Step::StopBuilder { bake: bake.clone() },
        Step::CaptureImage { bake: bake.clone(), name: name.clone(), commits, within },
        Step::TerminateBuilder { bake: bake.clone() },
        Step::LaunchProof {
            bake: bake.clone(),
            name: name.clone(),
            instance_type: "m7i.large".into(),
            user_data,
            services: vec![service("web")],
            time_limit: within,
        },
        Step::AwaitProof { bake: bake.clone(), name: name.clone(), within: Seconds(600) },
        Step::MarkVerified { name },
        Step::TerminateProof { bake },
    ]
}

#[tokio::test(start_paused = true)]
async fn a_bake_run_twice_makes_one_image_and_undone_twice_none() {
    let bench = Bench::new().await;
    let steps = bake("");
    for step in &steps {
        // Of the two launches, the first reply is lost.
        match step {
            Step::LaunchBuilder { .. } => bench.lose_reply("RunInstances"),
            Step::CaptureImage { .. } => bench.lose_reply("CreateImage"),
            _ => {}
        }
        bench.run(step).await.unwrap_or_else(|error| panic!("{step}: {error} {:?}", error.evidence));
        bench.run(step).await.unwrap_or_else(|error| panic!("again, {step}: {error} {:?}", error.evidence));
    }
    let images = bench.world().await.images;
    assert_eq!(images.len(), 1);
    assert_eq!((images[0].provenance, images[0].commits.len()), (Provenance::Verified, 1));
    for step in steps.iter().rev() {
        bench.undo(step).await.unwrap_or_else(|error| panic!("undo {step}: {error}"));
        bench.undo(step).await.unwrap_or_else(|error| panic!("undo again, {step}: {error}"));
    }
    assert!(bench.world().await.images.is_empty());
    let ours = Tags::from([("adstage:bake".to_string(), "0123456789ab".to_string())]);
    assert!(bench.cx.aws.ec2.instances_tagged(&ours).await.unwrap().iter().all(|instance| instance.state.is_gone()));
}

#[tokio::test(start_paused = true)]
async fn a_builder_that_fails_says_why_and_a_second_bake_gets_a_new_one() {
    let bench = Bench::new().await;
    let steps = bake("provision-failed");
    bench.run(&steps[0]).await.unwrap();
    let error = bench.run(&steps[1]).await.unwrap_err();
    assert_eq!(error.what, "build exited 1");
    bench.undo(&steps[0]).await.unwrap();
    let again = bake("");
    bench.run_all(&again[..2]).await;
}
