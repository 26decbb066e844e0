//! The candidate has enough of the vCPUs and memory of the fleet it takes over from: compared, since equal numbers of instances say nothing.

use std::collections::BTreeMap;

use super::error::During;
use super::pin_size::groups;
use super::{Cx, Done, StepError};
use crate::aws::{GroupInfo, InstanceTypeInfo};
use crate::model::FleetKey;

pub(super) async fn run(cx: &Cx, candidate: &FleetKey, live: &FleetKey, share: u32) -> Done {
    let (ours, theirs) = tokio::join!(groups(cx, candidate), groups(cx, live));
    let (ours, theirs) = (ours?, theirs?);
    let mut types: Vec<String> = ours.iter().chain(&theirs).flat_map(|found| found.instance_types.values().cloned()).collect();
    types.sort();
    types.dedup();
    if types.is_empty() {
        return Err(StepError::new(format!("neither {candidate} nor {live} has an instance to compare")));
    }
    let sizes = cx.aws.ec2.instance_types(&types).await.during("look up the sizes of instance types")?;
    let ((vcpus, memory), (least_vcpus, least_memory)) = (capacity(&ours, &sizes)?, capacity(&theirs, &sizes)?);
    let said = |vcpus: u32, memory: u64| format!("{vcpus} vCPUs and {memory} MiB");
    let enough = |ours: u64, theirs: u64| ours * 100 >= theirs * u64::from(share);
    if !enough(vcpus.into(), least_vcpus.into()) || !enough(memory, least_memory) {
        let what = if share == 100 {
            format!("{candidate} is smaller than {live}")
        } else {
            format!("{candidate} has less than {share} % of {live}")
        };
        let numbers = format!("{} against {}", said(vcpus, memory), said(least_vcpus, least_memory));
        return Err(StepError::new(what).because(numbers).because("`deploy.min-capacity` in adstage.toml says how much it must have"));
    }
    Ok(format!("{candidate}: {} ({live}: {})", said(vcpus, memory), said(least_vcpus, least_memory)))
}

/// What the instances in service have together.
fn capacity(groups: &[GroupInfo], sizes: &BTreeMap<String, InstanceTypeInfo>) -> Result<(u32, u64), StepError> {
    let mut sum = (0, 0);
    let members = groups.iter().flat_map(|found| found.group.instances.iter().map(move |instance| (found, instance)));
    for (found, instance) in members.filter(|(_, instance)| instance.in_service()) {
        let kind = found.instance_types.get(&instance.id).cloned().unwrap_or_default();
        let size = sizes.get(&kind).ok_or_else(|| StepError::new(format!("the size of instance type {kind:?} is not known")))?;
        sum = (sum.0 + size.vcpus, sum.1 + size.memory_mib);
    }
    Ok(sum)
}
