//! What the account already has: subnets and instance types.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::InstanceType;

use super::Ec2;
use crate::aws::Error;
use crate::aws::clients::pages;
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
            Some(SubnetInfo { id: subnet.subnet_id?, vpc: subnet.vpc_id?, zone: subnet.availability_zone.unwrap_or_default() })
        };
        Ok(found.filter_map(info).collect())
    }

    /// How big these instance types are; an unknown one is an error.
    pub async fn instance_types(&self, names: &[String]) -> Result<BTreeMap<String, InstanceTypeInfo>, Error> {
        let names: &Vec<InstanceType> = &names.iter().map(|name| InstanceType::from(name.as_str())).collect();
        let found = pages(|token| async move {
            let call = || {
                let request = self.client().describe_instance_types().set_instance_types(Some(names.clone()));
                request.set_next_token(token.clone()).send()
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
