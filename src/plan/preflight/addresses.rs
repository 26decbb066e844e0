//! Addresses: every instance takes one of its subnet's.

use std::collections::BTreeMap;

use super::demand::{Launch, Spread};
use super::{Check, count, names};
use crate::model::{RunningInstance, SubnetRoom};

/// The subnets of an Availability Zone, and what they have left.
#[derive(Default)]
struct Zone<'c> {
    free: u32,
    ids: Vec<&'c str>,
}

impl Check<'_> {
    /// Auto Scaling spreads a new group evenly over the Availability Zones; where there are no addresses, launches fail.
    pub(super) fn addresses(&mut self) {
        let (room, demand) = (self.room, self.demand);
        let Some(subnets) = self.known("the subnets have enough free addresses", &room.subnets) else { return };
        let (boxes, fleets): (Vec<&Launch>, Vec<&Launch>) = demand.launches.iter().partition(|launch| launch.spread == Spread::First);
        let first = self.environment.subnets.first().and_then(|first| subnets.iter().find(|subnet| subnet.id == *first));
        if let Some(first) = first.filter(|first| self.free(first) < sum(&boxes)) {
            self.too_few(&boxes, sum(&boxes), "the subnet has", self.free(first), &[&first.id]);
        }
        let mut zones: BTreeMap<&str, Zone> = BTreeMap::new();
        for subnet in subnets {
            let zone = zones.entry(&subnet.zone).or_default();
            zone.free += self.free(subnet);
            zone.ids.push(&subnet.id);
        }
        let total = zones.values().map(|zone| zone.free).sum();
        if sum(&fleets) > total {
            let ids: Vec<&str> = subnets.iter().map(|subnet| subnet.id.as_str()).collect();
            return self.too_few(&fleets, sum(&fleets), "the subnets have", total, &ids);
        }
        let new: Vec<&Launch> = fleets.into_iter().filter(|launch| launch.spread == Spread::Evenly).collect();
        let many = count(zones.len());
        for (name, zone) in &zones {
            let least = new.iter().map(|launch| launch.count / many).sum();
            let most = new.iter().map(|launch| launch.count.div_ceil(many)).sum::<u32>();
            if least > zone.free {
                let here: Vec<&Launch> = new.iter().copied().filter(|launch| launch.count >= many).collect();
                self.too_few(&here, least, &format!("{name} has"), zone.free, &zone.ids);
            } else if most > zone.free {
                let who = names(new.iter().map(|launch| launch.who.as_str()));
                self.notes.push(format!("{who}: the free addresses of {name} may not do, should one more come there than elsewhere"));
            }
        }
    }

    fn free(&self, subnet: &SubnetRoom) -> u32 {
        let leaves = |instance: &&RunningInstance| instance.subnet == subnet.id && self.cleared.contains(instance.id.as_str());
        subnet.free + count(self.room.running.known().into_iter().flatten().filter(leaves).count())
    }

    fn too_few(&mut self, launches: &[&Launch], wanted: u32, place_has: &str, free: u32, ids: &[&str]) {
        let who = names(launches.iter().map(|launch| launch.who.as_str()));
        let addresses = if wanted == 1 { "address is" } else { "addresses are" };
        let text = format!("{who}: {wanted} {addresses} needed, and {place_has} {free} left ({})", ids.join(", "));
        self.reasons.add(text, format!("aws ec2 describe-subnets --subnet-ids {} --region {}", ids.join(" "), self.environment.region));
    }
}

fn sum(launches: &[&Launch]) -> u32 {
    launches.iter().map(|launch| launch.count).sum()
}
