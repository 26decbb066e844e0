//! The lock's spans in ticks, held to the real ones.

use std::time::Duration;

use adstage::lock::constants;

/// In ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spans {
    pub lease: u8,
    pub grace: u8,
    /// What must be left of the lease for a call to start.
    pub guard: u8,
    /// The longest a call is on the way.
    pub call: u8,
    /// How long AWS honours a signature: here only longer than the lease, not many times as long.
    pub horizon: u8,
}

/// The real spans, a tick being a second.
pub const SECONDS: Spans = Spans { lease: 60, grace: 10, guard: 15, call: 10, horizon: 80 };

/// The real spans, a tick being five seconds.
pub const FIVES: Spans = Spans { lease: 12, grace: 2, guard: 3, call: 2, horizon: 16 };

/// The smallest that relate to each other as the real ones do.
pub const SMALL: Spans = Spans { lease: 3, grace: 1, guard: 2, call: 1, horizon: 5 };

/// What the argument for the lease needs of its spans.
fn relates(spans: &Spans) -> bool {
    // A call is over before the guard's share is used up; calls can start; a waiter waits longer than the holder trusts.
    spans.call < spans.guard && spans.guard < spans.lease && spans.grace > 0 && spans.horizon > spans.lease
}

#[test]
fn the_models_spans_are_the_locks_own() {
    let ticks = |span: Duration, tick: u64| span.as_millis().is_multiple_of(u128::from(tick * 1000)).then_some(span.as_secs() / tick);
    for (spans, tick) in [(SECONDS, 1), (FIVES, 5)] {
        let real = [constants::LEASE, constants::GRACE, constants::GUARD, constants::CALL].map(|span| ticks(span, tick));
        let here = [spans.lease, spans.grace, spans.guard, spans.call].map(|span| Some(u64::from(span)));
        assert_eq!(real, here, "at {tick} s a tick");
    }
    assert!([SECONDS, FIVES, SMALL].iter().all(relates));
    // The clocks' rates may differ by 1.27: more than the quarter the model tries, less than the third it must refuse.
    let tolerated = f64::from(SECONDS.lease + SECONDS.grace) / f64::from(SECONDS.lease - SECONDS.guard + SECONDS.call);
    assert!(tolerated > 1.25 && tolerated < 4.0 / 3.0, "{tolerated}");
}
