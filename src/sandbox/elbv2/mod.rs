//! Under construction.

use super::engine::{Answer, Call, Context, State};
use super::wire::AwsError;

/// State.
#[derive(Default)]
pub(super) struct Elbv2;

/// Dispatch.
pub(super) fn call(_call: &mut Call<'_>, action: &str) -> Answer {
    Err(AwsError::unsupported(format!("the Elbv2 action {action}")))
}

/// Moves states on.
pub(super) fn tick(_state: &mut State, _context: Context<'_>) {}
