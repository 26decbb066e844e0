//! Telling, but not at every look.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment};

/// Lets something be told at most so often; the first time at once.
pub struct Every {
    clock: Clock,
    span: Duration,
    told: Mutex<Option<Moment>>,
}

impl Every {
    /// At most once in this span.
    pub fn new(clock: &Clock, span: Duration) -> Self {
        Self { clock: clock.clone(), span, told: Mutex::new(None) }
    }

    /// Tells, if it is time again.
    pub fn now_and_then(&self, tell: impl FnOnce()) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|then| self.clock.passed(then) >= self.span) {
            *told = Some(self.clock.moment());
            tell();
        }
    }
}
