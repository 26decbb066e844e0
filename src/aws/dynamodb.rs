//! DynamoDB, as the lock and the journal use it: strong reads, conditional writes, transactions. Items leave as plain [`Value`]s.
//!
//! Writes are sent once and never retried here: only the lock knows how to settle a lost reply (`src/lock/resend.rs`). They are also not
//! subject to the lease guard: a holder whose lease is in doubt must be able to prove it, and every write carries its own condition.

mod expression;
mod server_time;
mod table;
mod value;
mod write;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::SharedInterceptor;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_types::timeout::TimeoutConfig;

use super::clients::{Lazy, Link};
use super::error::Again;
use super::retry::Repeat;
use super::{Error, ErrorKind};
pub use table::TableState;
pub use value::{Item, Malformed, Reader, Value};
pub use write::{Deed, Key, Write};

/// One attempt of a read or a write: DynamoDB answers in milliseconds, and the holder of a lease has no time to wait for a dead
/// connection.
const ATTEMPT: Duration = Duration::from_secs(3);

/// DynamoDB. Cheap to clone.
#[derive(Clone)]
pub struct Dynamodb {
    link: Arc<Link>,
    client: Lazy<Client>,
    time: server_time::ServerTime,
}

/// Why a write was not, or may not have been, carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// A condition was false, so nothing was done. One reason per write, in their order.
    Refused(Vec<Reason>),
    /// Nothing was done because others write the same rows, or too much is asked: try again.
    Busy(Error),
    /// Nobody knows whether it was done.
    Unknown(Error),
    /// Nothing was done, and trying again gives the same answer.
    Failed(Error),
}

/// What became of one write of a refused transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reason {
    /// Its condition was false.
    pub refused: bool,
    /// The row as it is, if there is one and the condition was false.
    pub old: Option<Item>,
}

/// Which rows of a partition to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The partition.
    pub pk: String,
    /// Which sort keys.
    pub rows: Rows,
    /// The other way round: greatest sort key first.
    pub descending: bool,
    /// At most so many rows; all of them if none.
    pub limit: Option<usize>,
    /// Only rows that have this attribute.
    pub having: Option<String>,
}

/// A range of sort keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Those that begin so.
    Prefix(String),
    /// Those from the first to the second, both included.
    Between(String, String),
}

impl Query {
    /// Every row of a partition whose sort key begins so, in order.
    pub fn prefix(pk: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { pk: pk.into(), rows: Rows::Prefix(prefix.into()), descending: false, limit: None, having: None }
    }

    /// Every row of a partition between two sort keys, in order.
    pub fn between(pk: impl Into<String>, first: impl Into<String>, last: impl Into<String>) -> Self {
        Self { rows: Rows::Between(first.into(), last.into()), ..Self::prefix(pk, "") }
    }

    /// The newest so many: greatest sort key first.
    pub fn newest(self, limit: usize) -> Self {
        Self { descending: true, limit: Some(limit), ..self }
    }

    /// Only rows that have this attribute.
    pub fn having(self, attribute: &str) -> Self {
        Self { having: Some(attribute.to_string()), ..self }
    }
}

impl Dynamodb {
    pub(super) fn over(link: &Arc<Link>) -> Self {
        Self { link: link.clone(), client: Lazy::new(), time: server_time::ServerTime::new(link.clock()) }
    }

    fn client(&self) -> &Client {
        self.client.get(|| {
            let limits = TimeoutConfig::builder().connect_timeout(ATTEMPT).operation_attempt_timeout(ATTEMPT).operation_timeout(ATTEMPT);
            let mut config = aws_sdk_dynamodb::config::Builder::from(&self.link.sdk).timeout_config(limits.build());
            config.push_interceptor(SharedInterceptor::new(self.time.clone()));
            Client::from_conf(config.build())
        })
    }

    /// The time by AWS's own clock, from the newest answer; before the first answer, by ours. For ends that a person set.
    pub fn now(&self) -> jiff::Timestamp {
        self.time.now()
    }

    /// One row, by a strong read.
    pub async fn get(&self, table: &str, key: &Key) -> Result<Option<Item>, Error> {
        let call = || {
            let key = value::item_to_sdk(&key.item());
            self.client().get_item().table_name(table).set_key(key).consistent_read(true).send()
        };
        let found = self.link.call("GetItem", Repeat::Safe, call).await?;
        Ok(found.item.map(value::item_from_sdk))
    }

    /// Rows of one partition, by strong reads, page after page.
    pub async fn query(&self, table: &str, query: &Query) -> Result<Vec<Item>, Error> {
        let (mut rows, mut start) = (Vec::new(), None);
        loop {
            let call = || {
                let expression = expression::key_condition(query);
                let request = self.client().query().table_name(table).consistent_read(true).scan_index_forward(!query.descending);
                // With a filter DynamoDB counts what it reads, not what it returns: a limit would make pages that are nearly empty.
                let page = query.limit.filter(|_| query.having.is_none()).and_then(|limit| i32::try_from(limit).ok());
                request
                    .key_condition_expression(expression.condition)
                    .set_filter_expression(expression.filter)
                    .set_expression_attribute_names(expression.names)
                    .set_expression_attribute_values(value::item_to_sdk(&expression.values))
                    .set_exclusive_start_key(start.clone())
                    .set_limit(page)
                    .send()
            };
            let page = self.link.call("Query", Repeat::Safe, call).await?;
            rows.extend(page.items.unwrap_or_default().into_iter().map(value::item_from_sdk));
            let enough = query.limit.is_some_and(|limit| rows.len() >= limit);
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if enough || start.is_none() {
                rows.truncate(query.limit.unwrap_or(usize::MAX));
                return Ok(rows);
            }
        }
    }

    /// One write, sent once. Answers with the row as it is now, for an update.
    pub async fn write(&self, table: &str, write: &Write) -> Result<Option<Item>, WriteError> {
        let old = ReturnValuesOnConditionCheckFailure::AllOld;
        let (names, values) = expression::placeholders(write).map_err(WriteError::Failed)?;
        match &write.deed {
            Deed::Update(key, expression) => {
                let request = self.client().update_item().table_name(table).set_key(value::item_to_sdk(&key.item()));
                let request = request.update_expression(expression).set_condition_expression(write.condition.clone());
                let request = request.set_expression_attribute_names(names).set_expression_attribute_values(values);
                let sent = request.return_values(ReturnValue::AllNew).return_values_on_condition_check_failure(old).send().await;
                sent.map(|answer| answer.attributes.map(value::item_from_sdk)).map_err(|error| one_error("UpdateItem", error, updated))
            }
            Deed::Put(item) => {
                let item = value::item_to_sdk(item).ok_or_else(|| WriteError::Failed(expression::unwritable()))?;
                let request =
                    self.client().put_item().table_name(table).set_item(Some(item)).set_condition_expression(write.condition.clone());
                let request = request.set_expression_attribute_names(names).set_expression_attribute_values(values);
                let sent = request.return_values_on_condition_check_failure(old).send().await;
                sent.map(|_| None).map_err(|error| one_error("PutItem", error, put))
            }
            Deed::Delete(key) => {
                let request = self.client().delete_item().table_name(table).set_key(value::item_to_sdk(&key.item()));
                let request = request.set_condition_expression(write.condition.clone());
                let request = request.set_expression_attribute_names(names).set_expression_attribute_values(values);
                let sent = request.return_values_on_condition_check_failure(old).send().await;
                sent.map(|_| None).map_err(|error| one_error("DeleteItem", error, deleted))
            }
            // Alone, a check is a transaction of one.
            Deed::Check(_) => self.transact(table, std::slice::from_ref(write), "").await.map(|()| None),
        }
    }

    /// All of these writes or none, sent once. The same writes with the same token are carried out at most once within ten minutes; an
    /// empty token means none.
    pub async fn transact(&self, table: &str, writes: &[Write], token: &str) -> Result<(), WriteError> {
        const ACTION: &str = "TransactWriteItems";
        let items = writes.iter().map(|write| expression::transact_item(table, write)).collect::<Result<Vec<_>, _>>();
        let request = self.client().transact_write_items().set_transact_items(Some(items.map_err(WriteError::Failed)?));
        let token = (!token.is_empty()).then(|| token.to_string());
        match request.set_client_request_token(token).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(transaction_error(ACTION, error, writes.len())),
        }
    }
}

impl std::fmt::Debug for Dynamodb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dynamodb")
    }
}

type Response = aws_smithy_runtime_api::client::orchestrator::HttpResponse;
type SdkItem = std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>;

/// The row in a refusal; `Err` gives back what is no refusal.
type Refused<E> = fn(&E) -> Option<Option<&SdkItem>>;

fn updated(error: &UpdateItemError) -> Option<Option<&SdkItem>> {
    match error {
        UpdateItemError::ConditionalCheckFailedException(refusal) => Some(refusal.item()),
        _ => None,
    }
}

fn put(error: &PutItemError) -> Option<Option<&SdkItem>> {
    match error {
        PutItemError::ConditionalCheckFailedException(refusal) => Some(refusal.item()),
        _ => None,
    }
}

fn deleted(error: &DeleteItemError) -> Option<Option<&SdkItem>> {
    match error {
        DeleteItemError::ConditionalCheckFailedException(refusal) => Some(refusal.item()),
        _ => None,
    }
}

fn one_error<E>(action: &'static str, error: SdkError<E, Response>, refused: Refused<E>) -> WriteError
where
    E: std::error::Error + aws_smithy_types::error::metadata::ProvideErrorMetadata + Send + Sync + 'static,
{
    match error.as_service_error().and_then(refused) {
        Some(old) => WriteError::Refused(vec![Reason { refused: true, old: old.cloned().map(value::item_from_sdk) }]),
        None => sort(Error::from_sdk(action, error)),
    }
}

fn transaction_error(action: &'static str, error: SdkError<TransactWriteItemsError, Response>, writes: usize) -> WriteError {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return sort(Error::from_sdk(action, error));
    };
    let codes: Vec<&str> = cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or_default()).collect();
    let any = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(code));
    let told = |kind, code: &str| Error::new(action, kind, code, cancelled.message().unwrap_or_default());
    // A conflict is never a verdict: another transaction merely touched a row at the same moment, so the other reasons may be stale too.
    if any(&["TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"]) {
        return WriteError::Busy(told(ErrorKind::Throttled, "TransactionConflict"));
    }
    if codes.len() != writes || !any(&["ConditionalCheckFailed"]) {
        return WriteError::Failed(told(ErrorKind::Invalid, "TransactionCanceledException"));
    }
    let reason = |reason: &aws_sdk_dynamodb::types::CancellationReason| Reason {
        refused: reason.code() == Some("ConditionalCheckFailed"),
        old: reason.item().filter(|item| !item.is_empty()).cloned().map(value::item_from_sdk),
    };
    WriteError::Refused(cancelled.cancellation_reasons().iter().map(reason).collect())
}

fn sort(error: Error) -> WriteError {
    match error.again {
        Again::Never => WriteError::Failed(error),
        Again::Throttled | Again::NotSent => WriteError::Busy(error),
        Again::Unknown => WriteError::Unknown(error),
    }
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::new("Query", ErrorKind::Invalid, "MalformedRow", malformed.to_string())
    }
}
