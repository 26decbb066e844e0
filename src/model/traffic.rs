//! Who gets the visitors: rules and weights.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ReleaseNumber, ServiceName};

/// The identity of a route's rule: which service it leads to, and its priority on the environment's listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleKey {
    /// The service.
    pub service: ServiceName,
    /// The rule's priority.
    pub priority: u16,
}

impl fmt::Display for RuleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (rule {})", self.service, self.priority)
    }
}

/// Shares of one rule's traffic by release. A release at weight 0 is health-checked and gets no visitor. No entry at all: the rule
/// serves the "nothing released yet" page.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weights(pub BTreeMap<ReleaseNumber, u16>);

impl Weights {
    /// All visitors to one release, the others of `self` kept at 0.
    pub fn all_to(&self, release: ReleaseNumber) -> Self {
        let mut after: BTreeMap<_, _> = self.0.keys().map(|kept| (*kept, 0)).collect();
        after.insert(release, 100);
        Self(after)
    }

    /// So many percent of the visitors to one release, the rest to another, all others of `self` kept at 0.
    pub fn split(&self, live: ReleaseNumber, release: ReleaseNumber, percent: u16) -> Self {
        let mut after = self.all_to(release);
        after.0.insert(live, 100 - percent.min(100));
        after.0.insert(release, percent.min(100));
        after
    }

    /// The same with one more release at weight 0 (no change if it is there already).
    pub fn with_idle(&self, release: ReleaseNumber) -> Self {
        let mut after = self.0.clone();
        after.entry(release).or_insert(0);
        Self(after)
    }

    /// The same without one release.
    pub fn without(&self, release: ReleaseNumber) -> Self {
        let mut after = self.0.clone();
        after.remove(&release);
        Self(after)
    }

    /// The one release that gets every visitor, if there is exactly one with weight.
    pub fn sole(&self) -> Option<ReleaseNumber> {
        let mut serving = self.0.iter().filter(|(_, weight)| **weight > 0).map(|(release, _)| *release);
        match (serving.next(), serving.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }

    /// Share of the traffic in percent, by release with weight.
    pub fn shares(&self) -> BTreeMap<ReleaseNumber, u32> {
        let total: u32 = self.0.values().map(|weight| u32::from(*weight)).sum();
        self.0.iter().filter(|(_, weight)| **weight > 0).map(|(release, weight)| (*release, u32::from(*weight) * 100 / total)).collect()
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        let parts: Vec<String> = self.0.iter().map(|(release, weight)| format!("{release}:{weight}")).collect();
        f.write_str(&parts.join(" "))
    }
}

/// What a rule on the listener asks of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Conditions {
    /// Host names, any if empty.
    pub hosts: Vec<String>,
    /// Path patterns, any if empty.
    pub paths: Vec<String>,
    /// A header that must have a value (test rules), if any.
    pub header: Option<(String, String)>,
}

/// One rule of the environment's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its ARN.
    pub arn: String,
    /// Priority; the default rule has none.
    pub priority: Option<u16>,
    /// What it asks.
    pub conditions: Conditions,
    /// What it does.
    pub action: RuleAction,
}

/// What a rule does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleAction {
    /// Forwards to target groups by name with weights (never empty).
    Forward(BTreeMap<String, u16>),
    /// Answers by itself with this status code.
    Fixed(u16),
    /// Something adstage does not make (redirect, authenticate, stickiness): the text says what.
    Foreign(String),
}

impl RuleAction {
    /// Forwards to the target group of this name, with whatever weight.
    pub fn leads_to(&self, target_group: &str) -> bool {
        matches!(self, Self::Forward(groups) if groups.contains_key(target_group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(pairs: &[(u32, u16)]) -> Weights {
        Weights(pairs.iter().map(|(release, weight)| (ReleaseNumber(*release), *weight)).collect())
    }

    #[test]
    fn a_cutover_keeps_the_old_release_at_zero() {
        let before = weights(&[(41, 100), (42, 0)]);
        assert_eq!(before.all_to(ReleaseNumber(42)), weights(&[(41, 0), (42, 100)]));
        assert_eq!(before.all_to(ReleaseNumber(42)).all_to(ReleaseNumber(41)), before);
    }

    #[test]
    fn only_one_release_with_weight_is_the_sole_one() {
        assert_eq!(weights(&[(41, 100), (42, 0)]).sole(), Some(ReleaseNumber(41)));
        assert_eq!(weights(&[(41, 50), (42, 50)]).sole(), None);
        assert_eq!(weights(&[(41, 0)]).sole(), None);
        assert_eq!(Weights::default().sole(), None);
    }
}
