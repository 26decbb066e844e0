//! A review box behind the load balancer: possible once its instance runs.

use std::time::Duration;

use super::bake_machine::{Machine, obituary};
use super::wait::{appears, ended, failed, tolerated};
use super::{Cx, Done};
use crate::aws::{InstanceState, gather};
use crate::health::{Look, Waiting};
use crate::model::BoxName;

/// From launch until EC2 calls it running.
const RUNS: Duration = Duration::from_secs(300);

pub(super) async fn run(cx: &Cx, name: &BoxName, target_groups: &[String]) -> Done {
    let machine = Machine::review(name);
    let instance = appears(cx, &machine.name(), || machine.living(cx)).await?;
    let arns = appears(cx, &format!("the target groups of {name}"), || cx.aws.elbv2.target_group_arns(target_groups)).await?;
    let look = || async {
        let found = match cx.aws.ec2.instances_by_id(std::slice::from_ref(&instance.id)).await {
            Ok(found) => found.into_iter().next(),
            Err(error) => return failed(error, &format!("look for {}", instance.id)),
        };
        match found {
            Some(found) if found.state == InstanceState::Running => Look::Done(()),
            Some(found) if found.state.is_gone() => Look::Failed(obituary(&machine.name(), &found)),
            Some(found) => Look::Waiting(Waiting::new(format!("{name} ({}) is {}", found.id, found.state.word()))),
            None => Look::Waiting(Waiting::new(format!("{name} ({}) is not visible yet", instance.id))),
        }
    };
    cx.wait(RUNS, look).await.map_err(|stop| ended(stop, || format!("{name} does not run")))?;
    let (doing, instance) = (&format!("register {name}"), &instance);
    let register = |arn: String| async move {
        // Elastic Load Balancing may learn a moment later than EC2 that it runs.
        tolerated(cx, doing, |error| error.code == "InvalidTarget", || cx.aws.elbv2.register_target(&arn, &instance.id)).await
    };
    for registered in gather(arns.iter().cloned().map(register)).await {
        registered?;
    }
    Ok(format!("{name} ({}) is registered in {} target groups", instance.id, arns.len()))
}
