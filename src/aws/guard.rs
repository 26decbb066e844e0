//! The lease guard: refuses to *send* a call that changes something once this process can no longer be sure that it holds the lock.
//!
//! It is an interceptor on the clients themselves, keyed by the name of the operation, so that no step can forget it. It runs in
//! `read_before_transmit`: after signing and resolving credentials (which can take long), once per attempt.

use std::fmt;
use std::sync::Arc;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Says whether a change may be sent now; the text says why not.
pub type Guard = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The refusal as it travels through the SDK's errors.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct GuardRefused(pub(super) String);

pub(super) struct Gate(pub(super) Guard);

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl Intercept for Gate {
    fn name(&self) -> &'static str {
        "lease guard"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // An operation without a name counts as a change.
        match cfg.load::<Metadata>().is_some_and(|call| reads_only(call.name())) {
            true => Ok(()),
            false => (self.0)().map_err(|why| GuardRefused(why).into()),
        }
    }
}

/// AWS names what reads `Describe…`, `Get…` or `List…`; DynamoDB adds four of its own. Everything else changes something.
fn reads_only(operation: &str) -> bool {
    let prefixes = ["Describe", "Get", "List", "BatchGet", "TransactGet"];
    prefixes.iter().any(|prefix| operation.starts_with(prefix)) || matches!(operation, "Query" | "Scan")
}

#[cfg(test)]
mod tests {
    use super::reads_only;

    #[test]
    fn only_reads_pass_unguarded() {
        for read in ["DescribeTargetHealth", "GetConsoleOutput", "Query", "GetItem", "GetCallerIdentity", "TransactGetItems"] {
            assert!(reads_only(read), "{read}");
        }
        for change in ["ModifyRule", "RunInstances", "DeleteAutoScalingGroup", "TransactWriteItems", "PutItem", "AddTags", ""] {
            assert!(!reads_only(change), "{change}");
        }
    }
}
