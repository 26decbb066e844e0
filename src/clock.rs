//! Now and sleep: the only door to time, so that a day passes in a test in a second.
//!
//! Three clocks, because they answer different questions. *Mono* drives sleeps and deadlines inside one process. *Boot* also runs while
//! a laptop sleeps. *Wall* can be set by people. [`Clock::since`] is the longest of them: a lease must never look fresher than it is
//! (`Instant` stops during sleep on Linux and macOS).

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::time::Instant;

/// A clock. Cheap to clone; clones share offsets.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// The machine's clocks.
    Real,
    /// tokio's (pausable) clock, plus offsets a test sets.
    Test(Arc<TestClock>),
}

#[derive(Debug)]
struct TestClock {
    start: Instant,
    wall_at_start: Timestamp,
    /// How fast it runs, if not right: at 1.25, a second takes it 0.8.
    rate: Option<f64>,
    skew: Mutex<Skew>,
}

impl TestClock {
    fn passed(&self) -> Duration {
        let elapsed = self.start.elapsed();
        self.rate.map_or(elapsed, |rate| elapsed.mul_f64(rate))
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Skew {
    boot: Duration,
    wall_ms: i64,
}

/// A moment on all three clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    boot: Duration,
    wall: Timestamp,
}

impl Clock {
    /// The machine's own clocks.
    pub fn real() -> Self {
        Self { source: Source::Real }
    }

    /// A clock that follows tokio's (which a test may pause) from a fixed wall time.
    pub fn for_tests() -> Self {
        Self::test(None)
    }

    /// The same, of a machine whose clocks run faster or slower than they should.
    pub fn at_rate(rate: f64) -> Self {
        Self::test(Some(rate))
    }

    fn test(rate: Option<f64>) -> Self {
        let wall_at_start = Timestamp::from_second(1_795_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { source: Source::Test(Arc::new(TestClock { start: Instant::now(), wall_at_start, rate, skew: Mutex::default() })) }
    }

    /// In a test: the clock of another machine. It shows the same now; what is set or slept from now on is each machine's own.
    pub fn another(&self) -> Self {
        let Source::Test(test) = &self.source else { return self.clone() };
        let skew = *test.skew.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let other = TestClock { start: test.start, wall_at_start: test.wall_at_start, rate: test.rate, skew: Mutex::new(skew) };
        Self { source: Source::Test(Arc::new(other)) }
    }

    /// In a test: the machine sleeps this long; boot and wall clocks run on, monotonic does not.
    pub fn sleep_machine(&self, span: Duration) {
        self.skew(|skew| {
            skew.boot += span;
            skew.wall_ms += span.as_millis() as i64;
        });
    }

    /// In a test: somebody sets the wall clock forward (or back).
    pub fn step_wall(&self, milliseconds: i64) {
        self.skew(|skew| skew.wall_ms += milliseconds);
    }

    fn skew(&self, change: impl FnOnce(&mut Skew)) {
        if let Source::Test(test) = &self.source {
            change(&mut test.skew.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
    }

    /// This moment.
    pub fn moment(&self) -> Moment {
        match &self.source {
            Source::Real => {
                let boot = rustix::time::clock_gettime(BOOT);
                Moment { boot: Duration::new(boot.tv_sec as u64, boot.tv_nsec as u32), wall: self.wall() }
            }
            Source::Test(test) => {
                let skew = *test.skew.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                Moment { boot: test.passed() + skew.boot, wall: self.wall() }
            }
        }
    }

    /// How long ago that was at least: the longer of the boot and wall clocks' answers.
    pub fn since(&self, then: Moment) -> Duration {
        let now = self.moment();
        let wall = now.wall.duration_since(then.wall);
        now.boot.saturating_sub(then.boot).max(Duration::try_from(wall).unwrap_or_default())
    }

    /// How long ago that was at most, for a waiter who must not take over too early: by the boot clock alone, since somebody may have
    /// set the wall clock forward.
    pub fn passed(&self, then: Moment) -> Duration {
        self.moment().boot.saturating_sub(then.boot)
    }

    /// The wall clock, for showing to people; never for deciding.
    pub fn wall(&self) -> Timestamp {
        match &self.source {
            #[allow(clippy::disallowed_methods, reason = "this is the door")]
            Source::Real => Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH),
            Source::Test(test) => {
                let skew = *test.skew.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let passed = jiff::SignedDuration::try_from(test.passed()).unwrap_or_default();
                test.wall_at_start + passed + jiff::SignedDuration::from_millis(skew.wall_ms)
            }
        }
    }

    /// Sleep. Every caller has a deadline.
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    pub async fn sleep(&self, span: Duration) {
        let span = match &self.source {
            Source::Real => span,
            Source::Test(test) => test.rate.map_or(span, |rate| span.div_f64(rate)),
        };
        tokio::time::sleep(span).await;
    }
}

#[cfg(target_os = "linux")]
const BOOT: rustix::time::ClockId = rustix::time::ClockId::Boottime;
/// CLOCK_MONOTONIC runs on through sleep on macOS (mach_continuous_time); CLOCK_UPTIME_RAW is the one that stops.
#[cfg(not(target_os = "linux"))]
const BOOT: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sleeping_laptop_does_not_keep_its_lease_fresh() {
        let clock = Clock::for_tests();
        let then = clock.moment();
        clock.sleep(Duration::from_secs(5)).await;
        clock.sleep_machine(Duration::from_secs(28_800));
        assert_eq!(clock.since(then), Duration::from_secs(28_805));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_set_back_does_not_either() {
        let clock = Clock::for_tests();
        let then = clock.moment();
        clock.step_wall(-3_600_000);
        clock.sleep(Duration::from_secs(70)).await;
        assert_eq!(clock.since(then), Duration::from_secs(70));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_does_not_believe_the_wall_clock() {
        let clock = Clock::for_tests();
        let then = clock.moment();
        clock.step_wall(3_600_000);
        assert_eq!((clock.passed(then), clock.since(then)), (Duration::ZERO, Duration::from_secs(3_600)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_clock_is_early_for_everything() {
        let (right, fast) = (Clock::for_tests(), Clock::at_rate(1.25));
        let (begun, too) = (right.moment(), fast.moment());
        fast.sleep(Duration::from_secs(70)).await;
        assert_eq!((right.passed(begun), fast.passed(too)), (Duration::from_secs(56), Duration::from_secs(70)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_machine_sleeps_by_itself() {
        let clock = Clock::for_tests();
        clock.sleep_machine(Duration::from_secs(60));
        let (other, then) = (clock.another(), clock.moment());
        assert_eq!(other.wall(), clock.wall());
        other.sleep_machine(Duration::from_secs(28_800));
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!((clock.since(then), other.since(then)), (Duration::from_secs(1), Duration::from_secs(28_801)));
    }

    #[test]
    fn the_real_clocks_agree_with_themselves() {
        let clock = Clock::real();
        let then = clock.moment();
        assert!(clock.since(then) < Duration::from_secs(60));
    }
}
