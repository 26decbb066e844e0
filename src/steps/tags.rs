//! What is ours, and how a repeated call is told from a new one.

use sha2::{Digest, Sha256};

use super::Cx;
use crate::aws::Tags;
use crate::model::{BoxName, CapacityKind, FleetKey, tag};

/// Values of the tag that says what an instance is for.
pub(super) mod mode {
    pub const FLEET: &str = "fleet";
    pub const BUILDER: &str = "builder";
    pub const PROOF: &str = "proof";
    pub const REVIEW: &str = "review";
}

impl Cx {
    /// Tags of everything made here: whose it is, and which operation by whom made it.
    pub(super) fn tags(&self) -> Tags {
        let pairs = [
            (tag::APP, self.environment.app.to_string()),
            (tag::ENV, self.environment.name.to_string()),
            (tag::OPERATION, self.operation.to_string()),
            (tag::OWNER, plain(&self.owner)),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }

    /// Tags of everything that belongs to a fleet.
    pub(super) fn fleet_tags(&self, fleet: &FleetKey) -> Tags {
        let mut tags = self.tags();
        tags.extend(identity(fleet));
        tags
    }

    /// What all of a fleet's things carry, whichever operation made them.
    pub(super) fn fleet_identity(&self, fleet: &FleetKey) -> Tags {
        let own = [(tag::APP.to_string(), self.environment.app.to_string()), (tag::ENV.to_string(), self.environment.name.to_string())];
        own.into_iter().chain(identity(fleet)).collect()
    }

    /// True if these are the tags of that fleet's things, whichever operation made them.
    pub(super) fn owns(&self, fleet: &FleetKey, tags: &Tags) -> bool {
        self.owns_here(tags) && identity(fleet).iter().all(|(key, value)| tags.get(key) == Some(value))
    }

    /// Tags of everything of a review box.
    pub(super) fn box_tags(&self, name: &BoxName) -> Tags {
        let mut tags = self.tags();
        tags.extend([(tag::MODE.to_string(), mode::REVIEW.to_string()), (tag::BOX.to_string(), name.to_string())]);
        tags
    }

    /// True if these are the tags of something of that review box.
    pub(super) fn owns_of_box(&self, name: &BoxName, tags: &Tags) -> bool {
        self.owns_here(tags) && tags.get(tag::BOX).is_some_and(|found| found == name.as_str())
    }

    /// True if these are the tags of something of this app and environment.
    pub(super) fn owns_here(&self, tags: &Tags) -> bool {
        let is = |key: &str, value: &str| tags.get(key).is_some_and(|found| found == value);
        is(tag::APP, self.environment.app.as_str()) && is(tag::ENV, self.environment.name.as_str())
    }

    /// Tags of a fleet's group of one kind, passed on to its instances.
    pub(super) fn group_tags(&self, fleet: &FleetKey, kind: CapacityKind) -> Tags {
        let mut tags = self.fleet_tags(fleet);
        if kind == CapacityKind::Spot {
            tags.insert(tag::CAPACITY.to_string(), kind.to_string());
        }
        tags
    }

    /// Name of a fleet's group of one kind.
    pub(super) fn group_name(&self, fleet: &FleetKey, kind: CapacityKind) -> String {
        fleet.group_name(&self.environment.app, &self.environment.name, kind)
    }

    /// Name of a fleet's template.
    pub(super) fn name(&self, fleet: &FleetKey) -> String {
        fleet.name(&self.environment.app, &self.environment.name)
    }

    /// Name of a fleet's target group.
    pub(super) fn target_group_name(&self, fleet: &FleetKey) -> String {
        fleet.target_group_name(&self.environment.app, &self.environment.name)
    }
}

fn identity(fleet: &FleetKey) -> [(String, String); 3] {
    [
        (tag::MODE.to_string(), mode::FLEET.to_string()),
        (tag::SERVICES.to_string(), fleet.service.to_string()),
        (tag::RELEASE.to_string(), fleet.release.to_string()),
    ]
}

/// The first 32 hex digits of a hash: a client token or a secret that anybody with the same inputs finds again.
pub(super) fn token(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("/").as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Text that every service takes as the value of a tag (ELBv2 takes the fewest characters).
pub(super) fn plain(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " _.:/=+-@".contains(c);
    text.chars().take(255).map(|c| if allowed(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_again_and_tell_inputs_apart() {
        assert_eq!(token(&["a", "b"]), token(&["a", "b"]));
        assert_ne!(token(&["a", "b"]), token(&["a", "c"]));
        assert_eq!(token(&["a"]).len(), 32);
    }

    #[test]
    fn any_name_can_be_a_tag() {
        assert_eq!(plain("Ana Müller <ana@example.com>"), "Ana M_ller _ana@example.com_");
    }
}
