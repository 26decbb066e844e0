//! A person who can be asked. The executor asks; whoever has a terminal answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Clock;

type Ask = dyn Fn(&str) -> oneshot::Receiver<bool> + Send + Sync;

/// Whom to ask. The default is nobody.
#[derive(Clone, Default)]
pub struct Consult(Option<Arc<Ask>>);

impl fmt::Debug for Consult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Consult(somebody)" } else { "Consult(nobody)" })
    }
}

impl Consult {
    /// Somebody who is asked a question with yes or no.
    pub fn with(ask: impl Fn(&str) -> oneshot::Receiver<bool> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    /// True if there is somebody.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The answer; none if nobody is there, or not in time.
    pub async fn answer(&self, clock: &Clock, question: &str, within: Duration) -> Option<bool> {
        let ask = self.0.as_ref()?;
        tokio::select! {
            answer = ask(question) => answer.ok(),
            () = clock.sleep(within) => None,
        }
    }
}
