//! Target groups of type `instance`: create, describe, modify, delete.

use std::collections::BTreeMap;

use super::state::{Elbv2, HealthCheck, TargetGroup};
use super::{answer, attributes, check_name, no_load_balancer, no_target_group, page, suffix, tags};
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

fn invalid(message: impl std::fmt::Display) -> AwsError {
    AwsError::bad("ValidationError", message)
}

fn protocol(params: &Params, name: &str, usual: Option<&str>) -> Result<String, AwsError> {
    match params.get(name).or(usual) {
        Some(known @ ("HTTP" | "HTTPS")) => Ok(known.to_string()),
        Some(other) => Err(AwsError::unsupported(format!("target groups with {name} {other}"))),
        None => Err(invalid(format!("A {name} must be specified"))),
    }
}

fn between(params: &Params, name: &str, usual: u32, range: std::ops::RangeInclusive<u32>) -> Result<u32, AwsError> {
    let Some(number) = params.number(name)? else { return Ok(usual) };
    let fits = u32::try_from(number).ok().filter(|number| range.contains(number));
    fits.ok_or_else(|| invalid(format!("{name} '{number}' must be between {} and {}", range.start(), range.end())))
}

/// The health check as sent, over what it was (or AWS's defaults).
fn check(params: &Params, was: &HealthCheck) -> Result<HealthCheck, AwsError> {
    if params.flag("HealthCheckEnabled") == Some(false) {
        return Err(invalid("Health check enabled must be true for target groups with target type 'instance'"));
    }
    let port = match params.get("HealthCheckPort") {
        None => was.port,
        Some("traffic-port") => None,
        Some(text) => {
            let number = text.parse::<u16>().ok().filter(|port| *port > 0);
            Some(number.ok_or_else(|| invalid(format!("Health check port '{text}' must be 'traffic-port' or between 1 and 65535")))?)
        }
    };
    let path = params.get("HealthCheckPath").unwrap_or(&was.path).to_string();
    if !path.starts_with('/') || path.len() > 1024 {
        return Err(invalid(format!("Health check path '{path}' must begin with a '/' character and have at most 1024 characters")));
    }
    let matcher = params.child("Matcher").get("HttpCode").unwrap_or(&was.matcher).to_string();
    if !ranges(&matcher).is_some_and(|ranges| ranges.iter().all(|(from, to)| 200 <= *from && from <= to && *to <= 499)) {
        return Err(invalid(format!("Health check matcher HTTP code '{matcher}' must be within 200-499")));
    }
    let made = HealthCheck {
        protocol: protocol(params, "HealthCheckProtocol", Some(&was.protocol))?,
        port,
        path,
        interval: between(params, "HealthCheckIntervalSeconds", was.interval, 5..=300)?,
        timeout: between(params, "HealthCheckTimeoutSeconds", was.timeout, 2..=120)?,
        healthy: between(params, "HealthyThresholdCount", was.healthy, 2..=10)?,
        unhealthy: between(params, "UnhealthyThresholdCount", was.unhealthy, 2..=10)?,
        matcher,
    };
    if made.timeout >= made.interval {
        return Err(invalid(format!("Health check timeout '{}' must be smaller than the interval '{}'", made.timeout, made.interval)));
    }
    Ok(made)
}

fn ranges(matcher: &str) -> Option<Vec<(u16, u16)>> {
    let range = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
    };
    matcher.split(',').map(range).collect()
}

impl HealthCheck {
    /// What AWS checks when nothing is said.
    fn usual() -> Self {
        Self {
            protocol: "HTTP".into(),
            port: None,
            path: "/".into(),
            interval: 30,
            timeout: 5,
            healthy: 5,
            unhealthy: 2,
            matcher: "200".into(),
        }
    }

    /// True if the status is what the matcher asks for.
    pub(super) fn accepts(&self, status: u16) -> bool {
        ranges(&self.matcher).is_some_and(|ranges| ranges.iter().any(|(from, to)| (*from..=*to).contains(&status)))
    }
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let params = call.params;
    let name = params.required("Name")?.to_string();
    check_name(&name, "Target group")?;
    if let Some(kind) = params.get("TargetType").filter(|kind| *kind != "instance") {
        return Err(AwsError::unsupported(format!("target groups of type {kind}")));
    }
    if let Some(version) = params.get("ProtocolVersion").filter(|version| *version != "HTTP1") {
        return Err(AwsError::unsupported(format!("the protocol version {version}")));
    }
    let protocol = protocol(params, "Protocol", None)?;
    let port = params.number("Port")?.ok_or_else(|| invalid("A port must be specified"))?;
    let port = u16::try_from(port).ok().filter(|port| *port > 0).ok_or_else(|| invalid("A port must be between 1 and 65535"))?;
    let vpc = params.get("VpcId").ok_or_else(|| invalid("A VPC ID must be specified"))?.to_string();
    if vpc != call.state.ec2.network.vpc {
        return Err(invalid(format!("The VPC ID '{vpc}' is not found")));
    }
    let check = check(params, &HealthCheck::usual())?;
    let tags = tags::read(params)?;
    if let Some(known) = call.state.elbv2.target_groups.values().find(|known| known.name == name) {
        if (&known.protocol, known.port, &known.vpc, &known.check) == (&protocol, port, &vpc, &check) {
            let shown = show(&call.state.elbv2, known);
            return answer([list("TargetGroups", "member", [shown])]);
        }
        let message = format!("A target group with the same name '{name}' exists, but with different settings");
        return Err(AwsError::bad("DuplicateTargetGroupName", message));
    }
    let most = call.state.quotas.limit("target-groups");
    if call.state.elbv2.target_groups.len() >= most {
        return Err(AwsError::bad("TooManyTargetGroups", format!("A Region can have at most {most} target groups")));
    }
    let id = suffix(call.state);
    let made = TargetGroup {
        arn: super::arn(call.state, &format!("targetgroup/{name}/{id}")),
        name,
        protocol,
        port,
        vpc,
        check,
        attributes: attributes::of_new_target_group(),
        tags,
        targets: BTreeMap::new(),
        turn: 0,
        traffic: Default::default(),
    };
    let shown = show(&call.state.elbv2, &made);
    call.state.elbv2.target_groups.insert(made.arn.clone(), made);
    answer([list("TargetGroups", "member", [shown])])
}

fn show(elbv2: &Elbv2, group: &TargetGroup) -> Vec<Node> {
    let check = &group.check;
    vec![
        leaf("TargetGroupArn", &group.arn),
        leaf("TargetGroupName", &group.name),
        leaf("Protocol", &group.protocol),
        leaf("Port", group.port),
        leaf("VpcId", &group.vpc),
        leaf("HealthCheckProtocol", &check.protocol),
        leaf("HealthCheckPort", check.port.map_or_else(|| "traffic-port".to_string(), |port| port.to_string())),
        leaf("HealthCheckEnabled", true),
        leaf("HealthCheckIntervalSeconds", check.interval),
        leaf("HealthCheckTimeoutSeconds", check.timeout),
        leaf("HealthyThresholdCount", check.healthy),
        leaf("UnhealthyThresholdCount", check.unhealthy),
        leaf("HealthCheckPath", &check.path),
        branch("Matcher", [leaf("HttpCode", &check.matcher)]),
        branch("LoadBalancerArns", elbv2.used_by(&group.arn).into_iter().map(|arn| leaf("member", arn))),
        leaf("TargetType", "instance"),
        leaf("ProtocolVersion", "HTTP1"),
        leaf("IpAddressType", "ipv4"),
    ]
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let (params, elbv2) = (call.params, &call.state.elbv2);
    let (arns, names, balancer) = (params.texts("TargetGroupArns"), params.texts("Names"), params.get("LoadBalancerArn"));
    if let Some(missing) = arns.iter().find(|arn| !elbv2.target_groups.contains_key(**arn)) {
        return Err(no_target_group(missing));
    }
    if names.iter().any(|name| !elbv2.target_groups.values().any(|group| group.name == **name)) {
        return Err(AwsError::bad("TargetGroupNotFound", "One or more target groups not found"));
    }
    if let Some(missing) = balancer.filter(|arn| !elbv2.load_balancers.contains_key(*arn)) {
        return Err(no_load_balancer(missing));
    }
    let asked_for = |group: &&TargetGroup| {
        (arns.is_empty() || arns.contains(&group.arn.as_str()))
            && (names.is_empty() || names.contains(&group.name.as_str()))
            && balancer.is_none_or(|arn| elbv2.used_by(&group.arn).contains(arn))
    };
    let (found, next) = page(elbv2.target_groups.values().filter(asked_for).collect(), params)?;
    answer([list("TargetGroups", "member", found.into_iter().map(|group| show(elbv2, group)))].into_iter().chain(next))
}

pub(super) fn modify(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("TargetGroupArn")?;
    let group = call.state.elbv2.target_groups.get_mut(arn).ok_or_else(|| no_target_group(arn))?;
    group.check = check(call.params, &group.check)?;
    let elbv2 = &call.state.elbv2;
    answer([list("TargetGroups", "member", elbv2.target_groups.get(arn).map(|group| show(elbv2, group)))])
}

/// Refused while any rule names it; one that is gone already is no error.
pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("TargetGroupArn")?;
    if !call.state.elbv2.used_by(arn).is_empty() {
        return Err(AwsError::bad("ResourceInUse", format!("Target group '{arn}' is currently in use by a listener or a rule")));
    }
    call.state.elbv2.target_groups.remove(arn);
    answer([])
}
