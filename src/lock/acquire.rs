//! Taking a lock: at once, or after waiting for it.

use std::time::Duration;

use super::constants::POLL;
use super::freeze;
use super::held::Held;
use super::lapse::{Watch, lapsed};
use super::outcome::Blocked;
use super::resend::Sender;
use super::row::{Doing, Identity, parse_lock};
use super::shared::Neighbours;
use super::taker::Taker;
use super::way::{Telling, decide};
use crate::aws::dynamodb::{Item, Query, Value, Write};
use crate::aws::{Dynamodb, Error};
use crate::clock::Clock;
use crate::model::{FreezeRecord, LockRecord, LockState, OperationId, Resource, Scope, sk};

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
    /// What it changes that other environments use too: taken and given back together with the lock.
    pub secondaries: Vec<Resource>,
    /// How long the holder goes on proving its lease while DynamoDB does not answer ([`super::constants::HOLD`]).
    pub hold: Duration,
    /// How long it takes about, in seconds, for whoever is blocked.
    pub eta_s: Option<u64>,
}

impl Intent {
    /// To bring to its end what is unfinished: both its rows are there, so nothing new begins, and a freeze, which is for what comes
    /// next, does not stop it.
    pub fn going_on(operation: OperationId, doing: String, secondaries: Vec<Resource>, hold: Duration) -> Self {
        let (record, began, writes) = (Item::new(), Item::new(), Vec::new());
        Self { operation, doing, record, began, writes, settles: true, passes_freeze: true, secondaries, hold, eta_s: None }
    }

    pub(super) fn shown(&self) -> Doing<'_> {
        Doing { text: &self.doing, eta_s: self.eta_s }
    }
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
    /// `FREEZE`, if there is one that nobody lifted, over or not.
    pub freeze: Option<FreezeRecord>,
}

/// Reads the lock and the freeze, strongly, in one call.
pub async fn read(db: &Dynamodb, scope: &Scope) -> Result<View, Error> {
    let rows = db.query(&scope.table, &Query::between(&scope.pk, sk::FREEZE, sk::LOCK)).await?;
    let row = |wanted: &str| rows.iter().find(|row| row.get("sk") == Some(&Value::from(wanted)));
    Ok(View { lock: row(sk::LOCK).map(parse_lock).transpose()?, freeze: row(sk::FREEZE).map(freeze::standing).transpose()?.flatten() })
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
                told.tell(&scope.pk, &lock, quiet, wait.tell);
                clock.sleep(POLL.mul_f64(0.5 + fastrand::f64()).min(left)).await;
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
    let mut taker = Taker::new(Sender::new(db.clone(), clock.clone(), &scope.table, &who.owner), scope, who, intent);
    let (started, mut told, mut neighbours) = (clock.moment(), Telling::default(), Neighbours::default());
    loop {
        let view = read(db, &taker.scope).await?;
        taker.stop_if_frozen(&view)?;
        let lock = view.lock.as_ref();
        let quiet = lock.map_or(Duration::ZERO, |lock| watch.see(lock));
        let way = decide(lock, quiet, taker.intent.settles)?;
        let sight = neighbours.look(db, clock, &taker.scope, &way.wants(&taker.intent.secondaries)).await?;
        let blockers = way.blockers(&taker.scope, quiet, sight.blockers(&taker.scope));
        if blockers.is_empty() {
            if let Some(held) = taker.take(&way, &sight, quiet).await? {
                return Ok(held);
            }
            continue;
        }
        let left = wait.timeout.saturating_sub(clock.passed(started));
        if left.is_zero() {
            return Err(Blocked::by(blockers));
        }
        blockers.iter().for_each(|blocker| told.tell(&blocker.scope.pk, &blocker.lock, blocker.quiet, wait.tell));
        let pause = taker.sender.about(POLL, 0.5);
        clock.sleep(pause.min(left)).await;
    }
}
