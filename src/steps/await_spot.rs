//! Until the fleet's spot instances are there, or it shows that they cannot be had now. Either is an answer: what is missing is covered next.

use super::wait::failed;
use super::{Cx, Done, Progress};
use crate::health::{Look, Stop, Waiting};
use crate::model::{CapacityKind, FleetKey, Seconds};

pub(super) async fn run(cx: &Cx, fleet: &FleetKey, within: Seconds) -> Done {
    let name = cx.group_name(fleet, CapacityKind::Spot);
    let look = || async {
        let found = match cx.aws.autoscaling.group(&name).await {
            Ok(Some(found)) => found,
            Ok(None) => return Look::Waiting(Waiting::new(format!("group {name} is not visible yet"))),
            Err(error) => return failed(error, &format!("look for group {name}")),
        };
        let (there, wanted) = (found.group.present(), found.group.desired);
        if there >= wanted {
            return Look::Done((there, wanted, None));
        }
        match cx.aws.autoscaling.failed_activities(&name, found.created).await {
            Ok(failures) if failures.is_empty() => Look::Waiting(Waiting::new(format!("{fleet}: {there} of {wanted} spot instances"))),
            Ok(failures) => Look::Done((there, wanted, failures.into_iter().next().map(|failure| failure.why))),
            Err(error) => failed(error, &format!("ask what group {name} failed at")),
        }
    };
    match cx.wait(within.duration(), look).await {
        Ok((there, wanted, None)) => Ok(format!("{fleet}: {there} of {wanted} spot instances")),
        Ok((there, wanted, Some(why))) => {
            let text = format!("{fleet}: only {there} of {wanted} spot instances can be had");
            (cx.progress)(Progress { text: text.clone(), details: vec![why.clone()] });
            Ok(format!("{text}: {why}"))
        }
        Err(Stop::TimedOut(waiting)) => Ok(format!("{} after {within}", waiting.text)),
        Err(Stop::Failed(error)) => Err(error),
    }
}
