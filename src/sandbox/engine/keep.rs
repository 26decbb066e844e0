//! An engine at one moment, and engines that go on from there: what takes long to come about is made once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{Engine, Place, State};
use crate::sandbox::faults::Faults;
use crate::sandbox::host::Host;
use crate::sandbox::latency::Latencies;
use crate::sandbox::throttle::Buckets;
use crate::sandbox::{autoscaling, cloudwatch, dynamodb, ec2, elbv2, quotas, secretsmanager, ssm};

/// An engine at one moment.
pub(in crate::sandbox) struct Kept {
    now: Duration,
    wall_at_start: jiff::Timestamp,
    seed: u64,
    latencies: Latencies,
    states: Vec<KeptState>,
}

struct KeptState {
    place: Place,
    ec2: ec2::Ec2,
    autoscaling: autoscaling::Autoscaling,
    elbv2: elbv2::Elbv2,
    dynamodb: dynamodb::Kept,
    cloudwatch: cloudwatch::Cloudwatch,
    ssm: ssm::Ssm,
    secrets: secretsmanager::Secrets,
    quotas: quotas::Quotas,
    certificates: Vec<String>,
    rng: fastrand::Rng,
    buckets: Buckets,
}

impl State {
    fn keep(&self) -> KeptState {
        KeptState {
            place: self.place.clone(),
            ec2: self.ec2.clone(),
            autoscaling: self.autoscaling.clone(),
            elbv2: self.elbv2.clone(),
            dynamodb: self.dynamodb.keep(),
            cloudwatch: self.cloudwatch.clone(),
            ssm: self.ssm.clone(),
            secrets: self.secrets.clone(),
            quotas: self.quotas.clone(),
            certificates: self.certificates.clone(),
            rng: self.rng.clone(),
            buckets: self.buckets.clone(),
        }
    }
}

impl KeptState {
    fn again(&self, started: Instant, wall_at_start: jiff::Timestamp) -> State {
        State {
            place: self.place.clone(),
            ec2: self.ec2.clone(),
            autoscaling: self.autoscaling.clone(),
            elbv2: self.elbv2.clone(),
            dynamodb: dynamodb::Dynamodb::again(&self.dynamodb, &self.place, started, wall_at_start),
            cloudwatch: self.cloudwatch.clone(),
            ssm: self.ssm.clone(),
            secrets: self.secrets.clone(),
            quotas: self.quotas.clone(),
            certificates: self.certificates.clone(),
            rng: self.rng.clone(),
            buckets: self.buckets.clone(),
        }
    }
}

impl Engine {
    /// Everything as it is now. Calls and probes that are under way are not part of it.
    pub(in crate::sandbox) fn keep(&self) -> Kept {
        let states = self.state().values().map(State::keep).collect();
        Kept { now: self.now(), wall_at_start: self.wall_at_start, seed: self.seed, latencies: self.latencies.clone(), states }
    }

    /// An engine that goes on from there, with a log of calls and a schedule of faults of its own. Must be called inside a tokio runtime.
    pub(in crate::sandbox) fn again(kept: &Kept, host: Arc<dyn Host>) -> Arc<Self> {
        let (started, wall_at_start) = (Instant::now() - kept.now, kept.wall_at_start);
        let states = kept.states.iter().map(|state| (state.place.clone(), state.again(started, wall_at_start)));
        let engine = Arc::new(Self {
            started,
            wall_at_start,
            seed: kept.seed,
            seeds: Vec::new(),
            latencies: kept.latencies.clone(),
            host,
            faults: Faults::default(),
            state: Mutex::new(states.collect()),
        });
        engine.begin();
        engine
    }
}
