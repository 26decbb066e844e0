//! The bad endings: exit code, what failed, what serves visitors now, what to type next.

use std::fmt;

/// How a command ended, as a process's exit code. Stable; `adstage help exit-codes` prints this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum End {
    /// Done, or nothing to do.
    Done = 0,
    /// A bug or an AWS error nobody mapped.
    Unexpected = 1,
    /// Wrong usage.
    Usage = 2,
    /// The configuration is invalid.
    Config = 3,
    /// Not logged in, wrong account, or a missing permission.
    Access = 4,
    /// Somebody holds the lock, or it is frozen.
    Locked = 5,
    /// A confirmation is missing or a guard said no; nothing was begun.
    Refused = 6,
    /// Failed cleanly: the old release serves everybody.
    RolledBack = 7,
    /// Failed and a person must act.
    Stranded = 8,
    /// Deployed, but the checks after it fail.
    Trouble = 9,
    /// `--plan --exit-code`: there are changes.
    Changes = 10,
    /// Waited too long; the operation goes on.
    TimedOut = 11,
    /// Interrupted.
    Interrupted = 130,
    /// Terminated.
    Terminated = 143,
}

impl End {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The machine-readable word in `error.code` of JSON output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Access => "access",
            Self::Locked => "locked",
            Self::Refused => "refused",
            Self::RolledBack => "rolled-back",
            Self::Stranded => "stranded",
            Self::Trouble => "trouble",
            Self::Changes => "changes",
            Self::TimedOut => "timed-out",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }
}

/// How a command ended badly. `end` is for programs; the rest is for the operator, in the order it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub end: End,
    /// What failed, one line.
    pub what: String,
    /// The chain of causes, nearest first.
    pub because: Vec<String>,
    /// Facts and log lines, already cut to size.
    pub evidence: Vec<String>,
    /// What visitors get right now; `None` for commands that have no environment.
    pub serving: Option<String>,
    /// Commands to type, most useful first.
    pub next: Vec<String>,
}

impl Failure {
    /// A failure with only its first line; add the rest with the `with_*` methods.
    pub fn new(end: End, what: impl Into<String>) -> Self {
        Self { end, what: what.into(), because: Vec::new(), evidence: Vec::new(), serving: None, next: Vec::new() }
    }

    /// Adds a cause.
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.because.push(cause.to_string());
        self
    }

    /// Adds a line of evidence.
    pub fn evidence(mut self, line: impl fmt::Display) -> Self {
        self.evidence.push(line.to_string());
        self
    }

    /// Says what visitors get now.
    pub fn serving(mut self, text: impl fmt::Display) -> Self {
        self.serving = Some(text.to_string());
        self
    }

    /// Adds a command to type next.
    pub fn next(mut self, command: impl fmt::Display) -> Self {
        self.next.push(command.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// An error from the edges (files, sockets, the SDK): unexpected, with its chain of causes kept.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => {
                let mut chain = error.chain().map(ToString::to_string);
                let what = chain.next().unwrap_or_default();
                Self { because: chain.collect(), ..Self::new(End::Unexpected, what) }
            }
        }
    }
}
