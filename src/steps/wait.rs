//! Patience with AWS: things that are not visible yet, not gone yet, not ready yet.

use std::future::Future;
use std::time::Duration;

use super::{Cx, Progress, StepError};
use crate::aws::Error;
use crate::health::{Look, Stop, Waiting, poll_until};

use super::error::During;

/// How long something just created may stay invisible (AWS: up to minutes, mostly seconds).
const APPEARS: Duration = Duration::from_secs(120);
/// When something not found is looked for again before it is believed to be absent.
const ABSENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(3)];

impl Cx {
    /// Looks until it is so; changes are told as progress.
    pub(super) async fn wait<T, Asked>(&self, within: Duration, look: impl FnMut() -> Asked) -> Result<T, Stop<StepError>>
    where
        Asked: Future<Output = Look<T, StepError>>,
    {
        let tell = |waiting: &Waiting| (self.progress)(Progress { text: waiting.text.clone(), details: waiting.details.clone() });
        poll_until(&self.clock, within, tell, look).await
    }
}

/// Time is up: `what` says what did not happen; the last look says the rest.
pub(super) fn ended(stop: Stop<StepError>, what: impl FnOnce() -> String) -> StepError {
    match stop {
        Stop::Failed(error) => error,
        Stop::TimedOut(waiting) => StepError::new(what()).because(waiting.text).evidence(waiting.details),
    }
}

/// The thing, once it is there: reads lag behind creates, and whoever needs it knows that it was created.
pub(super) async fn appears<T, Asked>(cx: &Cx, what: &str, find: impl Fn() -> Asked) -> Result<T, StepError>
where
    Asked: Future<Output = Result<Option<T>, Error>>,
{
    let look = || async {
        match find().await {
            Ok(Some(found)) => Look::Done(found),
            Ok(None) => Look::Waiting(Waiting::new(format!("{what} is not visible yet"))),
            Err(error) if error.is_not_found() => Look::Waiting(Waiting::new(format!("{what} is not visible yet"))),
            Err(error) => failed(error, &format!("find {what}")),
        }
    };
    // Not told as progress: it is over before anybody could read it, or it fails and is told then.
    poll_until(&cx.clock, APPEARS, |_| (), look).await.map_err(|stop| ended(stop, || format!("{what} did not appear within 2m")))
}

/// The thing if it is there. None only after a few looks: whatever a lost reply created may not be visible at the first.
pub(super) async fn settled<T, Asked>(cx: &Cx, what: &str, find: impl Fn() -> Asked) -> Result<Option<T>, StepError>
where
    Asked: Future<Output = Result<Option<T>, Error>>,
{
    for pause in ABSENCE.map(Some).into_iter().chain([None]) {
        let found = find().await.during(&format!("look for {what}"))?;
        match (found, pause) {
            (None, Some(pause)) => cx.clock.sleep(pause).await,
            (found, _) => return Ok(found),
        }
    }
    Ok(None)
}

/// Repeats a call that AWS may refuse only because it does not see a thing yet that exists.
pub(super) async fn tolerated<T, Asked>(cx: &Cx, what: &str, lagging: fn(&Error) -> bool, call: impl Fn() -> Asked) -> Result<T, StepError>
where
    Asked: Future<Output = Result<T, Error>>,
{
    let started = cx.clock.moment();
    loop {
        match call().await {
            Err(error) if lagging(&error) && cx.clock.since(started) < Duration::from_secs(30) => {
                cx.clock.sleep(Duration::from_secs(2)).await;
            }
            answer => return answer.during(what),
        }
    }
}

/// A look that failed for good.
pub(super) fn failed<T>(error: Error, what: &str) -> Look<T, StepError> {
    match Err::<(), _>(error).during(what) {
        Err(error) => Look::Failed(error),
        Ok(()) => Look::Waiting(Waiting::default()),
    }
}
