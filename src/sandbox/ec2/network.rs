//! The network a company already has: one VPC, subnets over the Availability Zones, security groups, instance profiles.

use super::filters::{Filters, page};
use super::instances::{Instance, InstanceState};
use super::tags::tag_set;
use crate::sandbox::engine::{Answer, Call, Seed, State};
use crate::sandbox::wire::{AwsError, Node, branch, leaf, list};

/// A subnet.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Subnet {
    pub id: String,
    /// Availability Zone, `eu-central-1a`.
    pub zone: String,
    pub cidr: String,
    /// Addresses that others have not taken.
    pub addresses: u32,
}

/// Addresses of a /24, without the five that AWS keeps (*Subnet CIDR blocks*).
const ADDRESSES: u32 = 251;

/// What a place has from the start. It cannot be changed through the API: adstage never makes networks.
#[derive(Debug, Clone, Default)]
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
                self.subnets.push(Subnet { id: id.clone(), zone, cidr: format!("10.0.{number}.0/24"), addresses: ADDRESSES });
            }
        }
        add_new(&mut self.security_groups, &seed.security_groups);
        add_new(&mut self.instance_profiles, &seed.instance_profiles);
    }
}

/// Addresses of a subnet that are in use: every instance that is not gone has one, and every load balancer one in each of its zones.
fn used_addresses(state: &State, subnet: &str) -> u32 {
    let there = |instance: &&Instance| instance.request.subnet == subnet && instance.state != InstanceState::Terminated;
    let nodes = state.elbv2.load_balancers.values().filter(|one| one.zones.iter().any(|(_, own)| own == subnet)).count();
    u32::try_from(state.ec2.instances.values().filter(there).count() + nodes).unwrap_or(u32::MAX)
}

/// Those that are not.
pub(super) fn free_addresses(state: &State, subnet: &str) -> u32 {
    let all = state.ec2.network.subnet(subnet).map_or(0, |subnet| subnet.addresses);
    all.saturating_sub(used_addresses(state, subnet))
}

/// Others take all but so many.
pub(in crate::sandbox) fn leave_addresses(state: &mut State, subnet: &str, left: u32) {
    let addresses = used_addresses(state, subnet) + left;
    for found in state.ec2.network.subnets.iter_mut().filter(|found| found.id == subnet) {
        found.addresses = addresses;
    }
}

fn add_new(all: &mut Vec<String>, more: &[String]) {
    for name in more {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
}

/// What a describe of one kind of resource needs to know of it.
struct Kind {
    action: &'static str,
    /// The parameter with ids, the filter of ids, the code when there is none.
    ids: &'static str,
    id_filter: &'static str,
    missing: &'static str,
    /// The answer's list.
    set: &'static str,
}

/// A resource: its id, its facts by filter name, its fields.
type Row = (String, Vec<(&'static str, String)>, Vec<Node>);

fn describe(call: &Call<'_>, kind: &Kind, rows: Vec<Row>) -> Answer {
    call.params.only(kind.action, &[kind.ids, "Filter", "MaxResults", "NextToken"])?;
    let mut known: Vec<&str> = rows.iter().flat_map(|row| row.1.iter().map(|fact| fact.0)).collect();
    known.push(kind.id_filter);
    let filters = Filters::read(call.params, &known)?;
    let asked = call.params.texts(kind.ids);
    if let Some(id) = asked.iter().find(|id| !rows.iter().any(|row| row.0 == **id)) {
        return Err(AwsError::bad(kind.missing, format!("The ID '{id}' does not exist")));
    }
    let mut shown: Vec<(String, Vec<Node>)> = rows
        .into_iter()
        .filter(|(id, ..)| asked.is_empty() || asked.contains(&id.as_str()))
        .filter(|(id, facts, _)| {
            filters.admit(call.state.ec2.tags_of(id), |name| {
                if name == kind.id_filter {
                    return vec![id.clone()];
                }
                facts.iter().filter(|fact| fact.0 == name).map(|fact| fact.1.clone()).collect()
            })
        })
        .map(|(id, _, mut fields)| {
            fields.push(tag_set(call.state.ec2.tags_of(&id)));
            (id, fields)
        })
        .collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    let (page, next) = page(call.params, shown, 5, 1000)?;
    Ok(branch("found", std::iter::once(list(kind.set, "item", page)).chain(next)))
}

/// `DescribeSubnets`.
pub(super) fn describe_subnets(call: &mut Call<'_>) -> Answer {
    let (network, account) = (&call.state.ec2.network, &call.state.place.account);
    let row = |subnet: &Subnet| {
        let facts = vec![("vpc-id", network.vpc.clone()), ("availability-zone", subnet.zone.clone()), ("state", "available".to_string())];
        let fields = vec![
            leaf("subnetId", &subnet.id),
            leaf("state", "available"),
            leaf("vpcId", &network.vpc),
            leaf("cidrBlock", &subnet.cidr),
            leaf("availableIpAddressCount", free_addresses(call.state, &subnet.id)),
            leaf("availabilityZone", &subnet.zone),
            leaf("defaultForAz", true),
            leaf("mapPublicIpOnLaunch", false),
            leaf("ownerId", account),
        ];
        (subnet.id.clone(), facts, fields)
    };
    let kind =
        Kind { action: "DescribeSubnets", ids: "SubnetId", id_filter: "subnet-id", missing: "InvalidSubnetID.NotFound", set: "subnetSet" };
    describe(call, &kind, network.subnets.iter().map(row).collect())
}

/// `DescribeVpcs`.
pub(super) fn describe_vpcs(call: &mut Call<'_>) -> Answer {
    let (id, account) = (call.state.ec2.network.vpc.clone(), &call.state.place.account);
    let facts = vec![("state", "available".to_string()), ("is-default", "true".to_string())];
    let fields = vec![
        leaf("vpcId", &id),
        leaf("state", "available"),
        leaf("cidrBlock", "10.0.0.0/16"),
        leaf("isDefault", true),
        leaf("ownerId", account),
    ];
    let kind = Kind { action: "DescribeVpcs", ids: "VpcId", id_filter: "vpc-id", missing: "InvalidVpcID.NotFound", set: "vpcSet" };
    describe(call, &kind, vec![(id, facts, fields)])
}

/// `DescribeSecurityGroups`. Rules are not kept: on loopback nothing is filtered.
pub(super) fn describe_security_groups(call: &mut Call<'_>) -> Answer {
    let (network, account) = (&call.state.ec2.network, &call.state.place.account);
    let row = |id: &String| {
        let facts = vec![("vpc-id", network.vpc.clone()), ("group-name", id.clone())];
        let fields = vec![
            leaf("groupId", id),
            leaf("groupName", id),
            leaf("groupDescription", "sandbox"),
            leaf("ownerId", account),
            leaf("vpcId", &network.vpc),
            branch("ipPermissions", []),
            branch("ipPermissionsEgress", []),
        ];
        (id.clone(), facts, fields)
    };
    let kind = Kind {
        action: "DescribeSecurityGroups",
        ids: "GroupId",
        id_filter: "group-id",
        missing: "InvalidGroup.NotFound",
        set: "securityGroupInfo",
    };
    describe(call, &kind, network.security_groups.iter().map(row).collect())
}

/// `DescribeAvailabilityZones`.
pub(super) fn describe_zones(call: &mut Call<'_>) -> Answer {
    let region = &call.state.place.region;
    let row = |zone: &String| {
        let facts = vec![("state", "available".to_string()), ("region-name", region.clone())];
        let fields = vec![
            leaf("zoneName", zone),
            leaf("zoneState", "available"),
            leaf("regionName", region),
            leaf("zoneType", "availability-zone"),
            leaf("optInStatus", "opt-in-not-required"),
        ];
        (zone.clone(), facts, fields)
    };
    let kind = Kind {
        action: "DescribeAvailabilityZones",
        ids: "ZoneName",
        id_filter: "zone-name",
        missing: "InvalidParameterValue",
        set: "availabilityZoneInfo",
    };
    describe(call, &kind, call.state.ec2.network.zones.iter().map(row).collect())
}
