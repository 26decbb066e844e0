//! Secrets Manager: which version of a secret is current. Values are read by instances, through Parameter Store.

use std::collections::BTreeMap;

use super::clients::service;
use super::retry::Repeat;
use super::{Error, gather};

service! {
    /// Secrets Manager.
    Secretsmanager, aws_sdk_secretsmanager
}

/// The staging label of the version that whoever names none gets (*What's in a Secrets Manager secret?*).
const CURRENT: &str = "AWSCURRENT";

impl Secretsmanager {
    /// The id of the current version of each of these secrets that is there and has one. One to be deleted is as good as gone. The service
    /// describes one secret in a call; they run at the same time.
    pub async fn current_versions(&self, names: &[String]) -> Result<BTreeMap<String, String>, Error> {
        let found = gather(names.iter().map(|name| self.current_version(name))).await;
        let found = names.iter().zip(found).map(|(name, version)| Ok(version?.map(|version| (name.clone(), version))));
        Ok(found.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }

    async fn current_version(&self, name: &str) -> Result<Option<String>, Error> {
        let call = || self.client().describe_secret().secret_id(name).send();
        let secret = match self.link.call("DescribeSecret", Repeat::Safe, call).await {
            Err(error) if error.is_not_found() => return Ok(None),
            answer => answer?,
        };
        if secret.deleted_date.is_some() {
            return Ok(None);
        }
        let mut versions = secret.version_ids_to_stages.unwrap_or_default().into_iter();
        Ok(versions.find(|(_, stages)| stages.iter().any(|stage| stage == CURRENT)).map(|(version, _)| version))
    }
}
