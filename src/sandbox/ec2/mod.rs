//! EC2: instances, images, snapshots, launch templates, tags, and the network a company already has.
//!
//! Auto Scaling launches through [`launch`] and [`terminate`], as the real one calls EC2; it sees instances through [`instance`].

mod describe;
mod filters;
mod images;
mod instances;
mod market;
mod network;
mod power;
mod run;
mod sharing;
mod snapshots;
mod spec;
mod tags;
mod templates;
mod types;

use std::collections::BTreeMap;

use super::engine::{Answer, Call, Context, Seed, State};
use super::host::Host;
use super::inventory::Inventory;
use super::wire::{AwsError, Node, branch, leaf};

pub(super) use instances::{Instance, InstanceState, LaunchRequest, Metadata, check, launch, metadata, terminate};
pub(super) use market::{Shortage, has_notice, running_spot, shortages};
pub(super) use network::{Network, leave_addresses};
pub(super) use sharing::{Abroad, abroad};
pub(super) use tags::Tags;
pub(super) use templates::{Template, TemplateRef, from_template, template};
pub(super) use types::{instance_type, vcpus};

/// EC2's state in one account and Region.
#[derive(Clone, Default)]
pub(super) struct Ec2 {
    pub network: Network,
    pub instances: BTreeMap<String, Instance>,
    images: BTreeMap<String, images::Image>,
    snapshots: BTreeMap<String, snapshots::Snapshot>,
    templates: BTreeMap<String, Template>,
    /// By resource id, whatever kind the resource is of.
    pub tags: BTreeMap<String, Tags>,
    /// `RunInstances` tokens, by token and zone (empty: the whole Region).
    launches: BTreeMap<(String, String), run::Launch>,
    template_tokens: BTreeMap<String, templates::Made>,
    market: market::Market,
    /// `CopyImage` tokens.
    copies: BTreeMap<String, sharing::Copied>,
}

impl Ec2 {
    /// A resource's tags.
    pub fn tags_of(&self, id: &str) -> &Tags {
        static NONE: Tags = Tags::new();
        self.tags.get(id).unwrap_or(&NONE)
    }
}

/// There is an instance type of this name.
pub(super) fn is_instance_type(name: &str) -> bool {
    types::instance_type(name).is_some()
}

/// An instance, whatever its state, until it is forgotten some time after its end.
pub(super) fn instance<'a>(state: &'a State, id: &str) -> Option<&'a Instance> {
    state.ec2.instances.get(id)
}

/// Puts in place what a seed names.
pub(super) fn sow(state: &mut State, seed: &Seed, wall: jiff::Timestamp, host: &dyn Host) {
    state.ec2.network.sow(seed);
    for image in &seed.images {
        if !state.ec2.images.contains_key(image) {
            state.ec2.images.insert(image.clone(), images::base(image, wall));
            host.seed_image(image);
        }
    }
}

/// Dispatch.
pub(super) fn call(call: &mut Call<'_>, action: &str) -> Answer {
    let handler = handler(action).ok_or_else(|| AwsError::unsupported(format!("the EC2 action {action}")))?;
    let params = call.params.without(&["Action", "Version", "DryRun"]);
    if call.params.flag("DryRun") == Some(true) {
        return Err(AwsError::with_status(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."));
    }
    let mut call = Call { params: &params, state: &mut *call.state, ..*call };
    handler(&mut call)
}

fn handler(action: &str) -> Option<fn(&mut Call<'_>) -> Answer> {
    Some(match action {
        "RunInstances" => run::run,
        "DescribeInstances" => describe::instances,
        "DescribeInstanceStatus" => describe::status,
        "DescribeInstanceAttribute" => describe::attribute,
        "GetConsoleOutput" => describe::console,
        "StartInstances" => power::start,
        "StopInstances" => power::stop,
        "TerminateInstances" => power::terminate,
        "CreateImage" => images::create,
        "DescribeImages" => images::describe,
        "DeregisterImage" => images::deregister,
        "CopyImage" => sharing::copy,
        "ModifyImageAttribute" => sharing::modify_image,
        "DescribeImageAttribute" => sharing::describe_image,
        "ModifySnapshotAttribute" => sharing::modify_snapshot,
        "DescribeImageReferences" => sharing::references,
        "DescribeSnapshots" => snapshots::describe,
        "DeleteSnapshot" => snapshots::delete,
        "CreateLaunchTemplate" => templates::create,
        "CreateLaunchTemplateVersion" => templates::create_version,
        "DescribeLaunchTemplates" => templates::describe,
        "DescribeLaunchTemplateVersions" => templates::describe_versions,
        "DeleteLaunchTemplate" => templates::delete,
        "CreateTags" => tags::create,
        "DeleteTags" => tags::delete,
        "DescribeTags" => tags::describe,
        "DescribeSubnets" => network::describe_subnets,
        "DescribeVpcs" => network::describe_vpcs,
        "DescribeSecurityGroups" => network::describe_security_groups,
        "DescribeAvailabilityZones" => network::describe_zones,
        "DescribeInstanceTypes" => types::describe,
        _ => return None,
    })
}

/// The answer of actions that only say that it is done.
fn done() -> Node {
    branch("done", [leaf("return", true)])
}

/// Moves states on.
pub(super) fn tick(state: &mut State, context: Context<'_>) {
    market::tick(state, context);
    instances::tick(state, context);
    images::tick(state, context);
    snapshots::tick(state, context);
}

/// Adds what there is of machines, templates, images and snapshots.
pub(super) fn inventory(state: &State, found: &mut Inventory) {
    let ec2 = &state.ec2;
    let name = |id: &String| ec2.tags_of(id).get("Name").cloned().unwrap_or_default();
    let alive = ec2.instances.iter().filter(|(_, instance)| !instance.state.is_ending());
    found.instances = alive.map(|(id, _)| (id.clone(), name(id))).collect();
    found.templates = ec2.templates.values().map(|template| template.name.clone()).collect();
    let made = || ec2.images.values().filter(|image| image.snapshot.is_some());
    found.images = made().map(|image| image.name.clone()).collect();
    let used: Vec<_> = made().filter_map(|image| image.snapshot.as_ref()).collect();
    found.stray_snapshots = ec2.snapshots.keys().filter(|id| !used.contains(id)).cloned().collect();
}
