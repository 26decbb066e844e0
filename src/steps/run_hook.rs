//! A command of the company's on the operator's machine: the facts in its environment, a deadline, its output on screen while it runs and
//! its last lines in the record.
//!
//! A hook that had not finished when its operation was cut short runs again when it is resumed, on the machine where it is resumed; one
//! that proves something runs again even if it had finished. So a hook must bear being run twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::During;
use super::{Cx, Done, Finished, Job, Progress, StepError, listener};
use crate::aws::ErrorKind;
use crate::model::{FleetKey, PROBE_HEADER, Rule};
use crate::plan::HookRun;

/// Runs it; the answer is how it ended, then its last lines.
pub async fn run(cx: &Cx, hook: &HookRun) -> Done {
    let HookRun { hook: name, command, .. } = hook;
    let variables = variables(cx, hook).await?;
    let (progress, shown) = (cx.progress.clone(), format!("{name} hook"));
    (progress)(Progress { text: shown.clone(), details: Vec::new() });
    let said = Arc::new(move |line: &str| (progress)(Progress { text: format!("{shown} | {line}"), details: Vec::new() }));
    let began = cx.clock.moment();
    let ended = cx.commands.run(Job { command: command.clone(), variables, said }).await;
    let took = crate::model::Seconds::from(cx.clock.since(began));
    match ended {
        Ok(Finished { code: Some(0), tail }) => {
            let lines = std::iter::once(format!("{name} hook passed in {took}")).chain(quoted(tail));
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
        Ok(Finished { code: Some(code), tail }) => {
            Err(StepError::new(format!("the {name} hook exited {code}")).because(format!("it ran {command}")).evidence(quoted(tail)))
        }
        Ok(Finished { code: None, tail }) => {
            let what = format!("the {name} hook did not end within {} and was killed", command.within);
            Err(StepError::new(what).because(format!("it ran {command}")).evidence(quoted(tail)))
        }
        // Says nothing about the release.
        Err(why) => {
            let failed = StepError::new(format!("the {name} hook could not be run")).because(why);
            Err(StepError { kind: Some(ErrorKind::Other), ..failed })
        }
    }
}

fn quoted(tail: Vec<String>) -> impl Iterator<Item = String> {
    tail.into_iter().map(|line| format!("| {line}"))
}

/// The facts of the plan, and what is only known now: where the load balancer is, and what leads through a test rule.
async fn variables(cx: &Cx, hook: &HookRun) -> Result<BTreeMap<String, String>, StepError> {
    let known = [
        ("ADSTAGE_HOOK".to_string(), hook.hook.to_string()),
        ("ADSTAGE_OPERATION".to_string(), cx.operation.to_string()),
        ("ADSTAGE_OWNER".to_string(), cx.owner.clone()),
    ];
    let mut variables = hook.facts.clone();
    variables.extend(known);
    variables.extend(url(cx).await?.map(|url| ("ADSTAGE_URL".to_string(), url)));
    if hook.fleets.is_empty() {
        return Ok(variables);
    }
    variables.insert("ADSTAGE_PROBE_HEADER".into(), PROBE_HEADER.to_string());
    let rules = listener::rules(cx, &listener::door(cx).await?).await?;
    let routed = |fleet: &FleetKey| cx.environment.services.iter().any(|service| service.name == fleet.service && service.route.is_some());
    for fleet in hook.fleets.iter().filter(|fleet| routed(fleet)) {
        let Some(value) = secret(cx, fleet, &rules) else { continue };
        variables.insert(probe_value(fleet), value.clone());
        variables.entry("ADSTAGE_PROBE_VALUE".into()).or_insert(value);
    }
    Ok(variables)
}

/// `ADSTAGE_PROBE_VALUE_ADMIN_API` for the service `admin-api`.
fn probe_value(fleet: &FleetKey) -> String {
    let name: String = fleet.service.as_str().chars().map(|c| if c == '-' { '_' } else { c.to_ascii_uppercase() }).collect();
    format!("ADSTAGE_PROBE_VALUE_{name}")
}

/// What a request must carry to reach this fleet.
fn secret(cx: &Cx, fleet: &FleetKey, rules: &[Rule]) -> Option<String> {
    let group = cx.target_group_name(fleet);
    let rule = rules.iter().find(|rule| listener::tests(rule, &group))?;
    rule.conditions.header.as_ref().map(|(_, value)| value.clone())
}

/// Where visitors come in, by the load balancer's own name.
async fn url(cx: &Cx) -> Result<Option<String>, StepError> {
    let wanted = &cx.environment.load_balancer;
    let found = cx.aws.elbv2.load_balancer(&wanted.name).await.during(&format!("look for load balancer {}", wanted.name))?;
    let (scheme, usual) = if wanted.listener.certificate.is_some() { ("https", 443) } else { ("http", 80) };
    let port = if wanted.listener.port == usual { String::new() } else { format!(":{}", wanted.listener.port) };
    Ok(found.map(|found| format!("{scheme}://{}{port}", found.dns_name)))
}
