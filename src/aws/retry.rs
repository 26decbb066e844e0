//! The one retry policy. The SDK's own retries are off: they resend minutes later from a woken laptop, and their jitter cannot be
//! seeded, so a failing run could not be repeated.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::{Again, Error};
use crate::clock::Clock;

/// Whether a call may be sent a second time when nobody knows if the first was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// A read, or a change that names the wanted end (a token, an absolute value, a unique name).
    Safe,
    /// A change that, done twice, is done twice.
    Once,
}

/// Attempts after an accident (no answer, 5xx).
const TRIES: u32 = 5;
/// After this long even a throttled call gives up.
const DEADLINE: Duration = Duration::from_secs(60);

/// The policy with its own random numbers.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    clock: Clock,
    rng: Arc<Mutex<fastrand::Rng>>,
}

impl Retry {
    pub(super) fn new(clock: Clock, seed: u64) -> Self {
        Self { clock, rng: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))) }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Calls until it succeeds, or fails for good.
    pub(super) async fn call<T, Attempt>(&self, repeat: Repeat, mut attempt: impl FnMut() -> Attempt) -> Result<T, Error>
    where
        Attempt: Future<Output = Result<T, Error>>,
    {
        let started = self.clock.moment();
        let (mut round, mut accidents) = (0, 0);
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            accidents += u32::from(error.again != Again::Throttled);
            let hopeless = match (error.again, repeat) {
                (Again::Never, _) | (Again::Unknown, Repeat::Once) => true,
                (Again::Throttled, _) => false,
                (Again::NotSent | Again::Unknown, _) => accidents >= TRIES,
            };
            let pause = self.pause(round, error.again == Again::Throttled);
            let late = self.clock.since(started) + pause > DEADLINE;
            // One attempt may take all the time there is. Whatever it was about may still come about, so it is asked for once more: an
            // answer, be it that it is there already, is better than leaving something nobody knows of.
            let unheard = round == 0 && error.again == Again::Unknown;
            if hopeless || (late && !unheard) {
                return Err(error);
            }
            tracing::debug!(action = error.action, code = error.code, ?pause, "again");
            self.clock.sleep(pause).await;
            round += 1;
        }
    }

    /// Exponential with full jitter; a throttled caller starts later, so that the bucket can refill.
    fn pause(&self, round: u32, throttled: bool) -> Duration {
        let (base, cap) = if throttled { (500, 8_000) } else { (150, 3_000) };
        let longest = (base << round.min(6)).min(cap);
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_millis(base / 2 + rng.u64(0..=longest))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::aws::ErrorKind;

    async fn tries(again: Again, repeat: Repeat) -> (u32, Duration) {
        let (clock, count) = (Clock::for_tests(), Cell::new(0));
        let started = clock.moment();
        let result: Result<(), Error> = Retry::new(clock.clone(), 1)
            .call(repeat, || {
                count.set(count.get() + 1);
                async { Err(Error { again, ..Error::new("DescribeRules", ErrorKind::Other, "", "") }) }
            })
            .await;
        assert!(result.is_err());
        (count.get(), clock.since(started))
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_may_have_happened_is_not_sent_twice() {
        assert_eq!(tries(Again::Unknown, Repeat::Once).await.0, 1);
        assert_eq!(tries(Again::Unknown, Repeat::Safe).await.0, TRIES);
        assert_eq!(tries(Again::NotSent, Repeat::Once).await.0, TRIES);
        assert_eq!(tries(Again::Never, Repeat::Safe).await.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_call_is_patient_but_not_for_ever() {
        let (count, took) = tries(Again::Throttled, Repeat::Once).await;
        assert!(count > TRIES && took <= DEADLINE, "{count} tries in {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_heard_of_in_all_the_time_there_is_is_asked_for_once_more() {
        let (clock, count) = (Clock::for_tests(), Cell::new(0));
        let attempt = || {
            count.set(count.get() + 1);
            let clock = clock.clone();
            async move {
                clock.sleep(DEADLINE).await;
                Err::<(), _>(Error { again: Again::Unknown, ..Error::new("RunInstances", ErrorKind::Other, "", "") })
            }
        };
        assert!(Retry::new(clock.clone(), 1).call(Repeat::Safe, attempt).await.is_err());
        assert_eq!(count.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_pauses_alike() {
        assert_eq!(tries(Again::Throttled, Repeat::Once).await, tries(Again::Throttled, Repeat::Once).await);
    }
}
