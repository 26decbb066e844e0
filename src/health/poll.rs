//! The one loop that waits for AWS: a deadline, a pace that slows down while nothing moves, and an exit at the first terminal evidence.

use std::future::Future;
use std::time::Duration;

use crate::clock::Clock;

/// What is still missing, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    /// One line: `web-r42 2/3 healthy`.
    pub text: String,
    /// A line per thing that is not well yet.
    pub details: Vec<String>,
    /// Look again after this long at the latest.
    pub again_in: Option<Duration>,
}

impl Waiting {
    /// Waiting, in one line.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// What one look showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<T, E> {
    /// It is so.
    Done(T),
    /// Not yet.
    Waiting(Waiting),
    /// It never will be.
    Failed(E),
}

/// Why waiting ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop<E> {
    /// Terminal evidence.
    Failed(E),
    /// Time is up; this is what was missing.
    TimedOut(Waiting),
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A look with all its retries is over by then. What takes longer is a machine that slept or a process that was stopped: what is waited for
/// may have come about meanwhile, so that time does not count.
const LONGEST_LOOK: Duration = Duration::from_secs(120);

/// Looks until it is so, it never will be, or `within` has passed, not counting what this machine slept, and once more after it did; calls
/// `changed` whenever what is missing changes. Pauses grow from one second to ten and start over when something moves, each up to a quarter
/// longer so that many operators do not ask in step.
pub async fn poll_until<T, E, Asked>(
    clock: &Clock,
    within: Duration,
    changed: impl Fn(&Waiting),
    mut look: impl FnMut() -> Asked,
) -> Result<T, Stop<E>>
where
    Asked: Future<Output = Look<T, E>>,
{
    let (mut left, mut then, mut slept) = (within, clock.moment(), Duration::ZERO);
    let mut rng = fastrand::Rng::with_seed(clock.wall().as_millisecond().unsigned_abs());
    let mut pause = FIRST_PAUSE;
    let mut shown: Option<Waiting> = None;
    loop {
        let waiting = match look().await {
            Look::Done(value) => return Ok(value),
            Look::Failed(error) => return Err(Stop::Failed(error)),
            Look::Waiting(waiting) => waiting,
        };
        let gone = clock.since(then);
        let overslept = gone > slept + LONGEST_LOOK;
        left = left.saturating_sub(if overslept { slept } else { gone });
        then = clock.moment();
        if left.is_zero() && !overslept {
            return Err(Stop::TimedOut(waiting));
        }
        if shown.as_ref().is_none_or(|shown| (&shown.text, &shown.details) != (&waiting.text, &waiting.details)) {
            pause = FIRST_PAUSE;
            changed(&waiting);
        }
        let jittered = pause.mul_f64(1.0 + rng.f64() / 4.0);
        let soonest = waiting.again_in.map_or(jittered, |wanted| wanted.min(jittered));
        // The last look is at the deadline, not after it.
        slept = soonest.min(left);
        clock.sleep(slept).await;
        pause = pause.mul_f64(1.4).min(LONGEST_PAUSE);
        shown = Some(waiting);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_through_bad_looks_and_reports_only_changes() {
        let (clock, looks, said) = (Clock::for_tests(), Cell::new(0), RefCell::new(Vec::new()));
        let look = || {
            looks.set(looks.get() + 1);
            let answer = match looks.get() {
                1..=3 => Look::Waiting(Waiting::new("0/1")),
                4..=6 => Look::Waiting(Waiting::new("1/1, settling")),
                _ => Look::Done(7),
            };
            async { answer }
        };
        let done: Result<_, Stop<()>> =
            poll_until(&clock, Duration::from_secs(600), |waiting| said.borrow_mut().push(waiting.text.clone()), look).await;
        assert_eq!(done, Ok(7));
        assert_eq!(*said.borrow(), ["0/1", "1/1, settling"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_looks_again_before_it_gives_up() {
        let (clock, looks) = (Clock::for_tests(), Cell::new(0));
        let look = || {
            looks.set(looks.get() + 1);
            if looks.get() == 1 {
                clock.sleep_machine(Duration::from_secs(8 * 3_600));
            }
            let so = looks.get() == 3;
            async move { if so { Look::<_, ()>::Done(()) } else { Look::Waiting(Waiting::new("not yet")) } }
        };
        // Whatever it waits for, be it shorter than any look may take.
        assert_eq!(poll_until(&clock, Duration::from_secs(60), |_| (), look).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_kept_and_terminal_evidence_is_not_waited_out() {
        let clock = Clock::for_tests();
        let started = clock.moment();
        let never = || async { Look::<(), ()>::Waiting(Waiting::new("nothing")) };
        let late = poll_until(&clock, Duration::from_secs(60), |_| (), never).await;
        assert_eq!(late, Err(Stop::TimedOut(Waiting::new("nothing"))));
        assert_eq!(clock.since(started), Duration::from_secs(60));
        let dead = poll_until(&clock, Duration::from_secs(60), |_| (), || async { Look::<(), _>::Failed("dead") }).await;
        assert_eq!(dead, Err(Stop::Failed("dead")));
        assert_eq!(clock.since(started), Duration::from_secs(60));
    }
}
