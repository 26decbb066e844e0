//! Until exactly the fleet's instances are healthy at the load balancer, steadily. Ends at the first terminal evidence, not at the deadline.

use tokio::sync::Mutex;

use super::wait::failed;
use super::{Cx, Done, StepError};
use crate::aws::ErrorKind;
use crate::clock::Moment;
use crate::health::{Look, Probe, ProbeTarget, Stop, Verdict, Waiting, judge};
use crate::model::{CapacityKind, FleetKey, Seconds};

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, count: u32, within: Seconds, stable_for: Seconds) -> Done {
    let probe = Mutex::new(Probe::new(&cx.aws, &cx.clock, target(cx, fleet)));
    // Since when every look found it healthy.
    let steady: Mutex<Option<Moment>> = Mutex::new(None);
    let look = || async {
        let mut steady = steady.lock().await;
        // Measured to the start of this look: what it finds was so at least until then.
        let held = steady.map(|since| cx.clock.since(since));
        let evidence = match probe.lock().await.look().await {
            Ok(evidence) => evidence,
            Err(error) => return failed(error, &format!("ask about the health of {fleet}")),
        };
        match (judge(count, &evidence), held) {
            (Verdict::Healthy, Some(held)) if held >= stable_for.duration() => Look::Done(()),
            (Verdict::Healthy, _) if stable_for.0 == 0 => Look::Done(()),
            (Verdict::Healthy, held) => {
                steady.get_or_insert(cx.clock.moment());
                let left = stable_for.duration().saturating_sub(held.unwrap_or_default());
                let text = format!("{fleet} {count}/{count} healthy, must stay so for {stable_for}");
                Look::Waiting(Waiting { text, details: Vec::new(), again_in: Some(left) })
            }
            (Verdict::Waiting(waiting), _) => {
                *steady = None;
                Look::Waiting(waiting)
            }
            (Verdict::Terminal { what, evidence, lacking }, _) => {
                let kind = lacking.then_some(ErrorKind::Capacity);
                Look::Failed(StepError { kind, ..StepError::new(what).evidence(evidence) })
            }
        }
    };
    match cx.wait(within.duration(), look).await {
        Ok(()) => Ok(format!("{fleet} {count}/{count} healthy at the load balancer")),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::TimedOut(waiting)) => {
            let late = StepError::new(format!("{fleet} did not become healthy within {within}")).because(waiting.text);
            // What the instances themselves say, if they can still be asked.
            let last = probe.lock().await.last_look().await.ok();
            let kind = last.as_ref().is_some_and(|evidence| evidence.only_lacks(count)).then_some(ErrorKind::Capacity);
            let complaints = last.map(|evidence| evidence.complaints());
            Err(StepError { kind, ..late.evidence(complaints.unwrap_or(waiting.details)) })
        }
    }
}

pub(super) fn target(cx: &Cx, fleet: &FleetKey) -> ProbeTarget {
    let groups = CapacityKind::ALL.map(|kind| cx.group_name(fleet, kind)).to_vec();
    ProbeTarget { fleet: fleet.to_string(), groups, target_group: cx.target_group_name(fleet) }
}
