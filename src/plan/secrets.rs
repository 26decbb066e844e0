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
        let Some(newest) = world.secrets.get(&reference.place()) else {
            reasons.add(format!("{variable} of {service}: there is no {}", reference.said()), "");
            return reference.clone();
        };
        if reference.is_after(newest) {
            let text = format!("{variable} of {service}: the newest version of {} is {newest}", reference.place());
            reasons.add(format!("{text}, not {}", reference.version().unwrap_or_default()), "");
        }
        reference.pinned(newest)
    };
    wanted.iter().map(|(variable, reference)| (variable.clone(), pin(variable, reference))).collect()
}

/// What of the secrets changes.
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
        }
    }
    notes
}
