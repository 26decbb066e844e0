//! The company's own commands in a deploy: hooks, which run on the operator's machine, and what a release has to run once.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Seconds;

/// A command and its deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedCommand {
    /// The command, given to `sh -c`.
    pub run: String,
    /// It is killed, with everything it started, after this long.
    pub within: Seconds,
}

/// The hooks of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// Before anything is made.
    pub before_deploy: Option<TimedCommand>,
    /// Once the candidate is healthy, before any visitor reaches it.
    pub verify: Option<TimedCommand>,
    /// Once all visitors are on the release.
    pub after_cutover: Option<TimedCommand>,
    /// When a deploy or a rollback ends badly.
    pub on_failure: Option<TimedCommand>,
}

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// `before-deploy`.
    BeforeDeploy,
    /// `verify`.
    Verify,
    /// `after-cutover`.
    AfterCutover,
    /// `on-failure`.
    OnFailure,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeDeploy => "before-deploy",
            Self::Verify => "verify",
            Self::AfterCutover => "after-cutover",
            Self::OnFailure => "on-failure",
        })
    }
}

/// A command is shown at most this wide: it may be a whole script.
const SHOWN: usize = 60;

impl fmt::Display for TimedCommand {
    /// `bin/smoke, within 5m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.run.trim().lines().next().unwrap_or_default();
        let shown: String = first.chars().take(SHOWN).collect();
        let more = if shown.len() < self.run.trim().len() { " …" } else { "" };
        write!(f, "`{shown}{more}`, within {}", self.within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_shown_by_its_first_line() {
        let shown = |run: &str| TimedCommand { run: run.into(), within: Seconds(300) }.to_string();
        assert_eq!(shown("bin/smoke"), "`bin/smoke`, within 5m");
        assert_eq!(shown("set -e\nbin/smoke\n"), "`set -e …`, within 5m");
        assert_eq!(shown(&"ü".repeat(100)), format!("`{} …`, within 5m", "ü".repeat(60)));
    }
}
