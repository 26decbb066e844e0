//! A unified machine image: baked once, it remembers the commit of every repository.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ImageId, RepositoryName};

/// One image of the app, as its tags tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// AMI id.
    pub id: ImageId,
    /// AMI name; holds the hash of the bake's inputs.
    pub name: String,
    /// What EC2 says of it.
    pub state: ImageState,
    /// Whether the proof boot brought every service up.
    pub provenance: Provenance,
    /// Commit of each repository.
    pub commits: BTreeMap<RepositoryName, String>,
    /// When it was created, RFC 3339.
    pub created: String,
    /// App named by its tag, if any.
    pub app: Option<String>,
}

/// EC2's state of an image, with every state that can never become available in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// Being captured.
    Pending,
    /// Can be launched.
    Available,
    /// Never will be (failed, invalid, error, deregistered, disabled).
    Unusable,
}

/// What is known of an image's quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provenance {
    /// Its proof boot brought every service up.
    Verified,
    /// Its proof boot did not.
    Failed,
    /// Not proved (yet).
    Unproved,
}
