//! How taking and keeping a lock can go wrong, and what a refusal really means: refused, or carried out by an attempt whose reply was lost.

use std::time::Duration;

use super::freeze::parse_freeze;
use super::row::{key, parse_lock};
use super::shared::Blocker;
use super::transactions::Lease;
use crate::aws::dynamodb::{Key, Malformed, Reader, Reason, Value, Write};
use crate::aws::{Error, ErrorKind};
use crate::model::{FreezeRecord, LockRecord, LockState, OperationId, sk};

/// Why a lock was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// Somebody holds it; and for how long nothing was heard of them, as observed here.
    Held(Box<LockRecord>, Duration),
    /// What is wanted with it belongs to other leases: everybody who stands in the way, the lock's own holder first if there is one.
    Shared(Vec<Blocker>),
    /// A person froze it.
    Frozen(FreezeRecord),
    /// Nobody holds it, but this operation is unfinished and must be settled first.
    Unfinished(OperationId),
    /// The records name a later holder than the lock does: the lock was restored from a backup, deleted or edited. A person is needed.
    Rewound {
        /// The lock's fence.
        lock: u64,
        /// A later fence that some record has.
        recorded: u64,
    },
    /// AWS said no, or nothing.
    Aws(Error),
}

impl Blocked {
    /// Blocked by all of these.
    pub(super) fn by(mut blockers: Vec<Blocker>) -> Self {
        match blockers.pop() {
            Some(Blocker { resource: None, lock, quiet, .. }) if blockers.is_empty() => Self::Held(lock, quiet),
            last => {
                blockers.extend(last);
                Self::Shared(blockers)
            }
        }
    }
}

/// The row was written by a newer adstage: it may be read, and by no means written.
pub(super) fn newer(record: &LockRecord) -> Error {
    let wanted = match &record.newer {
        Some(version) if !version.is_empty() => format!("adstage {version} or newer"),
        _ => "a newer adstage".to_string(),
    };
    let message = format!("row LOCK has a format this adstage does not know: it needs {wanted}");
    Error::new("Query", ErrorKind::Invalid, "NewerFormat", message)
}

impl From<Error> for Blocked {
    fn from(error: Error) -> Self {
        Self::Aws(error)
    }
}

impl From<Malformed> for Blocked {
    fn from(malformed: Malformed) -> Self {
        Self::Aws(malformed.into())
    }
}

/// Why a holder could not write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Somebody else holds the lock now, or freed it by hand. Nothing may be changed any more.
    #[error("the lock was lost: {}", holder(.0))]
    TakenOver(Box<LockRecord>),
    /// The lock's row is gone. Nothing may be changed any more.
    #[error("the lock's row is gone from the table")]
    Gone,
    /// The lock is still ours, but these rows are not as they must be for this write. Nothing was written.
    #[error("not written: {} changed meanwhile", .0.join(", "))]
    Refused(Vec<String>),
    /// Not written, or nobody knows: AWS said no, or nothing for as long as we are willing to wait.
    #[error("{0}")]
    Aws(Error),
    /// The lock was given back already.
    #[error("the lock was given back")]
    Released,
}

impl Lost {
    /// The lock itself is lost, so nothing may be changed any more; otherwise only this write failed.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Aws(_))
    }
}

fn holder(record: &LockRecord) -> String {
    match (record.state, &record.broken) {
        (LockState::Free, Some(broken)) => format!("{} took it by force: {}", broken.who, broken.why),
        (LockState::Free, None) => format!("somebody freed it by hand (fence {})", record.fence),
        (LockState::Held, _) => format!("{} on {} has it now, {} (fence {})", record.who, record.host, record.doing, record.fence),
    }
}

/// What a refusal means to somebody who wants the lock.
#[derive(Debug)]
pub(super) enum Taking {
    /// An earlier attempt of ours was carried out: we have it.
    Ours,
    /// The lock changed since we looked: look again.
    Changed,
    /// No.
    Blocked(Blocked),
}

fn refused<'a>(writes: &'a [Write], reasons: &'a [Reason]) -> impl Iterator<Item = (Key, &'a Reason)> {
    let pairs = writes.iter().zip(reasons).filter(|(_, reason)| reason.refused);
    pairs.map(|(write, reason)| (write.key(), reason))
}

/// What became of the lock's own row. A transaction may touch those of other environments too.
fn own<'a>(lease: &Lease, writes: &'a [Write], reasons: &'a [Reason]) -> Option<&'a Reason> {
    let own = key(&lease.scope, sk::LOCK);
    refused(writes, reasons).find(|(row, _)| *row == own).map(|(_, reason)| reason)
}

fn names(rows: impl Iterator<Item = (Key, impl Sized)>) -> Vec<String> {
    rows.map(|(row, _)| row.sk).collect()
}

/// Judges the refusal of a transaction that takes the lock.
pub(super) fn judge_taking(lease: &Lease, writes: &[Write], reasons: &[Reason]) -> Result<Taking, Malformed> {
    if let Some(reason) = own(lease, writes, reasons) {
        let Some(old) = &reason.old else { return Ok(Taking::Changed) };
        let ours = mine(&parse_lock(old)?, lease);
        return Ok(if ours { Taking::Ours } else { Taking::Changed });
    }
    let others: Vec<_> = refused(writes, reasons).collect();
    for (row, reason) in others.iter().filter(|(row, _)| row.pk == lease.scope.pk) {
        match (row.sk.as_str(), &reason.old) {
            (sk::FREEZE, Some(old)) => return Ok(Taking::Blocked(Blocked::Frozen(parse_freeze(old)?))),
            (sk::HEAD, Some(old)) => {
                let recorded = Reader::new(old).number("fence")?;
                return Ok(Taking::Blocked(Blocked::Rewound { lock: lease.fence - 1, recorded }));
            }
            _ => {}
        }
    }
    // What is shared, the lease it belonged to, or the unfinished operation moved on between our read and our write.
    let operation = sk::operation(&lease.operation);
    let moved = |row: &Key| row.pk != lease.scope.pk || (row.sk == operation && lease.seq > 0);
    if others.iter().any(|(row, _)| moved(row)) {
        return Ok(Taking::Changed);
    }
    let message = format!("not as they must be for this operation to begin: {}", names(others.into_iter()).join(", "));
    Ok(Taking::Blocked(Blocked::Aws(Error::new("TransactWriteItems", ErrorKind::Conflict, "ConditionalCheckFailed", message))))
}

/// True if this row was written by this very lease.
pub(super) fn mine(record: &LockRecord, lease: &Lease) -> bool {
    record.fence == lease.fence && record.owner.as_deref() == Some(lease.who.owner.as_str()) && record.state == LockState::Held
}

/// Judges the refusal of a beat or of a journal transaction, the lock's row being the first of the writes: `Ok` if an earlier attempt was
/// carried out.
pub(super) fn judge_keeping(lease: &Lease, writes: &[Write], reasons: &[Reason]) -> Result<Option<LockRecord>, Lost> {
    match own(lease, writes, reasons) {
        Some(Reason { old: None, .. }) => Err(Lost::Gone),
        Some(Reason { old: Some(old), .. }) => {
            let record = parse_lock(old).map_err(|malformed| Lost::Aws(malformed.into()))?;
            // Only this process writes beats under this fence, each number once: one at least as high means that ours arrived.
            let arrived = mine(&record, lease) && record.beat >= lease.beat;
            if arrived { Ok(Some(record)) } else { Err(Lost::TakenOver(Box::new(record))) }
        }
        None => Err(Lost::Refused(names(refused(writes, reasons)))),
    }
}

/// Judges the refusal of a release: `Ok` if an earlier attempt was carried out.
pub(super) fn judge_release(lease: &Lease, writes: &[Write], reasons: &[Reason]) -> Result<(), Lost> {
    let Some(reason) = own(lease, writes, reasons) else { return Err(Lost::Refused(names(refused(writes, reasons)))) };
    let Some(old) = &reason.old else { return Err(Lost::Gone) };
    let record = parse_lock(old).map_err(|malformed| Lost::Aws(malformed.into()))?;
    // Free under our own fence: nobody has had it since, and only a holder frees it without raising the fence.
    let freed = record.state == LockState::Free && record.fence == lease.fence;
    // Somebody has it by now, but our last event is in the journal: it was given back before.
    if freed || event_arrived(writes, reasons) { Ok(()) } else { Err(Lost::TakenOver(Box::new(record))) }
}

/// True if a refused event row is there because we wrote it.
fn event_arrived(writes: &[Write], reasons: &[Reason]) -> bool {
    let nonce = |write: &Write| match &write.deed {
        crate::aws::dynamodb::Deed::Put(item) => item.get("nonce").cloned(),
        _ => None,
    };
    let same = |(write, reason): (&Write, &Reason)| {
        let found: Option<&Value> = reason.old.as_ref().and_then(|old| old.get("nonce"));
        reason.refused && found.is_some() && nonce(write).as_ref() == found
    };
    writes.iter().zip(reasons).any(same)
}
