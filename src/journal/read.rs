//! Reading the journal: strong reads only, a few at once.

use super::entry::Logged;
use super::fold::fold;
use super::rows::{self, Operation};
use crate::aws::dynamodb::{Item, Key, Malformed, Query};
use crate::aws::{Dynamodb, Error};
use crate::model::{Head, OperationId, OperationRecord, ReleaseNumber, ReleaseRecord, Scope, sk};

/// How many releases are read; any other is read by its number.
const RELEASES: usize = 50;
/// How many operations are read.
const OPERATIONS: usize = 20;

/// What the journal says about a scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    /// What was meant to serve.
    pub head: Option<Head>,
    /// The newest releases, newest first.
    pub releases: Vec<ReleaseRecord>,
    /// The newest operations, newest first.
    pub operations: Vec<OperationRecord>,
}

/// The newest of everything. An empty table, or none at all for this scope, is an empty journal.
pub async fn read(db: &Dynamodb, scope: &Scope) -> Result<Journal, Error> {
    let head_key = Key::new(&scope.pk, sk::HEAD);
    let releases = Query::prefix(&scope.pk, sk::RELEASES).newest(RELEASES);
    // Operations and their events share a prefix so that an operation is read with its events in one query; only operations have a kind.
    let operations = Query::prefix(&scope.pk, sk::OPERATIONS).newest(OPERATIONS).having("kind");
    let (head, releases, operations) =
        tokio::try_join!(db.get(&scope.table, &head_key), db.query(&scope.table, &releases), db.query(&scope.table, &operations))?;
    Ok(Journal {
        head: head.as_ref().map(rows::parse_head).transpose()?,
        releases: parsed(&releases, rows::parse_release)?,
        operations: parsed(&operations, |row| rows::parse_operation(row).map(|operation| operation.record))?,
    })
}

/// What was meant to serve; none before the first release.
pub async fn head(db: &Dynamodb, scope: &Scope) -> Result<Option<Head>, Error> {
    let row = db.get(&scope.table, &Key::new(&scope.pk, sk::HEAD)).await?;
    Ok(row.as_ref().map(rows::parse_head).transpose()?)
}

/// One release by its number.
pub async fn release(db: &Dynamodb, scope: &Scope, number: ReleaseNumber) -> Result<Option<ReleaseRecord>, Error> {
    let row = db.get(&scope.table, &Key::new(&scope.pk, sk::release(number))).await?;
    Ok(row.as_ref().map(rows::parse_release).transpose()?)
}

/// One operation with all its events, in one read.
pub async fn operation(db: &Dynamodb, scope: &Scope, id: &OperationId) -> Result<Option<(Operation, Vec<Logged>)>, Error> {
    let rows = db.query(&scope.table, &Query::prefix(&scope.pk, sk::operation(id))).await?;
    let Some((first, events)) = rows.split_first() else { return Ok(None) };
    Ok(Some((rows::parse_operation(first)?, parsed(events, Logged::parse)?)))
}

/// True if an operation may have changed anything: a step was begun, or its journal cannot tell. One that has not was never more than a
/// wish, and whoever comes next closes it.
pub async fn began_something(db: &Dynamodb, scope: &Scope, id: &OperationId) -> Result<bool, Error> {
    let found = operation(db, scope, id).await?;
    Ok(found.is_none_or(|(_, events)| fold(&events).map_or(true, |status| status.touched_anything())))
}

fn parsed<T>(rows: &[Item], parse: impl Fn(&Item) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
    rows.iter().map(parse).collect()
}
