//! Asking a holder to stop. The request lies in its own row, and its next beat brings it: the heartbeat is also the inbox.

use super::resend::{Sender, Sent};
use super::row::{halt_value, key, parse_lock};
use crate::aws::dynamodb::Write;
use crate::aws::{Dynamodb, Error};
use crate::clock::Clock;
use crate::model::{FORMAT, LockRecord, LockState, OperationId, Scope, sk};

/// What became of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halting {
    /// It lies in the row, and the holder finds it with its next beat, if it is alive.
    Delivered(Box<LockRecord>),
    /// Another operation holds the lock by now.
    PassedOn(Box<LockRecord>),
    /// Nobody holds it (any more); none: nobody ever did.
    Free(Option<Box<LockRecord>>),
}

/// Attempts to deliver it; twice the same request is one.
const ATTEMPTS: u32 = 5;

/// Asks whoever holds the lock for this operation to stop at a safe point and hand over.
pub async fn halt(db: &Dynamodb, clock: &Clock, scope: &Scope, operation: &OperationId, who: &str, why: &str) -> Result<Halting, Error> {
    let write = request(scope, operation, who, why);
    match Sender::new(db.clone(), clock.clone(), &scope.table, who).write(&write, ATTEMPTS).await {
        Sent::Applied(row) => {
            let row = row.as_ref().map(parse_lock).transpose()?;
            Ok(row.map_or(Halting::Free(None), |row| Halting::Delivered(Box::new(row))))
        }
        Sent::Refused(reasons) => {
            let old = reasons.first().and_then(|reason| reason.old.as_ref()).map(parse_lock).transpose()?;
            match old {
                Some(row) if row.newer.is_some() => Err(super::outcome::newer(&row)),
                Some(row) if row.state == LockState::Held => Ok(Halting::PassedOn(Box::new(row))),
                other => Ok(Halting::Free(other.map(Box::new))),
            }
        }
        Sent::Failed(error) | Sent::Unknown(error) => Err(error),
    }
}

pub(super) fn request(scope: &Scope, operation: &OperationId, who: &str, why: &str) -> Write {
    Write::update(key(scope, sk::LOCK), "SET #halt = :halt")
        .only_if("#op = :op AND #st = :held AND v <= :v")
        .name("#halt", "halt")
        .name("#op", "op")
        .name("#st", "st")
        .value(":halt", halt_value(who, why))
        .value(":op", operation.0.as_str())
        .value(":held", "held")
        .value(":v", FORMAT)
}
