//! A lock that is held: the handle that everybody in this process shares. All writing is done by one task ([`super::holder`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::acquire::Intent;
use super::constants::{GUARD, LEASE};
use super::holder::{Command, Holder};
use super::outcome::Lost;
use super::resend::Sender;
use super::transactions::Lease;
use crate::aws::Guard;
use crate::aws::dynamodb::{Item, Write};
use crate::clock::{Clock, Moment};
use crate::model::{LockRecord, LockState, OperationId, Scope};

/// Somebody asked the holder to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// The lock was taken with an operation that its holder had not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeOver {
    /// The lock as it was.
    pub from: LockRecord,
    /// How its holder lost it.
    pub kind: TakeOverKind,
}

/// How a holder lost a lock. Unless it was handed over, a call of the old holder may still arrive for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeOverKind {
    /// It gave it back itself.
    HandedOver,
    /// It did not renew it for the lease and a grace.
    Lapsed,
    /// Somebody took it from it by force.
    Broken {
        /// It was heard of until then.
        answered: bool,
    },
}

impl TakeOverKind {
    pub(super) fn of(seen: &LockRecord) -> Self {
        match (seen.state, &seen.broken) {
            (LockState::Held, _) => Self::Lapsed,
            (LockState::Free, Some(broken)) => Self::Broken { answered: broken.answered },
            (LockState::Free, None) => Self::HandedOver,
        }
    }
}

/// A lock that was just taken.
pub(super) struct Taken {
    pub lease: Lease,
    /// Before it was first sent.
    pub confirmed: Moment,
    /// The operation to begin once the unfinished one is settled.
    pub next: Option<Intent>,
    pub take_over: Option<TakeOver>,
    /// Nothing may be changed for so long.
    pub pause: Duration,
    /// How long to go on proving while DynamoDB does not answer.
    pub hold: Duration,
}

/// Nothing may be changed until it is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    since: Moment,
    span: Duration,
}

impl Pause {
    /// By the boot clock alone: a wall clock that somebody set forward must not cut it short.
    pub(super) fn left(self, clock: &Clock) -> Duration {
        self.span.saturating_sub(clock.passed(self.since))
    }
}

/// What the writer tells everybody.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Before the newest confirmed beat was first sent: the lease counts from here.
    pub(super) confirmed: Moment,
    /// The operation the journal writes go to.
    pub(super) operation: OperationId,
    /// Taken over with the lock and not settled yet.
    pub(super) unfinished: bool,
    pub(super) halt: Option<Halt>,
    pub(super) pause: Pause,
    /// It is being given back: from the moment that is sent, somebody else may hold it, whether or not we ever hear so.
    pub(super) leaving: bool,
    /// Set once: the lock is not ours any more, and why.
    pub(super) over: Option<Lost>,
}

impl State {
    /// The local proof: enough of the lease is left for one call to start, land and be over.
    fn proof(&self, clock: &Clock) -> Result<(), String> {
        if let Some(over) = &self.over {
            return Err(over.to_string());
        }
        if self.leaving {
            return Err("the lock is being given back".to_string());
        }
        let pause = self.pause.left(clock);
        if !pause.is_zero() {
            let left = pause.as_secs() + 1;
            return Err(format!("the lock was broken, and its holder may not know yet: nothing is changed for another {left} s"));
        }
        let quiet = clock.since(self.confirmed);
        match quiet + GUARD <= LEASE {
            true => Ok(()),
            false => Err(format!("the lease is in doubt: last renewed {} s ago", quiet.as_secs())),
        }
    }
}

/// A held lock. Cheap to clone; when the last clone is dropped without a release, the heartbeat stops and the lease lapses, as after a
/// crash.
#[derive(Debug, Clone)]
pub struct Held {
    inbox: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
    clock: Clock,
    scope: Arc<Scope>,
    fence: u64,
    take_over: Option<Arc<TakeOver>>,
    hold: Duration,
}

/// What to write when the lock is given back.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// Last events of the operation.
    pub events: Vec<Item>,
    /// The operation ended, with these attributes on its row (`journal::ended`); none: it stays open for whoever comes next.
    pub ended: Option<Item>,
    /// More rows, such as what serves now (`journal::serve`).
    pub writes: Vec<Write>,
}

impl Held {
    /// Starts the task that keeps the lock.
    pub(super) fn keep(sender: Sender, taken: Taken) -> Self {
        let (clock, fence, hold) = (sender.clock.clone(), taken.lease.fence, taken.hold);
        let take_over = taken.take_over.clone().map(Arc::new);
        let scope = Arc::new(taken.lease.scope.clone());
        // From now, when it is known to be ours: the old holder's time to notice began no later.
        let pause = Pause { since: clock.moment(), span: taken.pause };
        let (operation, unfinished) = (taken.lease.operation.clone(), taken.next.is_some());
        let state = State { confirmed: taken.confirmed, operation, unfinished, halt: None, pause, leaving: false, over: None };
        let (tell, state) = watch::channel(state);
        let (inbox, orders) = mpsc::channel(64);
        tokio::spawn(Holder::new(sender, taken, tell).run(orders));
        Self { inbox, state, clock, scope, fence, take_over, hold }
    }

    /// The operation that journal writes go to: the unfinished one until it is settled, then our own.
    pub fn operation(&self) -> OperationId {
        self.state.borrow().operation.clone()
    }

    /// The operation that was taken over with the lock and must be settled ([`Held::settle`]) or carried on (by resuming it).
    pub fn unfinished(&self) -> Option<OperationId> {
        let state = self.state.borrow();
        state.unfinished.then(|| state.operation.clone())
    }

    /// What it is the lock of.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Our fence.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// How the lock came to us, if with an operation that its holder had not finished.
    pub fn take_over(&self) -> Option<TakeOver> {
        self.take_over.as_deref().cloned()
    }

    /// For how long nothing may be changed yet, because the lock was broken and its holder may not know. The guard sees to it.
    pub fn must_wait(&self) -> Duration {
        self.state.borrow().pause.left(&self.clock)
    }

    /// How long to go on proving while DynamoDB does not answer.
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// Says whether a change may be sent now; for [`crate::aws::Aws::guarded`].
    pub fn guard(&self) -> Guard {
        let (state, clock) = (self.state.clone(), self.clock.clone());
        Arc::new(move || state.borrow().proof(&clock))
    }

    /// Waits until the guard says yes again, or for ever no; at most so long. For whoever was refused by the guard while DynamoDB was away
    /// or the machine slept.
    pub async fn proved(&self, within: Duration) -> Result<(), String> {
        let mut state = self.state.clone();
        let decided = async {
            loop {
                let proof = state.borrow_and_update().proof(&self.clock);
                if proof.is_ok() || state.borrow().over.is_some() {
                    return proof;
                }
                let pause = self.must_wait();
                tokio::select! {
                    changed = state.changed() => if changed.is_err() {
                        return proof;
                    },
                    () = self.clock.sleep(pause), if !pause.is_zero() => {}
                }
            }
        };
        match tokio::time::timeout(within, decided).await {
            Ok(proof) => proof,
            Err(_) => self.state.borrow().proof(&self.clock),
        }
    }

    /// Writes events and rows in one transaction that also proves and renews the lease. The events get the next numbers. `Ok` means
    /// written. A stage is shown to whoever is blocked.
    pub async fn commit(&self, events: Vec<Item>, writes: Vec<Write>, stage: Option<&str>) -> Result<(), Lost> {
        let stage = stage.map(str::to_string);
        self.ask(|reply| Command::Commit { events, writes, stage, reply }).await
    }

    /// Ends the unfinished operation, with these last events and these attributes on its row (`journal::ended`), and begins our own: both
    /// in one transaction.
    pub async fn settle(&self, events: Vec<Item>, ended: Item) -> Result<(), Lost> {
        self.ask(|reply| Command::Settle { events, ended, reply }).await
    }

    /// Gives the lock back. Nobody can do it for another holder.
    pub async fn release(&self, release: Release) -> Result<(), Lost> {
        self.ask(|reply| Command::Release { release, reply }).await
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Result<(), Lost>>) -> Command) -> Result<(), Lost> {
        let (reply, answer) = oneshot::channel();
        // The task ends only after it has said why.
        let over = || self.state.borrow().over.clone().unwrap_or(Lost::Released);
        if self.inbox.send(command(reply)).await.is_err() {
            return Err(over());
        }
        answer.await.unwrap_or_else(|_| Err(over()))
    }

    /// Somebody asked us to stop.
    pub fn halted(&self) -> Option<Halt> {
        self.state.borrow().halt.clone()
    }

    /// Why the lock is not ours any more.
    pub fn lost(&self) -> Option<Lost> {
        self.state.borrow().over.clone()
    }

    /// Waits until somebody asks us to stop, or the lock is lost or given back.
    pub async fn halted_or_lost(&self) {
        let mut state = self.state.clone();
        // An error means that the task is gone, so there is nothing left to wait for.
        let _gone = state.wait_for(|state| state.halt.is_some() || state.over.is_some()).await;
    }
}
