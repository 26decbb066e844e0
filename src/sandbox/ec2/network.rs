//! The network a company already has: one VPC, subnets over the Availability Zones, security groups, instance profiles.

use crate::sandbox::engine::Seed;

/// A subnet.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Subnet {
    pub id: String,
    /// Availability Zone, `eu-central-1a`.
    pub zone: String,
    pub cidr: String,
}

/// What a place has from the start. It cannot be changed through the API: adstage never makes networks.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Network {
    pub vpc: String,
    pub zones: Vec<String>,
    pub subnets: Vec<Subnet>,
    pub security_groups: Vec<String>,
    /// Names.
    pub instance_profiles: Vec<String>,
}

impl Network {
    /// The subnet with this id.
    pub fn subnet(&self, id: &str) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.id == id)
    }

    pub(super) fn sow(&mut self, seed: &Seed) {
        self.vpc = "vpc-00000000000000001".to_string();
        self.zones = ["a", "b", "c"].map(|letter| format!("{}{letter}", seed.region)).to_vec();
        for id in &seed.subnets {
            if self.subnet(id).is_none() {
                let number = self.subnets.len();
                // The first two (the default ones) and any two after them lie in different zones.
                let zone = self.zones[number % 2].clone();
                self.subnets.push(Subnet { id: id.clone(), zone, cidr: format!("10.0.{number}.0/24") });
            }
        }
        add_new(&mut self.security_groups, &seed.security_groups);
        add_new(&mut self.instance_profiles, &seed.instance_profiles);
    }
}

fn add_new(all: &mut Vec<String>, more: &[String]) {
    for name in more {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
}
