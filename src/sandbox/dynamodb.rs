//! Under construction.

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use super::engine::Context;
use super::wire::AwsError;

/// One account and Region's tables.
pub(super) struct Dynamodb;

impl Dynamodb {
    /// No tables.
    pub fn new(_started: Instant, _wall_at_start: jiff::Timestamp) -> Self {
        Self
    }

    /// One call.
    pub fn call(&mut self, action: &str, _body: &Bytes, _context: Context<'_>) -> Result<Value, AwsError> {
        Err(AwsError::unsupported(format!("the DynamoDB action {action}")))
    }
}
