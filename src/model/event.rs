//! The one event stream: the executor emits it, the sinks in `report` show it, each in its own way.

use serde::{Deserialize, Serialize};

use super::{ReleaseNumber, Seconds, Serving};

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new release serves.
    Deployed,
    /// Nothing was begun.
    Refused,
    /// Somebody else holds the lock.
    Locked,
    /// Begun, and as before again.
    RolledBack,
    /// A person is needed.
    Stranded,
    /// Stopped where a colleague asked it to; the operation is still open, and goes on in other hands.
    Halted,
}

/// How a line of progress is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Worth knowing.
    Note,
    /// Worth a second look.
    Warning,
}

/// Something the operator may want to know, in the order it happened. Serialised as NDJSON with a `type`; fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// The first line: who does what, where.
    Hello {
        /// Version of adstage.
        tool: String,
        /// `deploy`, `rollback`, …
        command: String,
        /// App.
        app: String,
        /// Environment, if the command has one.
        environment: Option<String>,
        /// 12-digit account.
        account: String,
        /// Region.
        region: String,
        /// The caller.
        caller: String,
    },
    /// The plan, as lines for people.
    Plan {
        /// Header and stages, one screen.
        lines: Vec<String>,
    },
    /// A stage began.
    StageStarted {
        /// Its name: `prepare`, `launch`, …
        stage: String,
        /// What it will do, one line per step.
        steps: Vec<String>,
    },
    /// How far a stage is; emitted on change.
    StageProgress {
        /// Its name.
        stage: String,
        /// `web 2/3 healthy · worker 1/1`.
        text: String,
        /// Lines about what is not yet well.
        details: Vec<String>,
    },
    /// A stage is through.
    StageFinished {
        /// Its name.
        stage: String,
        /// What was achieved.
        text: String,
        /// How long it took.
        took: Seconds,
    },
    /// A stage failed.
    StageFailed {
        /// Its name.
        stage: String,
        /// What went wrong.
        text: String,
        /// How long it took.
        took: Seconds,
    },
    /// The executor goes back, and why.
    UnwindStarted {
        /// Why.
        reason: String,
    },
    /// Everything begun is undone.
    UnwindFinished {
        /// What was done.
        text: String,
        /// How long it took.
        took: Seconds,
    },
    /// Something worth saying outside any stage.
    Said {
        /// How it is meant.
        mark: Mark,
        /// The line.
        text: String,
    },
    /// The last line: how it ended and what visitors get now.
    Result {
        /// How.
        outcome: Outcome,
        /// The release the command was about.
        release: Option<ReleaseNumber>,
        /// The release before it.
        previous: Option<ReleaseNumber>,
        /// What visitors get now, percent by release.
        serving: Serving,
        /// How long it took in all.
        seconds: u64,
        /// The process's exit code.
        exit: u8,
    },
}
