//! Taking a lock: at once, or after waiting for it.

use std::time::Duration;

use super::constants::{ACQUIRE, POLL};
use super::held::Held;
use super::lapse::{Watch, lapsed};
use super::outcome::{Blocked, Taking, judge_taking, mine};
use super::resend::{Sender, Sent};
use super::row::{Identity, key, parse_freeze, parse_lock};
use super::transactions::{self, Lease, Stamp};
use crate::aws::dynamodb::{Item, Query, Reader, Value, Write};
use crate::aws::{Dynamodb, Error, ErrorKind};
use crate::clock::Clock;
use crate::model::{FreezeRecord, LockRecord, LockState, OperationId, Scope, sk};

/// What somebody wants the lock for.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The operation that shall hold it: a new one, or (to resume) the unfinished one itself.
    pub operation: OperationId,
    /// Shown to whoever is blocked: `deploying r42`.
    pub doing: String,
    /// Body of the operation's row (`journal::operation_body`).
    pub record: Item,
    /// Body of its first event.
    pub began: Item,
    /// More rows to write when the operation begins. None of `LOCK`, `FREEZE`, `HEAD`: a transaction touches a row once.
    pub writes: Vec<Write>,
    /// An unfinished operation is taken over, because the caller settles it ([`Held::unfinished`]).
    pub settles: bool,
    /// A person's freeze does not stop it (a rollback).
    pub passes_freeze: bool,
}

/// How long to wait for a lock, and whom to tell.
pub struct Wait<'a> {
    /// At most so long; zero: not at all.
    pub timeout: Duration,
    /// Told who holds it and for how long they have been quiet: at first, on every change, and every 30 s.
    pub tell: &'a (dyn Fn(&LockRecord, Duration) + Send + Sync),
}

/// The rows that decide: the lock and a person's freeze.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// `LOCK`, if anybody ever took it.
    pub lock: Option<LockRecord>,
    /// `FREEZE`, if there is one, over or not.
    pub freeze: Option<FreezeRecord>,
}

/// Reads the lock and the freeze, strongly, in one call.
pub async fn read(db: &Dynamodb, scope: &Scope) -> Result<View, Error> {
    let rows = db.query(&scope.table, &Query::between(&scope.pk, sk::FREEZE, sk::LOCK)).await?;
    let row = |wanted: &str| rows.iter().find(|row| row.get("sk") == Some(&Value::from(wanted)));
    Ok(View { lock: row(sk::LOCK).map(parse_lock).transpose()?, freeze: row(sk::FREEZE).map(parse_freeze).transpose()? })
}

/// Takes the lock, or says at once why not.
pub async fn acquire(db: &Dynamodb, clock: &Clock, scope: Scope, who: Identity, intent: Intent) -> Result<Held, Blocked> {
    acquire_within(db, clock, scope, who, intent, Wait { timeout: Duration::ZERO, tell: &|_, _| () }).await
}

/// Waits, without taking anything, until nobody holds the lock or its lease has lapsed: what is planned while somebody is at work is
/// planned for a world that is about to change. What was seen goes to [`acquire_seen`], so that a lapse is not waited for twice.
pub async fn wait_until_settled(db: &Dynamodb, clock: &Clock, scope: &Scope, wait: Wait<'_>) -> Result<Watch, Blocked> {
    let (started, mut watch, mut told) = (clock.moment(), Watch::new(clock), Telling::default());
    loop {
        let Some(lock) = read(db, scope).await?.lock.filter(|lock| lock.state == LockState::Held) else { return Ok(watch) };
        let quiet = watch.see(&lock);
        let left = wait.timeout.saturating_sub(clock.passed(started));
        match (lapsed(&lock, quiet), left.is_zero()) {
            (true, _) => return Ok(watch),
            (false, true) => return Err(Blocked::Held(Box::new(lock), quiet)),
            (false, false) => {
                told.tell(&lock, quiet, wait.tell);
                clock.sleep(POLL.min(left)).await;
            }
        }
    }
}

/// Takes the lock, waiting for whoever holds it; a lease that lapses meanwhile is taken over if the intent settles what it left.
/// Never waits for a freeze.
pub async fn acquire_within(
    db: &Dynamodb,
    clock: &Clock,
    scope: Scope,
    who: Identity,
    intent: Intent,
    wait: Wait<'_>,
) -> Result<Held, Blocked> {
    acquire_seen(db, clock, scope, who, intent, wait, Watch::new(clock)).await
}

/// [`acquire_within`], going on from what [`wait_until_settled`] saw.
pub async fn acquire_seen(
    db: &Dynamodb,
    clock: &Clock,
    scope: Scope,
    who: Identity,
    intent: Intent,
    wait: Wait<'_>,
    mut watch: Watch,
) -> Result<Held, Blocked> {
    let sender = Sender::new(db.clone(), clock.clone(), &scope.table, &who.owner);
    let mut taker = Taker { sender, scope, who, intent, round: 0 };
    let (started, mut told) = (clock.moment(), Telling::default());
    loop {
        let view = read(db, &taker.scope).await?;
        taker.stop_if_frozen(&view)?;
        let quiet = view.lock.as_ref().map_or(Duration::ZERO, |lock| watch.see(lock));
        match decide(view.lock.as_ref(), quiet, taker.intent.settles)? {
            Way::Take => {
                if let Some(held) = taker.take(view.lock.as_ref()).await? {
                    return Ok(held);
                }
            }
            Way::TakeOver(lock, open) => {
                if let Some(held) = taker.take_over(lock, open, quiet).await? {
                    return Ok(held);
                }
            }
            Way::Wait(lock) => {
                let left = wait.timeout.saturating_sub(clock.passed(started));
                if left.is_zero() {
                    return Err(Blocked::Held(Box::new(lock.clone()), quiet));
                }
                told.tell(lock, quiet, wait.tell);
                let pause = taker.sender.about(POLL, 0.5);
                clock.sleep(pause.min(left)).await;
            }
        }
    }
}

/// What to do about a lock as it was read.
#[derive(Debug, PartialEq, Eq)]
enum Way<'a> {
    /// Nobody holds it and nothing is unfinished.
    Take,
    /// Nobody holds it (any more), and this operation is unfinished.
    TakeOver(&'a LockRecord, &'a OperationId),
    /// Somebody holds it.
    Wait(&'a LockRecord),
}

fn decide(lock: Option<&LockRecord>, quiet: Duration, settles: bool) -> Result<Way<'_>, Blocked> {
    let Some(lock) = lock else { return Ok(Way::Take) };
    if lock.state == LockState::Held && !lapsed(lock, quiet) {
        return Ok(Way::Wait(lock));
    }
    // The lapse of a lease frees the mutex, never the environment: what was begun is settled first.
    match (&lock.open, lock.state) {
        (None, LockState::Free) => Ok(Way::Take),
        (None, LockState::Held) => {
            let message = "row LOCK: held, but names no operation; it was edited by hand";
            Err(Blocked::Aws(Error::new("Query", ErrorKind::Invalid, "MalformedRow", message)))
        }
        (Some(open), _) if settles => Ok(Way::TakeOver(lock, open)),
        (Some(open), _) => Err(Blocked::Unfinished(open.clone())),
    }
}

/// Tells a waiter once, on every change, and every 30 s.
#[derive(Debug, Default)]
struct Telling {
    last: Option<(u64, String, u64)>,
}

impl Telling {
    fn tell(&mut self, lock: &LockRecord, quiet: Duration, tell: &(dyn Fn(&LockRecord, Duration) + Send + Sync)) {
        let now = Some((lock.fence, lock.stage.clone(), quiet.as_secs() / 30));
        if self.last != now {
            self.last = now;
            tell(lock, quiet);
        }
    }
}

/// Looks that found the lock changed under us before we give up: by then it is somebody's, or something is very wrong.
const ROUNDS: u32 = 20;

struct Taker {
    sender: Sender,
    scope: Scope,
    who: Identity,
    intent: Intent,
    round: u32,
}

impl Taker {
    fn stop_if_frozen(&self, view: &View) -> Result<(), Blocked> {
        let Some(freeze) = view.freeze.as_ref().filter(|_| !self.intent.passes_freeze) else { return Ok(()) };
        let end = freeze.until.as_ref().and_then(|until| until.parse::<jiff::Timestamp>().ok());
        match end {
            Some(end) if end < self.sender.db.now() => Ok(()),
            _ => Err(Blocked::Frozen(freeze.clone())),
        }
    }

    /// Every transaction that takes a lock also refuses to pass a freeze or to count backwards.
    fn checks(&self, seen_fence: u64) -> Vec<Write> {
        let mut checks = vec![transactions::check_head(&self.scope, seen_fence)];
        if !self.intent.passes_freeze {
            checks.push(transactions::check_freeze(&self.scope, self.sender.db.now()));
        }
        checks
    }

    async fn take(&mut self, seen: Option<&LockRecord>) -> Result<Option<Held>, Blocked> {
        let fence = seen.map_or(0, |lock| lock.fence);
        let (operation, stamp) = (self.intent.operation.clone(), Stamp(self.sender.db.now()));
        let lease =
            Lease { scope: self.scope.clone(), who: self.who.clone(), fence: fence + 1, beat: 0, operation: operation.clone(), seq: 0 };
        let mut writes = vec![transactions::take_free(&lease, &self.intent.doing, fence, stamp)];
        writes.extend(self.checks(fence));
        writes.extend(transactions::begin_operation(&lease, &operation, &self.intent.record, &self.intent.began, stamp));
        writes.extend(self.intent.writes.iter().cloned());
        self.send(lease, &writes, seen, false).await
    }

    async fn take_over(&mut self, seen: &LockRecord, open: &OperationId, quiet: Duration) -> Result<Option<Held>, Blocked> {
        let row = self.sender.db.get(&self.scope.table, &key(&self.scope, sk::operation(open))).await?;
        let Some(row) = row else {
            let message = format!("row LOCK: names the unfinished operation {open}, which has no record");
            return Err(Blocked::Aws(Error::new("GetItem", ErrorKind::Invalid, "MalformedRow", message)));
        };
        let (operation_fence, seq) = (Reader::new(&row).number("fence")?, Reader::new(&row).number("seq")?);
        if operation_fence > seen.fence {
            return Err(Blocked::Rewound { lock: seen.fence, recorded: operation_fence });
        }
        let (scope, who) = (self.scope.clone(), self.who.clone());
        let lease = Lease { scope, who, fence: seen.fence + 1, beat: 0, operation: open.clone(), seq: seq + 1 };
        let stamp = Stamp(self.sender.db.now());
        let mut writes = vec![
            transactions::take_unfinished(&lease, &self.intent.doing, seen, stamp),
            transactions::take_operation(&lease, operation_fence),
        ];
        writes.extend(transactions::events(&lease, open, lease.seq, &[self.taken_over(seen, quiet)], stamp));
        writes.extend(self.checks(seen.fence));
        self.send(lease, &writes, Some(seen), *open != self.intent.operation).await
    }

    /// The event of a take-over (`journal::Entry::TakenOver` reads it).
    fn taken_over(&self, seen: &LockRecord, quiet: Duration) -> Item {
        let why = match seen.state {
            LockState::Held => format!("{}: no renewal for {} s", self.intent.doing, quiet.as_secs()),
            LockState::Free => format!("{}: left unfinished", self.intent.doing),
        };
        let from = seen.owner.clone().unwrap_or_else(|| "nobody".to_string());
        let to = format!("{} ({} on {})", self.who.owner, self.who.who, self.who.host);
        [("type", "taken-over".to_string()), ("from", from), ("to", to), ("why", why)]
            .map(|(name, text)| (name.to_string(), Value::from(text)))
            .into()
    }

    /// `None`: the lock changed since we looked. `settling`: the lease is for an unfinished operation that is not the intent's own.
    async fn send(&mut self, lease: Lease, writes: &[Write], seen: Option<&LockRecord>, settling: bool) -> Result<Option<Held>, Blocked> {
        self.round += 1;
        let beat = seen.map_or(0, |lock| lock.beat);
        let token = transactions::token(&[&"acquire", &self.who.owner, &self.intent.operation, &lease.fence, &beat, &self.round]);
        let sent_at = self.sender.clock.moment();
        let taking = match self.sender.transact(writes, &token, ACQUIRE).await {
            Sent::Applied(_) => Taking::Ours,
            Sent::Refused(reasons) => judge_taking(&lease, writes, &reasons)?,
            Sent::Failed(error) => return Err(error.into()),
            Sent::Unknown(error) => self.give_up(&lease, seen, error).await?,
        };
        match taking {
            Taking::Ours => {
                let next = settling.then(|| self.intent.clone());
                Ok(Some(Held::hold(self.sender.fork(&lease.who.owner), lease, sent_at, next)))
            }
            Taking::Changed if self.round < ROUNDS => {
                let pause = self.sender.about(Duration::from_millis(200), 0.9);
                self.sender.clock.sleep(pause).await;
                Ok(None)
            }
            Taking::Changed => {
                let message = format!("the lock changed {ROUNDS} times while we tried to take it");
                Err(Blocked::Aws(Error::new("TransactWriteItems", ErrorKind::Throttled, "", message)))
            }
            Taking::Blocked(blocked) => Err(blocked),
        }
    }

    /// A packet of ours may still be under way: make its condition false before leaving. If even that fails, the orphan lapses after one
    /// lease, and its operation has no started step, so the next comer closes it.
    async fn give_up(&mut self, lease: &Lease, seen: Option<&LockRecord>, error: Error) -> Result<Taking, Blocked> {
        let bump = transactions::bump(&self.scope, seen);
        if let Sent::Refused(reasons) = self.sender.write(&bump, 3).await {
            let old = reasons.first().and_then(|reason| reason.old.as_ref());
            if let Some(record) = old.map(parse_lock).transpose()?
                && mine(&record, lease)
            {
                return Ok(Taking::Ours);
            }
        }
        Err(error.into())
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
        assert_eq!(decide(None, Duration::ZERO, false), Ok(Way::Take));
        assert_eq!(decide(Some(&lock(LockState::Free, None)), Duration::ZERO, false), Ok(Way::Take));
    }

    #[test]
    fn a_waiter_is_told_on_change_and_every_half_minute() {
        let (told, mut telling) = (std::sync::Mutex::new(0), Telling::default());
        let count = |_: &LockRecord, _: Duration| *told.lock().unwrap() += 1;
        let mut row = lock(LockState::Held, Some("01OPEN"));
        for seconds in [0, 5, 29, 31, 35] {
            telling.tell(&row, Duration::from_secs(seconds), &count);
        }
        assert_eq!(*told.lock().unwrap(), 2);
        row.stage = "await".into();
        telling.tell(&row, Duration::from_secs(36), &count);
        assert_eq!(*told.lock().unwrap(), 3);
    }
}
