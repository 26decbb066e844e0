//! `RunInstances`: one reservation, once per client token and zone.

use super::describe::render_instance;
use super::instances::{LaunchRequest, check, fits, launch_in};
use super::spec::{KNOWN, Spec};
use super::templates::{TemplateRef, spec_of};
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, Params, branch, leaf, list};

/// What a token stands for.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    asked: Params,
    reservation: String,
    instances: Vec<String>,
}

/// `RunInstances`.
pub(super) fn run(call: &mut Call<'_>) -> Answer {
    let own = ["MinCount", "MaxCount", "SubnetId", "Placement", "LaunchTemplate", "ClientToken"];
    call.params.only("RunInstances", &[&own[..], &KNOWN[..]].concat())?;
    call.params.child("Placement").only("Placement", &["AvailabilityZone", "Tenancy"])?;
    let count = count(call.params)?;
    let token = call.params.get("ClientToken").map(str::to_string);
    if token.as_ref().is_some_and(|token| token.len() > 64 || !token.is_ascii()) {
        return Err(AwsError::bad("InvalidParameterValue", "ClientToken must be ASCII and no longer than 64 characters"));
    }
    let (subnet, scope) = place(call)?;
    let key = token.clone().map(|token| (token, scope));
    if let Some(known) = key.as_ref().and_then(|key| call.state.ec2.launches.get(key)) {
        return replay(call, known);
    }

    let mut request = request(call)?;
    (request.subnet, request.token) = (subnet, token);
    check(call.state, &request)?;
    fits(call.state, &request, u32::try_from(count).unwrap_or(u32::MAX))?;
    let reservation = call.state.id("r-");
    let context = call.context();
    let mut instances = Vec::new();
    for _ in 0..count {
        instances.push(launch_in(call.state, &request, &reservation, context)?);
    }
    let answer = answer(call, &reservation, &instances);
    if let Some(key) = key {
        call.state.ec2.launches.insert(key, Launch { asked: call.params.clone(), reservation, instances });
    }
    Ok(answer)
}

fn count(params: &Params) -> Result<i64, AwsError> {
    let needed = |name: &str| params.number(name)?.ok_or_else(|| AwsError::bad("MissingParameter", format!("{name} is missing")));
    let (least, most) = (needed("MinCount")?, needed("MaxCount")?);
    if least < 1 || most < least {
        let message =
            format!("Value ({most}) for parameter maxCount is invalid: it must not be below minCount ({least}), which must be 1 or more");
        return Err(AwsError::bad("InvalidParameterValue", message));
    }
    Ok(most)
}

/// The subnet, and the scope of the token: the zone if the caller chose it, else the whole Region.
fn place(call: &Call<'_>) -> Result<(String, String), AwsError> {
    let network = &call.state.ec2.network;
    if let Some(id) = call.params.get("SubnetId") {
        let zone = network.subnet(id).map(|subnet| subnet.zone.clone()).unwrap_or_default();
        return Ok((id.to_string(), zone));
    }
    let zone = call.params.child("Placement").get("AvailabilityZone").unwrap_or_default();
    let subnet = network.subnets.iter().find(|subnet| zone.is_empty() || subnet.zone == zone);
    let none = || AwsError::bad("InvalidParameterValue", format!("Invalid availability zone: [{zone}]"));
    Ok((subnet.ok_or_else(none)?.id.clone(), zone.to_string()))
}

fn request(call: &Call<'_>) -> Result<LaunchRequest, AwsError> {
    let mut spec = Spec::read(call.params)?;
    let template = call.params.child("LaunchTemplate");
    if !template.is_absent() {
        spec = spec.over(&spec_of(call.state, &TemplateRef::read(template))?);
    }
    spec.launch_request()
}

fn replay(call: &Call<'_>, known: &Launch) -> Answer {
    if known.asked != *call.params {
        let message = "The client token you have provided is associated with a resource that was created with different parameters.";
        return Err(AwsError::bad("IdempotentParameterMismatch", message));
    }
    let ended = |id: &String| call.state.ec2.instances.get(id).is_none_or(|instance| instance.state.is_ending());
    if known.instances.iter().any(ended) {
        let message = "The request cannot be completed because the instance that was started by it has been terminated.";
        return Err(AwsError::bad("IdempotentInstanceTerminated", message));
    }
    Ok(answer(call, &known.reservation, &known.instances))
}

fn answer(call: &Call<'_>, reservation: &str, instances: &[String]) -> crate::sandbox::wire::Node {
    let shown = instances.iter().filter_map(|id| call.state.ec2.instances.get(id)).map(|instance| render_instance(call.state, instance));
    branch(
        "reservation",
        [
            leaf("reservationId", reservation),
            leaf("ownerId", &call.state.place.account),
            branch("groupSet", []),
            list("instancesSet", "item", shown.collect::<Vec<_>>()),
        ],
    )
}
