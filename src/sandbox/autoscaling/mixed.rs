//! Groups that may choose between instance types, and those that buy spot.

use super::invalid;
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

/// A group's choice. Only all spot and all on-demand are understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mixed {
    /// Instance types, best first; none: the template's own.
    pub types: Vec<String>,
    pub spot: bool,
    /// As sent.
    strategies: (Option<String>, Option<String>),
}

/// Where a call names its launch template.
pub(super) fn template(params: &Params) -> &Params {
    match params.child("MixedInstancesPolicy") {
        policy if policy.is_absent() => params.child("LaunchTemplate"),
        policy => policy.child("LaunchTemplate").child("LaunchTemplateSpecification"),
    }
}

/// The policy of a call, if it has one.
pub(super) fn read(params: &Params) -> Result<Option<Mixed>, AwsError> {
    let policy = params.child("MixedInstancesPolicy");
    if policy.is_absent() {
        return Ok(None);
    }
    if !params.child("LaunchTemplate").is_absent() {
        return Err(invalid("Only one of LaunchTemplate and MixedInstancesPolicy can be given"));
    }
    policy.only("MixedInstancesPolicy", &["LaunchTemplate", "InstancesDistribution"])?;
    let template = policy.child("LaunchTemplate");
    template.only("LaunchTemplate", &["LaunchTemplateSpecification", "Overrides"])?;
    let kind = |one: &Params| {
        one.only("Overrides", &["InstanceType"])?;
        one.required("InstanceType").map(str::to_string)
    };
    let types = template.list("Overrides").into_iter().map(kind).collect::<Result<_, _>>()?;
    let distribution = policy.child("InstancesDistribution");
    let known = [
        "OnDemandAllocationStrategy",
        "OnDemandBaseCapacity",
        "OnDemandPercentageAboveBaseCapacity",
        "SpotAllocationStrategy",
        "SpotMaxPrice",
    ];
    distribution.only("InstancesDistribution", &known)?;
    let (base, above) = (distribution.number("OnDemandBaseCapacity")?, distribution.number("OnDemandPercentageAboveBaseCapacity")?);
    let spot = match (base.unwrap_or(0), above.unwrap_or(100)) {
        (_, 100) => false,
        (0, 0) => true,
        _ => return Err(AwsError::unsupported("a group with both spot and on-demand instances")),
    };
    let text = |name: &str| distribution.get(name).map(str::to_string);
    Ok(Some(Mixed { types, spot, strategies: (text("OnDemandAllocationStrategy"), text("SpotAllocationStrategy")) }))
}

impl Mixed {
    /// As a describe shows it, around the template.
    pub fn show(&self, template: Vec<Node>) -> Node {
        let mut distribution =
            vec![leaf("OnDemandBaseCapacity", 0), leaf("OnDemandPercentageAboveBaseCapacity", if self.spot { 0 } else { 100 })];
        distribution.extend(self.strategies.0.as_ref().map(|name| leaf("OnDemandAllocationStrategy", name)));
        distribution.extend(self.strategies.1.as_ref().map(|name| leaf("SpotAllocationStrategy", name)));
        let overrides = list("Overrides", "member", self.types.iter().map(|kind| vec![leaf("InstanceType", kind)]));
        let template = branch("LaunchTemplate", [branch("LaunchTemplateSpecification", template), overrides]);
        branch("MixedInstancesPolicy", [template, branch("InstancesDistribution", distribution)])
    }
}
