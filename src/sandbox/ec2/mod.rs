//! EC2: instances, images, snapshots, launch templates, tags, and the network a company already has.
//!
//! Auto Scaling launches through [`launch`] and [`terminate`], as the real one calls EC2; it sees instances through [`instance`].

mod instances;
mod network;

use std::collections::BTreeMap;

use super::engine::{Answer, Call, Context, Seed, State};
use super::host::Host;
use super::wire::AwsError;

pub(super) use instances::{Instance, InstanceState, LaunchRequest, Metadata, MetadataOptions, OnShutdown, launch, metadata, terminate};
pub(super) use network::{Network, Subnet};

/// Key and value.
pub(super) type Tags = BTreeMap<String, String>;

/// EC2's state in one account and Region.
#[derive(Default)]
pub(super) struct Ec2 {
    pub network: Network,
    pub instances: BTreeMap<String, Instance>,
    /// By resource id, whatever kind the resource is of.
    pub tags: BTreeMap<String, Tags>,
}

impl Ec2 {
    /// A resource's tags.
    pub fn tags_of(&self, id: &str) -> &Tags {
        static NONE: Tags = Tags::new();
        self.tags.get(id).unwrap_or(&NONE)
    }
}

/// An instance, whatever its state, until it is forgotten some time after its end.
pub(super) fn instance<'a>(state: &'a State, id: &str) -> Option<&'a Instance> {
    state.ec2.instances.get(id)
}

/// Puts in place what a seed names.
pub(super) fn sow(state: &mut State, seed: &Seed, _wall: jiff::Timestamp, host: &dyn Host) {
    state.ec2.network.sow(seed);
    for image in &seed.images {
        host.seed_image(image);
    }
}

/// Dispatch.
pub(super) fn call(_call: &mut Call<'_>, action: &str) -> Answer {
    Err(AwsError::unsupported(format!("the EC2 action {action}")))
}

/// Moves states on.
pub(super) fn tick(state: &mut State, context: Context<'_>) {
    instances::tick(state, context);
}
