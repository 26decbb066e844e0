//! What capacity there is to be had: as much as anybody wants, unless somebody makes it scarce; and the spot instances that are taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::instances::{InstanceState, LaunchRequest, end};
use crate::sandbox::connector::Sandbox;
use crate::sandbox::engine::{Context, Engine, Place, State};
use crate::sandbox::wire::AwsError;

/// Between the notice and the end of a spot instance (*Spot Instance interruption notices*).
const NOTICE: Duration = Duration::from_secs(120);

/// The market of one account and Region.
#[derive(Debug, Clone, Default)]
pub(super) struct Market {
    /// What is scarce: spot (or not), one instance type (or each).
    scarce: BTreeMap<(bool, Option<String>), Scarcity>,
    /// Spot instances that were given notice, and when they end.
    notices: BTreeMap<String, Duration>,
}

/// So many launches are left, until then if it ends by itself.
#[derive(Debug, Clone, Copy)]
struct Scarcity {
    left: u32,
    until: Option<Duration>,
}

/// Something that is scarce, for whoever asks what the sandbox is doing.
pub(in crate::sandbox) struct Shortage {
    pub spot: bool,
    /// None: every type.
    pub kind: Option<String>,
    /// Launches that are left.
    pub left: u32,
    /// None: until somebody ends it.
    pub ends_in: Option<Duration>,
}

/// The spot instances that run, by id.
pub(in crate::sandbox) fn running_spot(state: &State) -> Vec<String> {
    let spot = state.ec2.instances.values().filter(|found| found.request.spot && found.state == InstanceState::Running);
    spot.map(|found| found.id.clone()).collect()
}

/// Takes one instance from what there is.
pub(super) fn take(state: &mut State, request: &LaunchRequest) -> Result<(), AwsError> {
    let scarce = &mut state.ec2.market.scarce;
    let keys = [(request.spot, None), (request.spot, Some(request.kind.clone()))];
    if keys.iter().any(|key| scarce.get(key).is_some_and(|scarcity| scarcity.left == 0)) {
        let message = match request.spot {
            true => "There is no Spot capacity available that matches your request.".to_string(),
            false => format!("We currently do not have sufficient {} capacity in the Availability Zone you requested.", request.kind),
        };
        return Err(AwsError::with_status(500, "InsufficientInstanceCapacity", message));
    }
    for key in keys {
        scarce.entry(key).and_modify(|scarcity| scarcity.left -= 1);
    }
    Ok(())
}

/// It was told that it will be taken back.
pub(in crate::sandbox) fn has_notice(state: &State, id: &str) -> bool {
    state.ec2.market.notices.contains_key(id)
}

/// What is scarce now.
pub(in crate::sandbox) fn shortages(state: &State, now: Duration) -> Vec<Shortage> {
    let shown = |((spot, kind), scarcity): (&(bool, Option<String>), &Scarcity)| Shortage {
        spot: *spot,
        kind: kind.clone(),
        left: scarcity.left,
        ends_in: scarcity.until.map(|until| until.saturating_sub(now)),
    };
    state.ec2.market.scarce.iter().map(shown).collect()
}

/// Ends shortages whose time is over, and what was given notice.
pub(super) fn tick(state: &mut State, context: Context<'_>) {
    state.ec2.market.scarce.retain(|_, scarcity| scarcity.until.is_none_or(|until| context.now < until));
    let due: Vec<String> = state.ec2.market.notices.iter().filter(|(_, due)| context.now >= **due).map(|(id, _)| id.clone()).collect();
    for id in due {
        state.ec2.market.notices.remove(&id);
        if let Some(instance) = state.ec2.instances.get_mut(&id).filter(|instance| !instance.state.is_ending()) {
            end(instance, "Server.SpotInstanceTermination", "Spot instance termination", context);
        }
    }
}

impl Engine {
    /// From now on (and for so long, if it is said) only so many more instances can be had; none: as many as anybody wants.
    pub(in crate::sandbox) fn scarce(
        self: &std::sync::Arc<Self>,
        place: &Place,
        spot: bool,
        kind: Option<&str>,
        left: Option<u32>,
        span: Option<Duration>,
    ) {
        let key = (spot, kind.map(str::to_string));
        self.within(place, |state, context| match left {
            Some(left) => _ = state.ec2.market.scarce.insert(key, Scarcity { left, until: span.map(|span| context.now + span) }),
            None => _ = state.ec2.market.scarce.remove(&key),
        });
    }

    /// How long a spot instance has once it was given notice.
    pub(in crate::sandbox) fn notice(&self) -> Duration {
        NOTICE / self.latencies.compression.max(1)
    }

    /// Gives a running spot instance notice; false if it is none.
    pub(in crate::sandbox) fn reclaim(self: &std::sync::Arc<Self>, place: &Place, id: &str) -> bool {
        self.within(place, |state, context| {
            let running = state.ec2.instances.get(id).is_some_and(|found| found.request.spot && found.state == InstanceState::Running);
            if running {
                let due = context.now + context.engine.notice();
                state.ec2.market.notices.entry(id.to_string()).or_insert(due);
            }
            running
        })
    }
}

impl Sandbox {
    /// From now on only so many more instances can be launched: of spot (or on-demand), of one type (or any). None: as many as wanted.
    pub fn scarce(&self, account: &str, region: &str, spot: bool, kind: Option<&str>, left: Option<u32>) {
        let place = Place { account: account.to_string(), region: region.to_string() };
        self.engine.scarce(&place, spot, kind, left, None);
    }

    /// AWS wants a spot instance back: two minutes' notice, and then it is gone. False if it is no running spot instance.
    pub fn reclaim(&self, account: &str, region: &str, id: &str) -> bool {
        let place = Place { account: account.to_string(), region: region.to_string() };
        self.engine.reclaim(&place, id)
    }

    /// The spot instances that run, by id.
    pub fn spot_instances(&self, account: &str, region: &str) -> Vec<String> {
        let place = Place { account: account.to_string(), region: region.to_string() };
        self.engine.within(&place, |state, _| running_spot(state))
    }
}
