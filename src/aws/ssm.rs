//! Systems Manager's Parameter Store: which versions there are, and, on an instance, what they hold.

use std::collections::BTreeMap;

use aws_sdk_ssm::types::ParameterStringFilter;

use super::Error;
use super::clients::{pages, service};
use super::retry::Repeat;

service! {
    /// Parameter Store.
    Ssm, aws_sdk_ssm
}

/// Names in one question (*DescribeParameters*, ParameterStringFilter: at most 50 values).
const NAMES: usize = 50;

impl Ssm {
    /// The newest version of each of these parameters that is there. Values are not part of the answer.
    pub async fn versions(&self, names: &[String]) -> Result<BTreeMap<String, u64>, Error> {
        const ACTION: &str = "DescribeParameters";
        let mut found = BTreeMap::new();
        for batch in names.chunks(NAMES) {
            let filter = ParameterStringFilter::builder().key("Name").option("Equals").set_values(Some(batch.to_vec())).build();
            let filter = filter.map_err(|_| Error::incomplete(ACTION, "filter"))?;
            let page = async |token: Option<String>| {
                let call = || self.client().describe_parameters().parameter_filters(filter.clone()).set_next_token(token.clone()).send();
                let page = self.link.call(ACTION, Repeat::Safe, call).await?;
                Ok((page.parameters.unwrap_or_default(), page.next_token))
            };
            for parameter in pages(page).await? {
                if let Some(name) = parameter.name {
                    found.insert(name, u64::try_from(parameter.version).unwrap_or_default());
                }
            }
        }
        Ok(found)
    }

    /// What a parameter holds, decrypted. For instances only: nobody else has any use for it.
    pub async fn value(&self, name: &str) -> Result<String, Error> {
        const ACTION: &str = "GetParameter";
        let call = || self.client().get_parameter().name(name).with_decryption(true).send();
        let found = self.link.call(ACTION, Repeat::Safe, call).await?;
        found.parameter.and_then(|parameter| parameter.value).ok_or_else(|| Error::incomplete(ACTION, "value"))
    }
}
