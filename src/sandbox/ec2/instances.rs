//! What an instance is, and how its state moves on.

use std::net::IpAddr;
use std::time::Duration;

use super::network::free_addresses;
use super::tags::{Tags, check_for_metadata};
use super::types::instance_type;
use crate::sandbox::engine::{Context, State};
use crate::sandbox::host::Machine;
use crate::sandbox::quotas::check_vcpus;
use crate::sandbox::wire::AwsError;

/// `InstanceState.Name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum InstanceState {
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

impl InstanceState {
    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    /// AWS's code.
    pub fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }

    /// Counts against quotas.
    pub fn counts(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// On the way to its end, or there.
    pub fn is_ending(self) -> bool {
        matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

/// What becomes of an instance that shuts itself down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::sandbox) enum OnShutdown {
    #[default]
    Stop,
    Terminate,
}

impl OnShutdown {
    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Terminate => "terminate",
        }
    }
}

/// The metadata service's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct MetadataOptions {
    /// Session tokens required (IMDSv2 only).
    pub tokens_required: bool,
    /// The instance's tags can be read there.
    pub tags: bool,
    pub hop_limit: u8,
}

impl Default for MetadataOptions {
    fn default() -> Self {
        Self { tokens_required: false, tags: false, hop_limit: 1 }
    }
}

/// Everything a launch needs, merged from template and call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::sandbox) struct LaunchRequest {
    pub image: String,
    /// Instance type.
    pub kind: String,
    pub subnet: String,
    pub groups: Vec<String>,
    /// Name of the instance profile.
    pub profile: Option<String>,
    /// Decoded.
    pub user_data: Vec<u8>,
    pub on_shutdown: OnShutdown,
    pub metadata: MetadataOptions,
    /// For the instance.
    pub tags: Tags,
    pub token: Option<String>,
    /// Bought as spot.
    pub spot: bool,
}

/// An instance.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Instance {
    pub id: String,
    pub reservation: String,
    pub request: LaunchRequest,
    pub zone: String,
    pub address: IpAddr,
    pub state: InstanceState,
    /// `StateReason`: code and message.
    pub reason: Option<(String, String)>,
    pub launched: jiff::Timestamp,
    /// When the state moves on by itself.
    pub due: Duration,
    /// When it last became running.
    pub running_since: Duration,
    /// Down for the copying of its disk, and up again by itself: still `running` to all who ask.
    pub rebooting: bool,
    /// Before this, reads may not know it.
    pub visible_at: Duration,
}

/// What the metadata service of an instance may say.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Metadata {
    pub instance: Instance,
    /// As they are now; to be shown only if the options say so.
    pub tags: Tags,
}

/// What the metadata service of an instance says now.
pub(in crate::sandbox) fn metadata(state: &State, id: &str) -> Option<Metadata> {
    let instance = state.ec2.instances.get(id)?.clone();
    Some(Metadata { tags: state.ec2.tags_of(id).clone(), instance })
}

/// Starts one instance. Auto Scaling and `RunInstances` both end here.
pub(in crate::sandbox) fn launch(state: &mut State, request: &LaunchRequest, context: Context<'_>) -> Result<String, AwsError> {
    let reservation = state.id("r-");
    launch_in(state, request, &reservation, context)
}

/// Starts one instance of a reservation.
pub(super) fn launch_in(state: &mut State, request: &LaunchRequest, reservation: &str, context: Context<'_>) -> Result<String, AwsError> {
    let zone = check(state, request)?;
    fits(state, request, 1)?;
    super::market::take(state, request)?;
    let id = state.id("i-");
    let visible_at = state.sometime(context.now, context.latencies.visible);
    let mut request = request.clone();
    if request.groups.is_empty() {
        request.groups.extend(state.ec2.network.security_groups.first().cloned());
    }
    let tags = request.tags.clone();
    let instance = Instance {
        id: id.clone(),
        reservation: reservation.to_string(),
        request,
        zone,
        address: context.host.address(),
        state: InstanceState::Pending,
        reason: None,
        launched: context.wall,
        due: context.now + context.latencies.pending_to_running,
        running_since: context.now,
        rebooting: false,
        visible_at,
    };
    state.ec2.tags.insert(id.clone(), tags);
    boot(state, &instance, true, context);
    state.ec2.instances.insert(id.clone(), instance);
    Ok(id)
}

/// All that can be wrong with a launch; the zone it goes to if nothing is.
pub(in crate::sandbox) fn check(state: &State, request: &LaunchRequest) -> Result<String, AwsError> {
    let (ec2, invalid) = (&state.ec2, |message: String| AwsError::bad("InvalidParameterValue", message));
    let image = ec2.images.get(&request.image).ok_or_else(|| super::images::not_found(&request.image))?;
    if !image.is_available() {
        let message = format!("The image ID '{}' is not available", request.image);
        return Err(AwsError::bad("InvalidAMIID.Unavailable", message));
    }
    if instance_type(&request.kind).is_none() {
        return Err(invalid(format!("Invalid value '{}' for InstanceType.", request.kind)));
    }
    let subnet = ec2.network.subnet(&request.subnet);
    let unknown = || AwsError::bad("InvalidSubnetID.NotFound", format!("The subnet ID '{}' does not exist", request.subnet));
    let zone = subnet.ok_or_else(unknown)?.zone.clone();
    if let Some(group) = request.groups.iter().find(|group| !ec2.network.security_groups.contains(group)) {
        return Err(AwsError::bad("InvalidGroup.NotFound", format!("The security group '{group}' does not exist")));
    }
    if let Some(profile) = request.profile.as_ref().filter(|profile| !ec2.network.instance_profiles.contains(profile)) {
        let message = format!("Value ({profile}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name");
        return Err(invalid(message));
    }
    if request.metadata.tags {
        check_for_metadata(&request.tags)?;
    }
    Ok(zone)
}

/// The subnet has addresses and the quota vCPUs for so many.
pub(super) fn fits(state: &State, request: &LaunchRequest, count: u32) -> Result<(), AwsError> {
    if free_addresses(state, &request.subnet) < count {
        let message =
            format!("There are not enough free addresses in subnet '{}' to satisfy the requested number of instances.", request.subnet);
        return Err(AwsError::bad("InsufficientFreeAddressesInSubnet", message));
    }
    check_vcpus(state, request, count)
}

/// Switches an instance's machine on.
pub(super) fn boot(state: &State, instance: &Instance, first_boot: bool, context: Context<'_>) {
    context.host.start(machine(state, instance, first_boot));
    context.host.tagged(&instance.id, state.ec2.tags_of(&instance.id), context.wall);
}

fn machine(state: &State, instance: &Instance, first_boot: bool) -> Machine {
    Machine {
        id: instance.id.clone(),
        account: state.place.account.clone(),
        region: state.place.region.clone(),
        image: instance.request.image.clone(),
        address: instance.address,
        user_data: instance.request.user_data.clone(),
        tags: instance.request.metadata.tags.then(|| state.ec2.tags_of(&instance.id).clone()),
        first_boot,
    }
}

/// Ends an instance; repeating it is no error, as in `TerminateInstances`. Unknown ids are ignored.
pub(in crate::sandbox) fn terminate(state: &mut State, id: &str, context: Context<'_>) {
    if let Some(instance) = state.ec2.instances.get_mut(id).filter(|instance| !instance.state.is_ending()) {
        end(instance, "Client.UserInitiatedShutdown", "User initiated shutdown", context);
    }
}

pub(super) fn end(instance: &mut Instance, code: &str, message: &str, context: Context<'_>) {
    instance.reason = Some((code.to_string(), format!("{code}: {message}")));
    instance.state = InstanceState::ShuttingDown;
    instance.due = context.now + context.latencies.shutting_down;
    context.host.terminate(&instance.id);
}

/// Moves states on.
pub(super) fn tick(state: &mut State, context: Context<'_>) {
    let now = context.now;
    for instance in state.ec2.instances.values_mut() {
        let due = now >= instance.due;
        match instance.state {
            InstanceState::Pending if due => {
                instance.state = InstanceState::Running;
                instance.running_since = now;
            }
            InstanceState::Running if !instance.rebooting && !context.host.running(&instance.id) => shut_itself_down(instance, context),
            InstanceState::Stopping if due && !context.host.running(&instance.id) => instance.state = InstanceState::Stopped,
            InstanceState::ShuttingDown if due && !context.host.running(&instance.id) => {
                instance.state = InstanceState::Terminated;
                instance.due = now + context.latencies.terminated_visible;
            }
            _ => {}
        }
    }
    let forgotten = |instance: &&Instance| instance.state == InstanceState::Terminated && now >= instance.due;
    let gone: Vec<String> = state.ec2.instances.values().filter(forgotten).map(|gone| gone.id.clone()).collect();
    for id in gone {
        state.ec2.instances.remove(&id);
        state.ec2.tags.remove(&id);
    }
}

fn shut_itself_down(instance: &mut Instance, context: Context<'_>) {
    let (code, message) = ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown");
    match instance.request.on_shutdown {
        OnShutdown::Terminate => end(instance, code, message, context),
        OnShutdown::Stop => {
            instance.reason = Some((code.to_string(), format!("{code}: {message}")));
            instance.state = InstanceState::Stopping;
            instance.due = context.now + context.latencies.stopping;
        }
    }
}
