//! Commands that run on the operator's own machine. Steps start no processes: they ask, and the command line they belong to answers.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::TimedCommand;

/// One command to be run.
pub struct Job {
    /// What, and how long it may take.
    pub command: TimedCommand,
    /// Set for it, on top of what the operator's own commands find.
    pub variables: BTreeMap<String, String>,
    /// Takes every line it prints, when it prints it.
    pub said: Arc<dyn Fn(&str) + Send + Sync>,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; 128 + n when signal n ended it. None: it did not end by its deadline, and was killed.
    pub code: Option<i32>,
    /// The last lines it printed.
    pub tail: Vec<String>,
}

type Running = Pin<Box<dyn Future<Output = Result<Finished, String>> + Send>>;
type Run = dyn Fn(Job) -> Running + Send + Sync;

/// Whoever can run commands here; the default cannot. Dropping the future of a run ends the command with everything it started.
#[derive(Clone, Default)]
pub struct Commands(Option<Arc<Run>>);

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commands({})", if self.0.is_some() { "here" } else { "nowhere" })
    }
}

impl Commands {
    /// They are run by this.
    pub fn by<Ran>(run: impl Fn(Job) -> Ran + Send + Sync + 'static) -> Self
    where
        Ran: Future<Output = Result<Finished, String>> + Send + 'static,
    {
        Self(Some(Arc::new(move |job| Box::pin(run(job)))))
    }

    /// The error says why it could not be run.
    pub(super) async fn run(&self, job: Job) -> Result<Finished, String> {
        match &self.0 {
            Some(run) => run(job).await,
            None => Err("nothing can be run here".to_string()),
        }
    }
}
