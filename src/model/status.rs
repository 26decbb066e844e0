//! Where a step and an operation stand, as the journal tells.

use std::fmt;

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepStatus {
    /// It may have run, wholly, partly or not at all.
    Started,
    /// It is done.
    Succeeded,
    /// It is not done, or not wholly.
    Failed,
    /// It is being undone, or was when the holder vanished.
    Undoing,
    /// As before.
    Undone,
    /// It could not be undone.
    UndoFailed,
}

/// Which way an operation goes. Once back, always back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards what was asked for.
    Forward,
    /// Towards what was before.
    Back,
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Undoing => "undo started",
            Self::Undone => "undone",
            Self::UndoFailed => "undo failed",
        })
    }
}
