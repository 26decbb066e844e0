//! STS: who is calling.

use super::engine::{Answer, Call};
use super::wire::{AwsError, branch, leaf};

/// Dispatch.
pub(super) fn call(call: &mut Call<'_>, action: &str) -> Answer {
    match action {
        "GetCallerIdentity" => {
            let account = &call.state.place.account;
            Ok(branch(
                "identity",
                [
                    leaf("Arn", format!("arn:aws:iam::{account}:user/sandbox")),
                    leaf("UserId", "AIDASANDBOX0000000001"),
                    leaf("Account", account),
                ],
            ))
        }
        _ => Err(AwsError::unsupported(format!("the STS action {action}"))),
    }
}
