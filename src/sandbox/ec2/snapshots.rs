//! Snapshots: what images leave behind unless they are deleted too.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Ec2;
use super::filters::{Filters, page};
use super::tags::tag_set;
use crate::sandbox::engine::{Answer, Call, Context, State};
use crate::sandbox::wire::{AwsError, branch, leaf, list};

/// A snapshot.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Snapshot {
    pub id: String,
    pub description: String,
    pub started: jiff::Timestamp,
    pub started_at: Duration,
    pub due: Duration,
    /// None: in progress. False: failed.
    pub done: Option<bool>,
    pub visible_at: Duration,
    /// Other accounts that may make volumes of it.
    pub users: BTreeSet<String>,
}

impl Snapshot {
    /// One that is begun, with the times it begins and is complete at.
    pub fn new(
        id: &str,
        description: String,
        started: jiff::Timestamp,
        (started_at, due): (Duration, Duration),
        visible_at: Duration,
    ) -> Self {
        Self { id: id.to_string(), description, started, started_at, due, done: None, visible_at, users: BTreeSet::new() }
    }

    fn state(&self) -> &'static str {
        match self.done {
            None => "pending",
            Some(true) => "completed",
            Some(false) => "error",
        }
    }

    fn progress(&self, now: Duration) -> u32 {
        let (gone, whole) = (now.saturating_sub(self.started_at), self.due.saturating_sub(self.started_at));
        match self.done {
            Some(true) => 100,
            _ => ((gone.as_secs_f64() / whole.as_secs_f64().max(0.001) * 100.0) as u32).min(99),
        }
    }
}

/// Snapshots whose image was deregistered while they were being made complete by themselves.
pub(super) fn tick(state: &mut State, context: Context<'_>) {
    let in_use: Vec<String> = state.ec2.images.values().filter_map(|image| image.snapshot.clone()).collect();
    for snapshot in state.ec2.snapshots.values_mut().filter(|snapshot| !in_use.contains(&snapshot.id)) {
        if snapshot.done.is_none() && context.now >= snapshot.due {
            snapshot.done = Some(true);
        }
    }
}

pub(super) fn not_found(id: &str) -> AwsError {
    AwsError::bad("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
}

/// `DescribeSnapshots`: this account's; there are no others.
pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    call.params.only("DescribeSnapshots", &["SnapshotId", "Owner", "Filter", "MaxResults", "NextToken"])?;
    let filters = Filters::read(call.params, &["snapshot-id", "status", "description"])?;
    let asked = call.params.texts("SnapshotId");
    let (ec2, account) = (&call.state.ec2, call.state.place.account.as_str());
    let seen = |snapshot: &&Snapshot| call.now >= snapshot.visible_at;
    if let Some(id) = asked.iter().find(|id| ec2.snapshots.get(**id).filter(seen).is_none()) {
        return Err(not_found(id));
    }
    let owners = call.params.texts("Owner");
    let ours = owners.is_empty() || owners.iter().any(|owner| *owner == "self" || *owner == account);
    let rows = ec2
        .snapshots
        .values()
        .filter(|snapshot| ours && seen(snapshot))
        .filter(|snapshot| asked.is_empty() || asked.contains(&snapshot.id.as_str()))
        .filter(|snapshot| {
            filters.admit(ec2.tags_of(&snapshot.id), |name| match name {
                "snapshot-id" => vec![snapshot.id.clone()],
                "status" => vec![snapshot.state().to_string()],
                _ => vec![snapshot.description.clone()],
            })
        })
        .map(|snapshot| {
            let fields = vec![
                leaf("snapshotId", &snapshot.id),
                leaf("status", snapshot.state()),
                leaf("startTime", snapshot.started),
                leaf("progress", format!("{}%", snapshot.progress(call.now))),
                leaf("ownerId", account),
                leaf("volumeSize", 8),
                leaf("description", &snapshot.description),
                leaf("encrypted", false),
                tag_set(ec2.tags_of(&snapshot.id)),
            ];
            (snapshot.id.clone(), fields)
        })
        .collect();
    let (page, next) = page(call.params, rows, 5, 1000)?;
    Ok(branch("found", std::iter::once(list("snapshotSet", "item", page)).chain(next)))
}

/// `DeleteSnapshot`: not while an image is made of it.
pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    call.params.only("DeleteSnapshot", &["SnapshotId"])?;
    let id = call.params.required("SnapshotId")?.to_string();
    if !call.state.ec2.snapshots.contains_key(&id) {
        return Err(not_found(&id));
    }
    if let Some(image) = call.state.ec2.images.values().find(|image| image.snapshot.as_ref() == Some(&id)) {
        let message = format!("The snapshot {id} is currently in use by {}", image.id);
        return Err(AwsError::bad("InvalidSnapshot.InUse", message));
    }
    delete_unused(&mut call.state.ec2, &id);
    Ok(super::done())
}

pub(super) fn delete_unused(ec2: &mut Ec2, id: &str) {
    ec2.snapshots.remove(id);
    ec2.tags.remove(id);
}
