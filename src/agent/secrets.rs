//! Secrets, read with the instance's own role when a process starts, and given to that process only: they are on no disk, in no log and on
//! no console. Whatever is said of one is said by its reference.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::imds::Imds;
use crate::aws::{Aws, Connection, Error};
use crate::clock::Clock;
use crate::model::SecretReference;

/// The way to them. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Secrets {
    metadata_endpoint: String,
    clock: Clock,
    aws: Arc<OnceCell<Aws>>,
}

impl Secrets {
    pub fn new(metadata_endpoint: &str, clock: &Clock) -> Self {
        Self { metadata_endpoint: metadata_endpoint.to_string(), clock: clock.clone(), aws: Arc::default() }
    }

    /// What the references lead to, as variables.
    pub async fn variables(&self, references: &BTreeMap<String, SecretReference>) -> Result<BTreeMap<String, OsString>, String> {
        let mut variables = BTreeMap::new();
        for (name, reference) in references {
            let aws = self.aws.get_or_try_init(|| self.connect()).await?;
            let value = aws.ssm.value(&reference.asked()).await.map_err(|error| unreadable(name, reference, &error))?;
            variables.insert(name.clone(), value.into());
        }
        Ok(variables)
    }

    async fn connect(&self) -> Result<Aws, String> {
        let imds = Imds::open(&self.metadata_endpoint, &self.clock).await.map_err(|error| error.to_string())?;
        let region = imds.text("meta-data/placement/region").await.map_err(|error| error.to_string())?;
        let region = region.ok_or("the instance metadata has no Region")?;
        let (endpoint, profile, account_keys, http) = (None, None, None, None);
        let connection = Connection { region, profile, endpoint, account_keys, http, clock: self.clock.clone(), seed: fastrand::u64(..) };
        Ok(Aws::connect(connection).await)
    }
}

fn unreadable(name: &str, reference: &SecretReference, error: &Error) -> String {
    format!("{name} cannot be read from {reference}: {error}")
}
