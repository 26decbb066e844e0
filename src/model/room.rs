//! What an account and Region still has room for. Nothing of it is ours alone, so it is true at one moment, and what could not be read is
//! part of it: a launch is refused for what is known, never for what is not.

use std::collections::{BTreeMap, BTreeSet};

use super::CapacityKind;

/// Instance types, and how they are bought.
pub type Purchases = BTreeSet<(String, CapacityKind)>;

/// Read, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// It was read.
    Known(T),
    /// It was not.
    Unread {
        /// What did not answer, as a policy would name it.
        action: String,
        /// The caller is not allowed to; otherwise it failed.
        denied: bool,
    },
}

impl<T> Reading<T> {
    /// What was read.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unread { .. } => None,
        }
    }
}

/// A subnet that instances are launched into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetRoom {
    /// Id.
    pub id: String,
    /// Its Availability Zone.
    pub zone: String,
    /// Addresses nobody has; the five that AWS keeps are not among them.
    pub free: u32,
}

/// An instance of the account that counts against a vCPU quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningInstance {
    /// EC2 id.
    pub id: String,
    /// Its type.
    pub instance_type: String,
    /// How it was bought.
    pub kind: CapacityKind,
    /// Its subnet.
    pub subnet: String,
}

/// How many there are, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// There are.
    pub used: u32,
    /// There may be.
    pub most: u32,
}

/// What an account and Region has room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The environment's subnets.
    pub subnets: Reading<Vec<SubnetRoom>>,
    /// Every instance of the account and Region that runs or is about to.
    pub running: Reading<Vec<RunningInstance>>,
    /// vCPUs by instance type: of those that run, and of those that are wanted, as far as the Region has them.
    pub vcpus: Reading<BTreeMap<String, u32>>,
    /// vCPU quotas by code.
    pub quotas: BTreeMap<&'static str, Reading<u32>>,
    /// Auto Scaling groups.
    pub groups: Reading<Used>,
    /// The limits of Elastic Load Balancing by name.
    pub limits: Reading<BTreeMap<String, u32>>,
    /// Rules on all listeners of the load balancer, default rules not counted.
    pub rules: u32,
    /// Target groups that rules of the load balancer lead to.
    pub attached: u32,
    /// Target groups of the account and Region.
    pub target_groups: u32,
}
