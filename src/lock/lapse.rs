//! When a waiter may call a lease lapsed: after it saw the same fence and beat for the row's lease plus a grace, on its *own* clock.
//!
//! No wall clocks are compared. The holder counts from before it sent a beat, the waiter from when a read returned it, so the holder
//! always gives up first; only the rates of the two clocks matter, and the guard leaves room for those.

use std::time::Duration;

use super::constants::GRACE;
use super::row::lease;
use crate::clock::{Clock, Moment};
use crate::model::LockRecord;

/// What a waiter has seen so far.
#[derive(Debug)]
pub struct Watch {
    clock: Clock,
    seen: Option<(u64, u64)>,
    since: Moment,
}

impl Watch {
    /// Nothing seen yet.
    pub fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), seen: None, since: clock.moment() }
    }

    /// A read has just returned this. Answers for how long nothing changed, as observed here.
    pub fn see(&mut self, record: &LockRecord) -> Duration {
        let now = Some((record.fence, record.beat));
        if self.seen != now {
            (self.seen, self.since) = (now, self.clock.moment());
        }
        self.clock.passed(self.since)
    }
}

/// After how much longer a silence somebody else may take a lease that was unchanged for so long, by the row's own lease.
pub fn lapses_in(record: &LockRecord, quiet: Duration) -> Duration {
    (lease(record) + GRACE).saturating_sub(quiet)
}

/// Whether a lease unchanged for so long has lapsed.
pub fn lapsed(record: &LockRecord, quiet: Duration) -> bool {
    lapses_in(record, quiet).is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_silence_counts_and_any_beat_starts_it_again() {
        let clock = Clock::for_tests();
        let mut watch = Watch::new(&clock);
        let mut row = LockRecord { fence: 3, beat: 9, lease_ms: 60_000, ..LockRecord::default() };
        assert_eq!(watch.see(&row), Duration::ZERO);
        clock.sleep(Duration::from_secs(69)).await;
        assert!(!lapsed(&row, watch.see(&row)));
        row.beat += 1;
        assert_eq!(watch.see(&row), Duration::ZERO);
        clock.step_wall(3_600_000);
        assert!(!lapsed(&row, watch.see(&row)), "somebody set the wall clock");
        clock.sleep(Duration::from_secs(70)).await;
        assert!(lapsed(&row, watch.see(&row)));
    }

    #[test]
    fn the_rows_own_lease_rules() {
        let patient = LockRecord { lease_ms: 300_000, ..LockRecord::default() };
        assert!(!lapsed(&patient, Duration::from_secs(309)) && lapsed(&patient, Duration::from_secs(310)));
    }
}
