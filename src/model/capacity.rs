//! Two kinds of capacity: the one that is there, and the cheaper one that can be had or not, and can be taken back.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How instances are bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapacityKind {
    /// At the full price, kept for as long as it is wanted.
    #[default]
    OnDemand,
    /// Spare capacity at a lower price. AWS may have none, and takes it back with two minutes' notice.
    Spot,
}

impl CapacityKind {
    /// Both, the one without surprises first.
    pub const ALL: [Self; 2] = [Self::OnDemand, Self::Spot];

    /// What is appended to the name of a fleet's group.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::OnDemand => "",
            Self::Spot => "-spot",
        }
    }

    /// The kind a step is about where it says none.
    pub fn is_on_demand(&self) -> bool {
        *self == Self::OnDemand
    }
}

impl fmt::Display for CapacityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
        })
    }
}

/// A number of instances, shared between the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Share {
    /// On-demand instances.
    pub on_demand: u32,
    /// Spot instances.
    pub spot: u32,
}

impl Share {
    /// So many percent of them spot, rounded down: what is in doubt is on-demand.
    pub fn of(size: u32, percent: u32) -> Self {
        let spot = u32::try_from(u64::from(size) * u64::from(percent.min(100)) / 100).unwrap_or(size);
        Self { on_demand: size - spot, spot }
    }

    /// Both together.
    pub fn total(self) -> u32 {
        self.on_demand.saturating_add(self.spot)
    }

    /// One of the two.
    pub fn kind(self, kind: CapacityKind) -> u32 {
        match kind {
            CapacityKind::OnDemand => self.on_demand,
            CapacityKind::Spot => self.spot,
        }
    }
}

impl fmt::Display for Share {
    /// `2 on-demand and 8 spot`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on-demand and {} spot", self.on_demand, self.spot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_loses_nobody() {
        for size in 0..50 {
            for percent in [0, 1, 33, 50, 80, 99, 100] {
                let share = Share::of(size, percent);
                assert_eq!(share.total(), size);
                assert!(share.spot * 100 <= size * percent);
            }
        }
        assert_eq!(Share::of(10, 80), Share { on_demand: 2, spot: 8 });
        assert_eq!(Share::of(1, 80), Share { on_demand: 1, spot: 0 });
    }
}
