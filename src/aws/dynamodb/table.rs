//! The state table: created once, on demand, with point-in-time recovery and deletion protection; only old events expire.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification, PointInTimeRecoveryStatus,
    ScalarAttributeType, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};

use super::Dynamodb;
use crate::aws::retry::Repeat;
use crate::aws::{Error, ErrorKind};

/// The attribute that lets an old event expire, epoch seconds. Nothing else has it: the rows of a lock must never vanish, because their
/// fence would start again.
const EXPIRES: &str = "expires";

/// AWS says a table is ready within 20 s × 25 looks; usually it takes ten.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// What is known of the state table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableState {
    /// It can be used.
    pub active: bool,
    /// It has exactly the keys adstage wants: `pk` and `sk`.
    pub our_keys: bool,
    /// Nobody can delete it by mistake.
    pub protected: bool,
    /// It can be restored to any moment of the last 35 days.
    pub recoverable: bool,
    /// Old events expire.
    pub expires: bool,
}

impl TableState {
    /// Nothing is left to do.
    pub fn complete(&self) -> bool {
        *self == Self { active: true, our_keys: true, protected: true, recoverable: true, expires: true }
    }
}

impl Dynamodb {
    /// The state table as it is; none if there is none.
    pub async fn describe_table(&self, table: &str) -> Result<Option<TableState>, Error> {
        let call = || self.client().describe_table().table_name(table).send();
        let found = match self.link.call("DescribeTable", Repeat::Safe, call).await {
            Ok(found) => found.table.ok_or_else(|| Error::incomplete("DescribeTable", "table"))?,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let active = found.table_status == Some(TableStatus::Active);
        let keys: Vec<&str> = found.key_schema().iter().map(|key| key.attribute_name()).collect();
        Ok(Some(TableState {
            active,
            our_keys: keys == ["pk", "sk"],
            protected: found.deletion_protection_enabled.unwrap_or(false),
            // Neither can be asked of a table that is still being made.
            recoverable: active && self.recoverable(table).await?,
            expires: active && self.expires(table).await?,
        }))
    }

    async fn recoverable(&self, table: &str) -> Result<bool, Error> {
        let call = || self.client().describe_continuous_backups().table_name(table).send();
        let found = self.link.call("DescribeContinuousBackups", Repeat::Safe, call).await?;
        let recovery = found.continuous_backups_description.and_then(|backups| backups.point_in_time_recovery_description);
        Ok(recovery.and_then(|recovery| recovery.point_in_time_recovery_status) == Some(PointInTimeRecoveryStatus::Enabled))
    }

    async fn expires(&self, table: &str) -> Result<bool, Error> {
        let call = || self.client().describe_time_to_live().table_name(table).send();
        let found = self.link.call("DescribeTimeToLive", Repeat::Safe, call).await?.time_to_live_description;
        let status = found.as_ref().and_then(|found| found.time_to_live_status.clone());
        let on = matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
        Ok(on && found.and_then(|found| found.attribute_name).as_deref() == Some(EXPIRES))
    }

    /// Creates the state table, or whatever of it is missing, and waits until it can be used. Repeatable.
    pub async fn create_table(&self, table: &str) -> Result<(), Error> {
        let state = match self.describe_table(table).await? {
            Some(state) => state,
            None => {
                self.create(table).await?;
                self.until_active(table).await?
            }
        };
        let state = if state.active { state } else { self.until_active(table).await? };
        if !state.our_keys {
            let message = format!("table {table} exists and is not adstage's: its keys are not pk and sk");
            return Err(Error::new("CreateTable", ErrorKind::AlreadyExists, "ForeignTable", message));
        }
        if !state.protected {
            let call = || self.client().update_table().table_name(table).deletion_protection_enabled(true).send();
            self.link.call("UpdateTable", Repeat::Safe, call).await?;
            self.until_active(table).await?;
        }
        if !state.recoverable {
            self.make_recoverable(table).await?;
        }
        if !state.expires {
            self.let_events_expire(table).await?;
        }
        Ok(())
    }

    async fn create(&self, table: &str) -> Result<(), Error> {
        let wrong = |error: aws_sdk_dynamodb::error::BuildError| Error::new("CreateTable", ErrorKind::Invalid, "", error.to_string());
        let text = |name: &str| AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build();
        let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let definitions = vec![text("pk").map_err(wrong)?, text("sk").map_err(wrong)?];
        let keys = vec![key("pk", KeyType::Hash).map_err(wrong)?, key("sk", KeyType::Range).map_err(wrong)?];
        let call = || {
            let request = self.client().create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
            let request = request.set_attribute_definitions(Some(definitions.clone())).set_key_schema(Some(keys.clone()));
            request.deletion_protection_enabled(true).send()
        };
        match self.link.call("CreateTable", Repeat::Safe, call).await {
            // Somebody else is creating it, or an earlier attempt of ours did: what it is gets looked at next.
            Err(error) if error.code == "ResourceInUseException" => Ok(()),
            answer => answer.map(|_| ()),
        }
    }

    async fn until_active(&self, table: &str) -> Result<TableState, Error> {
        let clock = self.link.clock();
        let started = clock.moment();
        loop {
            match self.describe_table(table).await? {
                Some(state) if state.active => return Ok(state),
                _ if clock.since(started) > READY_WITHIN => {
                    let message = format!("table {table} is still not active after {} s", READY_WITHIN.as_secs());
                    return Err(Error::new("DescribeTable", ErrorKind::Other, "", message));
                }
                _ => clock.sleep(Duration::from_secs(2)).await,
            }
        }
    }

    async fn make_recoverable(&self, table: &str) -> Result<(), Error> {
        let wanted = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build();
        let wanted = wanted.map_err(|error| Error::new("UpdateContinuousBackups", ErrorKind::Invalid, "", error.to_string()))?;
        let call = || {
            let request = self.client().update_continuous_backups().table_name(table);
            request.point_in_time_recovery_specification(wanted.clone()).send()
        };
        let clock = self.link.clock();
        let started = clock.moment();
        loop {
            match self.link.call("UpdateContinuousBackups", Repeat::Safe, call).await {
                // Backups are being set up for a table that was just made.
                Err(error) if error.code == "ContinuousBackupsUnavailableException" && clock.since(started) < READY_WITHIN => {
                    clock.sleep(Duration::from_secs(2)).await;
                }
                answer => return answer.map(|_| ()),
            }
        }
    }

    async fn let_events_expire(&self, table: &str) -> Result<(), Error> {
        let wanted = TimeToLiveSpecification::builder().enabled(true).attribute_name(EXPIRES).build();
        let wanted = wanted.map_err(|error| Error::new("UpdateTimeToLive", ErrorKind::Invalid, "", error.to_string()))?;
        let call = || self.client().update_time_to_live().table_name(table).time_to_live_specification(wanted.clone()).send();
        self.link.call("UpdateTimeToLive", Repeat::Safe, call).await.map(|_| ())
    }
}
