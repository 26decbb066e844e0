//! A company's account in the sandbox, in virtual time, where operators run plans: setup, bakes, deploys, rollbacks, while visitors
//! come by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adstage::aws::{Aws, Connection, Error, Guard};
use adstage::clock::Clock;
use adstage::execute::{self, Ending, Interrupt};
use adstage::failure::Failure;
use adstage::journal::{self, Entry};
use adstage::lock::{self, Blocked, Held, Identity, Intent, Watch};
use adstage::model::*;
use adstage::observe::{self, Wants};
use adstage::plan::{
    self, Ask, BakeRequest, BoxBakeRequest, BoxRequest, DeployRequest, Plan, PruneRequest, Refusal, RollbackRequest, ScaleRequest, Wanted,
};
use adstage::sandbox::{Options, Sandbox, Speed, Visit};
use adstage::steps::{Commands, Cx, Errands, KnownDoor, Reply};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::watch;

use crate::line::Line;

/// The account.
pub struct Yard {
    pub sandbox: Sandbox,
    pub environment: Environment,
    /// One for all: operations are listed in the order of their times.
    pub clock: Clock,
}

/// One process of adstage, run by somebody.
pub struct Operator {
    pub aws: Aws,
    pub clock: Clock,
    pub line: Arc<Line>,
    pub who: Identity,
    pub environment: Arc<Environment>,
    pub events: Arc<Mutex<Vec<Event>>>,
    /// Of every lock they ever held.
    pub guards: Arc<Mutex<Vec<(String, Guard)>>>,
    pub interrupt: watch::Sender<Option<Interrupt>>,
    /// What runs hooks on their machine.
    pub commands: Commands,
    /// Who can be asked what to do: nobody.
    pub consult: Mutex<adstage::steps::Consult>,
}

/// Every operator here waits long enough to take over.
const PATIENCE: lock::Wait<'static> = lock::Wait { timeout: Duration::from_secs(90), tell: &|_, _| () };

/// How a command went.
#[derive(Debug)]
pub enum Went {
    Refused(Refusal),
    Blocked(Blocked),
    /// AWS did not answer, or said no, before anything was begun.
    #[expect(dead_code, reason = "read through Debug, when a test that expected otherwise fails")]
    Failed(Error),
    /// Nothing is unfinished.
    Nothing,
    /// What is unfinished is not gone on with.
    Stuck(Failure),
    Ran(Box<Plan>, Ending),
}

impl Went {
    pub fn ending(self) -> Ending {
        match self {
            Self::Ran(_, ending) => ending,
            other => panic!("{other:?}"),
        }
    }

    /// It ended well.
    pub fn well(self) -> Plan {
        match self {
            Self::Ran(plan, Ending { outcome: Outcome::Deployed, failure: None, .. }) => *plan,
            other => panic!("{other:#?}"),
        }
    }
}

fn service(name: &str, port: Option<u16>, paths: &str, instances: u32) -> Service {
    Service {
        name: name.parse().unwrap(),
        repository: "storefront".parse().unwrap(),
        run: format!("bin/{name}"),
        port,
        health_path: "/up".into(),
        variables: BTreeMap::new(),
        secrets: BTreeMap::new(),
        release_command: None,
        route: port.map(|port| Route { priority: port - 7_990, hosts: Vec::new(), paths: vec![paths.into()] }),
        instance_type: "m7i.large".into(),
        other_types: vec![],
        spot: 0,
        instances,
        max_instances: instances * 2,
        scaling: None,
        grace: Seconds(20),
        overlap: false,
    }
}

/// Two web services and a worker.
pub fn environment() -> Environment {
    let subnets: Vec<String> = ["a", "b"].map(|zone| format!("subnet-0000000000000000{zone}")).into();
    let security_groups = vec!["sg-00000000000000001".to_string()];
    Environment {
        app: "shop".parse().unwrap(),
        name: "production".parse().unwrap(),
        account: "444455556666".into(),
        region: "eu-central-1".into(),
        profile: None,
        state_table: "adstage".into(),
        confirm: Confirm::None,
        subnets: subnets.clone(),
        security_groups: security_groups.clone(),
        instance_profile: None,
        load_balancer: LoadBalancer {
            name: "shop-production".into(),
            scheme: Scheme::InternetFacing,
            subnets,
            security_groups,
            listener: Listener { port: 80, certificate: None },
        },
        services: vec![service("admin", Some(8002), "/admin/*", 1), service("web", Some(8003), "/*", 2), service("worker", None, "", 1)],
        timing: DeployTiming {
            health: HealthCheck { interval: Seconds(5), timeout: Seconds(2), healthy_count: 2, unhealthy_count: 2 },
            healthy_within: Seconds(300),
            stable_for: Seconds(10),
            watch: Seconds(60),
            drain: Seconds(20),
            keep_warm: 1,
            min_capacity: 100,
            watching: Watching::default(),
        },
        hooks: Hooks::default(),
    }
}

impl Yard {
    /// Set up, with an image proved.
    pub async fn ready() -> Self {
        Self::at(Options::default()).await
    }

    /// The same, where everything takes as long as it does.
    pub async fn lifelike() -> Self {
        Self::at(Options { speed: Speed::Lifelike, ..Options::default() }).await
    }

    async fn at(options: Options) -> Self {
        let yard = Self { sandbox: Sandbox::in_process(options), environment: environment(), clock: Clock::for_tests() };
        let builder = yard.operator("builder").await;
        builder.aws.dynamodb.create_table(&yard.environment.state_table).await.unwrap();
        builder.setup().await.well();
        builder.bake("1").await.well();
        yard
    }

    pub async fn operator(&self, name: &str) -> Operator {
        let line = Arc::new(Line::default());
        let client = line.through(self.sandbox.http_client());
        Operator { line, ..self.operator_over(name, self.clock.clone(), client).await }
    }

    /// One with a clock and a way to AWS of their own.
    pub async fn operator_over(&self, name: &str, clock: Clock, client: SharedHttpClient) -> Operator {
        let connection = Connection {
            region: self.environment.region.clone(),
            profile: None,
            endpoint: Some("http://sandbox.invalid".into()),
            account_keys: Some(self.environment.account.clone()),
            http: Some(client),
            clock: clock.clone(),
            seed: 1,
        };
        let who = Identity {
            owner: format!("01{}", name.to_uppercase()),
            who: name.into(),
            host: format!("{name}-laptop"),
            via: "laptop".into(),
            arn: format!("arn:aws:sts::444455556666:assumed-role/deploy/{name}"),
            cli: "0.1.0".into(),
        };
        let (aws, environment) = (Aws::connect(connection).await, Arc::new(self.environment.clone()));
        let (line, interrupt) = (Arc::default(), watch::channel(None).0);
        Operator {
            aws,
            clock,
            line,
            who,
            environment,
            events: Arc::default(),
            guards: Arc::default(),
            interrupt,
            commands: Commands::default(),
            consult: Mutex::default(),
        }
    }

    /// The account's CloudWatch, for whoever sets alarms by hand.
    pub fn cloudwatch(&self) -> aws_sdk_cloudwatch::Client {
        let keys = aws_credential_types::Credentials::new(&self.environment.account, "sandbox", None, None, "test");
        let config = aws_sdk_cloudwatch::Config::builder()
            .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_config::Region::new(self.environment.region.clone()))
            .endpoint_url("http://sandbox.invalid")
            .credentials_provider(keys)
            .http_client(self.sandbox.http_client())
            .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(aws_smithy_async::rt::sleep::TokioSleep::new()));
        aws_sdk_cloudwatch::Client::from_conf(config.build())
    }

    /// The account's Auto Scaling, for whoever changes policies by hand.
    pub fn autoscaling(&self) -> aws_sdk_autoscaling::Client {
        let keys = aws_credential_types::Credentials::new(&self.environment.account, "sandbox", None, None, "test");
        let config = aws_sdk_autoscaling::Config::builder()
            .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_config::Region::new(self.environment.region.clone()))
            .endpoint_url("http://sandbox.invalid")
            .credentials_provider(keys)
            .http_client(self.sandbox.http_client())
            .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(aws_smithy_async::rt::sleep::TokioSleep::new()));
        aws_sdk_autoscaling::Client::from_conf(config.build())
    }

    /// What a visitor of a path gets: the status, and the target group that answered.
    pub async fn visit(&self, path: &str) -> (u16, String) {
        let (account, region) = (&self.environment.account, &self.environment.region);
        let visit = Visit { account, region, load_balancer: "shop-production", host: "shop.example", path, headers: &[] };
        let visited = self.sandbox.visit(&visit).await.expect("a listener");
        (visited.status, visited.target_group.unwrap_or_default())
    }

    /// Visits until told otherwise; every answer that is not 200, and who answered in what order.
    pub fn visitors(&self) -> Visitors {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (sandbox, environment, clock) = (self.sandbox.clone(), self.environment.clone(), self.clock.clone());
        let (yard, into) = (Self { sandbox, environment, clock }, seen.clone());
        let task = tokio::spawn(async move {
            loop {
                for path in ["/", "/admin/x"] {
                    let (status, group) = yard.visit(path).await;
                    let mut seen = into.lock().unwrap();
                    seen.count += 1;
                    if status != 200 {
                        seen.failed.push(format!("{path}: {status} from {group:?}"));
                    }
                    if path == "/" && seen.groups.last() != Some(&group) {
                        seen.groups.push(group);
                    }
                }
                yard.clock.sleep(Duration::from_millis(500)).await;
            }
        });
        Visitors { seen, task }
    }
}

/// What visitors saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub count: usize,
    pub failed: Vec<String>,
    /// Target groups that answered `/`, each time another one did.
    pub groups: Vec<String>,
}

/// Steady visitors.
pub struct Visitors {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Visitors {
    pub async fn gone(self) -> Seen {
        self.task.abort();
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Operator {
    pub async fn world(&self) -> World {
        self.look(&self.site()).await.unwrap()
    }

    async fn look(&self, site: &Site) -> Result<World, Error> {
        let room = site.launches.as_ref();
        match &site.look {
            Look::Environment => observe::world(&self.aws, &site.environment, &self.scope(), Wants { images: true, room }).await,
            Look::Box(name) => observe::box_world(&self.aws, &review().environment, &site.scope, name, room).await,
            Look::Shelf => observe::shelf_world(&self.aws, &site.environment, &site.scope, &[&self.environment]).await,
            Look::Images => observe::image_world(&self.aws, &site.environment, &site.scope).await,
        }
    }

    fn site(&self) -> Site {
        Site { environment: self.environment.clone(), scope: self.scope(), look: Look::Environment, launches: None }
    }

    pub async fn setup(&self) -> Went {
        Box::pin(self.carry_out(|world| plan::setup(&self.environment, world), &self.site(), false)).await
    }

    /// The load balancer and the listener of review boxes.
    pub async fn setup_review(&self) -> Went {
        let environment = Arc::new(Environment { services: Vec::new(), ..review().environment });
        let site = Site { scope: Scope::of(&environment), environment: environment.clone(), ..self.site() };
        Box::pin(self.carry_out(|world| plan::setup(&environment, world), &site, false)).await
    }

    fn site_of(&self, name: &str) -> Site {
        let (name, environment) = (name.parse::<BoxName>().unwrap(), Arc::new(review().environment));
        Site { scope: Scope::review(&environment.state_table, &environment.app, &name), environment, look: Look::Box(name), launches: None }
    }

    /// A review box, with the storefront at this commit if one is given, until the end of the day.
    pub async fn create_box(&self, name: &str, commit: Option<&str>) -> Went {
        self.create_box_as(name, commit, &review()).await
    }

    pub async fn create_box_as(&self, name: &str, commit: Option<&str>, review: &Review) -> Went {
        let (builder, _) = self.baking("1");
        let wanted = |commit: &str| {
            let wanted = Wanted { reference: format!("feature-{commit}"), commit: commit.repeat(40) };
            ("storefront".parse().unwrap(), wanted)
        };
        let (name, wanted): (BoxName, BTreeMap<_, _>) = (name.parse().unwrap(), commit.map(wanted).into_iter().collect());
        let expires = (self.clock.wall() + jiff::SignedDuration::from_secs(review.ttl.0 as i64)).to_string();
        let repositories = &builder.repositories;
        let request = BoxRequest { review, repositories, name: &name, image: None, wanted: &wanted, expires: &expires };
        let plan = |world: &World| plan::create_box(&request, world);
        let site = Site { launches: Some(review.purchases()), ..self.site_of(name.as_str()) };
        Box::pin(self.carry_out(plan, &site, true)).await
    }

    pub async fn delete_box(&self, name: &str) -> Went {
        let wanted: BoxName = name.parse().unwrap();
        Box::pin(self.carry_out(|world| Ok(plan::delete_box(&wanted, world)), &self.site_of(name), true)).await
    }

    pub async fn extend_box(&self, name: &str, until: &str) -> Went {
        let wanted: BoxName = name.parse().unwrap();
        Box::pin(self.carry_out(|world| plan::extend_box(&wanted, until, world), &self.site_of(name), true)).await
    }

    /// Somebody finds good what a box was launched with.
    pub async fn approve_box(&self, name: &str) -> Went {
        let (wanted, at): (BoxName, _) = (name.parse().unwrap(), self.clock.wall().to_string());
        let plan = |world: &World| {
            let commits = world.boxes.iter().filter_map(|found| found.instance.as_ref()).map(|there| commits_hash(&there.commits));
            let approval = Approval { who: self.who.who.clone(), at: at.clone(), commits: commits.collect() };
            plan::approve_box(&wanted, &approval, world)
        };
        Box::pin(self.carry_out(plan, &self.site_of(name), true)).await
    }

    /// The lock and the journal of the bake of a box.
    pub async fn box_bake_scope(&self, name: &str) -> Scope {
        let (hash, _) = self.inspected(name).await.unwrap().expect("a box");
        Scope::bake(&self.environment.state_table, &self.environment.app, &hash)
    }

    /// What is on a box: what it was launched with.
    async fn inspected(&self, name: &str) -> Result<Option<(String, Inspection)>, Error> {
        let boxes = observe::boxes(&self.aws, &review().environment).await?;
        let found = boxes.into_iter().find(|found| found.name.as_str() == name).and_then(|found| found.instance);
        Ok(found.map(|there| {
            let seen = Inspection { commits: there.commits, dirty: BTreeMap::new(), services: BTreeMap::new() };
            (plan::box_bake_hash(&self.environment.app, &there.image, &seen), seen)
        }))
    }

    /// An image of an approved box.
    pub async fn bake_box(&self, name: &str) -> Went {
        let (hash, seen) = match self.inspected(name).await {
            Ok(Some(inspected)) => inspected,
            Ok(None) => return Went::Nothing,
            Err(error) => return Went::Failed(error),
        };
        let ((builder, _), of) = (self.baking("1"), name.parse::<BoxName>().unwrap());
        let (app, environment, clean) = (&self.environment.app, &*self.environment, Some("bin/clean"));
        let request = BoxBakeRequest {
            app,
            builder: &builder,
            environment,
            of: &of,
            seen: &seen,
            ready_within: review().ready_within,
            clean,
            unapproved: None,
            allow_dirty: false,
        };
        let site = Site { scope: Scope::bake(&environment.state_table, app, &hash), look: Look::Box(of.clone()), ..self.site() };
        Box::pin(self.carry_out(|world: &World| plan::bake_box(world, request), &site, true)).await
    }

    /// Removes images nobody needs.
    pub async fn prune(&self, keep: usize) -> Went {
        let day_ago = (self.clock.wall() - jiff::SignedDuration::from_hours(24)).to_string();
        let request = PruneRequest { keep, day_ago };
        let site = Site { look: Look::Shelf, ..self.site_of_images() };
        Box::pin(self.carry_out(|world: &World| Ok(plan::prune(world, &request)), &site, true)).await
    }

    /// Copies the newest image to another Region.
    pub async fn copy(&self, region: &str) -> Went {
        let plan = |world: &World| plan::copy_image(&self.environment, &world.images, world.images.first().expect("an image"), region);
        Box::pin(self.carry_out(plan, &self.site_of_images(), true)).await
    }

    fn site_of_images(&self) -> Site {
        Site { scope: Scope::images(&self.environment.state_table, &self.environment.app), look: Look::Images, ..self.site() }
    }

    /// The app's images in a Region.
    pub async fn images_in(&self, region: &str) -> Vec<Image> {
        observe::images(&self.aws.in_region(region), &self.environment).await.unwrap()
    }

    /// Whoever gets onto machines: all that is asked for is done there.
    fn errands(&self) -> Errands {
        let ((errands, mut listening), clock) = (Errands::open(), self.clock.clone());
        tokio::spawn(async move {
            while let Some(errand) = listening.recv().await {
                clock.sleep(Duration::from_secs(2)).await;
                let _nobody_may_wait_any_more = errand.done.send(Ok(Reply { code: 0, stderr: String::new() }));
            }
        });
        errands
    }

    /// Every review box, as `adstage review list` sees them.
    pub async fn boxes(&self) -> Vec<ReviewBox> {
        observe::boxes(&self.aws, &review().environment).await.unwrap()
    }

    /// The lock and the journal of such a bake.
    pub fn bake_scope(&self, commit: &str) -> Scope {
        let (builder, commits) = self.baking(commit);
        let app = &self.environment.app;
        Scope::bake(&self.environment.state_table, app, &plan::bake_hash(app, &builder, &commits))
    }

    fn baking(&self, commit: &str) -> (Builder, BTreeMap<RepositoryName, String>) {
        let repository = Repository { source: Source::Path("/src".into()), reference: "main".into(), build: None };
        let name: RepositoryName = "storefront".parse().unwrap();
        let builder = Builder {
            base: "ami-00000000000000001".into(),
            instance_type: "m7i.large".into(),
            setup: None,
            time_limit: Seconds(3_600),
            environment: self.environment.name.clone(),
            repositories: BTreeMap::from([(name.clone(), repository)]),
        };
        (builder, BTreeMap::from([(name, commit.repeat(40))]))
    }

    pub async fn bake(&self, commit: &str) -> Went {
        let (builder, commits) = self.baking(commit);
        let (app, builder, environment, scope) = (&self.environment.app, &builder, &self.environment, self.bake_scope(commit));
        let plan = |world: &World| plan::bake(BakeRequest { app, builder, environment, commits: &commits, images: &world.images });
        let site = Site { scope, ..self.site() };
        Box::pin(self.carry_out(plan, &site, true)).await
    }

    pub async fn deploy(&self) -> Went {
        self.deploy_as(&DeployRequest::default()).await
    }

    pub async fn deploy_as(&self, request: &DeployRequest) -> Went {
        let plan = |world: &World| self.linted(plan::deploy(&self.environment, world, request), world);
        let site = Site { launches: Some(self.environment.purchases()), ..self.site() };
        Box::pin(self.carry_out(plan, &site, false)).await
    }

    pub async fn rollback(&self) -> Went {
        let plan = |world: &World| self.linted(plan::rollback(&self.environment, world, &RollbackRequest::default()), world);
        Box::pin(self.carry_out(plan, &self.site(), true)).await
    }

    pub async fn scale(&self, request: &ScaleRequest) -> Went {
        let plan = |world: &World| self.linted(plan::scale(&self.environment, world, request), world);
        Box::pin(self.carry_out(plan, &self.site(), false)).await
    }

    /// Puts visitors back where the records say, if a call of an earlier holder has landed late.
    pub async fn reassert(&self) -> Went {
        let plan = |world: &World| self.linted(plan::reassert(&self.environment, world), world);
        Box::pin(self.carry_out(plan, &self.site(), false)).await
    }

    /// Goes on with what is unfinished, or undoes it: as `adstage resume` does.
    pub async fn resume(&self, abort: bool) -> Went {
        let ask = if abort { Ask::Abort } else { Ask::GoOn };
        let lock = match lock::read(&self.aws.dynamodb, &self.scope()).await {
            Ok(view) => view.lock,
            Err(error) => return Went::Failed(error),
        };
        let Some(operation) = lock.and_then(|lock| lock.open) else { return Went::Nothing };
        let plan = match execute::remains(&self.aws, &self.environment, &operation, ask, &self.clock).await {
            Ok(remains) => remains.begun.plan,
            Err(why) => return Went::Stuck(why.failure(&self.environment)),
        };
        let held = match self.take(&plan, &operation, &self.scope(), Watch::new(&self.clock)).await {
            Ok(held) => held,
            Err(blocked) => return Went::Blocked(blocked),
        };
        self.guards.lock().unwrap().push((self.scope().pk, held.guard()));
        let (emit, cx) = (self.emit(), self.cx(operation));
        let ending = Box::pin(execute::resume(ask, cx, &held, &emit, self.interrupt.subscribe())).await;
        Went::Ran(Box::new(plan), ending)
    }

    fn emit(&self) -> execute::Emit {
        let events = self.events.clone();
        Arc::new(move |event| events.lock().unwrap().push(event))
    }

    fn cx(&self, operation: OperationId) -> Cx {
        Cx {
            aws: self.aws.clone(),
            clock: self.clock.clone(),
            environment: self.environment.clone(),
            operation,
            owner: self.who.who.clone(),
            door: KnownDoor::default(),
            errands: self.errands(),
            commands: self.commands.clone(),
            consult: self.consult.lock().unwrap().clone(),
            progress: Arc::new(|_| ()),
        }
    }

    fn linted(&self, plan: Result<Plan, Refusal>, world: &World) -> Result<Plan, Refusal> {
        plan.inspect(|plan| assert_eq!(plan::lint(plan, Some(world)), []))
    }

    fn scope(&self) -> Scope {
        Scope::of(&self.environment)
    }

    /// Waits for whoever is at work, settles nothing that has begun something unless it `supersedes` it, plans, takes the lock, and plans
    /// again: the world may have moved meanwhile.
    async fn carry_out(&self, plan: impl Fn(&World) -> Result<Plan, Refusal>, site: &Site, supersedes: bool) -> Went {
        let scope = &site.scope;
        let watch = match self.settled(scope, supersedes).await {
            Ok(watch) => watch,
            Err(blocked) => return Went::Blocked(blocked),
        };
        let (before, room) = match self.planned(&plan, site).await {
            Ok(Ok(planned)) => planned,
            Ok(Err(refusal)) => return Went::Refused(refusal),
            Err(error) => return Went::Failed(error),
        };
        let operation =
            OperationId(ulid::Ulid::from_parts(self.clock.wall().as_millisecond().cast_unsigned(), fastrand::u128(..)).to_string());
        let held = match self.take(&before, &operation, scope, watch).await {
            Ok(held) => held,
            Err(blocked) => return Went::Blocked(blocked),
        };
        self.guards.lock().unwrap().push((scope.pk.clone(), held.guard()));
        let again = self.look(&Site { launches: None, ..site.clone() }).await.map(|mut world| {
            world.records.operations.retain(|record| record.id != operation);
            plan(&World { room, ..world })
        });
        let plan = match again {
            Ok(Ok(plan)) => plan,
            Ok(Err(refusal)) => return self.give_back(&held, Went::Refused(refusal)).await,
            Err(error) => return self.give_back(&held, Went::Failed(error)).await,
        };
        let cx = Cx { environment: site.environment.clone(), ..self.cx(operation) };
        let emit = self.emit();
        let ending = Box::pin(execute::run(&plan, cx, &held, &emit, self.interrupt.subscribe())).await;
        Went::Ran(Box::new(plan), ending)
    }

    /// The plan, and what there is room for if it launches something: that may take a second look.
    async fn planned(
        &self,
        plan: impl Fn(&World) -> Result<Plan, Refusal>,
        site: &Site,
    ) -> Result<Result<(Plan, Option<Room>), Refusal>, Error> {
        let world = self.look(site).await?;
        let made = match plan(&world) {
            Ok(made) => made,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let launches = plan::launches(&made, &world);
        if launches.is_empty() || world.room.is_some() {
            return Ok(Ok((made, world.room)));
        }
        let world = self.look(&Site { launches: Some(launches), ..site.clone() }).await?;
        Ok(plan(&world).map(|made| (made, world.room)))
    }

    /// Ends what was not begun. What was taken over with the lock stays open.
    async fn give_back(&self, held: &Held, went: Went) -> Went {
        let mut release = lock::Release::default();
        if held.unfinished().is_none() {
            release.events = vec![Entry::Ended { outcome: Outcome::Refused, reason: None }.item()];
            release.ended = Some(journal::ended(Outcome::Refused, None, &self.clock.wall().to_string()));
        }
        let _lapses_otherwise = held.release(release).await;
        went
    }

    async fn settled(&self, scope: &Scope, supersedes: bool) -> Result<Watch, Blocked> {
        let db = &self.aws.dynamodb;
        let watch = lock::wait_until_settled(db, &self.clock, scope, PATIENCE).await?;
        match lock::read(db, scope).await?.lock.and_then(|lock| lock.open) {
            Some(open) if !supersedes && journal::began_something(db, scope, &open).await? => Err(Blocked::Unfinished(open)),
            _ => Ok(watch),
        }
    }

    async fn take(&self, plan: &Plan, operation: &OperationId, scope: &Scope, watch: Watch) -> Result<Held, Blocked> {
        let record = OperationRecord {
            id: operation.clone(),
            kind: plan.kind,
            release: plan.release.as_ref().map(|release| release.number),
            previous: plan.previous,
            by: self.who.who.clone(),
            at: self.clock.wall().to_string(),
            ended_at: None,
            ended: None,
            stage: String::new(),
            reason: None,
        };
        let intent = Intent {
            operation: operation.clone(),
            doing: "at work".into(),
            record: journal::operation_body(&record, "adstage", "0.1.0", Some(plan)).unwrap(),
            began: Entry::Began { text: "began".into() }.item(),
            writes: Vec::new(),
            settles: true,
            passes_freeze: false,
            secondaries: self.secondaries(scope),
            hold: lock::constants::HOLD,
            eta_s: None,
        };
        lock::acquire_seen(&self.aws.dynamodb, &self.clock, scope.clone(), self.who.clone(), intent, PATIENCE, watch).await
    }

    /// What the command line takes along: the listener, for all that is done to an environment.
    fn secondaries(&self, scope: &Scope) -> Vec<Resource> {
        let balancer = &self.environment.load_balancer;
        if *scope == self.scope() { vec![Resource::listener(&balancer.name, balancer.listener.port)] } else { Vec::new() }
    }

    /// Lines an operator saw, in order.
    pub fn saw(&self) -> Vec<String> {
        let line = |event: &Event| match event {
            Event::StageStarted { stage, .. } => Some(format!("{stage} …")),
            Event::StageFinished { stage, .. } => Some(format!("{stage} ok")),
            Event::StageFailed { stage, text, .. } => Some(format!("{stage} failed: {text}")),
            Event::UnwindStarted { .. } => Some("unwind …".to_string()),
            Event::UnwindFinished { .. } => Some("unwind ok".to_string()),
            _ => None,
        };
        self.events.lock().unwrap().iter().filter_map(line).collect()
    }
}

/// Where a command is at work.
#[derive(Clone)]
struct Site {
    environment: Arc<Environment>,
    scope: Scope,
    look: Look,
    /// What is launched for sure.
    launches: Option<Purchases>,
}

/// What a command has to know.
#[derive(Clone)]
enum Look {
    Environment,
    Box(BoxName),
    Shelf,
    Images,
}

/// Review boxes like the environment, behind a load balancer of their own.
pub fn review() -> Review {
    let like = environment();
    let load_balancer = LoadBalancer { name: "shop-review".into(), ..like.load_balancer.clone() };
    Review {
        environment: Environment { name: REVIEW.parse().unwrap(), load_balancer, ..like },
        domain: "review.example".into(),
        instance_type: "m7i.large".into(),
        ttl: Seconds(8 * 3_600),
        ready_within: Seconds(600),
        backing: BTreeMap::new(),
        needs: BTreeMap::new(),
        shell: Vec::new(),
        run: Vec::new(),
        clean: None,
    }
}

/// What the load balancer and the groups show, in one line.
pub fn shown(environment: &Environment, world: &World) -> String {
    let mut parts = Vec::new();
    for service in &environment.services {
        let key = service.route.as_ref().map(|route| RuleKey { service: service.name.clone(), priority: route.priority });
        let weights = key.and_then(|key| world.weights(&key)).unwrap_or_default();
        let fleets = world.fleets.iter().filter(|fleet| fleet.key.service == service.name);
        let fleet = |fleet: &Fleet| {
            let weight = weights.0.get(&fleet.key.release).map(|weight| format!(" at {weight}")).unwrap_or_default();
            format!("{} x{}{weight}", fleet.key.release, fleet.desired())
        };
        parts.push(format!("{}: {}", service.name, fleets.map(fleet).collect::<Vec<_>>().join(", ")));
    }
    let head = world.records.head.as_ref();
    let serving =
        head.map(|head| head.serving.iter().map(|(service, release)| format!("{service} {release}")).collect::<Vec<_>>().join(" "));
    let verdict = |record: &ReleaseRecord| match record.verdict {
        Verdict::Untried => format!("{} untried", record.release.number),
        Verdict::Good => format!("{} good", record.release.number),
        Verdict::Bad { .. } => format!("{} bad", record.release.number),
    };
    let verdicts: Vec<_> = world.records.releases.iter().rev().map(verdict).collect();
    format!("{}; head: {}; {}", parts.join("; "), serving.unwrap_or_default(), verdicts.join(", "))
}
