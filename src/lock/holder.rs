//! The one writer of a held lock: heartbeat, journal, inbox, release. Nobody else writes `LOCK`, so nobody can race with ourselves.
//!
//! The lease counts from the moment before the first attempt to send the newest confirmed beat; a resend keeps the first moment.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::acquire::Intent;
use super::constants::{ACQUIRE, HEARTBEAT, LOOK, RESEND_MOST};
use super::held::{Halt, Release, State, Taken};
use super::outcome::{Lost, judge_keeping, judge_release};
use super::resend::{Sender, Sent};
use super::row::{key, parse_lock};
use super::shared;
use super::transactions::{self as rows, Lease, Stamp};
use crate::aws::Error;
use crate::aws::dynamodb::{Item, Write};
use crate::clock::Moment;
use crate::model::{LockRecord, Seconds, sk};

/// What the writer can be asked to do.
pub(super) enum Command {
    /// Journal.
    Commit { events: Vec<Item>, writes: Vec<Write>, stage: Option<String>, reply: Reply },
    /// End the unfinished operation and begin our own.
    Settle { events: Vec<Item>, ended: Item, reply: Reply },
    /// Give the lock back.
    Release { release: Release, reply: Reply },
}

type Reply = oneshot::Sender<Result<(), Lost>>;

/// Attempts to send one beat. After that the next one is sent, with a send time of its own: an older one that arrives late is harmless.
const BEAT_ATTEMPTS: u32 = 3;

pub(super) struct Holder {
    sender: Sender,
    lease: Lease,
    tell: watch::Sender<State>,
    next: Option<Intent>,
    /// The heartbeat is due this long after that moment.
    due: (Moment, Duration),
    /// How long to go on proving while DynamoDB does not answer.
    hold: Duration,
    /// When the lease was last proved, in waking time: a machine that slept gets to try again.
    proved: Instant,
}

impl Holder {
    pub(super) fn new(mut sender: Sender, taken: Taken, tell: watch::Sender<State>) -> Self {
        let due = (taken.confirmed, sender.about(HEARTBEAT, 0.1));
        Self { sender, lease: taken.lease, tell, next: taken.next, due, hold: taken.hold, proved: Instant::now() }
    }

    /// Until the lock is lost or given back, or nobody is interested any more.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Command>) {
        loop {
            let left = self.due.1.saturating_sub(self.sender.clock.since(self.due.0));
            // A look at the boot clock every second: a woken machine's timers go on as if it had not slept.
            let nap = self.sender.clock.clone();
            let went = tokio::select! {
                // Never in a random order: a run of a test can be repeated exactly. What is journalled also renews the lease.
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => ControlFlow::Break(()),
                },
                () = nap.sleep(left.min(LOOK)) => self.beat_if_due().await,
            };
            if went.is_break() {
                return;
            }
        }
    }

    async fn obey(&mut self, order: Command) -> ControlFlow<()> {
        // The first act after a sleep is a beat.
        let overdue = self.sender.clock.since(self.due.0) > HEARTBEAT * 2;
        if overdue && self.beat().await.is_break() {
            return ControlFlow::Break(());
        }
        let (result, reply) = match order {
            Command::Commit { events, writes, stage, reply } => (self.commit(&events, writes, stage.as_deref()).await, reply),
            Command::Settle { events, ended, reply } => (self.settle(&events, ended).await, reply),
            Command::Release { release, reply } => (self.release(release).await, reply),
        };
        // Whoever asked may have stopped waiting.
        let _unheard = reply.send(result);
        if self.tell.borrow().over.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    async fn beat_if_due(&mut self) -> ControlFlow<()> {
        match self.sender.clock.since(self.due.0) >= self.due.1 {
            true => self.beat().await,
            false => ControlFlow::Continue(()),
        }
    }

    async fn beat(&mut self) -> ControlFlow<()> {
        self.lease.beat += 1;
        let (write, sent_at) = (rows::beat(&self.lease), self.sender.clock.moment());
        let row = match self.sender.write(&write, BEAT_ATTEMPTS).await {
            Sent::Applied(row) => row.and_then(|row| parse_lock(&row).ok()),
            Sent::Refused(reasons) => match judge_keeping(&self.lease, &[write], &reasons) {
                Ok(row) => row,
                Err(lost) => {
                    self.over(lost);
                    return ControlFlow::Break(());
                }
            },
            // Nothing is given up: as long as nobody came, a later beat succeeds, and until then the guard says no.
            Sent::Failed(error) | Sent::Unknown(error) => {
                tracing::warn!(%error, "the lease could not be renewed");
                self.due = (self.sender.clock.moment(), RESEND_MOST);
                return ControlFlow::Continue(());
            }
        };
        self.confirm(sent_at);
        self.hear(row);
        ControlFlow::Continue(())
    }

    /// The heartbeat is also the inbox.
    fn hear(&self, row: Option<LockRecord>) {
        let Some((who, why)) = row.and_then(|row| row.halt) else { return };
        self.tell.send_modify(|state| state.halt = Some(Halt { who, why }));
    }

    fn confirm(&mut self, sent_at: Moment) {
        self.due = (sent_at, self.sender.about(HEARTBEAT, 0.1));
        self.proved = Instant::now();
        self.tell.send_modify(|state| state.confirmed = sent_at);
    }

    fn over(&self, lost: Lost) {
        tracing::warn!(%lost, fence = self.lease.fence, "the lock is not ours any more");
        self.tell.send_modify(|state| state.over = Some(lost));
    }

    /// What is left of the patience since the lease was last proved, so that one outage is not waited for twice. A moment in any case.
    fn patience(&self) -> Duration {
        self.hold.saturating_sub(self.proved.elapsed()).max(ACQUIRE)
    }

    /// Nobody knows whether it was written, and nobody answers.
    fn unanswered(&self, mut error: Error) -> Lost {
        error.message = format!("nothing could be written down for {}: {}", Seconds::from(self.proved.elapsed()), error.message);
        Lost::Aws(error)
    }

    /// The outcome of a transaction, and what it means for the lock.
    fn conclude(&self, lost: Option<Lost>) -> Result<(), Lost> {
        match lost {
            None => Ok(()),
            Some(Lost::Refused(rows)) => Err(Lost::Refused(rows)),
            Some(lost) => {
                self.over(lost.clone());
                Err(lost)
            }
        }
    }

    /// One transaction that begins with a write to `LOCK` proving and renewing the lease.
    async fn prove(&mut self, writes: &[Write]) -> Result<(), Lost> {
        let lease = &self.lease;
        let token = rows::token(&[&"journal", &lease.operation, &lease.fence, &lease.seq, &lease.beat]);
        let sent_at = self.sender.clock.moment();
        let lost = match self.sender.transact(writes, &token, self.patience()).await {
            Sent::Applied(_) => None,
            Sent::Refused(reasons) => judge_keeping(&self.lease, writes, &reasons).err(),
            Sent::Failed(error) => return Err(Lost::Aws(error)),
            // Nobody knows which events are written, so nothing more can be numbered: leave it to whoever comes next.
            Sent::Unknown(error) => Some(self.unanswered(error)),
        };
        if lost.is_none() {
            self.confirm(sent_at);
        }
        self.conclude(lost)
    }

    fn stamp(&self) -> Stamp {
        Stamp(self.sender.db.now())
    }

    async fn commit(&mut self, events: &[Item], more: Vec<Write>, stage: Option<&str>) -> Result<(), Lost> {
        self.lease.beat += 1;
        let (lease, count) = (&self.lease, events.len() as u64);
        let set: Item = stage.map(|stage| ("stage".to_string(), stage.into())).into_iter().collect();
        let mut writes =
            vec![stage.map_or_else(|| rows::beat(lease), |stage| rows::beat_at_stage(lease, stage)), rows::advance(lease, count, set)];
        writes.extend(rows::events(lease, &lease.operation, lease.seq + 1, events, self.stamp()));
        writes.extend(more);
        self.prove(&writes).await?;
        self.lease.seq += count;
        Ok(())
    }

    async fn settle(&mut self, events: &[Item], ended: Item) -> Result<(), Lost> {
        let Some(next) = self.next.clone() else { return Ok(()) };
        self.lease.beat += 1;
        let (lease, stamp) = (&self.lease, self.stamp());
        let mut writes = vec![rows::beat_for_next(lease, &next.operation), rows::advance(lease, events.len() as u64, ended)];
        writes.extend(rows::events(lease, &lease.operation, lease.seq + 1, events, stamp));
        writes.extend(rows::begin_operation(lease, &next.operation, &next.record, &next.began, stamp));
        writes.extend(lease.shared.iter().map(|resource| shared::pass_on(lease, resource, &next.operation)));
        writes.extend(next.writes);
        self.prove(&writes).await?;
        self.next = None;
        (self.lease.operation, self.lease.seq) = (next.operation.clone(), 0);
        self.tell.send_modify(|state| (state.operation, state.unfinished) = (next.operation, false));
        Ok(())
    }

    async fn release(&mut self, release: Release) -> Result<(), Lost> {
        self.tell.send_modify(|state| state.leaving = true);
        let released = self.leave(release).await;
        // What could not be given back is still held, and what is left to do may be done.
        self.tell.send_modify(|state| state.leaving = released.is_ok());
        released
    }

    async fn leave(&mut self, release: Release) -> Result<(), Lost> {
        loop {
            let lost = self.give_back(&release).await;
            // Rows of what is shared that somebody edited are not ours to give back any more; the lock is.
            let edited: &[String] = match &lost {
                Some(Lost::Refused(rows)) if rows.iter().all(|row| row.starts_with(sk::SHARED)) => rows,
                _ => &[],
            };
            let before = self.lease.shared.len();
            self.lease.shared.retain(|resource| !edited.contains(&sk::shared(resource)));
            if self.lease.shared.len() < before {
                continue;
            }
            if lost.is_none() {
                self.tell.send_modify(|state| state.over = Some(Lost::Released));
            }
            return self.conclude(lost);
        }
    }

    async fn give_back(&mut self, release: &Release) -> Option<Lost> {
        let lease = &self.lease;
        let settled = self.tell.borrow().pause.left(&self.sender.clock).is_zero();
        let mut writes = vec![rows::give_back(lease, release.ended.is_some(), settled)];
        writes.push(rows::advance(lease, release.events.len() as u64, release.ended.clone().unwrap_or_default()));
        writes.extend(rows::events(lease, &lease.operation, lease.seq + 1, &release.events, self.stamp()));
        // Before the wait is over, what is shared goes on pointing here: whoever takes it sees that there is something to wait for.
        let given_back = lease.shared.iter().filter(|_| settled);
        writes.extend(given_back.map(|resource| shared::give_back(lease, resource)));
        writes.extend(release.writes.iter().cloned());
        let head = key(&lease.scope, sk::HEAD);
        if !writes.iter().any(|write| write.key() == head) {
            writes.push(rows::check_head(&lease.scope, lease.fence));
        }
        let token = rows::token(&[&"release", &lease.operation, &lease.fence, &lease.seq, &lease.beat, &lease.shared.len()]);
        match self.sender.transact(&writes, &token, self.patience()).await {
            Sent::Applied(_) => None,
            Sent::Refused(reasons) => judge_release(&self.lease, &writes, &reasons).err(),
            Sent::Failed(error) => Some(Lost::Aws(error)),
            Sent::Unknown(error) => Some(self.unanswered(error)),
        }
    }
}
