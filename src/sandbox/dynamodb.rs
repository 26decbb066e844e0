//! DynamoDB: one in-memory database per account and Region; what it lacks (tables that take a moment, backups) is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::engine::{Context, Place};
use super::wire::AwsError;

/// How the library writes ARNs, for want of an account.
const LIBRARY_ARN: &str = "arn:aws:dynamodb:dynoxide:000000000000:";

/// One account and Region's tables.
pub(super) struct Dynamodb {
    database: Result<Database, String>,
    arn: String,
    /// Tables still being made, and until when.
    creating: BTreeMap<String, Duration>,
    /// What was done to tables as a whole, in order: enough to make them again.
    made: Vec<(&'static str, Value)>,
    /// Tables with point-in-time recovery. There is nothing to recover from: only the setting is kept.
    recoverable: BTreeSet<String>,
}

/// The engine's clock, in the library's terms.
struct EngineClock {
    started: Instant,
    wall_at_start: jiff::Timestamp,
}

impl dynoxide::storage_backend::Clock for EngineClock {
    fn now_unix_secs(&self) -> u64 {
        self.now_unix_secs_f64() as u64
    }

    fn now_unix_secs_f64(&self) -> f64 {
        self.wall_at_start.as_second() as f64 + self.started.elapsed().as_secs_f64()
    }
}

/// Actions about one table that a table still being made refuses.
const ITEM_ACTIONS: [&str; 7] = ["PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan", "UpdateTable"];

/// Actions that change a table as a whole.
const TABLE_ACTIONS: [&str; 4] = ["CreateTable", "UpdateTable", "DeleteTable", "UpdateTimeToLive"];

/// All of it at one moment.
#[derive(Clone)]
pub(super) struct Kept {
    creating: BTreeMap<String, Duration>,
    made: Vec<(&'static str, Value)>,
    recoverable: BTreeSet<String>,
    items: Vec<(String, Vec<Value>)>,
}

impl Dynamodb {
    /// Everything, but for the tokens of transactions.
    pub fn keep(&self) -> Kept {
        let tables = self.in_database("ListTables", json!({})).unwrap_or_default();
        let tables = tables["TableNames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let items = tables.map(|table| (table.to_string(), self.all(table))).collect();
        let (creating, made, recoverable) = (self.creating.clone(), self.made.clone(), self.recoverable.clone());
        Kept { creating, made, recoverable, items }
    }

    /// One item, by its two keys.
    pub fn item(&self, table: &str, [pk, sk]: [&str; 2]) -> Option<Value> {
        let key = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
        let found = self.in_database("GetItem", json!({ "TableName": table, "Key": key, "ConsistentRead": true })).ok()?;
        found.get("Item").cloned()
    }

    fn all(&self, table: &str) -> Vec<Value> {
        let (mut items, mut request) = (Vec::new(), json!({ "TableName": table }));
        while let Ok(mut page) = self.in_database("Scan", request.clone()) {
            items.extend(page["Items"].as_array_mut().map(std::mem::take).unwrap_or_default());
            match page["LastEvaluatedKey"].take() {
                Value::Null => break,
                key => request["ExclusiveStartKey"] = key,
            }
        }
        items
    }

    /// The same again.
    pub fn again(kept: &Kept, place: &Place, started: Instant, wall_at_start: jiff::Timestamp) -> Self {
        let mut again = Self::new(place, started, wall_at_start);
        for (action, request) in &kept.made {
            // It worked before.
            let _made = again.in_database(action, request.clone());
        }
        for (table, items) in &kept.items {
            let items = items.iter().filter_map(|item| serde_json::from_value(item.clone()).ok()).collect();
            if let Ok(database) = &again.database {
                let _put = database.import_items(table, items, dynoxide::ImportOptions::default());
            }
        }
        (again.creating, again.made, again.recoverable) = (kept.creating.clone(), kept.made.clone(), kept.recoverable.clone());
        again
    }

    /// No tables.
    pub fn new(place: &Place, started: Instant, wall_at_start: jiff::Timestamp) -> Self {
        let clock = Arc::new(EngineClock { started, wall_at_start });
        Self {
            database: Database::memory_with_clock(clock).map_err(|error| error.to_string()),
            arn: format!("arn:aws:dynamodb:{}:{}:", place.region, place.account),
            creating: BTreeMap::new(),
            made: Vec::new(),
            recoverable: BTreeSet::new(),
        }
    }

    /// One call.
    pub fn call(&mut self, action: &str, body: &Bytes, context: Context<'_>) -> Result<Value, AwsError> {
        self.creating.retain(|_, until| context.now < *until);
        let text = String::from_utf8_lossy(body).replace(&self.arn, LIBRARY_ARN);
        let request: Value = serde_json::from_str(&text).map_err(|error| AwsError::bad("SerializationException", error))?;
        let table = request["TableName"].as_str().unwrap_or_default().to_string();
        if ITEM_ACTIONS.contains(&action) && self.creating.contains_key(&table) {
            return Err(AwsError::bad("ResourceNotFoundException", "Requested resource not found"));
        }
        let mut answer = match action {
            "DescribeContinuousBackups" | "UpdateContinuousBackups" => self.continuous_backups(action, &table, &request, context)?,
            "DeleteTable" if self.creating.contains_key(&table) => {
                let message = format!("Attempt to change a resource which is still in use: Table is being created: {table}");
                return Err(AwsError::bad("ResourceInUseException", message));
            }
            _ => {
                let whole = TABLE_ACTIONS.into_iter().find(|name| *name == action).map(|name| (name, request.clone()));
                let answer = self.in_database(action, request)?;
                self.made.extend(whole);
                answer
            }
        };
        match action {
            "CreateTable" => drop(self.creating.insert(table, context.now + context.latencies.table_active)),
            "DeleteTable" => drop(self.recoverable.remove(&table)),
            "DescribeTable" if self.creating.contains_key(&table) => answer["Table"]["TableStatus"] = json!("CREATING"),
            _ => {}
        }
        with_arns(&mut answer, &self.arn);
        Ok(answer)
    }

    fn in_database(&self, action: &str, request: Value) -> Result<Value, AwsError> {
        let db = self.database.as_ref().map_err(|why| AwsError::with_status(500, "InternalServerError", why))?;
        match action {
            "CreateTable" => carry(request, |it| db.create_table(it)),
            "DeleteTable" => carry(request, |it| db.delete_table(it)),
            "DescribeTable" => carry(request, |it| db.describe_table(it)),
            "ListTables" => carry(request, |it| db.list_tables(it)),
            "UpdateTable" => carry(request, |it| db.update_table(it)),
            "PutItem" => carry(request, |it| db.put_item(it)),
            "GetItem" => carry(request, |it| db.get_item(it)),
            "UpdateItem" => carry(request, |it| db.update_item(it)),
            "DeleteItem" => carry(request, |it| db.delete_item(it)),
            "Query" => carry(request, |it| db.query(it)),
            "Scan" => carry(request, |it| db.scan(it)),
            "BatchGetItem" => carry(request, |it| db.batch_get_item(it)),
            "BatchWriteItem" => carry(request, |it| db.batch_write_item(it)),
            "TransactWriteItems" => carry(request, |it| db.transact_write_items(it)),
            "TransactGetItems" => carry(request, |it| db.transact_get_items(it)),
            "UpdateTimeToLive" => carry(request, |it| db.update_time_to_live(it)),
            "DescribeTimeToLive" => carry(request, |it| db.describe_time_to_live(it)),
            "TagResource" => carry(request, |it| db.tag_resource(it).map(|_| json!({}))),
            "UntagResource" => carry(request, |it| db.untag_resource(it).map(|_| json!({}))),
            "ListTagsOfResource" => carry(request, |it| db.list_tags_of_resource(it)),
            _ => Err(AwsError::unsupported(format!("the DynamoDB action {action}"))),
        }
    }

    fn continuous_backups(&mut self, action: &str, table: &str, request: &Value, context: Context<'_>) -> Result<Value, AwsError> {
        let exists = self.in_database("DescribeTable", json!({ "TableName": table })).is_ok();
        if !exists || self.creating.contains_key(table) {
            return Err(AwsError::bad("TableNotFoundException", format!("Table not found: {table}")));
        }
        if action == "UpdateContinuousBackups" {
            match request["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"].as_bool() {
                Some(true) => drop(self.recoverable.insert(table.to_string())),
                Some(false) => drop(self.recoverable.remove(table)),
                None => return Err(AwsError::bad("ValidationException", "PointInTimeRecoveryEnabled must not be null")),
            }
        }
        let recovery = if self.recoverable.contains(table) {
            let latest = context.wall.as_second();
            json!({ "PointInTimeRecoveryStatus": "ENABLED", "RecoveryPeriodInDays": 35,
                "EarliestRestorableDateTime": latest, "LatestRestorableDateTime": latest })
        } else {
            json!({ "PointInTimeRecoveryStatus": "DISABLED" })
        };
        let description = json!({ "ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery });
        Ok(json!({ "ContinuousBackupsDescription": description }))
    }
}

/// From JSON, through the library, to JSON.
fn carry<Q: DeserializeOwned, A: Serialize>(request: Value, deed: impl FnOnce(Q) -> dynoxide::Result<A>) -> Result<Value, AwsError> {
    let request = serde_json::from_value(request).map_err(|error| unreadable(&error.to_string()))?;
    let answer = deed(request).map_err(|error| refusal(&error))?;
    serde_json::to_value(answer).map_err(|error| AwsError::with_status(500, "InternalServerError", error))
}

/// The library's readers cannot return its own errors through serde; they mark those that are no matter of the wire format by a prefix.
fn unreadable(message: &str) -> AwsError {
    const MARKS: [&str; 3] = ["VALIDATION:", "VALIDATION_REQUEST:", "VALIDATION_AS_READ:"];
    match MARKS.iter().find_map(|mark| message.strip_prefix(mark)) {
        Some(message) => AwsError::bad("ValidationException", message),
        None => AwsError::bad("SerializationException", message),
    }
}

fn refusal(error: &DynoxideError) -> AwsError {
    let code = error.error_type().rsplit('#').next().unwrap_or_default();
    AwsError { details: serde_json::from_str(&error.to_json()).ok(), ..AwsError::with_status(error.status_code(), code, error) }
}

/// Replaces the library's ARNs by ones of this account and Region.
fn with_arns(value: &mut Value, arn: &str) {
    match value {
        Value::String(text) if text.starts_with(LIBRARY_ARN) => *text = text.replacen(LIBRARY_ARN, arn, 1),
        Value::Array(values) => values.iter_mut().for_each(|value| with_arns(value, arn)),
        Value::Object(fields) => fields.values_mut().for_each(|value| with_arns(value, arn)),
        _ => {}
    }
}
