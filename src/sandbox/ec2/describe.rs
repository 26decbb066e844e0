//! Reading instances.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::filters::{Filters, page};
use super::instances::{Instance, InstanceState};
use super::tags::tag_set;
use super::types::instance_type;
use crate::sandbox::engine::{Answer, Call, State};
use crate::sandbox::wire::{AwsError, Node, branch, leaf, list};

/// The instance, if reads show it yet.
pub(super) fn seen<'a>(call: &'a Call<'_>, id: &str) -> Result<&'a Instance, AwsError> {
    let hex = id.strip_prefix("i-").unwrap_or_default();
    if !matches!(hex.len(), 8 | 17) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(AwsError::bad("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")));
    }
    let instance = call.state.ec2.instances.get(id).filter(|instance| call.now >= instance.visible_at);
    instance.ok_or_else(|| AwsError::bad("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist")))
}

/// All the call names, or all there are; in both cases only what reads show yet.
fn chosen<'a>(call: &'a Call<'_>) -> Result<Vec<&'a Instance>, AwsError> {
    let ids = call.params.texts("InstanceId");
    if ids.is_empty() {
        return Ok(call.state.ec2.instances.values().filter(|instance| call.now >= instance.visible_at).collect());
    }
    if call.params.get("MaxResults").is_some() {
        let message = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(AwsError::bad("InvalidParameterCombination", message));
    }
    ids.into_iter().map(|id| seen(call, id)).collect()
}

const FILTERS: [&str; 14] = [
    "instance-id",
    "instance-state-name",
    "instance-state-code",
    "instance-type",
    "client-token",
    "image-id",
    "subnet-id",
    "vpc-id",
    "availability-zone",
    "reservation-id",
    "private-ip-address",
    "iam-instance-profile.arn",
    "instance.group-id",
    "launch-time",
];

fn fact(state: &State, instance: &Instance, name: &str) -> Vec<String> {
    let request = &instance.request;
    vec![match name {
        "instance-id" => instance.id.clone(),
        "instance-state-name" => instance.state.name().to_string(),
        "instance-state-code" => instance.state.code().to_string(),
        "instance-type" => request.kind.clone(),
        "client-token" => request.token.clone().unwrap_or_default(),
        "image-id" => request.image.clone(),
        "subnet-id" => request.subnet.clone(),
        "vpc-id" => state.ec2.network.vpc.clone(),
        "availability-zone" => instance.zone.clone(),
        "reservation-id" => instance.reservation.clone(),
        "private-ip-address" => instance.address.to_string(),
        "iam-instance-profile.arn" => request.profile.as_ref().map(|profile| profile_arn(state, profile)).unwrap_or_default(),
        "instance.group-id" => return request.groups.clone(),
        _ => instance.launched.to_string(),
    }]
}

/// `DescribeInstances`.
pub(super) fn instances(call: &mut Call<'_>) -> Answer {
    call.params.only("DescribeInstances", &["InstanceId", "Filter", "MaxResults", "NextToken"])?;
    let (filters, state) = (Filters::read(call.params, &FILTERS)?, &*call.state);
    let rows: Vec<(String, &Instance)> = chosen(call)?
        .into_iter()
        .filter(|instance| filters.admit(state.ec2.tags_of(&instance.id), |name| fact(state, instance, name)))
        .map(|instance| (format!("{} {}", instance.reservation, instance.id), instance))
        .collect();
    let rows = sorted(rows);
    let (page, next) = page(call.params, rows, 5, 1000)?;
    let mut reservations: Vec<(&str, Vec<Vec<Node>>)> = Vec::new();
    for instance in page {
        match reservations.last_mut().filter(|(id, _)| *id == instance.reservation) {
            Some((_, instances)) => instances.push(render_instance(state, instance)),
            None => reservations.push((&instance.reservation, vec![render_instance(state, instance)])),
        }
    }
    let reservation = |(id, instances)| {
        vec![
            leaf("reservationId", id),
            leaf("ownerId", &state.place.account),
            branch("groupSet", []),
            list("instancesSet", "item", instances),
        ]
    };
    let set = list("reservationSet", "item", reservations.into_iter().map(reservation));
    Ok(branch("found", std::iter::once(set).chain(next)))
}

fn sorted<T>(mut rows: Vec<(String, T)>) -> Vec<(String, T)> {
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.dedup_by(|a, b| a.0 == b.0);
    rows
}

/// `<instanceState>` and its like.
pub(super) fn render_state(name: &str, state: InstanceState) -> Node {
    branch(name, [leaf("code", state.code()), leaf("name", state.name())])
}

fn profile_arn(state: &State, profile: &str) -> String {
    format!("arn:aws:iam::{}:instance-profile/{profile}", state.place.account)
}

/// The fields of an instance.
pub(super) fn render_instance(state: &State, instance: &Instance) -> Vec<Node> {
    let request = &instance.request;
    let groups = || list("groupSet", "item", request.groups.iter().map(|id| vec![leaf("groupId", id), leaf("groupName", id)]));
    let dns = format!("ip-{}.{}.compute.internal", instance.address.to_string().replace(['.', ':'], "-"), state.place.region);
    let mut fields = vec![
        leaf("instanceId", &instance.id),
        leaf("imageId", &request.image),
        render_state("instanceState", instance.state),
        leaf("amiLaunchIndex", 0),
        branch("productCodes", []),
        leaf("instanceType", &request.kind),
        leaf("launchTime", instance.launched),
        branch("placement", [leaf("availabilityZone", &instance.zone), leaf("groupName", ""), leaf("tenancy", "default")]),
        branch("monitoring", [leaf("state", "disabled")]),
        leaf("sourceDestCheck", true),
        leaf("architecture", "x86_64"),
        leaf("rootDeviceType", "ebs"),
        leaf("rootDeviceName", "/dev/xvda"),
        leaf("virtualizationType", "hvm"),
        leaf("hypervisor", "xen"),
        leaf("ebsOptimized", false),
        leaf("clientToken", request.token.as_deref().unwrap_or_default()),
        tag_set(state.ec2.tags_of(&instance.id)),
        branch(
            "metadataOptions",
            [
                leaf("state", "applied"),
                leaf("httpTokens", if request.metadata.tokens_required { "required" } else { "optional" }),
                leaf("httpPutResponseHopLimit", request.metadata.hop_limit),
                leaf("httpEndpoint", "enabled"),
                leaf("instanceMetadataTags", if request.metadata.tags { "enabled" } else { "disabled" }),
            ],
        ),
    ];
    // A terminated instance has given its place in the network back.
    if instance.state != InstanceState::Terminated {
        fields.extend([
            leaf("privateDnsName", &dns),
            leaf("privateIpAddress", instance.address),
            leaf("subnetId", &request.subnet),
            leaf("vpcId", &state.ec2.network.vpc),
            groups(),
        ]);
    }
    if let Some(profile) = &request.profile {
        fields.push(branch("iamInstanceProfile", [leaf("arn", profile_arn(state, profile)), leaf("id", "AIPASANDBOX0000000001")]));
    }
    if let Some(size) = instance_type(&request.kind) {
        fields.push(branch("cpuOptions", [leaf("coreCount", size.cores), leaf("threadsPerCore", size.vcpus / size.cores)]));
    }
    if request.spot {
        fields.push(leaf("instanceLifecycle", "spot"));
    }
    if let Some((code, message)) = &instance.reason {
        fields.push(leaf("reason", message));
        fields.push(branch("stateReason", [leaf("code", code), leaf("message", message)]));
    }
    fields
}

/// `DescribeInstanceStatus`: running instances, or all on request.
pub(super) fn status(call: &mut Call<'_>) -> Answer {
    let known = ["InstanceId", "Filter", "MaxResults", "NextToken", "IncludeAllInstances"];
    call.params.only("DescribeInstanceStatus", &known)?;
    let filters = Filters::read(call.params, &["instance-state-name", "instance-status.status", "system-status.status"])?;
    let all = call.params.flag("IncludeAllInstances") == Some(true);
    let word = |instance: &Instance| match instance.state {
        InstanceState::Running if call.now >= instance.running_since + call.latencies.status_checks => "ok",
        InstanceState::Running | InstanceState::Pending => "initializing",
        _ => "not-applicable",
    };
    let status = |name: &str, word: &str| {
        let passed = if word == "ok" { "passed" } else { word };
        branch(name, [leaf("status", word), list("details", "item", [vec![leaf("name", "reachability"), leaf("status", passed)]])])
    };
    let rows = chosen(call)?
        .into_iter()
        .filter(|instance| all || instance.state == InstanceState::Running)
        .filter(|instance| {
            filters.admit(call.state.ec2.tags_of(&instance.id), |name| match name {
                "instance-state-name" => vec![instance.state.name().to_string()],
                _ => vec![word(instance).to_string()],
            })
        })
        .map(|instance| {
            let fields = vec![
                leaf("instanceId", &instance.id),
                leaf("availabilityZone", &instance.zone),
                render_state("instanceState", instance.state),
                status("systemStatus", word(instance)),
                status("instanceStatus", word(instance)),
            ];
            (instance.id.clone(), fields)
        })
        .collect();
    let (page, next) = page(call.params, sorted(rows), 5, 1000)?;
    Ok(branch("found", std::iter::once(list("instanceStatusSet", "item", page)).chain(next)))
}

/// `DescribeInstanceAttribute`.
pub(super) fn attribute(call: &mut Call<'_>) -> Answer {
    call.params.only("DescribeInstanceAttribute", &["InstanceId", "Attribute"])?;
    let instance = seen(call, call.params.required("InstanceId")?)?;
    let value = |name: &str, value: String| branch(name, [leaf("value", value)]);
    let attribute = match call.params.required("Attribute")? {
        "userData" if instance.request.user_data.is_empty() => branch("userData", []),
        "userData" => value("userData", BASE64.encode(&instance.request.user_data)),
        "instanceInitiatedShutdownBehavior" => value("instanceInitiatedShutdownBehavior", instance.request.on_shutdown.name().to_string()),
        "instanceType" => value("instanceType", instance.request.kind.clone()),
        "disableApiTermination" => value("disableApiTermination", "false".to_string()),
        other => return Err(AwsError::unsupported(format!("the instance attribute {other}"))),
    };
    Ok(branch("attribute", [leaf("instanceId", &instance.id), attribute]))
}

/// `GetConsoleOutput`. The console of every machine is a Nitro one: always the latest output.
pub(super) fn console(call: &mut Call<'_>) -> Answer {
    call.params.only("GetConsoleOutput", &["InstanceId", "Latest"])?;
    let instance = seen(call, call.params.required("InstanceId")?)?;
    let output = call.host.console(&instance.id);
    Ok(branch("console", [leaf("instanceId", &instance.id), leaf("timestamp", call.wall), leaf("output", BASE64.encode(output))]))
}
