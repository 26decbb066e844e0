//! Until the load balancer calls everything on a review box healthy, or its console says that something will not come up.

use tokio::sync::Mutex;

use super::bake_machine::{APPEARS, Heard, Machine, failure};
use super::wait::{appears, failed};
use super::{Cx, Done, StepError};
use crate::aws::{Error, InstanceInfo};
use crate::health::{Look, Stop, Waiting};
use crate::model::{BoxName, ConsoleLine, Seconds, TargetHealth, TargetState};

/// Of so many looks, one asks the load balancer before the console says that everything is up.
const SELDOM: usize = 4;

pub(super) async fn run(cx: &Cx, name: &BoxName, target_groups: &[String], within: Seconds) -> Done {
    let arns = appears(cx, &format!("the target groups of {name}"), || cx.aws.elbv2.target_group_arns(target_groups)).await?;
    let groups: Vec<(&str, String)> = target_groups.iter().map(String::as_str).zip(arns).collect();
    let (machine, started, heard) = (Machine::review(name), cx.clock.moment(), Mutex::new(Heard::default()));
    let look = || async {
        let mut heard = heard.lock().await;
        let instance = match machine.all(cx).await {
            Ok(all) => heard.choose(all),
            Err(error) => return failed(error, &format!("look for box {name}")),
        };
        let Some(instance) = instance else {
            return match cx.clock.since(started) < APPEARS {
                true => Look::Waiting(Waiting::new(format!("{name} is not visible yet"))),
                false => Look::Failed(StepError::new(format!("there is no box {name}"))),
            };
        };
        if let Err(error) = heard.listen(cx, &instance).await {
            return failed(error, &format!("read the console of {name}"));
        }
        // The last word: a service that is up in the end may have failed before.
        let up = matches!(heard.lines.last(), Some(ConsoleLine::Ready { .. }));
        match heard.lines.iter().find(|line| line.is_terminal_failure()) {
            Some(line) if !up => return Look::Failed(failure(line)),
            _ if instance.state.is_gone() => return Look::Failed(heard.obituary(&machine.name(), &instance)),
            _ => {}
        }
        match missing(cx, &instance, &groups, up, heard.looks).await {
            Ok(missing) if missing.is_empty() => Look::Done(instance.id),
            Ok(details) => Look::Waiting(Waiting { details, ..Waiting::new(format!("{name} ({}): {}", instance.id, heard.last())) }),
            Err(error) => failed(error, &format!("ask for the health of {name}")),
        }
    };
    match cx.wait(within.duration(), look).await {
        Ok(id) => Ok(format!("everything on {name} ({id}) is healthy")),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::TimedOut(waiting)) => {
            let late = StepError::new(format!("{name} was not ready within {within}")).because(waiting.text);
            Err(late.evidence(waiting.details).evidence(heard.into_inner().tail()))
        }
    }
}

/// What the load balancer does not call healthy, one line each. Before the box's console says that it is ready, that is worth a question
/// only now and then (a console may be late), and only about the agent's group, the last, which vouches for everything: many boxes may be
/// waited for at a time.
async fn missing(cx: &Cx, instance: &InstanceInfo, groups: &[(&str, String)], up: bool, look: usize) -> Result<Vec<String>, Error> {
    let Some((_, agent)) = groups.last() else { return Ok(Vec::new()) };
    if !up && (!look.is_multiple_of(SELDOM) || !healthy(&cx.aws.elbv2.target_health(agent).await?, instance)) {
        return Ok(vec!["its agent does not say that everything is up".to_string()]);
    }
    let arns: Vec<String> = groups.iter().map(|(_, arn)| arn.clone()).collect();
    let mut verdicts = cx.aws.elbv2.target_healths(&arns).await?;
    let mut missing = Vec::new();
    for (group, arn) in groups {
        let targets = verdicts.remove(arn).unwrap_or_default();
        match targets.iter().find(|target| target.instance == instance.id) {
            Some(target) if target.state == TargetState::Healthy => {}
            Some(target) => missing.push(format!("{group} is {}: {}", target.state, target.description)),
            None => missing.push(format!("{group} does not have it yet")),
        }
    }
    Ok(missing)
}

fn healthy(targets: &[TargetHealth], instance: &InstanceInfo) -> bool {
    targets.iter().any(|target| target.instance == instance.id && target.state == TargetState::Healthy)
}
