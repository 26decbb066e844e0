//! Instance types: a small table of true sizes.

use super::filters::{Filters, page};
use super::tags::Tags;
use crate::sandbox::engine::{Answer, Call};
use crate::sandbox::wire::{AwsError, Node, branch, leaf, list};

/// An instance type's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) struct InstanceType {
    pub name: &'static str,
    pub vcpus: u32,
    pub memory_mib: u32,
    pub cores: u32,
}

const fn size(name: &'static str, vcpus: u32, gib_times_two: u32) -> InstanceType {
    InstanceType { name, vcpus, memory_mib: gib_times_two * 512, cores: if vcpus > 1 { vcpus / 2 } else { 1 } }
}

/// Sizes as AWS lists them; all x86_64, current generation.
const TYPES: [InstanceType; 28] = [
    size("c7i.large", 2, 8),
    size("c7i.xlarge", 4, 16),
    size("c7i.2xlarge", 8, 32),
    size("c7i.4xlarge", 16, 64),
    size("c7i.8xlarge", 32, 128),
    size("c7i.12xlarge", 48, 192),
    size("c7i.16xlarge", 64, 256),
    size("m7i.large", 2, 16),
    size("m7i.xlarge", 4, 32),
    size("m7i.2xlarge", 8, 64),
    size("m7i.4xlarge", 16, 128),
    size("m7i.8xlarge", 32, 256),
    size("m7i.12xlarge", 48, 384),
    size("m7i.16xlarge", 64, 512),
    size("r7i.large", 2, 32),
    size("r7i.xlarge", 4, 64),
    size("r7i.2xlarge", 8, 128),
    size("r7i.4xlarge", 16, 256),
    size("r7i.8xlarge", 32, 512),
    size("r7i.12xlarge", 48, 768),
    size("r7i.16xlarge", 64, 1024),
    size("t3.nano", 2, 1),
    size("t3.micro", 2, 2),
    size("t3.small", 2, 4),
    size("t3.medium", 2, 8),
    size("t3.large", 2, 16),
    size("t3.xlarge", 4, 32),
    size("t3.2xlarge", 8, 64),
];

/// The type with this name.
pub(in crate::sandbox) fn instance_type(name: &str) -> Option<&'static InstanceType> {
    TYPES.iter().find(|kind| kind.name == name)
}

/// How many processors a type has; one if nobody knows it.
pub(in crate::sandbox) fn vcpus(name: &str) -> u32 {
    instance_type(name).map_or(1, |kind| kind.vcpus)
}

fn render(kind: &InstanceType) -> Vec<Node> {
    let burstable = kind.name.starts_with('t');
    vec![
        leaf("instanceType", kind.name),
        leaf("currentGeneration", true),
        leaf("bareMetal", false),
        leaf("hypervisor", "nitro"),
        leaf("burstablePerformanceSupported", burstable),
        branch("processorInfo", [branch("supportedArchitectures", [leaf("item", "x86_64")])]),
        branch(
            "vCpuInfo",
            [leaf("defaultVCpus", kind.vcpus), leaf("defaultCores", kind.cores), leaf("defaultThreadsPerCore", kind.vcpus / kind.cores)],
        ),
        branch("memoryInfo", [leaf("sizeInMiB", kind.memory_mib)]),
    ]
}

/// `DescribeInstanceTypes`.
pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    call.params.only("DescribeInstanceTypes", &["InstanceType", "Filter", "MaxResults", "NextToken"])?;
    let filters = Filters::read(call.params, &["instance-type", "current-generation", "processor-info.supported-architecture"])?;
    let asked = call.params.texts("InstanceType");
    if let Some(unknown) = asked.iter().find(|name| instance_type(name).is_none()) {
        let message = format!("The following supplied instance types do not exist: [{unknown}]");
        return Err(AwsError::bad("InvalidInstanceType", message));
    }
    let facts = |kind: &InstanceType, name: &str| match name {
        "instance-type" => vec![kind.name.to_string()],
        "current-generation" => vec!["true".to_string()],
        _ => vec!["x86_64".to_string()],
    };
    let mut rows: Vec<(String, Vec<Node>)> = TYPES
        .iter()
        .filter(|kind| asked.is_empty() || asked.contains(&kind.name))
        .filter(|kind| filters.admit(&Tags::new(), |name| facts(kind, name)))
        .map(|kind| (kind.name.to_string(), render(kind)))
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let (page, next) = page(call.params, rows, 5, 100)?;
    Ok(branch("found", std::iter::once(list("instanceTypeSet", "item", page)).chain(next)))
}
