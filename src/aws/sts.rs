//! STS: who we are.

use super::Error;
use super::clients::{patient, service};
use super::retry::Repeat;

/// The caller of our calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// 12-digit account.
    pub account: String,
    /// ARN of the user or of the assumed role's session.
    pub arn: String,
}

service! {
    /// The Security Token Service.
    Sts, aws_sdk_sts
}

impl Sts {
    /// Who we are. Usually the first call of a command, hence patient: resolving credentials may need a person.
    pub async fn caller(&self) -> Result<Caller, Error> {
        const ACTION: &str = "GetCallerIdentity";
        let limits = aws_sdk_sts::config::Builder::new().timeout_config(patient());
        let call = || self.client().get_caller_identity().customize().config_override(limits.clone()).send();
        let found = self.link.call(ACTION, Repeat::Safe, call).await?;
        match (found.account, found.arn) {
            (Some(account), Some(arn)) => Ok(Caller { account, arn }),
            _ => Err(Error::incomplete(ACTION, "account")),
        }
    }
}
