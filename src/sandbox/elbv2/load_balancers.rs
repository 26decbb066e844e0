//! Load balancers: create, describe, delete.

use std::collections::BTreeSet;

use super::state::LoadBalancer;
use super::{answer, arn, check_name, no_load_balancer, page, suffix, tags};
use crate::sandbox::engine::{Answer, Call, State};
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let (params, now) = (call.params, call.now);
    let name = params.required("Name")?.to_string();
    check_name(&name, "Load balancer")?;
    if name.starts_with("internal-") {
        return Err(AwsError::bad("ValidationError", format!("Load balancer name '{name}' cannot begin with 'internal-'")));
    }
    if let Some(kind) = params.get("Type").filter(|kind| *kind != "application") {
        return Err(AwsError::unsupported(format!("load balancers of type {kind}")));
    }
    if let Some(kind) = params.get("IpAddressType").filter(|kind| *kind != "ipv4") {
        return Err(AwsError::unsupported(format!("the IP address type {kind}")));
    }
    let scheme = params.get("Scheme").unwrap_or("internet-facing").to_string();
    if !["internet-facing", "internal"].contains(&scheme.as_str()) {
        return Err(AwsError::bad("InvalidScheme", format!("'{scheme}' is not a valid scheme")));
    }
    let zones = zones(call.state, params)?;
    let security_groups = security_groups(call.state, params)?;
    let tags = tags::read(params)?;
    if let Some(known) = call.state.elbv2.load_balancers.values().find(|known| known.name == name) {
        let same = (&known.scheme, &known.zones, &known.security_groups, &known.tags) == (&scheme, &zones, &security_groups, &tags);
        if !same {
            let message = format!("A load balancer with the same name '{name}' exists, but with different settings");
            return Err(AwsError::bad("DuplicateLoadBalancerName", message));
        }
        let known = show(known, now);
        return answer([list("LoadBalancers", "member", [known])]);
    }
    let most = call.state.quotas.limit("application-load-balancers");
    if call.state.elbv2.load_balancers.len() >= most {
        return Err(AwsError::bad("TooManyLoadBalancers", format!("A Region can have at most {most} load balancers")));
    }
    let id = suffix(call.state);
    let made = LoadBalancer {
        arn: arn(call.state, &format!("loadbalancer/app/{name}/{id}")),
        name,
        address: call.host.address(),
        scheme,
        vpc: call.state.ec2.network.vpc.clone(),
        zones,
        security_groups,
        created: call.wall,
        active_at: now + call.latencies.pending_to_running,
        attributes: super::attributes::of_new_load_balancer(),
        tags,
        nodes: Default::default(),
        refused: Default::default(),
    };
    let shown = show(&made, now);
    call.state.elbv2.load_balancers.insert(made.arn.clone(), made);
    answer([list("LoadBalancers", "member", [shown])])
}

/// (Availability Zone, subnet) of the subnets asked for: at least two, each in its own zone.
fn zones(state: &State, params: &Params) -> Result<Vec<(String, String)>, AwsError> {
    let mut ids = params.texts("Subnets");
    ids.extend(params.list("SubnetMappings").into_iter().filter_map(|mapping| mapping.get("SubnetId")));
    let mut zones = Vec::new();
    for id in ids {
        let unknown = || AwsError::bad("SubnetNotFound", format!("The subnet ID '{id}' does not exist"));
        let subnet = state.ec2.network.subnet(id).ok_or_else(unknown)?;
        zones.push((subnet.zone.clone(), subnet.id.clone()));
    }
    zones.sort();
    let distinct: BTreeSet<&String> = zones.iter().map(|(zone, _)| zone).collect();
    if distinct.len() < zones.len() {
        return Err(AwsError::bad(
            "InvalidConfigurationRequest",
            "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
        ));
    }
    if zones.len() < 2 {
        return Err(AwsError::bad("ValidationError", "At least two subnets in two different Availability Zones must be specified"));
    }
    Ok(zones)
}

fn security_groups(state: &State, params: &Params) -> Result<Vec<String>, AwsError> {
    let mut asked: Vec<String> = params.texts("SecurityGroups").into_iter().map(str::to_string).collect();
    let known = &state.ec2.network.security_groups;
    if let Some(unknown) = asked.iter().find(|group| !known.contains(group)) {
        return Err(AwsError::bad("InvalidSecurityGroup", format!("The security group '{unknown}' does not exist")));
    }
    if asked.is_empty() {
        // The VPC's default group.
        asked.extend(known.first().cloned());
    }
    asked.sort();
    Ok(asked)
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let (params, all) = (call.params, &call.state.elbv2.load_balancers);
    let (arns, names) = (params.texts("LoadBalancerArns"), params.texts("Names"));
    if let Some(missing) = arns.iter().find(|arn| !all.contains_key(**arn)) {
        return Err(no_load_balancer(missing));
    }
    if let Some(missing) = names.iter().find(|name| !all.values().any(|known| known.name == **name)) {
        return Err(no_load_balancer(missing));
    }
    let asked_for = |one: &&LoadBalancer| {
        (arns.is_empty() || arns.contains(&one.arn.as_str())) && (names.is_empty() || names.contains(&one.name.as_str()))
    };
    let (found, next) = page(all.values().filter(asked_for).collect(), params)?;
    let shown = list("LoadBalancers", "member", found.into_iter().map(|one| show(one, call.now)));
    answer([shown].into_iter().chain(next))
}

fn show(one: &LoadBalancer, now: std::time::Duration) -> Vec<Node> {
    let state = if now < one.active_at { "provisioning" } else { "active" };
    let zones = one.zones.iter().map(|(zone, subnet)| vec![leaf("ZoneName", zone), leaf("SubnetId", subnet)]);
    vec![
        leaf("LoadBalancerArn", &one.arn),
        leaf("DNSName", one.address),
        leaf("CanonicalHostedZoneId", "ZSANDBOX0000000"),
        leaf("CreatedTime", one.created),
        leaf("LoadBalancerName", &one.name),
        leaf("Scheme", &one.scheme),
        leaf("VpcId", &one.vpc),
        branch("State", [leaf("Code", state)]),
        leaf("Type", "application"),
        list("AvailabilityZones", "member", zones),
        branch("SecurityGroups", one.security_groups.iter().map(|group| leaf("member", group))),
        leaf("IpAddressType", "ipv4"),
    ]
}

/// Deletes it with its listeners and rules; one that is gone already is no error.
pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let arn = call.params.required("LoadBalancerArn")?;
    let elbv2 = &mut call.state.elbv2;
    let Some(found) = elbv2.load_balancers.get(arn) else { return answer([]) };
    if found.attributes.get("deletion_protection.enabled").is_some_and(|value| value == "true") {
        let message = format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled");
        return Err(AwsError::bad("OperationNotPermitted", message));
    }
    elbv2.load_balancers.remove(arn);
    elbv2.listeners.retain(|_, listener| listener.load_balancer != arn);
    let listeners = &elbv2.listeners;
    elbv2.rules.retain(|_, rule| listeners.contains_key(&rule.listener));
    answer([])
}
