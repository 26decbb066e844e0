//! How visitors come in, made once: load balancer, listener, a rule per route. Only what is missing; nothing missing is a plan without
//! stages. What is there already and was not made by adstage is refused, not changed.

use std::collections::BTreeMap;

use crate::model::{Conditions, Environment, OperationKind, Route, RuleKey, ServiceName, World};

use super::refusal::Reasons;
use super::situation::Situation;
use super::{Plan, Refusal, Stage, StageName, Step};

/// The plan that makes what is missing, or every reason why there must not be one.
pub fn setup(environment: &Environment, world: &World) -> Result<Plan, Refusal> {
    let mut reasons = Reasons::default();
    let mut stages = Vec::new();
    let mut rules = Vec::new();
    let mut wave = |steps: Vec<Step>| {
        if !steps.is_empty() {
            stages.push(Stage { name: StageName::Network, steps });
        }
    };
    if world.listener.is_none() {
        wave(vec![Step::CreateLoadBalancer]);
        wave(vec![Step::CreateListener]);
    } else {
        taken(environment, world, &mut reasons);
    }
    for service in &environment.services {
        let Some(route) = &service.route else { continue };
        let key = RuleKey { service: service.name.clone(), priority: route.priority };
        if world.rule(&key).is_none() {
            rules.push(Step::CreateRouteRule { service: service.name.clone(), route: route.clone() });
        }
    }
    wave(rules);
    reasons.verdict(format!("cannot set up {}", environment.name))?;
    let notes = if stages.is_empty() { vec![format!("{} is set up already, nothing to do", environment.name)] } else { Vec::new() };
    let none = BTreeMap::new;
    Ok(Plan {
        kind: OperationKind::Setup,
        release: None,
        previous: None,
        new_release: false,
        divided: false,
        before: none(),
        serving: none(),
        notes,
        stages,
    })
}

/// Rules at our priorities that are not ours, or ask for something else than the file says.
fn taken(environment: &Environment, world: &World, reasons: &mut Reasons) {
    let situation = Situation::of(environment, world);
    for standing in &situation.standings {
        let (Some(key), Some(route)) = (&standing.rule, &standing.service.route) else { continue };
        let Some(rule) = world.rule(key) else { continue };
        if world.weights(key).is_none() {
            let free = format!("aws elbv2 describe-rules --rule-arns {}", rule.arn);
            reasons
                .add(format!("rule {} is taken, and not by adstage: give {} another priority", key.priority, standing.service.name), free);
        } else if !same(&rule.conditions, route) {
            let (asks, should) = (said(&rule.conditions.hosts, &rule.conditions.paths), said(&route.hosts, &route.paths));
            reasons.add(other_conditions(&standing.service.name, route, &asks, &should), "");
        }
    }
}

pub(super) fn same(conditions: &Conditions, route: &Route) -> bool {
    let sorted = |texts: &[String]| {
        let mut texts = texts.to_vec();
        texts.sort();
        texts
    };
    // A rule must ask for something, so a route that takes everything is written as the path `/*`.
    let everything = |paths: &[String]| paths.is_empty() || paths == ["*"] || paths == ["/*"];
    let paths = sorted(&conditions.paths) == sorted(&route.paths) || (everything(&conditions.paths) && everything(&route.paths));
    conditions.header.is_none() && sorted(&conditions.hosts) == sorted(&route.hosts) && paths
}

fn said(hosts: &[String], paths: &[String]) -> String {
    let list = |texts: &[String]| if texts.is_empty() { "any".to_string() } else { texts.join(" ") };
    format!("host {}, path {}", list(hosts), list(paths))
}

fn other_conditions(service: &ServiceName, route: &Route, asks: &str, should: &str) -> String {
    format!(
        "rule {} of {service} asks for {asks}; adstage.toml says {should}. A rule in use is not changed: give the route a new priority",
        route.priority
    )
}
