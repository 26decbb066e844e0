//! Everything there is in one account and Region, for tests that ask what was left behind: read from the state itself, through no API,
//! so that nothing is hidden from it.

use std::collections::{BTreeMap, BTreeSet};

use super::connector::Sandbox;
use super::engine::Place;
use super::{autoscaling, ec2, elbv2};

/// A group of machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// Least size.
    pub min: u32,
    /// Most size.
    pub max: u32,
    /// Wanted size.
    pub desired: u32,
    /// Suspended processes.
    pub suspended: BTreeSet<String>,
    /// Names of the scaling policies it follows.
    pub policies: BTreeSet<String>,
    /// Being deleted.
    pub deleting: bool,
    /// Instances in service.
    pub in_service: usize,
    /// Its tag `adstage:active`, if it has one, and those of its machines.
    pub active: Option<(String, BTreeSet<String>)>,
}

/// A rule with a priority, or a listener's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFacts {
    /// None: the default.
    pub priority: Option<u16>,
    /// By name of the target group; none: it answers by itself.
    pub weights: BTreeMap<String, u16>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Groups by name.
    pub groups: BTreeMap<String, GroupFacts>,
    /// Names of target groups.
    pub target_groups: BTreeSet<String>,
    /// Rules of every listener, by priority.
    pub rules: Vec<RuleFacts>,
    /// Names of launch templates.
    pub templates: BTreeSet<String>,
    /// Machines that are neither ended nor ending, and the name each has by its tag.
    pub instances: BTreeMap<String, String>,
    /// Names of images that somebody made.
    pub images: BTreeSet<String>,
    /// Ids of snapshots that belong to no image.
    pub stray_snapshots: BTreeSet<String>,
}

impl Sandbox {
    /// What there is now in an account and Region.
    pub fn inventory(&self, account: &str, region: &str) -> Inventory {
        let place = Place { account: account.to_string(), region: region.to_string() };
        self.engine.within(&place, |state, _| {
            let mut found = Inventory { groups: autoscaling::inventory(state), ..Inventory::default() };
            elbv2::inventory(state, &mut found);
            ec2::inventory(state, &mut found);
            found
        })
    }

    /// One item of a table, as DynamoDB's JSON has it; what nobody's call would be counted for.
    pub fn item(&self, account: &str, region: &str, table: &str, key: [&str; 2]) -> Option<serde_json::Value> {
        let place = Place { account: account.to_string(), region: region.to_string() };
        self.engine.within(&place, |state, _| state.dynamodb.item(table, key))
    }
}
