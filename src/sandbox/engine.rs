//! The one engine behind both doors: every account and Region's state, the clock's ticks, the dispatch of calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::host::Host;
use super::latency::{Latencies, Speed};
use super::wire::{AwsError, Node, Params};
use super::{autoscaling, ec2, elbv2};

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
    pub rng: fastrand::Rng,
}

impl State {
    /// A new id: `prefix` and 17 hex digits, as EC2's look.
    pub fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}{:017x}", self.rng.u64(..) & 0xffff_ffff_ffff_ffff)
    }
}

/// One call, ready to be carried out under the state's lock. Handlers are plain functions: `fn(&mut Call) -> Result<Node, AwsError>`.
pub(super) struct Call<'a> {
    pub params: &'a Params,
    pub state: &'a mut State,
    /// Since the engine started.
    pub now: Duration,
    pub wall: jiff::Timestamp,
    pub host: &'a dyn Host,
    pub latencies: &'a Latencies,
}

/// What a handler answers.
pub(super) type Answer = Result<Node, AwsError>;

/// The engine. Shared by the doors, the ticker, the balancer's sockets and the metadata services.
pub struct Engine {
    started: Instant,
    wall_at_start: jiff::Timestamp,
    pub(super) latencies: Latencies,
    pub(super) host: Arc<dyn Host>,
    state: Mutex<BTreeMap<Place, State>>,
}

impl Engine {
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
}
