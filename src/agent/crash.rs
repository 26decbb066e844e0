//! When a service that keeps ending is called crash-looping, and how long to wait before it is started again.

use std::time::Duration;

/// A life shorter than this is no life.
const SHORT: Duration = Duration::from_secs(10);

/// So many short lives in a row are terminal evidence. The pauses between them are short: all three fit into a minute.
const LOOPING: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The record of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Crashes {
    short_lives: u32,
}

impl Crashes {
    /// Notes an end. True exactly once per series of short lives: when the series is long enough to be called a loop.
    pub fn note(&mut self, life: Duration) -> bool {
        self.short_lives = if life < SHORT { self.short_lives + 1 } else { 0 };
        self.short_lives == LOOPING
    }

    /// How long to wait before the next start.
    pub fn pause(&self) -> Duration {
        let doublings = self.short_lives.saturating_sub(1).min(6);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_short_lives_are_a_loop_and_said_once() {
        let mut crashes = Crashes::default();
        let verdicts: Vec<bool> = [1, 2, 9, 1, 60, 1, 1, 1].map(|seconds| crashes.note(Duration::from_secs(seconds))).to_vec();
        assert_eq!(verdicts, [false, false, true, false, false, false, false, true]);
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        let mut crashes = Crashes::default();
        let pauses: Vec<u64> = (0..9)
            .map(|_| {
                crashes.note(Duration::ZERO);
                crashes.pause().as_millis() as u64
            })
            .collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        crashes.note(Duration::from_secs(3_600));
        assert_eq!(crashes.pause(), Duration::from_millis(500));
    }
}
