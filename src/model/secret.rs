//! References to secrets: where a value is kept, never the value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a secret is kept, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretReference {
    /// A parameter of Systems Manager's Parameter Store.
    Parameter {
        /// Its name, `/shop/production/db`.
        name: String,
        /// Its version; none: the newest when a release is made.
        version: Option<u64>,
    },
    /// A secret of Secrets Manager.
    Secret {
        /// Its name, `shop/api`.
        name: String,
        /// Id of its version; none: the current one when a release is made.
        version: Option<String>,
    },
}

/// What a reference looks like.
const REFERENCE_FORM: &str = "\"ssm:/path/of/parameter\" or \"secretsmanager:name\", with or without \":version\" at its end";

impl SecretReference {
    /// What Parameter Store is asked for; it hands questions about Secrets Manager's secrets on (*Referencing AWS Secrets Manager secrets
    /// from Parameter Store parameters*).
    pub fn asked(&self) -> String {
        let (path, version) = match self {
            Self::Parameter { name, version } => (name.clone(), version.map(|version| version.to_string())),
            Self::Secret { name, version } => (format!("/aws/reference/secretsmanager/{name}"), version.clone()),
        };
        version.map_or(path.clone(), |version| format!("{path}:{version}"))
    }

    /// The reference without its version.
    pub fn place(&self) -> String {
        match self {
            Self::Parameter { name, .. } => format!("ssm:{name}"),
            Self::Secret { name, .. } => format!("secretsmanager:{name}"),
        }
    }

    /// What is kept there, for people.
    pub fn said(&self) -> String {
        match self {
            Self::Parameter { name, .. } => format!("parameter {name}"),
            Self::Secret { name, .. } => format!("secret {name}"),
        }
    }

    /// The same with this version, unless it names one. A parameter's is a number.
    #[must_use]
    pub fn pinned(&self, newest: &str) -> Self {
        match self.clone() {
            Self::Parameter { name, version } => Self::Parameter { name, version: version.or_else(|| newest.parse().ok()) },
            Self::Secret { name, version } => Self::Secret { name, version: version.or_else(|| Some(newest.to_string())) },
        }
    }

    /// It names a version that comes after this one, so that there is none yet. Ids of versions have no order.
    pub fn is_after(&self, newest: &str) -> bool {
        match (self, newest.parse::<u64>()) {
            (Self::Parameter { version: Some(version), .. }, Ok(newest)) => *version > newest,
            _ => false,
        }
    }

    /// Its version, if it names one.
    pub fn version(&self) -> Option<String> {
        match self {
            Self::Parameter { version, .. } => version.map(|version| version.to_string()),
            Self::Secret { version, .. } => version.clone(),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        self.version().map_or(Ok(()), |version| write!(f, ":{version}"))
    }
}

impl FromStr for SecretReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("must look like {REFERENCE_FORM}");
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (name, version) = rest.split_once(':').map_or((rest, None), |(name, version)| (name, Some(version)));
        let named = |name: &str, more: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte));
        if name.is_empty() || version.is_some_and(str::is_empty) {
            return Err(wrong());
        }
        match kind {
            "ssm" if named(name, "/_.-") => {
                let version = version.map(|version| version.parse().map_err(|_| wrong())).transpose()?;
                Ok(Self::Parameter { name: name.to_string(), version })
            }
            "secretsmanager" if named(name, "/_+=.@-") && version.is_none_or(|version| named(version, "-")) => {
                Ok(Self::Secret { name: name.to_string(), version: version.map(str::to_string) })
            }
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for SecretReference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SecretReference> for String {
    fn from(reference: SecretReference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_they_are_written() {
        let asked = |text: &str| text.parse::<SecretReference>().map(|reference| (reference.to_string(), reference.asked()));
        let same = |text: &str, asked: &str| Ok((text.to_string(), asked.to_string()));
        assert_eq!(asked("ssm:/shop/production/db"), same("ssm:/shop/production/db", "/shop/production/db"));
        assert_eq!(asked("ssm:/shop/production/db:3"), same("ssm:/shop/production/db:3", "/shop/production/db:3"));
        assert_eq!(asked("secretsmanager:shop/api"), same("secretsmanager:shop/api", "/aws/reference/secretsmanager/shop/api"));
        let versioned = "secretsmanager:shop/api:11aa-22bb";
        assert_eq!(asked(versioned), same(versioned, "/aws/reference/secretsmanager/shop/api:11aa-22bb"));
        for wrong in ["hunter2", "ssm:", "ssm:/a:newest", "vault:/a", "ssm:/a b", "secretsmanager:a:", ""] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}
