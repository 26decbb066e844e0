//! Attributes of target groups and load balancers: text by name, those AWS knows and no others.

use std::time::Duration;

use super::state::{Tags, TargetGroup};
use super::{answer, no_load_balancer, no_target_group};
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::latency::Latencies;
use crate::sandbox::wire::{AwsError, Node, Params, leaf, list};

const DELAY: &str = "deregistration_delay.timeout_seconds";
const IDLE: &str = "idle_timeout.timeout_seconds";

/// What a value may be.
enum Kind {
    Number(std::ops::RangeInclusive<u32>),
    /// Only this value behaves in the sandbox; others AWS takes are refused loudly.
    Only(&'static str),
    Flag,
}

/// Name, default, what it may be.
type Known = (&'static str, &'static str, Kind);

fn of_target_groups() -> Vec<Known> {
    vec![
        (DELAY, "300", Kind::Number(0..=3600)),
        ("slow_start.duration_seconds", "0", Kind::Only("0")),
        ("stickiness.enabled", "false", Kind::Only("false")),
        ("stickiness.type", "lb_cookie", Kind::Only("lb_cookie")),
        ("stickiness.lb_cookie.duration_seconds", "86400", Kind::Number(1..=604_800)),
        ("load_balancing.algorithm.type", "round_robin", Kind::Only("round_robin")),
        ("load_balancing.algorithm.anomaly_mitigation", "off", Kind::Only("off")),
        ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration", Kind::Only("use_load_balancer_configuration")),
        ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", Kind::Only("1")),
        ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", Kind::Only("off")),
        ("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Kind::Only("1")),
        ("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", Kind::Only("off")),
    ]
}

fn of_load_balancers() -> Vec<Known> {
    vec![
        (IDLE, "60", Kind::Number(1..=4000)),
        ("client_keep_alive.seconds", "3600", Kind::Number(60..=604_800)),
        ("deletion_protection.enabled", "false", Kind::Flag),
        ("access_logs.s3.enabled", "false", Kind::Only("false")),
        ("routing.http2.enabled", "true", Kind::Flag),
        ("routing.http.drop_invalid_header_fields.enabled", "false", Kind::Flag),
        ("routing.http.desync_mitigation_mode", "defensive", Kind::Only("defensive")),
        ("routing.http.preserve_host_header.enabled", "true", Kind::Only("true")),
        ("routing.http.xff_header_processing.mode", "append", Kind::Only("append")),
        ("load_balancing.cross_zone.enabled", "true", Kind::Only("true")),
    ]
}

fn defaults(known: Vec<Known>) -> Tags {
    known.into_iter().map(|(name, usual, _)| (name.to_string(), usual.to_string())).collect()
}

pub(super) fn of_new_target_group() -> Tags {
    defaults(of_target_groups())
}

pub(super) fn of_new_load_balancer() -> Tags {
    defaults(of_load_balancers())
}

fn apply(params: &Params, known: &[Known], attributes: &mut Tags) -> Result<(), AwsError> {
    let mut changed = attributes.clone();
    for one in params.list("Attributes") {
        let (key, value) = (one.required("Key")?, one.get("Value").unwrap_or_default());
        let Some((_, _, kind)) = known.iter().find(|(name, _, _)| *name == key) else {
            return Err(AwsError::bad("ValidationError", format!("Attribute key '{key}' is not recognized")));
        };
        let fits = match kind {
            Kind::Number(range) => value.parse().is_ok_and(|number: u32| range.contains(&number)),
            Kind::Flag => ["true", "false"].contains(&value),
            Kind::Only(only) if value == *only => true,
            Kind::Only(_) => return Err(AwsError::unsupported(format!("{key} = {value}"))),
        };
        if !fits {
            return Err(AwsError::bad("ValidationError", format!("'{value}' is not a valid value for '{key}'")));
        }
        changed.insert(key.to_string(), value.to_string());
    }
    *attributes = changed;
    Ok(())
}

fn show(attributes: &Tags) -> Node {
    list("Attributes", "member", attributes.iter().map(|(key, value)| vec![leaf("Key", key), leaf("Value", value)]))
}

pub(super) fn modify_target_group(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("TargetGroupArn")?;
    let group = call.state.elbv2.target_groups.get_mut(arn).ok_or_else(|| no_target_group(arn))?;
    apply(call.params, &of_target_groups(), &mut group.attributes)?;
    answer([show(&group.attributes)])
}

pub(super) fn describe_target_group(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("TargetGroupArn")?;
    answer([show(&call.state.elbv2.target_groups.get(arn).ok_or_else(|| no_target_group(arn))?.attributes)])
}

pub(super) fn modify_load_balancer(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("LoadBalancerArn")?;
    let balancer = call.state.elbv2.load_balancers.get_mut(arn).ok_or_else(|| no_load_balancer(arn))?;
    apply(call.params, &of_load_balancers(), &mut balancer.attributes)?;
    answer([show(&balancer.attributes)])
}

pub(super) fn describe_load_balancer(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("LoadBalancerArn")?;
    answer([show(&call.state.elbv2.load_balancers.get(arn).ok_or_else(|| no_load_balancer(arn))?.attributes)])
}

fn seconds(attributes: &Tags, name: &str, usual: u64) -> Duration {
    Duration::from_secs(attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or(usual))
}

/// The deregistration delay, as long as it is in this sandbox.
pub(super) fn delay(group: &TargetGroup, latencies: &Latencies) -> Duration {
    seconds(&group.attributes, DELAY, 300) / latencies.compression.max(1)
}

/// How long a silent connection is kept, and an answer waited for.
pub(super) fn idle(attributes: &Tags) -> Duration {
    seconds(attributes, IDLE, 60)
}

impl super::LoadBalancer {
    /// How long a silent connection is kept.
    pub(in crate::sandbox) fn idle(&self) -> Duration {
        idle(&self.attributes)
    }
}
