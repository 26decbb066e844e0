//! The time by AWS's clock: the `Date` header of the newest answer. A laptop's clock may be hours off, and the end of a freeze is a
//! time a person named.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use jiff::Timestamp;

use crate::clock::{Clock, Moment};

/// AWS's time when it last told it, and when that was.
#[derive(Debug, Clone)]
pub(super) struct ServerTime {
    clock: Clock,
    told: Arc<Mutex<Option<(Timestamp, Moment)>>>,
}

impl ServerTime {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, told: Arc::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        match *self.told.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((then, moment)) => then + jiff::SignedDuration::try_from(self.clock.passed(moment)).unwrap_or_default(),
            None => self.clock.wall(),
        }
    }
}

impl Intercept for ServerTime {
    fn name(&self) -> &'static str {
        "server time"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // An answer without a date, or with one nobody can read, tells no time; that is no reason to fail the call.
        let date = context.response().headers().get("date").and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        if let Some(date) = date {
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((date.timestamp(), self.clock.moment()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_date_header_is_understood() {
        let date = jiff::fmt::rfc2822::parse("Sun, 22 Nov 2026 10:00:00 GMT").unwrap();
        assert_eq!(date.timestamp().to_string(), "2026-11-22T10:00:00Z");
    }
}
