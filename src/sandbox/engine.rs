//! The one engine behind both doors: every account and Region's state, the clock's ticks, the dispatch of calls.

mod keep;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::door::{self, Request, Service};
use super::faults::{Faults, ReplyLost, Verdict};
use super::host::Host;
use super::latency::{Latencies, Speed};
use super::throttle::Buckets;
use super::wire::{AwsError, Node, Params};
use super::{autoscaling, cloudwatch, dynamodb, ec2, elbv2, quotas, secretsmanager, ssm, sts};

pub(super) use keep::Kept;

/// How a sandbox is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// How fast AWS's side moves.
    pub speed: Speed,
    /// Seed of every random choice.
    pub seed: u64,
    /// What exists at the start.
    pub seeds: Vec<Seed>,
}

impl Default for Options {
    fn default() -> Self {
        Self { speed: Speed::Quick, seed: 1, seeds: Vec::new() }
    }
}

/// Things that exist in an account and Region before anybody calls: the network and base images a company already has.
#[derive(Debug, Clone, Default)]
pub struct Seed {
    /// 12-digit account.
    pub account: String,
    /// Region.
    pub region: String,
    /// Subnet ids (all in one VPC, spread over Availability Zones).
    pub subnets: Vec<String>,
    /// Security group ids.
    pub security_groups: Vec<String>,
    /// Base AMI ids: an empty machine on which adstage is installed.
    pub images: Vec<String>,
    /// Names of instance profiles.
    pub instance_profiles: Vec<String>,
    /// ARNs of certificates.
    pub certificates: Vec<String>,
}

impl Seed {
    /// What every account and Region has from the start.
    fn default_of(place: &Place) -> Self {
        Self {
            account: place.account.clone(),
            region: place.region.clone(),
            subnets: vec!["subnet-0000000000000000a".into(), "subnet-0000000000000000b".into()],
            security_groups: vec!["sg-00000000000000001".into()],
            images: vec!["ami-00000000000000001".into()],
            instance_profiles: Vec::new(),
            certificates: Vec::new(),
        }
    }

    fn is_of(&self, place: &Place) -> bool {
        self.account == place.account && self.region == place.region
    }
}

/// An account and Region: nothing in one is visible in another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub account: String,
    pub region: String,
}

/// Everything in one account and Region.
pub(super) struct State {
    pub place: Place,
    pub ec2: ec2::Ec2,
    pub autoscaling: autoscaling::Autoscaling,
    pub elbv2: elbv2::Elbv2,
    pub dynamodb: dynamodb::Dynamodb,
    pub cloudwatch: cloudwatch::Cloudwatch,
    pub ssm: ssm::Ssm,
    pub secrets: secretsmanager::Secrets,
    pub quotas: quotas::Quotas,
    /// ARNs of certificates a listener may name.
    pub certificates: Vec<String>,
    pub rng: fastrand::Rng,
    pub buckets: Buckets,
}

impl State {
    /// A new id: `prefix` and 17 hex digits, as EC2's look.
    pub fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}{:x}{:016x}", self.rng.u8(..16), self.rng.u64(..))
    }

    /// A moment up to `latest` from now: when something new is first seen by reads.
    pub fn sometime(&mut self, now: Duration, latest: Duration) -> Duration {
        now + latest.mul_f64(self.rng.f64())
    }
}

/// What handlers and ticks need besides the state.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// Since the engine started.
    pub now: Duration,
    pub wall: jiff::Timestamp,
    pub host: &'a dyn Host,
    pub latencies: &'a Latencies,
    /// For work that goes on after this call or tick ([`Engine::later`]). The state is locked here: never call [`Engine::within`].
    pub engine: &'a Arc<Engine>,
}

/// One call, ready to be carried out under the state's lock. Handlers are plain functions: `fn(&mut Call) -> Answer`.
pub(super) struct Call<'a> {
    pub params: &'a Params,
    pub state: &'a mut State,
    /// Since the engine started.
    pub now: Duration,
    pub wall: jiff::Timestamp,
    pub host: &'a dyn Host,
    pub latencies: &'a Latencies,
    pub engine: &'a Arc<Engine>,
    /// For a `CopyImage`: the image in the Region it comes from.
    pub abroad: Option<&'a ec2::Abroad>,
}

impl<'a> Call<'a> {
    /// The same, without parameters and state.
    pub fn context(&self) -> Context<'a> {
        Context { now: self.now, wall: self.wall, host: self.host, latencies: self.latencies, engine: self.engine }
    }
}

/// What a handler answers: an element whose children are the answer's fields (its own name is given by the door).
pub(super) type Answer = Result<Node, AwsError>;

/// The engine. Shared by the doors, the ticker, the balancer's sockets and the metadata services.
pub struct Engine {
    started: Instant,
    wall_at_start: jiff::Timestamp,
    seed: u64,
    seeds: Vec<Seed>,
    pub(super) latencies: Latencies,
    pub(super) host: Arc<dyn Host>,
    /// Scheduled misfortunes and the log of calls.
    pub(super) faults: Faults,
    state: Mutex<BTreeMap<Place, State>>,
}

impl Engine {
    /// An engine with its ticker running. Must be called inside a tokio runtime.
    pub(super) fn new(options: Options, host: Arc<dyn Host>) -> Arc<Self> {
        let engine = Arc::new(Self {
            started: Instant::now(),
            wall_at_start: wall_at_start(host.real()),
            seed: options.seed,
            seeds: options.seeds,
            latencies: Latencies::of(options.speed),
            host,
            faults: Faults::default(),
            state: Mutex::default(),
        });
        let places: Vec<Place> =
            engine.seeds.iter().map(|seed| Place { account: seed.account.clone(), region: seed.region.clone() }).collect();
        for place in places {
            engine.within(&place, |_, _| ());
        }
        engine.begin();
        engine
    }

    fn begin(self: &Arc<Self>) {
        self.host.attach(Arc::downgrade(self));
        tokio::spawn(keep_ticking(Arc::downgrade(self), self.latencies.tick));
    }

    /// Time since the engine started, on tokio's (pausable) clock.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The wall clock as AWS would stamp it.
    pub(super) fn wall(&self) -> jiff::Timestamp {
        self.wall_at_start + jiff::SignedDuration::try_from(self.now()).unwrap_or_default()
    }

    /// The whole state, locked. Never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, BTreeMap<Place, State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Do something with one account and Region's state, which is made if it is new.
    pub(super) fn within<T>(self: &Arc<Self>, place: &Place, deed: impl FnOnce(&mut State, Context<'_>) -> T) -> T {
        let mut places = self.state();
        let state = places.entry(place.clone()).or_insert_with(|| self.new_place(place));
        deed(state, self.context())
    }

    /// Wait for something outside the lock, then apply what came of it (unless the sandbox has gone by then).
    pub(super) fn later<F, T>(self: &Arc<Self>, place: &Place, work: F, apply: impl FnOnce(&mut State, Context<'_>, T) + Send + 'static)
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let (weak, place): (Weak<Self>, Place) = (Arc::downgrade(self), place.clone());
        tokio::spawn(async move {
            let result = work.await;
            if let Some(engine) = weak.upgrade() {
                engine.within(&place, |state, context| apply(state, context, result));
            }
        });
    }

    /// What the metadata service of a machine answers now; None once it is gone.
    pub(super) fn metadata(&self, instance: &str) -> Option<ec2::Metadata> {
        self.state().values().find_map(|state| ec2::metadata(state, instance))
    }

    /// Ends every machine: the sandbox stops.
    pub(super) fn end_machines(self: &Arc<Self>) {
        let mut places = self.state();
        let context = self.context();
        for state in places.values_mut() {
            let ids: Vec<String> = state.ec2.instances.keys().cloned().collect();
            ids.iter().for_each(|id| ec2::terminate(state, id, context));
        }
    }

    fn context(self: &Arc<Self>) -> Context<'_> {
        Context { now: self.now(), wall: self.wall(), host: self.host.as_ref(), latencies: &self.latencies, engine: self }
    }

    fn new_place(&self, place: &Place) -> State {
        // Every place has its own stream of random choices, whatever the order in which places come into being.
        let mix = place.account.bytes().chain(place.region.bytes()).fold(self.seed, |mix, byte| mix.wrapping_mul(31) ^ u64::from(byte));
        let mut state = State {
            place: place.clone(),
            ec2: ec2::Ec2::default(),
            autoscaling: autoscaling::Autoscaling::default(),
            elbv2: elbv2::Elbv2::default(),
            dynamodb: dynamodb::Dynamodb::new(place, self.started, self.wall_at_start),
            cloudwatch: cloudwatch::Cloudwatch::default(),
            ssm: ssm::Ssm::default(),
            secrets: secretsmanager::Secrets::default(),
            quotas: quotas::Quotas::default(),
            certificates: Vec::new(),
            rng: fastrand::Rng::with_seed(mix),
            buckets: Buckets::default(),
        };
        let own = Seed::default_of(place);
        for seed in std::iter::once(&own).chain(self.seeds.iter().filter(|seed| seed.is_of(place))) {
            ec2::sow(&mut state, seed, self.wall_at_start, self.host.as_ref());
            state.certificates.extend(seed.certificates.iter().cloned());
        }
        state
    }

    /// Move every state on. The ticker calls it; so may a door that has just changed something.
    pub(super) fn tick(self: &Arc<Self>) {
        let mut places = self.state();
        let context = self.context();
        for state in places.values_mut() {
            ec2::tick(state, context);
            autoscaling::tick(state, context);
            elbv2::tick(state, context);
            cloudwatch::tick(state, context);
        }
    }

    /// One HTTP request of an AWS client, answered; or the reply is lost because a fault says so.
    pub async fn call(self: &Arc<Self>, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, ReplyLost> {
        let request = match Request::parse(&request) {
            Ok(request) => request,
            Err((service, error)) => return Ok(door::render_error(service, &error, "unparsed")),
        };
        let half = self.latencies.call(request.service, &request.action) / 2;
        pause(half).await;
        let (number, verdict) = self.faults.next(&request, self.now());
        let request_id = format!("00000000-0000-4000-8000-{number:012x}");
        let response = match &verdict {
            Verdict::Refuse(error) => Err(error.clone()),
            _ => self.carry_out(&request, &request_id),
        };
        self.faults.note(number, response.as_ref().err().map(|error| error.code.clone()));
        pause(half).await;
        match (verdict, response) {
            (Verdict::LoseReply, _) => Err(ReplyLost),
            (_, Ok(response)) => Ok(response),
            (_, Err(error)) if request.service == Service::Cloudwatch => Ok(cloudwatch::render_error(request.dress, &error, &request_id)),
            (_, Err(error)) => Ok(door::render_error(request.service, &error, &request_id)),
        }
    }

    fn carry_out(self: &Arc<Self>, request: &Request, request_id: &str) -> Result<http::Response<Bytes>, AwsError> {
        let abroad = (request.action == "CopyImage").then(|| ec2::abroad(&self.state(), request)).flatten();
        self.within(&request.place, |state, context| {
            state.buckets.take(request, context.now)?;
            let (service, action) = (request.service, request.action.as_str());
            if service == Service::Dynamodb {
                let answer = state.dynamodb.call(action, &request.body, context);
                return answer.map(|body| door::render_json(200, body, request_id));
            }
            if service == Service::Ssm {
                let answer = ssm::call((&mut state.ssm, &state.secrets), &request.place, action, &request.body, context);
                return answer.map(|body| door::render_json(200, body, request_id));
            }
            if service == Service::Secretsmanager {
                let answer = secretsmanager::call(&mut state.secrets, &request.place, action, &request.body, context);
                return answer.map(|body| door::render_json(200, body, request_id));
            }
            if service == Service::Servicequotas {
                let answer = quotas::call(&state.quotas, &request.place, action, &request.body);
                return answer.map(|body| door::render_json(200, body, request_id));
            }
            let mut call = Call {
                params: &request.params,
                state,
                now: context.now,
                wall: context.wall,
                host: context.host,
                latencies: context.latencies,
                engine: context.engine,
                abroad: abroad.as_ref(),
            };
            let answer = match service {
                Service::Ec2 => ec2::call(&mut call, action),
                Service::Autoscaling => autoscaling::call(&mut call, action),
                Service::Elbv2 => elbv2::call(&mut call, action),
                Service::Cloudwatch => {
                    let answer = cloudwatch::call(&mut call, action);
                    return answer.map(|value| cloudwatch::render(request.dress, action, &value, request_id));
                }
                Service::Sts | Service::Dynamodb | Service::Ssm | Service::Secretsmanager | Service::Servicequotas => {
                    sts::call(&mut call, action)
                }
            };
            answer.map(|node| door::render_xml(service, action, node, request_id))
        })
    }
}

/// The sandbox's own door to sleep: tokio's clock, so that a paused test does not wait.
#[allow(clippy::disallowed_methods, reason = "the sandbox is an island with its own door to time")]
pub(super) async fn pause(span: Duration) {
    if !span.is_zero() {
        tokio::time::sleep(span).await;
    }
}

/// Real machines stamp their files with the real time; scripted ones live at a fixed one, so that a run can be repeated exactly.
fn wall_at_start(real: bool) -> jiff::Timestamp {
    #[allow(clippy::disallowed_methods, reason = "the sandbox is an island with its own door to time")]
    if real { jiff::Timestamp::now() } else { jiff::Timestamp::from_second(1_795_000_000).unwrap_or_default() }
}

async fn keep_ticking(engine: Weak<Engine>, span: Duration) {
    let mut ticks = tokio::time::interval(span);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(engine) = engine.upgrade() else { return };
        engine.tick();
    }
}
