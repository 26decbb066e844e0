//! What went through: counters by target group and target, and the status of each load balancer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::conditions::Condition;
use super::state::TargetGroup;
use super::targets;
use crate::sandbox::engine::{Context, State};

/// Counters of a target group, from the start.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Traffic {
    pub requests: u64,
    /// Answers of targets by class: 1xx to 5xx.
    pub classes: [u64; 5],
    /// Requests no target answered (502, 504).
    pub errors: u64,
    /// Sum of the times until targets answered.
    pub waited: Duration,
    pub by_target: BTreeMap<String, u64>,
    /// What CloudWatch is told, by the beginning of each interval.
    tallies: BTreeMap<i64, Tally>,
}

/// What a target group got in one interval.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Tally {
    pub requests: u64,
    /// The most targets it had at one time, those that leave aside.
    pub targets: usize,
    /// Answers of targets by class: 1xx to 5xx.
    pub classes: [u64; 5],
    /// Requests no target answered.
    pub errors: u64,
    /// Seconds until answers, not more than [`SAMPLES`] of them.
    pub times: Vec<f64>,
}

/// Answers of one interval whose times are kept.
const SAMPLES: usize = 2_000;
/// Intervals that are kept.
const INTERVALS: usize = 8_000;

impl Tally {
    fn add(&mut self, class: Option<usize>, took: Duration) {
        self.requests += 1;
        match class.and_then(|class| self.classes.get_mut(class)) {
            Some(class) => *class += 1,
            None => self.errors += 1,
        }
        if self.times.len() < SAMPLES && class.is_some() {
            self.times.push(took.as_secs_f64());
        }
    }
}

/// What CloudWatch was told of the target groups with these dimensions.
pub(in crate::sandbox) fn tallies(state: &State, dimensions: &BTreeMap<String, String>) -> Vec<(i64, Tally)> {
    let ends = |arn: &str, name: &str, before: char| {
        dimensions.get(name).is_none_or(|wanted| arn.strip_suffix(wanted.as_str()).is_some_and(|rest| rest.ends_with(before)))
    };
    let groups = state.elbv2.target_groups.values().filter(|group| {
        let balancers = state.elbv2.used_by(&group.arn);
        ends(&group.arn, "TargetGroup", ':') && balancers.iter().any(|arn| ends(arn, "LoadBalancer", '/'))
    });
    groups.flat_map(|group| group.traffic.tallies.iter().map(|(at, tally)| (*at, tally.clone()))).collect()
}

/// Requests of a target group in a window of time, and how many targets it has now; none if it has none, or got nothing.
pub(in crate::sandbox) fn requests_per_target(state: &State, target_group: &str, window: Range<i64>) -> Option<(f64, u32)> {
    let group = state.elbv2.target_groups.get(target_group)?;
    let targets = group.targets.values().filter(|target| target.draining_until.is_none()).count();
    let requests: u64 = group.traffic.tallies.range(window).map(|(_, tally)| tally.requests).sum();
    (requests > 0 && targets > 0).then(|| (requests as f64, u32::try_from(targets).unwrap_or(u32::MAX)))
}

/// A request that went to a target: its status, or none if the target did not answer.
pub(in crate::sandbox) fn count(
    state: &mut State,
    context: Context<'_>,
    target_group: &str,
    instance: &str,
    status: Option<u16>,
    took: Duration,
) {
    let Some(group) = state.elbv2.target_groups.get_mut(target_group) else { return };
    let there = group.targets.values().filter(|target| target.draining_until.is_none()).count();
    let traffic = &mut group.traffic;
    let every = i64::try_from(context.latencies.metrics_every.as_secs()).unwrap_or(60).max(1);
    let interval = context.wall.as_second() - context.wall.as_second().rem_euclid(every);
    let number = status.map(|status| usize::from(status / 100).wrapping_sub(1));
    let tally = traffic.tallies.entry(interval).or_default();
    tally.add(number, took);
    tally.targets = tally.targets.max(there);
    if traffic.tallies.len() > INTERVALS {
        traffic.tallies.pop_first();
    }
    traffic.requests += 1;
    traffic.waited += took;
    *traffic.by_target.entry(instance.to_string()).or_default() += 1;
    let class = status.and_then(|status| traffic.classes.get_mut(usize::from(status / 100).wrapping_sub(1)));
    match class {
        Some(class) => *class += 1,
        None => traffic.errors += 1,
    }
}

/// An answer a load balancer gave itself because nobody else could.
pub(in crate::sandbox) fn count_refusal(state: &mut State, listener: &str, status: u16) {
    let Some(arn) = state.elbv2.listeners.get(listener).map(|listener| listener.load_balancer.clone()) else { return };
    if let Some(balancer) = state.elbv2.load_balancers.get_mut(&arn) {
        *balancer.refused.entry(status).or_default() += 1;
    }
}

/// A load balancer as `sandbox status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct LoadBalancerStatus {
    /// Its name.
    pub name: String,
    /// Where it can be reached on this machine; none where machines are only simulated, or while it has no listener.
    pub url: Option<String>,
    /// Its own address, which is its DNS name too.
    pub address: String,
    /// Where the DNS name and the first listener's port lead, where this machine lets the load balancer have that port.
    pub dns_url: Option<String>,
    /// Answers it gave itself because no target could: how many by status.
    pub refused: BTreeMap<u16, u64>,
    /// The target groups its rules name.
    pub target_groups: Vec<GroupTraffic>,
}

/// A target group's counters since it was made.
#[derive(Debug, Clone, Serialize)]
pub struct GroupTraffic {
    /// Its name.
    pub name: String,
    /// Requests sent to its targets.
    pub requests: u64,
    /// Answers with a 2xx status.
    pub status_2xx: u64,
    /// Answers with a 3xx status.
    pub status_3xx: u64,
    /// Answers with a 4xx status.
    pub status_4xx: u64,
    /// Answers with a 5xx status.
    pub status_5xx: u64,
    /// Requests its targets did not answer.
    pub errors: u64,
    /// Mean time until an answer.
    pub mean_milliseconds: u64,
    /// Requests by instance.
    pub by_target: BTreeMap<String, u64>,
    /// State of each target, by instance.
    pub targets: BTreeMap<String, String>,
}

/// Every load balancer of the account and Region.
pub(in crate::sandbox) fn status(state: &State) -> Vec<LoadBalancerStatus> {
    let balancers = state.elbv2.load_balancers.values();
    let shown = balancers.map(|balancer| {
        let listeners = state.elbv2.listeners_of(&balancer.arn);
        let sockets = listeners.iter().find_map(|listener| listener.sockets.as_ref());
        let groups = state.elbv2.target_groups.values().filter(|group| state.elbv2.used_by(&group.arn).contains(balancer.arn.as_str()));
        LoadBalancerStatus {
            name: balancer.name.clone(),
            url: sockets.map(|sockets| format!("http://{}", sockets.local)),
            dns_url: sockets.and_then(|sockets| sockets.own).map(|own| format!("http://{own}")),
            address: balancer.address.to_string(),
            refused: balancer.refused.clone(),
            target_groups: groups.map(|group| of_group(state, group)).collect(),
        }
    });
    shown.collect()
}

/// Every review box a visitor can reach: its name, and where on this machine. What is asked for by a secret header is no visitor's.
pub(in crate::sandbox) fn boxes(state: &State) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for listener in state.elbv2.listeners.values() {
        let Some(sockets) = listener.sockets.as_ref() else { continue };
        for rule in state.elbv2.rules_of(&listener.arn) {
            let secret = rule.conditions.iter().any(|condition| matches!(condition, Condition::Header { .. }));
            let host = rule.conditions.iter().find_map(Condition::host).filter(|_| !secret);
            if let (Some(name), Some(host)) = (rule.tags.get("adstage:box"), host) {
                found.entry(name.clone()).or_insert_with(|| format!("http://{host}:{}", sockets.local.port()));
            }
        }
    }
    found
}

fn of_group(state: &State, group: &TargetGroup) -> GroupTraffic {
    let traffic = &group.traffic;
    let standing = |id: &String| targets::standing(state, &group.arn, id).map(|standing| (id.clone(), standing.state.to_string()));
    GroupTraffic {
        name: group.name.clone(),
        requests: traffic.requests,
        status_2xx: traffic.classes[1],
        status_3xx: traffic.classes[2],
        status_4xx: traffic.classes[3],
        status_5xx: traffic.classes[4],
        errors: traffic.errors,
        mean_milliseconds: u64::try_from(traffic.waited.as_millis()).unwrap_or(u64::MAX).checked_div(traffic.requests).unwrap_or(0),
        by_target: traffic.by_target.clone(),
        targets: group.targets.keys().filter_map(|(id, _)| standing(id)).collect(),
    }
}
