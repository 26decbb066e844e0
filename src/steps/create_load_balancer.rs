//! The environment's load balancer, and waiting until it serves. Nothing to undo: it serves nothing yet, and setup can be repeated.

use std::time::Duration;

use super::error::During;
use super::wait::{appears, ended, failed};
use super::{Cx, Done, StepError};
use crate::aws::{ErrorKind, LoadBalancerState};
use crate::health::{Look, Waiting};

const WITHIN: Duration = Duration::from_secs(600);

pub(super) async fn run(cx: &Cx) -> Done {
    let wanted = &cx.environment.load_balancer;
    let (name, what) = (&wanted.name, format!("load balancer {}", wanted.name));
    if cx.aws.elbv2.load_balancer(name).await.during(&format!("look for {what}"))?.is_none() {
        match cx.aws.elbv2.create_load_balancer(wanted, &cx.tags()).await {
            Err(error) if error.kind == ErrorKind::AlreadyExists => {}
            made => drop(made.during(&format!("create {what}"))?),
        }
    }
    let found = appears(cx, &what, || cx.aws.elbv2.load_balancer(name)).await?;
    let tags = appears(cx, &what, || async { cx.aws.elbv2.tags_of(&found.arn).await.map(Some) }).await?;
    if !cx.owns_here(&tags) {
        return Err(StepError::foreign(&what));
    }
    let look = || async {
        match cx.aws.elbv2.load_balancer(name).await {
            Ok(Some(found)) if found.state == LoadBalancerState::Active => Look::Done(found.dns_name),
            Ok(Some(found)) if found.state == LoadBalancerState::Broken => {
                Look::Failed(StepError::new(format!("{what} failed to come up")))
            }
            Ok(_) => Look::Waiting(Waiting::new(format!("{what} is being set up"))),
            Err(error) => failed(error, &format!("look for {what}")),
        }
    };
    let address = cx.wait(WITHIN, look).await.map_err(|stop| ended(stop, || format!("{what} did not come up in 10m")))?;
    Ok(format!("{what} at {address}"))
}
