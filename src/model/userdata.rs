//! What an instance is told at launch, as JSON: what each service is. Its tags say which of them to be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AppName, Backing, BackingName, BoxName, EnvironmentName, ReleaseNumber, RepositoryName, Seconds, SecretReference, ServiceName, Source,
    TimedCommand,
};

/// Port of the agent's own health answer, on every instance.
pub const AGENT_PORT: u16 = 7600;

/// How long a process may take to finish what it has once it is told to stop, unless it is configured.
pub const GRACE: Seconds = Seconds(20);

/// EC2 takes at most this many bytes of user data, before base64 (*Run commands when you launch an EC2 instance with user data*).
pub const USER_DATA_LIMIT: usize = 16 * 1024;

/// The only format there is so far; an agent refuses one it does not know instead of half-reading it.
const FORMAT: u32 = 1;

/// User data of fleet and proof instances. Readable by every process on the instance: never a secret in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserData {
    /// Format; always 1.
    adstage: u32,
    /// The app.
    pub app: AppName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The release; a proof instance has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseNumber>,
    /// What each service is.
    pub services: BTreeMap<ServiceName, UserService>,
    /// What makes it a review box, if it is one.
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub review: Option<UserBox>,
}

/// What a review box is told beyond its services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserBox {
    /// Which box.
    pub name: BoxName,
    /// Every repository that is not to be as on the image, or whose build must run again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checkouts: BTreeMap<RepositoryName, Checkout>,
    /// The stores it has for itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub backing: BTreeMap<BackingName, Backing>,
    /// What must be up before each service starts: names of stores and services. No circles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<ServiceName, Vec<String>>,
}

/// A repository at another commit than the image's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkout {
    /// Where to fetch it from.
    pub source: Source,
    /// What was asked for, so that whoever works on the box finds the branch: `feature-x`, or the commit itself.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The commit, in full.
    pub commit: String,
    /// Shell command run in its folder after checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// One service as an instance runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserService {
    /// The repository whose folder it runs in.
    pub repository: RepositoryName,
    /// The command, given to `sh -c`.
    pub run: String,
    /// Port for visitors; none for a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path that answers 2xx when well; unused without a port.
    pub health_path: String,
    /// Variables of the process.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// Secrets of the process, by variable: only where they are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretReference>,
    /// Run once by the instance whose tag says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_command: Option<TimedCommand>,
    /// How long its process may take to finish what it has, once told to stop; [`GRACE`] if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Seconds>,
}

/// Why user data cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// EC2 would refuse it.
    #[error("user data is {0} bytes long; EC2 takes at most {USER_DATA_LIMIT}: shorten the run commands and variables")]
    TooLong(usize),
    /// Not our JSON.
    #[error("user data is not what adstage writes: {0}")]
    NotOurs(String),
    /// Written by a newer adstage.
    #[error("user data has format {0}, and this agent knows only {FORMAT}: bake the image with a newer adstage")]
    UnknownFormat(u32),
}

impl UserData {
    /// User data for these services.
    pub fn new(
        app: AppName,
        environment: EnvironmentName,
        release: Option<ReleaseNumber>,
        services: BTreeMap<ServiceName, UserService>,
    ) -> Self {
        Self { adstage: FORMAT, app, environment, release, services, review: None }
    }

    /// The same for a review box.
    pub fn of_box(self, review: UserBox) -> Self {
        Self { review: Some(review), ..self }
    }

    /// As text, the same for the same values. EC2 wants it base64-encoded on top.
    pub fn render(&self) -> Result<String, UserDataError> {
        let text = serde_json::to_string(self).map_err(|error| UserDataError::NotOurs(error.to_string()))?;
        fits(text)
    }

    /// Reads what [`render`](Self::render) wrote.
    pub fn parse(text: &[u8]) -> Result<Self, UserDataError> {
        #[derive(Deserialize)]
        struct Format {
            adstage: u32,
        }
        let not_ours = |error: serde_json::Error| UserDataError::NotOurs(error.to_string());
        match serde_json::from_slice::<Format>(text).map_err(not_ours)?.adstage {
            FORMAT => serde_json::from_slice(text).map_err(not_ours),
            other => Err(UserDataError::UnknownFormat(other)),
        }
    }
}

/// Refuses user data EC2 would not take.
pub(super) fn fits(text: String) -> Result<String, UserDataError> {
    if text.len() > USER_DATA_LIMIT { Err(UserDataError::TooLong(text.len())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(variables: &[(&str, &str)]) -> UserData {
        let variables = variables.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let repository = RepositoryName::new("storefront").unwrap();
        let web = UserService {
            repository,
            run: "bin/web".into(),
            port: Some(8001),
            health_path: "/up".into(),
            variables,
            secrets: BTreeMap::new(),
            release_command: None,
            grace: None,
        };
        let services = BTreeMap::from([(ServiceName::new("web").unwrap(), web)]);
        UserData::new(AppName::new("shop").unwrap(), EnvironmentName::new("production").unwrap(), Some(ReleaseNumber(42)), services)
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let text = shop(&[("GREETING", "hello")]).render().unwrap();
        assert_eq!(
            text,
            r#"{"adstage":1,"app":"shop","environment":"production","release":"r42","services":{"web":{"repository":"storefront","run":"bin/web","port":8001,"health_path":"/up","variables":{"GREETING":"hello"}}}}"#
        );
        assert_eq!(UserData::parse(text.as_bytes()), Ok(shop(&[("GREETING", "hello")])));
    }

    #[test]
    fn says_why_it_cannot() {
        assert!(matches!(shop(&[("BIG", &"x".repeat(17_000))]).render(), Err(UserDataError::TooLong(_))));
        assert_eq!(UserData::parse(br#"{"adstage":2,"new":true}"#), Err(UserDataError::UnknownFormat(2)));
        assert!(matches!(UserData::parse(b"#!/bin/sh"), Err(UserDataError::NotOurs(_))));
    }
}
