//! Sending what takes a lock, and what its outcome means.

use std::time::Duration;

use super::acquire::{Intent, View};
use super::constants::{ACQUIRE, BROKEN_ANSWERED, BROKEN_SILENT, HORIZONS};
use super::freeze::in_force;
use super::held::{Held, TakeOver, TakeOverKind, Taken};
use super::outcome::{Blocked, Taking, judge_taking, mine};
use super::resend::{Sender, Sent};
use super::row::{Identity, key, parse_lock};
use super::shared::Sight;
use super::transactions::{self, Lease, Stamp};
use super::way::Way;
use crate::aws::dynamodb::{Item, Reader, Value, Write};
use crate::aws::{Error, ErrorKind};
use crate::model::{Broken, LockRecord, LockState, OperationId, Resource, Scope, sk};

/// Looks that found the lock changed under us before we give up: by then it is somebody's, or something is very wrong.
const ROUNDS: u32 = 20;

pub(super) struct Taker {
    pub sender: Sender,
    pub scope: Scope,
    pub intent: Intent,
    who: Identity,
    round: u32,
}

impl Taker {
    pub fn new(sender: Sender, scope: Scope, who: Identity, intent: Intent) -> Self {
        Self { sender, scope, intent, who, round: 0 }
    }

    pub fn stop_if_frozen(&self, view: &View) -> Result<(), Blocked> {
        let Some(freeze) = view.freeze.as_ref().filter(|_| !self.intent.passes_freeze) else { return Ok(()) };
        if in_force(freeze, self.sender.db.now()) { Err(Blocked::Frozen(freeze.clone())) } else { Ok(()) }
    }

    /// Goes a way that nobody blocks. `None`: the lock changed since we looked.
    pub async fn take(&mut self, way: &Way<'_>, sight: &Sight, quiet: Duration) -> Result<Option<Held>, Blocked> {
        let shared = way.wants(&self.intent.secondaries);
        match way {
            Way::Take(seen) => self.take_free(*seen, sight, shared).await,
            Way::TakeOver(seen, open) => self.take_over(seen, open, sight, shared, quiet).await,
            Way::Wait(_) => Ok(None),
        }
    }

    fn lease(&self, fence: u64, operation: &OperationId, seq: u64, shared: Vec<Resource>) -> Lease {
        Lease { scope: self.scope.clone(), who: self.who.clone(), fence, beat: 0, operation: operation.clone(), seq, shared }
    }

    /// Every transaction that takes a lock also refuses to pass a freeze or to count backwards.
    fn checks(&self, head: Write) -> Vec<Write> {
        let mut checks = vec![head];
        if !self.intent.passes_freeze {
            checks.push(transactions::check_freeze(&self.scope, self.sender.db.now()));
        }
        checks
    }

    async fn take_free(&mut self, seen: Option<&LockRecord>, sight: &Sight, shared: Vec<Resource>) -> Result<Option<Held>, Blocked> {
        let fence = seen.map_or(0, |lock| lock.fence);
        let (operation, stamp) = (self.intent.operation.clone(), Stamp(self.sender.db.now()));
        let lease = self.lease(fence + 1, &operation, 0, shared);
        let mut writes = vec![transactions::take_free(&lease, self.intent.shown(), heir(seen, sight).as_ref(), stamp)];
        writes.extend(self.checks(transactions::check_head(&self.scope, fence)));
        writes.extend(sight.take(&lease, stamp));
        writes.extend(transactions::begin_operation(&lease, &operation, &self.intent.record, &self.intent.began, stamp));
        writes.extend(self.intent.writes.iter().cloned());
        self.send(lease, &writes, seen, None, sight).await
    }

    async fn take_over(
        &mut self,
        seen: &LockRecord,
        open: &OperationId,
        sight: &Sight,
        shared: Vec<Resource>,
        quiet: Duration,
    ) -> Result<Option<Held>, Blocked> {
        let row = self.sender.db.get(&self.scope.table, &key(&self.scope, sk::operation(open))).await?;
        let Some(row) = row else {
            let message = format!("row LOCK: names the unfinished operation {open}, which has no record");
            return Err(Blocked::Aws(Error::new("GetItem", ErrorKind::Invalid, "MalformedRow", message)));
        };
        let (operation_fence, seq) = (Reader::new(&row).number("fence")?, Reader::new(&row).number("seq")?);
        if operation_fence > seen.fence {
            return Err(Blocked::Rewound { lock: seen.fence, recorded: operation_fence });
        }
        let take_over = TakeOver { from: seen.clone(), kind: TakeOverKind::of(seen) };
        let (lease, head) = (self.lease(seen.fence + 1, open, seq + 1, shared), self.head(seen.fence, take_over.kind).await?);
        let stamp = Stamp(self.sender.db.now());
        let mut writes = vec![
            transactions::take_unfinished(&lease, self.intent.shown(), heir(Some(seen), sight).as_ref().unwrap_or(seen), stamp),
            transactions::take_operation(&lease, operation_fence),
        ];
        writes.extend(transactions::events(&lease, open, lease.seq, &[self.taken_over(seen, quiet)], stamp));
        writes.extend(self.checks(head));
        writes.extend(sight.take(&lease, stamp));
        self.send(lease, &writes, Some(seen), Some(take_over), sight).await
    }

    /// What becomes of `HEAD` in a take-over: if the old holder may not know of it, somebody must look again later, whoever that is.
    async fn head(&self, fence: u64, kind: TakeOverKind) -> Result<Write, Blocked> {
        let exists = match kind {
            TakeOverKind::HandedOver => false,
            TakeOverKind::Lapsed | TakeOverKind::Broken { .. } => {
                self.sender.db.get(&self.scope.table, &key(&self.scope, sk::HEAD)).await?.is_some()
            }
        };
        let now = self.sender.db.now().as_second().max(0).cast_unsigned();
        Ok(match exists {
            true => transactions::check_head_later(&self.scope, fence, HORIZONS.map(|horizon| now + horizon.as_secs())),
            false => transactions::check_head(&self.scope, fence),
        })
    }

    /// The event of a take-over (`journal::Entry::TakenOver` reads it).
    fn taken_over(&self, seen: &LockRecord, quiet: Duration) -> Item {
        let why = match seen.state {
            LockState::Held => format!("{}: no renewal for {} s", self.intent.doing, quiet.as_secs()),
            LockState::Free => match &seen.broken {
                Some(broken) => format!("{}: broken by {}: {}", self.intent.doing, broken.who, broken.why),
                None => format!("{}: left unfinished", self.intent.doing),
            },
        };
        let from = seen.owner.clone().unwrap_or_else(|| "nobody".to_string());
        let to = format!("{} ({} on {})", self.who.owner, self.who.who, self.who.host);
        [("type", "taken-over".to_string()), ("from", from), ("to", to), ("why", why)]
            .map(|(name, text)| (name.to_string(), Value::from(text)))
            .into()
    }

    /// `None`: the lock changed since we looked.
    async fn send(
        &mut self,
        lease: Lease,
        writes: &[Write],
        seen: Option<&LockRecord>,
        take_over: Option<TakeOver>,
        sight: &Sight,
    ) -> Result<Option<Held>, Blocked> {
        self.round += 1;
        let beat = seen.map_or(0, |lock| lock.beat);
        let token = transactions::token(&[&"acquire", &self.who.owner, &self.intent.operation, &lease.fence, &beat, &self.round]);
        let confirmed = self.sender.clock.moment();
        let taking = match self.sender.transact(writes, &token, ACQUIRE).await {
            Sent::Applied(_) => Taking::Ours,
            Sent::Refused(reasons) => judge_taking(&lease, writes, &reasons)?,
            Sent::Failed(error) => return Err(error.into()),
            Sent::Unknown(error) => self.give_up(&lease, seen, error).await?,
        };
        match taking {
            Taking::Ours => {
                let next = (lease.operation != self.intent.operation).then(|| self.intent.clone());
                let pause = seen.map_or(Duration::ZERO, pause).max(sight.broken().map_or(Duration::ZERO, span));
                let taken = Taken { lease, confirmed, next, take_over, pause, hold: self.intent.hold };
                Ok(Some(Held::keep(self.sender.keeper(&self.who.owner), taken)))
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

/// The lock as it is inherited: what has to be waited for because a neighbour's lock was broken is written down in our own, for whoever
/// takes it from us before the wait is over.
fn heir(seen: Option<&LockRecord>, sight: &Sight) -> Option<LockRecord> {
    let Some(theirs) = sight.broken() else { return seen.cloned() };
    let seen = seen.cloned().unwrap_or_default();
    let broken = seen.broken.into_iter().chain([theirs.clone()]).min_by_key(|broken| broken.answered);
    Some(LockRecord { broken, ..seen })
}

/// For how long nothing may be changed after this lock was taken: its broken holder may not know yet. If its lease lapsed, that was the wait.
fn pause(seen: &LockRecord) -> Duration {
    match seen.state {
        LockState::Free => seen.broken.as_ref().map_or(Duration::ZERO, span),
        LockState::Held => Duration::ZERO,
    }
}

fn span(broken: &Broken) -> Duration {
    if broken.answered { BROKEN_ANSWERED } else { BROKEN_SILENT }
}
