//! What there is room for, before anything is launched. Whoever may not read it, or gets no answer in time, goes without: a launch is never
//! held up by what only looks after it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::aws::{Aws, Error, ErrorKind, InstanceInfo, gather};
use crate::model::{CapacityKind, Environment, Purchases, Quota, Reading, Room, RunningInstance, SubnetRoom};

/// An answer that takes longer is gone without.
const PATIENCE: Duration = Duration::from_secs(15);

/// What concerns instances and limits; what there is at the load balancer, whoever looks at it enters.
pub(super) async fn room(aws: &Aws, environment: &Environment, wanted: Option<&Purchases>) -> Option<Room> {
    let wanted = wanted?;
    let quotas: BTreeSet<&str> = wanted.iter().filter_map(|(kind, bought)| Quota::of(kind, *bought)).map(|quota| quota.code).collect();
    let quotas = quotas.into_iter().map(|code| async move { (code, read(aws, "servicequotas", aws.servicequotas.vcpus(code)).await) });
    let machines = async {
        let running = read(aws, "ec2", running(aws)).await;
        let kinds = running.known().into_iter().flatten().map(|instance| &instance.instance_type);
        let kinds: BTreeSet<&String> = kinds.chain(wanted.iter().map(|(kind, _)| kind)).collect();
        let kinds: Vec<String> = kinds.into_iter().cloned().collect();
        let vcpus = async {
            let sizes = aws.ec2.instance_types_there(&kinds).await?;
            Ok(sizes.into_iter().map(|(kind, size)| (kind, size.vcpus)).collect())
        };
        (running, read(aws, "ec2", vcpus).await)
    };
    let (subnets, groups, limits, (running, vcpus), quotas) = tokio::join!(
        read(aws, "ec2", subnets(aws, environment)),
        read(aws, "autoscaling", aws.autoscaling.limits()),
        read(aws, "elasticloadbalancing", aws.elbv2.limits()),
        machines,
        gather(quotas),
    );
    let quotas = quotas.into_iter().collect();
    Some(Room { subnets, running, vcpus, quotas, groups, limits, rules: 0, attached: 0, target_groups: 0 })
}

async fn read<T>(aws: &Aws, service: &str, answer: impl Future<Output = Result<T, Error>>) -> Reading<T> {
    let clock = aws.clock();
    let answer = tokio::select! {
        biased;
        answer = answer => answer,
        () = clock.sleep(PATIENCE) => return Reading::Unread { action: service.to_string(), denied: false },
    };
    let unread = |error: Error| Reading::Unread { action: format!("{service}:{}", error.action), denied: error.kind == ErrorKind::Denied };
    answer.map_or_else(unread, Reading::Known)
}

async fn subnets(aws: &Aws, environment: &Environment) -> Result<Vec<SubnetRoom>, Error> {
    let found = aws.ec2.subnets(&environment.subnets).await?;
    Ok(found.into_iter().map(|subnet| SubnetRoom { id: subnet.id, zone: subnet.zone, free: subnet.free }).collect())
}

async fn running(aws: &Aws) -> Result<Vec<RunningInstance>, Error> {
    let instance = |found: InstanceInfo| RunningInstance {
        id: found.id,
        instance_type: found.instance_type,
        kind: if found.spot { CapacityKind::Spot } else { CapacityKind::OnDemand },
        subnet: found.subnet.unwrap_or_default(),
    };
    Ok(aws.ec2.instances_running().await?.into_iter().map(instance).collect())
}
