//! What to do about a lock as it was read: take it, take it over, wait, or say no. Decided purely.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lapse::lapsed;
use super::outcome::{Blocked, newer};
use super::shared::Blocker;
use crate::aws::{Error, ErrorKind};
use crate::model::{LockRecord, LockState, OperationId, Resource, Scope};

/// What to do about a lock as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way<'a> {
    /// Nobody holds it and nothing is unfinished.
    Take(Option<&'a LockRecord>),
    /// Nobody holds it (any more), and this operation is unfinished.
    TakeOver(&'a LockRecord, &'a OperationId),
    /// Somebody holds it.
    Wait(&'a LockRecord),
}

pub(super) fn decide(lock: Option<&LockRecord>, quiet: Duration, settles: bool) -> Result<Way<'_>, Blocked> {
    let Some(lock) = lock else { return Ok(Way::Take(None)) };
    if lock.newer.is_some() {
        return Err(newer(lock).into());
    }
    if lock.state == LockState::Held && !lapsed(lock, quiet) {
        return Ok(Way::Wait(lock));
    }
    // The lapse of a lease frees the mutex, never the environment: what was begun is settled first.
    match (&lock.open, lock.state) {
        (None, LockState::Free) => Ok(Way::Take(Some(lock))),
        (None, LockState::Held) => {
            let message = "row LOCK: held, but names no operation; it was edited by hand";
            Err(Blocked::Aws(Error::new("Query", ErrorKind::Invalid, "MalformedRow", message)))
        }
        (Some(open), _) if settles => Ok(Way::TakeOver(lock, open)),
        (Some(open), _) => Err(Blocked::Unfinished(open.clone())),
    }
}

impl Way<'_> {
    /// All that is taken with the lock: what is wanted, and what the unfinished operation had, since whoever settles that needs it too.
    pub fn wants(&self, own: &[Resource]) -> Vec<Resource> {
        let left: &[Resource] = match self {
            Self::TakeOver(lock, _) => &lock.shared,
            Self::Take(_) | Self::Wait(_) => &[],
        };
        own.iter().chain(left.iter().filter(|resource| !own.contains(resource))).cloned().collect()
    }

    /// Whoever stands in the way, the lock's own holder first.
    pub fn blockers(&self, scope: &Scope, quiet: Duration, others: Vec<Blocker>) -> Vec<Blocker> {
        let own = match self {
            Self::Wait(lock) => Some(Blocker { resource: None, scope: scope.clone(), lock: Box::new((*lock).clone()), quiet }),
            Self::Take(_) | Self::TakeOver(..) => None,
        };
        own.into_iter().chain(others).collect()
    }
}

/// Tells a waiter once about each lease, on every change, and every 30 s.
#[derive(Debug, Default)]
pub(super) struct Telling {
    last: BTreeMap<String, (u64, String, u64)>,
}

impl Telling {
    pub fn tell(&mut self, pk: &str, lock: &LockRecord, quiet: Duration, tell: &(dyn Fn(&LockRecord, Duration) + Send + Sync)) {
        let now = (lock.fence, lock.stage.clone(), quiet.as_secs() / 30);
        if self.last.get(pk) != Some(&now) {
            self.last.insert(pk.to_string(), now);
            tell(lock, quiet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(state: LockState, open: Option<&str>) -> LockRecord {
        LockRecord { state, fence: 5, beat: 2, lease_ms: 60_000, open: open.map(|id| OperationId(id.into())), ..LockRecord::default() }
    }

    #[test]
    fn a_lapse_frees_the_mutex_and_never_the_environment() {
        let (quiet, long) = (Duration::from_secs(69), Duration::from_secs(70));
        let held = lock(LockState::Held, Some("01OPEN"));
        assert_eq!(decide(Some(&held), quiet, true), Ok(Way::Wait(&held)));
        assert_eq!(decide(Some(&held), long, false), Err(Blocked::Unfinished(OperationId("01OPEN".into()))));
        assert!(matches!(decide(Some(&held), long, true), Ok(Way::TakeOver(..))));
        let left = lock(LockState::Free, Some("01OPEN"));
        assert_eq!(decide(Some(&left), Duration::ZERO, false), Err(Blocked::Unfinished(OperationId("01OPEN".into()))));
        assert!(matches!(decide(Some(&left), Duration::ZERO, true), Ok(Way::TakeOver(..))));
    }

    #[test]
    fn a_free_lock_or_none_is_taken() {
        assert_eq!(decide(None, Duration::ZERO, false), Ok(Way::Take(None)));
        let free = lock(LockState::Free, None);
        assert_eq!(decide(Some(&free), Duration::ZERO, false), Ok(Way::Take(Some(&free))));
    }

    #[test]
    fn a_waiter_is_told_on_change_and_every_half_minute() {
        let (told, mut telling) = (std::sync::Mutex::new(0), Telling::default());
        let count = |_: &LockRecord, _: Duration| *told.lock().unwrap() += 1;
        let mut row = lock(LockState::Held, Some("01OPEN"));
        for seconds in [0, 5, 29, 31, 35] {
            telling.tell("shop#staging", &row, Duration::from_secs(seconds), &count);
        }
        assert_eq!(*told.lock().unwrap(), 2);
        row.stage = "await".into();
        telling.tell("shop#staging", &row, Duration::from_secs(36), &count);
        assert_eq!(*told.lock().unwrap(), 3);
    }
}
