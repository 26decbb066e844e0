//! Taking a lock from its holder by force, and repairing one whose row was deleted, edited or restored from a backup. Both end with nobody
//! holding it and a fence that nobody has had; `open` goes on naming what is unfinished. Neither is ever done by adstage on its own.

use std::time::Duration;

use super::audit::{self, Deed};
use super::constants::LEASE;
use super::listen::listen;
use super::outcome::{Blocked, newer};
use super::resend::Sender;
use super::row::{Identity, key, lock_item, parse_lock};
use super::shared::read_shared;
use super::transactions::{self, Stamp, break_open};
use crate::aws::dynamodb::{Item, Query, Reader, Reason, Value, Write};
use crate::aws::{Dynamodb, Error};
use crate::clock::Clock;
use crate::model::{Broken, LockRecord, LockState, OperationId, Scope, sk};

/// What became of an attempt to break a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breaking {
    /// Nobody holds it any more.
    Broken,
    /// It is not what was seen any more: passed on, given back, or broken by somebody else. The row as it is; none: it is gone.
    Moved(Option<Box<LockRecord>>),
}

/// A lock that was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// As it was; none: there was no row, or none that could be read.
    pub before: Option<LockRecord>,
    /// As it is now.
    pub now: LockRecord,
}

/// Takes the lock from whoever holds it for this operation, at the fence that was seen. `answered`: the holder was heard of until now
/// ([`listen`]), so that whoever comes next knows how long its last call may take.
#[expect(clippy::too_many_arguments, reason = "each is one word of the command")]
pub async fn break_lock(
    db: &Dynamodb,
    clock: &Clock,
    scope: &Scope,
    operation: &OperationId,
    seen: &LockRecord,
    answered: bool,
    who: &Identity,
    why: &str,
) -> Result<Breaking, Error> {
    if seen.newer.is_some() {
        return Err(newer(seen));
    }
    let (mut sender, stamp) = (Sender::new(db.clone(), clock.clone(), &scope.table, &who.owner), Stamp(db.now()));
    let broken = Broken { who: who.who.clone(), why: why.to_string(), at: stamp.text(), answered };
    let meant = LockRecord { operation: Some(operation.clone()), ..seen.clone() };
    let audit = audit::row(scope, Deed::Break, audit::by(who), why, lock_item(scope, seen), stamp.0);
    match audit::send(&mut sender, &[break_open(scope, &meant, &broken), audit]).await? {
        None => Ok(Breaking::Broken),
        Some(reasons) => Ok(Breaking::Moved(found(&reasons)?.map(Box::new))),
    }
}

fn found(reasons: &[Reason]) -> Result<Option<LockRecord>, Error> {
    let old = reasons.first().and_then(|reason| reason.old.as_ref());
    Ok(old.map(parse_lock).transpose()?)
}

/// Puts the lock in order again: its fence above every one that any record has, `open` the newest operation without an end, held by nobody.
/// Refuses while somebody is at work: that holder must be halted, or its lock broken.
pub async fn repair(db: &Dynamodb, clock: &Clock, scope: &Scope, who: &Identity, why: &str) -> Result<Repaired, Blocked> {
    let mut sender = Sender::new(db.clone(), clock.clone(), &scope.table, &who.owner);
    let row = db.get(&scope.table, &key(scope, sk::LOCK)).await?;
    // One that nobody can read is replaced as well.
    let before = row.as_ref().and_then(|row| parse_lock(row).ok());
    if let Some(lock) = &before {
        if lock.newer.is_some() {
            return Err(newer(lock).into());
        }
        if lock.state == LockState::Held && listen(db, clock, scope, &|_| ()).await?.alive == Some(true) {
            return Err(Blocked::Held(Box::new(lock.clone()), Duration::ZERO));
        }
    }
    let records = Fences::read(db, scope, row.as_ref()).await?;
    let stamp = Stamp(db.now());
    let now = LockRecord {
        state: LockState::Free,
        fence: records.highest + 1,
        lease_ms: LEASE.as_millis() as u64,
        open: records.open(before.as_ref()),
        cli: who.cli.clone(),
        shared: before.as_ref().map(|lock| lock.shared.clone()).unwrap_or_default(),
        // Whoever held it last may be at work with a row that is not there any more.
        broken: Some(Broken { who: who.who.clone(), why: why.to_string(), at: stamp.text(), answered: false }),
        ..LockRecord::default()
    };
    let writes = [
        replace(scope, row.as_ref(), &now),
        transactions::check_head(scope, now.fence),
        audit::row(scope, Deed::Repair, audit::by(who), why, row.unwrap_or_default(), stamp.0),
    ];
    match audit::send(&mut sender, &writes).await? {
        None => Ok(Repaired { before, now }),
        Some(reasons) => Err(moved(found(&reasons)?)),
    }
}

/// Somebody wrote the row since it was read.
fn moved(lock: Option<LockRecord>) -> Blocked {
    match lock {
        Some(lock) if lock.state == LockState::Held => Blocked::Held(Box::new(lock), Duration::ZERO),
        _ => {
            let message = "the lock changed while it was looked at; look again";
            Blocked::Aws(Error::new("TransactWriteItems", crate::aws::ErrorKind::Conflict, "ConditionalCheckFailed", message))
        }
    }
}

/// Writes the row whole, if it still is as it was read in all that a holder changes.
pub(super) fn replace(scope: &Scope, seen: Option<&Item>, now: &LockRecord) -> Write {
    let write = Write::put(lock_item(scope, now));
    let Some(seen) = seen else { return write.only_if("attribute_not_exists(pk)") };
    let (mut write, mut same) = (write.name("#st", "st").name("#owner", "owner"), Vec::new());
    for (name, attribute) in [("fence", "fence"), ("beat", "beat"), ("#st", "st"), ("#owner", "owner")] {
        match seen.get(attribute) {
            None => same.push(format!("attribute_not_exists({name})")),
            Some(value) => {
                same.push(format!("{name} = :{attribute}"));
                write = write.value(&format!(":{attribute}"), value.clone());
            }
        }
    }
    write.only_if(format!("attribute_exists(pk) AND {}", same.join(" AND ")))
}

/// Every fence that a record of a scope has, and which operations have no end.
struct Fences {
    highest: u64,
    /// Newest first.
    unended: Vec<OperationId>,
}

impl Fences {
    async fn read(db: &Dynamodb, scope: &Scope, lock: Option<&Item>) -> Result<Self, Error> {
        let head = db.get(&scope.table, &key(scope, sk::HEAD)).await?;
        // Only operations have a kind; their events lie between them.
        let mut operations = db.query(&scope.table, &Query::prefix(&scope.pk, sk::OPERATIONS).having("kind")).await?;
        operations.reverse();
        let shared = read_shared(db, scope).await?;
        let shared = shared.iter().filter_map(|row| row.holder.as_ref()).filter(|holding| holding.lease_pk == scope.pk);
        let rows = lock.into_iter().chain(&head).chain(&operations);
        let fences = rows.filter_map(|row| Reader::new(row).number_if_any("fence").ok().flatten());
        let id = |row: &Item| match row.get("sk") {
            Some(Value::S(name)) => name.strip_prefix(sk::OPERATIONS).map(|id| OperationId(id.to_string())),
            _ => None,
        };
        Ok(Self {
            highest: fences.chain(shared.map(|holding| holding.fence)).max().unwrap_or_default(),
            unended: operations.iter().filter(|row| !row.contains_key("ended")).filter_map(id).collect(),
        })
    }

    /// What the lock names, if that is there and has no end; otherwise the newest that is so.
    fn open(&self, lock: Option<&LockRecord>) -> Option<OperationId> {
        let named = lock.and_then(|lock| lock.open.as_ref()).filter(|open| self.unended.contains(open));
        named.or(self.unended.first()).cloned()
    }
}
