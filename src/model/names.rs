//! Names and numbers that identify things, and the names AWS resources get from them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a text is not a name: what is wrong with it, ready to be shown after the text itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// Letters a-z, digits and inner hyphens, starting with a letter: the characters every AWS resource name allows.
fn check_name(text: &str, longest: usize) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match text {
        "" => Err(NameError("must not be empty".into())),
        _ if text.len() > longest => Err(NameError(format!("is {} characters long; at most {longest} are allowed", text.len()))),
        _ if !text.starts_with(|c: char| c.is_ascii_lowercase()) => Err(NameError("must start with a letter a-z".into())),
        _ if text.ends_with('-') || text.contains("--") => Err(NameError("must not end with a hyphen or hold two in a row".into())),
        _ => match text.chars().find(|c| !allowed(*c)) {
            Some(bad) => Err(NameError(format!("must not hold {bad:?}; letters a-z, digits and hyphens are allowed"))),
            None => Ok(()),
        },
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $longest:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The checked name; the error says what is wrong with the text.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check_name(&text, $longest).map(|()| Self(text))
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// The company's application, one per `adstage.toml`.
    AppName, 20
);
name!(
    /// A review box. It is a label of a host name, and part of names of 32 characters.
    BoxName, 20
);
name!(
    /// A store every review box has for itself, such as `postgres`.
    BackingName, 20
);
name!(
    /// A named place with its own config, lock and journal.
    EnvironmentName, 20
);
name!(
    /// One program of the company's.
    ServiceName, 20
);
name!(
    /// One git repository the unified image holds.
    RepositoryName, 40
);

/// The number of a release: immutable, counted per environment from 1, printed as `r42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseNumber(pub u32);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("r{}", self.0))
    }
}

impl FromStr for ReleaseNumber {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let number = text.strip_prefix('r').unwrap_or(text).parse().ok().filter(|n| *n > 0);
        number.map(Self).ok_or_else(|| NameError("is not a release; releases look like r42".into()))
    }
}

impl TryFrom<String> for ReleaseNumber {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ReleaseNumber> for String {
    fn from(number: ReleaseNumber) -> Self {
        number.to_string()
    }
}

/// An AMI id, `ami-0123456789abcdef0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A ULID: sorts by time of creation, so the list of operations is its own history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub String);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of an AWS resource made of these parts, joined by hyphens: `shop-production-web-r42`.
pub fn resource_name(parts: &[&str]) -> String {
    parts.join("-")
}

/// `name` if it has at most 32 characters (the limit for target groups and load balancers, *Elastic Load Balancing API
/// Reference v2*, CreateTargetGroup), else its start and a hash of the whole.
pub fn short_name(name: &str) -> String {
    if name.len() <= 32 {
        return name.to_string();
    }
    let hash: String = Sha256::digest(name.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", name[..23].trim_end_matches('-'))
}

/// Keys of the tags adstage puts on everything it makes. No `/` and no spaces: with tags in the instance metadata enabled, such a
/// key makes the launch fail (*View tags for your EC2 instances using instance metadata*).
pub mod tag {
    /// The app; on everything adstage made.
    pub const APP: &str = "adstage:app";
    /// The environment.
    pub const ENV: &str = "adstage:env";
    /// What an instance is for: `fleet`, `builder`, `proof` or `review`.
    pub const MODE: &str = "adstage:mode";
    /// The services an instance must run, separated by spaces.
    pub const SERVICES: &str = "adstage:services";
    /// The kind of capacity of a group and its instances: `spot`. On-demand is what says nothing else.
    pub const CAPACITY: &str = "adstage:capacity";
    /// The release, `r42`.
    pub const RELEASE: &str = "adstage:release";
    /// On a fleet of a worker that is held until it is made active, and on its instances: [`YES`] or [`NO`]. The agent reads it again and
    /// again.
    pub const ACTIVE: &str = "adstage:active";
    /// It works.
    pub const YES: &str = "yes";
    /// It is held: it is there, and does not work.
    pub const NO: &str = "no";
    /// The operation that made it.
    pub const OPERATION: &str = "adstage:operation";
    /// Who made it.
    pub const OWNER: &str = "adstage:owner";
    /// On images: the hash of the bake's inputs.
    pub const BAKE: &str = "adstage:bake";
    /// On images: `true` once the proof boot brought every service up, `failed` when it did not.
    pub const VERIFIED: &str = "adstage:verified";
    /// On images whose proof failed: when, RFC 3339.
    pub const FAILED: &str = "adstage:failed";
    /// On images whose proof failed: why, in one line.
    pub const FAILURE: &str = "adstage:failure";
    /// On images whose proof failed: the end of what the machine said.
    pub const CONSOLE: &str = "adstage:console";
    /// On images: what they were captured from, `base` or `box <name>`.
    pub const FROM: &str = "adstage:from";
    /// On images of a box that nobody approved: why they were baked all the same.
    pub const UNAPPROVED: &str = "adstage:unapproved";
    /// On images of a box: files on them that are on no commit.
    pub const DIRTY: &str = "adstage:dirty";
    /// On images: `adstage:ref.<repository>` holds the commit.
    pub const REF_PREFIX: &str = "adstage:ref.";
    /// On everything of a review box: its name.
    pub const BOX: &str = "adstage:box";
    /// On a review box: when its fuse burns down, RFC 3339. The agent on it reads this again and again, so it can be moved.
    pub const EXPIRES: &str = "adstage:expires";
    /// On a review box: `adstage:asked.<repository>` holds the branch or tag that was asked for.
    pub const ASKED_PREFIX: &str = "adstage:asked.";
    /// On a review box that somebody found good, and on an image baked from it: hash of the commits, when, who; with spaces between.
    pub const APPROVED: &str = "adstage:approved";
    /// On the one instance of a candidate that runs the release's command: the operation that asked for it.
    pub const RELEASE_COMMAND: &str = "adstage:release-command";
    /// On a proof instance: seconds after which its agent shuts the machine down, which terminates it (its user data is no script that
    /// could light the fuse).
    pub const LIFETIME: &str = "adstage:lifetime";
}

/// The header a fleet's test rule asks for: no visitor knows its value.
pub const PROBE_HEADER: &str = "x-adstage-probe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_wrong_with_them() {
        let wrong = |text: &str| AppName::new(text).unwrap_err().to_string();
        assert!(AppName::new("shop-2").is_ok());
        assert_eq!(wrong(""), "must not be empty");
        assert_eq!(wrong("Shop"), "must start with a letter a-z");
        assert_eq!(wrong("sh_op"), "must not hold '_'; letters a-z, digits and hyphens are allowed");
        assert!(wrong("shop-").contains("end with a hyphen"));
        assert!(wrong(&"x".repeat(21)).contains("21 characters"));
    }

    #[test]
    fn short_names_fit_and_stay_distinct() {
        let long = "shop-production-recommendations-r4";
        assert!(short_name(long).len() <= 32);
        assert_ne!(short_name(&format!("{long}1")), short_name(&format!("{long}2")));
        assert_eq!(short_name("shop-production-web-r42"), "shop-production-web-r42");
    }

    #[test]
    fn releases_parse_with_and_without_the_letter() {
        assert_eq!("r42".parse(), Ok(ReleaseNumber(42)));
        assert_eq!("42".parse(), Ok(ReleaseNumber(42)));
        assert!("r0".parse::<ReleaseNumber>().is_err());
        assert!("v1".parse::<ReleaseNumber>().is_err());
    }
}
