//! References to secrets are pinned to versions when a release is made, so that going back brings back the old ones. Only that they exist is
//! looked at: values are read by instances, with their own role.

use std::collections::BTreeMap;

use crate::model::{Release, SecretReference, ServiceName, World};

use super::refusal::Reasons;
use super::situation::Standing;

/// The references with the versions there are now; what is not there is a reason against the plan.
pub(super) fn pinned(
    service: &ServiceName,
    wanted: &BTreeMap<String, SecretReference>,
    world: &World,
    reasons: &mut Reasons,
) -> BTreeMap<String, SecretReference> {
    let mut pin = |variable: &String, reference: &SecretReference| {
        let SecretReference::Parameter { name, version } = reference else { return reference.clone() };
        let newest = world.secrets.get(name).copied();
        match (newest, version) {
            (None, _) => reasons.add(format!("{variable} of {service}: there is no parameter {name}"), ""),
            (Some(newest), Some(version)) if *version > newest => {
                reasons.add(format!("{variable} of {service}: the newest version of {name} is {newest}, not {version}"), "");
            }
            _ => {}
        }
        SecretReference::Parameter { name: name.clone(), version: version.or(newest) }
    };
    wanted.iter().map(|(variable, reference)| (variable.clone(), pin(variable, reference))).collect()
}

/// What of the secrets changes, and what cannot be gone back to.
pub(super) fn notes(world: &World, standings: &[&Standing], release: &Release) -> Vec<String> {
    let mut notes = Vec::new();
    for standing in standings {
        let name = &standing.service.name;
        let Some(spec) = release.services.get(name) else { continue };
        let live = standing.live.and_then(|live| world.records.release(live)).and_then(|record| record.release.services.get(name));
        for (variable, reference) in &spec.secrets {
            let before = live.and_then(|live| live.secrets.get(variable));
            if let Some(before) = before.filter(|before| *before != reference) {
                notes.push(format!("{variable} of {name} changes from {before} to {reference}"));
            }
            if reference.version().is_none() {
                let text = format!("{variable} of {name} names no version: instances take what is current when they boot, and a rollback");
                notes.push(format!("{text} does not bring an old value back"));
            }
        }
    }
    notes
}
