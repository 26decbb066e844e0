//! How visitors come to a new release, and what is looked at meanwhile.

use serde::{Deserialize, Serialize};

use super::Seconds;

/// One weight change on the way to a new release, and how long it is watched then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// Share of the visitors the new release gets, 1 to 100.
    pub percent: u16,
    /// How long the new release is watched before the next shift.
    pub watch: Seconds,
}

/// What a release is held to once it has visitors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watching {
    /// Rising, the last at 100. Empty: one shift of everybody, watched for as long as the environment says.
    pub shifts: Vec<Shift>,
    /// From where on it does worse than the release before.
    pub limits: Limits,
    /// CloudWatch alarms by name: one that goes off is trouble.
    pub alarms: Vec<String>,
    /// What becomes of trouble once everybody is on the new release.
    pub on_trouble: OnTrouble,
}

/// From where on a release does worse than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Percentage points by which the share of failed requests may be higher.
    pub errors: u32,
    /// Percent by which answers may take longer.
    pub slower: u32,
    /// Fewer requests than this are too few to call a release well.
    pub requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { errors: 1, slower: 100, requests: 100 }
    }
}

/// What becomes of trouble in the last watch. In any earlier one visitors go back by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnTrouble {
    /// Whoever is at the terminal is asked; without an answer all stays as it is.
    #[default]
    Ask,
    /// All stays as it is, and is said.
    Stay,
    /// Visitors go back by themselves.
    Rollback,
}
