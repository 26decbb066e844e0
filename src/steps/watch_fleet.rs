//! Observes the fleet that now has the visitors, for a while. One bad look is no trouble; two in a row, some seconds apart, are.

use std::time::Duration;

use super::await_healthy::target;
use super::error::During;
use super::{Cx, Done, Progress, StepError};
use crate::clock::Moment;
use crate::health::Probe;
use crate::model::{FleetKey, Seconds};

/// Between two looks.
const PACE: Duration = Duration::from_secs(5);
/// Too few healthy instances for this long are trouble.
const TROUBLE: Duration = Duration::from_secs(10);

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, count: u32, span: Seconds) -> Done {
    let started = cx.clock.moment();
    let mut probe = Probe::new(&cx.aws, &cx.clock, target(cx, fleet));
    let mut short_since: Option<Moment> = None;
    let mut shown = String::new();
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
        let text = format!("{fleet} {healthy}/{count} healthy");
        if text != shown {
            (cx.progress)(Progress { text: text.clone(), details: evidence.complaints() });
            shown = text;
        }
        let left = span.duration().saturating_sub(cx.clock.since(started));
        if left.is_zero() {
            return Ok(format!("{fleet} stayed healthy for {span}"));
        }
        cx.clock.sleep(PACE.min(left)).await;
    }
}
