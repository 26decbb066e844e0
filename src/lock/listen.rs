//! Whether the holder of a lock is alive: seen, not believed. No time in the row says so, since no two clocks agree; a beat that comes
//! while we watch does.

use std::time::Duration;

use super::acquire::{View, read};
use super::constants::LISTEN;
use super::lapse::Watch;
use crate::aws::{Dynamodb, Error};
use crate::clock::Clock;
use crate::model::{LockRecord, LockState, Scope};

const LOOK: Duration = Duration::from_secs(1);

/// What was seen.
#[derive(Debug)]
pub struct Sign {
    /// The rows as they were at the last look.
    pub view: View,
    /// A renewal came while we watched, or none did. None: nobody holds the lock.
    pub alive: Option<bool>,
    /// Since the newest sign, as observed here.
    pub quiet: Duration,
}

/// Watches until the holder gives a sign, at most for [`LISTEN`](super::constants::LISTEN). `tell` hears once whom we watch.
pub async fn listen(db: &Dynamodb, clock: &Clock, scope: &Scope, tell: &(dyn Fn(&LockRecord) + Sync)) -> Result<Sign, Error> {
    let (started, mut watch, mut first) = (clock.moment(), Watch::new(clock), None);
    loop {
        let view = read(db, scope).await?;
        let Some(lock) = view.lock.as_ref().filter(|lock| lock.state == LockState::Held) else {
            return Ok(Sign { view, alive: None, quiet: Duration::ZERO });
        };
        let quiet = watch.see(lock);
        let now = (lock.fence, lock.beat);
        match first {
            None => {
                first = Some(now);
                tell(lock);
            }
            Some(seen) if seen != now => return Ok(Sign { view, alive: Some(true), quiet }),
            Some(_) if clock.passed(started) >= LISTEN => return Ok(Sign { view, alive: Some(false), quiet }),
            Some(_) => {}
        }
        clock.sleep(LOOK).await;
    }
}
