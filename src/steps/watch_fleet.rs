//! Observes the fleet that now has visitors, for a while: the health of its instances, what its visitors get against what the fleet before
//! it gave them, alarms, restarts. One bad look at instances is no trouble; two in a row, some seconds apart, are.

use std::time::Duration;

use super::await_healthy::target;
use super::error::During;
use super::{Cx, Done, Progress, StepError, listener};
use crate::clock::Moment;
use crate::health::{Against, LAG, Metrics, MetricsTarget, Probe, Seen};
use crate::model::{CapacityKind, FleetKey, Seconds};
use crate::plan::Judging;

/// Between two looks.
const PACE: Duration = Duration::from_secs(5);
/// Between two looks at CloudWatch and the agents, which cost money and calls.
const RARELY: Duration = Duration::from_secs(30);
/// Too few healthy instances for this long are trouble.
const TROUBLE: Duration = Duration::from_secs(10);

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, count: u32, span: Seconds, judging: &Judging) -> Done {
    let started = cx.clock.moment();
    let mut probe = Probe::new(&cx.aws, &cx.clock, target(cx, fleet));
    let mut metrics = Metrics::new(&cx.aws, metrics_target(cx, fleet, judging).await?);
    let rarely = (span.duration() / 6).clamp(PACE, RARELY);
    let (mut short_since, mut asked): (Option<Moment>, Option<Moment>) = (None, None);
    let (mut seen, mut shown) = (Seen::default(), String::new());
    loop {
        let evidence = probe.look().await.during(&format!("ask about the health of {fleet}"))?;
        let healthy = evidence.healthy();
        // What AWS takes back is no fault of the release: the group replaces it.
        // Not being able to ask is no evidence against the fleet; nor for it: the clock of a shortage keeps running.
        if evidence.blind.is_none() {
            short_since = (healthy + evidence.taken_back() < count as usize).then(|| short_since.unwrap_or_else(|| cx.clock.moment()));
        }
        if short_since.is_some_and(|since| cx.clock.since(since) >= TROUBLE) {
            let complaints = probe.last_look().await.map(|evidence| evidence.complaints()).unwrap_or_default();
            return Err(
                StepError::new(format!("{fleet} has visitors and only {healthy} of {count} instances healthy")).evidence(complaints)
            );
        }
        let left = span.duration().saturating_sub(cx.clock.since(started));
        if left.is_zero() || asked.is_none_or(|asked| cx.clock.since(asked) >= rarely) {
            asked = Some(cx.clock.moment());
            let instances = evidence.groups.values().flat_map(|group| &group.instances).map(|instance| instance.id.clone());
            seen = metrics.look(&instances.collect::<Vec<_>>()).await;
            if !seen.worse.is_empty() {
                return Err(StepError::new(format!("{fleet} serves its visitors worse than they were served before")).evidence(seen.worse));
            }
        }
        let text = match seen.requests {
            0 => format!("{fleet} {healthy}/{count} healthy"),
            requests => format!("{fleet} {healthy}/{count} healthy, {requests} requests"),
        };
        if text != shown {
            (cx.progress)(Progress { text: text.clone(), details: evidence.complaints() });
            shown = text;
        }
        if left.is_zero() && !too_early(cx, judging, &seen, started) {
            let said = seen.said.iter().map(|said| format!("; {said}")).collect::<String>();
            return Ok(format!("{fleet} stayed healthy for {span}{said}"));
        }
        cx.clock.sleep(if left.is_zero() { PACE } else { PACE.min(left) }).await;
    }
}

/// More visitors are to come, and CloudWatch may not know of the first yet.
fn too_early(cx: &Cx, judging: &Judging, seen: &Seen, started: Moment) -> bool {
    judging.percent < 100 && seen.requests == 0 && !seen.blind && cx.clock.since(started) < LAG
}

async fn metrics_target(cx: &Cx, fleet: &FleetKey, judging: &Judging) -> Result<MetricsTarget, StepError> {
    let routed = cx.environment.services.iter().any(|service| service.name == fleet.service && service.route.is_some());
    let groups = |fleet: &FleetKey| CapacityKind::ALL.map(|kind| cx.group_name(fleet, kind)).to_vec();
    let against = |old: &FleetKey| Against { fleet: old.clone(), target_group: cx.target_group_name(old), groups: groups(old) };
    Ok(MetricsTarget {
        fleet: fleet.clone(),
        target_group: routed.then(|| cx.target_group_name(fleet)),
        groups: groups(fleet),
        against: judging.against.as_ref().map(against),
        listener: listener::door(cx).await?.listener,
        percent: judging.percent,
        limits: judging.limits,
        alarms: judging.alarms.clone(),
    })
}
