//! What the account already has: subnets and instance types.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, InstanceType};

use super::{Ec2, filter};
use crate::aws::Error;
use crate::aws::clients::pages;
use crate::aws::gather::gather;
use crate::aws::retry::Repeat;

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetInfo {
    /// Id.
    pub id: String,
    /// Its VPC.
    pub vpc: String,
    /// Its Availability Zone.
    pub zone: String,
    /// Addresses nobody has; those AWS keeps for itself are not counted (*Subnet*, AvailableIpAddressCount).
    pub free: u32,
}

/// How big an instance type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceTypeInfo {
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory_mib: u64,
}

impl Ec2 {
    /// These subnets; an unknown id is an error.
    pub async fn subnets(&self, ids: &[String]) -> Result<Vec<SubnetInfo>, Error> {
        let call = || self.client().describe_subnets().set_subnet_ids(Some(ids.to_vec())).send();
        let found = self.link.call("DescribeSubnets", Repeat::Safe, call).await?.subnets.unwrap_or_default().into_iter();
        let info = |subnet: aws_sdk_ec2::types::Subnet| {
            let free = subnet.available_ip_address_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
            Some(SubnetInfo { id: subnet.subnet_id?, vpc: subnet.vpc_id?, zone: subnet.availability_zone.unwrap_or_default(), free })
        };
        Ok(found.filter_map(info).collect())
    }

    /// How big those of these instance types are that the Region has.
    pub async fn instance_types_there(&self, names: &[String]) -> Result<BTreeMap<String, InstanceTypeInfo>, Error> {
        // As a filter, which takes 200 values: named, one that is not there would fail the whole call.
        let batches = gather(names.chunks(200).map(|batch| self.sizes(None, Some(vec![filter("instance-type", batch)])))).await;
        Ok(batches.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// How big these instance types are; an unknown one is an error.
    pub async fn instance_types(&self, names: &[String]) -> Result<BTreeMap<String, InstanceTypeInfo>, Error> {
        self.sizes(Some(names.iter().map(|name| InstanceType::from(name.as_str())).collect()), None).await
    }

    async fn sizes(
        &self,
        names: Option<Vec<InstanceType>>,
        filters: Option<Vec<Filter>>,
    ) -> Result<BTreeMap<String, InstanceTypeInfo>, Error> {
        let (names, filters) = (&names, &filters);
        let found = pages(|token| async move {
            let call = || {
                let request = self.client().describe_instance_types().set_instance_types(names.clone());
                request.set_filters(filters.clone()).set_next_token(token.clone()).send()
            };
            let page = self.link.call("DescribeInstanceTypes", Repeat::Safe, call).await?;
            Ok((page.instance_types.unwrap_or_default(), page.next_token))
        })
        .await?;
        let size = |found: aws_sdk_ec2::types::InstanceTypeInfo| {
            let vcpus = u32::try_from(found.v_cpu_info?.default_v_cpus?).ok()?;
            let memory_mib = u64::try_from(found.memory_info?.size_in_mib?).ok()?;
            Some((found.instance_type?.as_str().to_string(), InstanceTypeInfo { vcpus, memory_mib }))
        };
        Ok(found.into_iter().filter_map(size).collect())
    }
}
