//! Service Quotas: how much an account may have.

use super::Error;
use super::clients::service;
use super::retry::Repeat;

service! {
    /// Service Quotas.
    Servicequotas, aws_sdk_servicequotas
}

/// Whose quotas are asked for.
const EC2: &str = "ec2";

impl Servicequotas {
    /// A vCPU quota of EC2: what was applied to the account, or what every account has.
    pub async fn vcpus(&self, code: &str) -> Result<u32, Error> {
        const ACTION: &str = "GetServiceQuota";
        let call = || self.client().get_service_quota().service_code(EC2).quota_code(code).send();
        match self.link.call(ACTION, Repeat::Safe, call).await {
            // One that was never changed may have no applied value (*GetServiceQuota*).
            Err(error) if error.is_not_found() => self.usual_vcpus(code).await,
            Err(error) => Err(error),
            Ok(found) => {
                let value = found.quota.and_then(|quota| quota.value);
                value.map(whole).ok_or_else(|| Error::incomplete(ACTION, "value"))
            }
        }
    }

    async fn usual_vcpus(&self, code: &str) -> Result<u32, Error> {
        const ACTION: &str = "GetAWSDefaultServiceQuota";
        let call = || self.client().get_aws_default_service_quota().service_code(EC2).quota_code(code).send();
        let found = self.link.call(ACTION, Repeat::Safe, call).await?;
        found.quota.and_then(|quota| quota.value).map(whole).ok_or_else(|| Error::incomplete(ACTION, "value"))
    }
}

/// Numbers of vCPUs are whole; on the wire they have a point.
fn whole(value: f64) -> u32 {
    value.clamp(0.0, f64::from(u32::MAX)) as u32
}
