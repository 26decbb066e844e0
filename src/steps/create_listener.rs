//! The listener visitors use; its default answers 404, everything else is a rule. Nothing to undo: setup can be repeated.

use super::error::During;
use super::wait::{appears, tolerated};
use super::{Cx, Done, StepError};
use crate::aws::ErrorKind;

pub(super) async fn run(cx: &Cx) -> Done {
    let (name, wanted) = (&cx.environment.load_balancer.name, &cx.environment.load_balancer.listener);
    let what = format!("listener {} of {name}", wanted.port);
    let found = appears(cx, &format!("load balancer {name}"), || cx.aws.elbv2.load_balancer(name)).await?;
    let tags = appears(cx, name, || async { cx.aws.elbv2.tags_of(&found.arn).await.map(Some) }).await?;
    if !cx.owns_here(&tags) {
        return Err(StepError::foreign(&format!("load balancer {name}")));
    }
    let find = || cx.aws.elbv2.listener(&found.arn, wanted.port);
    if find().await.during(&format!("look for {what}"))?.is_none() {
        let create = || async {
            match cx.aws.elbv2.create_listener(&found.arn, wanted, &cx.tags()).await {
                Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
                made => made.map(drop),
            }
        };
        tolerated(cx, &format!("create {what}"), |error| error.is_not_found(), create).await?;
    }
    let listener = appears(cx, &what, find).await?;
    match listener.https == wanted.certificate.is_some() {
        true => Ok(what),
        false => Err(StepError::new(format!(
            "{what} speaks {}, and adstage.toml wants the other",
            if listener.https { "HTTPS" } else { "HTTP" }
        ))),
    }
}
