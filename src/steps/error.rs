//! How a step fails.

use std::fmt;

use crate::aws::{Error, ErrorKind};

/// Why a step failed, for people, nearest first; and for the executor, what kind of AWS error was behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepError {
    /// What failed, one line.
    pub what: String,
    /// The chain of causes, nearest first.
    pub because: Vec<String>,
    /// Facts and log lines.
    pub evidence: Vec<String>,
    /// The kind of AWS error behind it, if it was one: a lost lease or an expired login are not the release's fault.
    pub kind: Option<ErrorKind>,
}

impl StepError {
    /// A failure with only its first line.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), because: Vec::new(), evidence: Vec::new(), kind: None }
    }

    /// Adds a cause.
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.because.push(cause.into());
        self
    }

    /// Adds facts and log lines.
    pub fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }

    /// Somebody else's thing is where ours should be.
    pub(super) fn foreign(what: &str) -> Self {
        Self::new(format!("{what} exists already and was not made by adstage for this"))
            .because("its tags say so; adstage changes only its own")
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.because.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for StepError {}

/// Says what was being done when AWS refused.
pub(super) trait During<T> {
    /// `what` completes the sentence "could not …".
    fn during(self, what: &str) -> Result<T, StepError>;
}

impl<T> During<T> for Result<T, Error> {
    fn during(self, what: &str) -> Result<T, StepError> {
        self.map_err(|error| {
            let failed = StepError::new(format!("could not {what}"));
            StepError { kind: Some(error.kind), ..failed.because(error.to_string()) }
        })
    }
}
