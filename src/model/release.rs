//! A release: an immutable numbered thing per environment, image + configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{GRACE, HealthCheck, ImageId, ReleaseNumber, RepositoryName, Scaling, Seconds, SecretReference, ServiceName, TimedCommand};

/// What a release is made of. Everything needed to run it again is in here: config and code go back together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its number.
    pub number: ReleaseNumber,
    /// The image.
    pub image: ImageId,
    /// The image's name.
    pub image_name: String,
    /// Commit of each repository on the image.
    pub commits: BTreeMap<RepositoryName, String>,
    /// Each service with its configuration.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
}

/// One service's configuration in a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The repository whose folder it runs in.
    pub repository: RepositoryName,
    /// The command, given to `sh -c`.
    pub run: String,
    /// Port for visitors; none for a worker.
    pub port: Option<u16>,
    /// Path that answers 200 when well.
    pub health_path: String,
    /// Variables of the process.
    pub variables: BTreeMap<String, String>,
    /// Secrets of the process, by variable: only where they are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretReference>,
    /// Run once before the release gets its first visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_command: Option<TimedCommand>,
    /// EC2 instance type.
    pub instance_type: String,
    /// Types to take where there is no capacity of that one, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_types: Vec<String>,
    /// What its groups follow by themselves while it is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// How the load balancer checks it.
    pub health: HealthCheck,
    /// How long connections may take to end.
    pub drain: Seconds,
    /// How long its process may take to finish what it has, once told to stop.
    #[serde(default = "grace")]
    pub grace: Seconds,
    /// A worker that does not work before the cutover makes it active. (Releases from before there was such a thing are not.)
    #[serde(default)]
    pub held: bool,
}

fn grace() -> Seconds {
    GRACE
}

/// What is thought of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing known: its first deploy has not ended, or was stopped for reasons that are not the release's. Never a target of
    /// `rollback` unless named.
    Untried,
    /// A deploy of it ended with it serving.
    Good,
    /// It was rolled back from, or failed: deploying it again needs `--force`.
    Bad {
        /// Why, in one line.
        reason: String,
    },
}
