//! A unified machine image: baked once, it remembers the commit of every repository, and what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EnvironmentName, ImageId, ReleaseNumber, RepositoryName, Verdict};

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
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
}

/// Where an image comes from, and what went wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// What it was captured from: `base`, `box blue`, `copy of ami-1 in eu-central-1`. None: nobody said.
    pub from: Option<String>,
    /// Who baked it.
    pub by: Option<String>,
    /// Of a box: who found it good, and when.
    pub approved: Option<String>,
    /// Of a box that nobody approved: why it was baked all the same.
    pub unapproved: Option<String>,
    /// Of a box: files that are on no commit, and are on the image.
    pub dirty: Option<String>,
    /// Its proof failed.
    pub failed: Option<FailedProof>,
    /// Its snapshots.
    pub snapshots: Vec<String>,
}

/// How a proof failed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FailedProof {
    /// When, RFC 3339.
    pub at: String,
    /// Why, in one line.
    pub why: String,
    /// The end of what the machine said.
    pub console: String,
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

/// What one release of one environment has to do with an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageUse {
    /// The image's id.
    pub image: ImageId,
    /// Its name: made from what is on it, so a copy elsewhere has the same.
    pub name: String,
    /// Where.
    pub environment: EnvironmentName,
    /// Which release.
    pub release: ReleaseNumber,
    /// It is meant to serve.
    pub live: bool,
    /// It does not, but could at once.
    pub warm: bool,
    /// The newest release of that environment that was found good, or the one that served before.
    pub last_good: bool,
    /// What is thought of the release.
    pub verdict: Verdict,
}

impl ImageUse {
    /// True if visitors or work ever depended on it.
    pub fn served(&self) -> bool {
        self.live || self.verdict == Verdict::Good
    }

    /// Why it is bad, if it is.
    pub fn bad(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Bad { reason } => Some(reason),
            _ => None,
        }
    }
}

/// What a person's word for an image means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// This one.
    One(&'a Image),
    /// It could be any of these.
    Several(Vec<&'a Image>),
    /// There is none.
    None,
}

impl Image {
    /// The image with this name or id, or the only one whose name, hash or id begins so.
    pub fn named<'a>(images: &'a [Self], word: &str) -> Found<'a> {
        if let Some(image) = images.iter().find(|image| image.id.0 == word || image.name == word) {
            return Found::One(image);
        }
        let begins = |image: &&'a Self| {
            let hash = image.name.rsplit_once('-').map_or("", |(_, hash)| hash);
            !word.is_empty() && [image.id.0.as_str(), &image.name, hash].iter().any(|text| text.starts_with(word))
        };
        let mut found: Vec<&Self> = images.iter().filter(begins).collect();
        match (found.pop(), found.is_empty()) {
            (None, _) => Found::None,
            (Some(image), true) => Found::One(image),
            (Some(image), false) => {
                found.push(image);
                Found::Several(found)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, name: &str) -> Image {
        Image {
            id: ImageId(id.into()),
            name: name.into(),
            state: ImageState::Available,
            provenance: Provenance::Verified,
            commits: BTreeMap::new(),
            created: String::new(),
            app: Some("shop".into()),
            origin: Origin::default(),
        }
    }

    #[test]
    fn an_image_is_found_by_what_nobody_else_begins_with() {
        let images = [image("ami-11", "shop-3f9c"), image("ami-12", "shop-3f00"), image("ami-13", "shop-3f9c00")];
        let found = |word: &str| match Image::named(&images, word) {
            Found::One(image) => image.id.0.clone(),
            Found::Several(several) => format!("{} of them", several.len()),
            Found::None => "none".into(),
        };
        assert_eq!(found("ami-12"), "ami-12");
        assert_eq!(found("3f0"), "ami-12");
        assert_eq!(found("shop-3f9c"), "ami-11", "a whole name is no beginning");
        assert_eq!(found("shop-3f"), "3 of them");
        assert_eq!((found("4"), found("")), ("none".into(), "none".into()));
    }
}
