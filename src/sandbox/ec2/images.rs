//! Images: copies of machines' root folders.

use std::collections::BTreeSet;
use std::time::Duration;

use super::describe::seen;
use super::filters::{Filters, page};
use super::instances::{InstanceState, boot};
use super::snapshots::{Snapshot, delete_unused};
use super::tags::{read_specifications, tag_set};
use crate::sandbox::engine::{Answer, Call, Context, State};
use crate::sandbox::wire::{AwsError, Node, branch, leaf, list};

/// The account whose images everybody may use: Amazon's own.
const AMAZON: &str = "137112412989";

/// An image.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Image {
    pub id: String,
    pub name: String,
    description: String,
    created: jiff::Timestamp,
    /// None: Amazon's, there from the start.
    owner: Option<String>,
    progress: Progress,
    /// None for a base image.
    pub(super) snapshot: Option<String>,
    pub(super) visible_at: Duration,
    /// Other accounts that may launch it.
    pub(super) users: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// Waiting for the machine to go down, so that nothing writes while its disk is copied; then it is started again.
    Quiescing(String),
    /// Being copied; available at the earliest then. A machine that went down for it comes up again when all is copied.
    Copying(Duration, Option<String>),
    Available,
    Failed(String),
}

/// What a copy is to be.
pub(super) struct Copy {
    pub id: String,
    pub name: String,
    pub description: String,
    pub owner: String,
    pub snapshot: String,
}

impl Image {
    /// True once machines can be started from it.
    pub fn is_available(&self) -> bool {
        self.progress == Progress::Available
    }

    /// True if it is the account's own, not Amazon's.
    pub(super) fn is_own(&self) -> bool {
        self.owner.is_some()
    }

    /// A copy that is available at the earliest then.
    pub(super) fn copied(of: Copy, created: jiff::Timestamp, due: Duration, visible_at: Duration) -> Self {
        let Copy { id, name, description, owner, snapshot } = of;
        let progress = Progress::Copying(due, None);
        let (owner, snapshot) = (Some(owner), Some(snapshot));
        Self { id, name, description, created, owner, progress, snapshot, visible_at, users: BTreeSet::new() }
    }

    fn state(&self) -> &'static str {
        match self.progress {
            Progress::Quiescing(_) | Progress::Copying(..) => "pending",
            Progress::Available => "available",
            Progress::Failed(_) => "failed",
        }
    }
}

/// A base image of a seed.
pub(super) fn base(id: &str, wall: jiff::Timestamp) -> Image {
    let name = if id == "ami-00000000000000001" { "adstage-sandbox-base".to_string() } else { format!("adstage-sandbox-base-{id}") };
    let description = "an empty machine of the sandbox".to_string();
    let (id, owner, snapshot, users) = (id.to_string(), None, None, BTreeSet::new());
    Image { id, name, description, created: wall, owner, progress: Progress::Available, snapshot, visible_at: Duration::ZERO, users }
}

/// "There is no such image."
pub(super) fn not_found(id: &str) -> AwsError {
    AwsError::bad("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist"))
}

/// `CreateImage`.
pub(super) fn create(call: &mut Call<'_>) -> Answer {
    call.params.only("CreateImage", &["InstanceId", "Name", "Description", "NoReboot", "TagSpecification"])?;
    let name = call.params.required("Name")?.to_string();
    check_name(&name)?;
    let instance = seen(call, call.params.required("InstanceId")?)?.clone();
    if !matches!(instance.state, InstanceState::Running | InstanceState::Stopped) {
        let message = format!("Instance '{}' is not 'running' or 'stopped': it is '{}'", instance.id, instance.state.name());
        return Err(AwsError::bad("IncorrectState", message));
    }
    taken(&call.state.ec2, &name)?;
    let mut tags = read_specifications(call.params, &["image", "snapshot"])?;
    let (id, snapshot_id) = (call.state.id("ami-"), call.state.id("snap-"));

    let due = call.now + call.latencies.image_available;
    let reboots = instance.state == InstanceState::Running && call.params.flag("NoReboot") != Some(true);
    let progress = if reboots { Progress::Quiescing(instance.id.clone()) } else { Progress::Copying(due, None) };
    if reboots {
        if let Some(instance) = call.state.ec2.instances.get_mut(&instance.id) {
            instance.rebooting = true;
        }
        call.host.stop(&instance.id);
    } else {
        call.host.capture(&instance.id, &id);
    }
    let visible_at = call.state.sometime(call.now, call.latencies.visible);
    let description = format!("Created by CreateImage({}) for {id}", instance.id);
    let snapshot = Snapshot::new(&snapshot_id, description, call.wall, (call.now, due), visible_at);
    let image = Image {
        id: id.clone(),
        name,
        description: call.params.get("Description").unwrap_or_default().to_string(),
        created: call.wall,
        owner: Some(call.state.place.account.clone()),
        progress,
        snapshot: Some(snapshot_id.clone()),
        visible_at,
        users: BTreeSet::new(),
    };
    let ec2 = &mut call.state.ec2;
    ec2.tags.insert(id.clone(), tags.remove("image").unwrap_or_default());
    ec2.tags.insert(snapshot_id.clone(), tags.remove("snapshot").unwrap_or_default());
    ec2.images.insert(id.clone(), image);
    ec2.snapshots.insert(snapshot_id, snapshot);
    Ok(branch("made", [leaf("imageId", id)]))
}

/// A name is unique among the account's own images of the Region.
pub(super) fn taken(ec2: &super::Ec2, name: &str) -> Result<(), AwsError> {
    match ec2.images.values().find(|image| image.owner.is_some() && image.name == name) {
        None => Ok(()),
        Some(other) => {
            let message = format!("AMI name {name} is already in use by AMI {}", other.id);
            Err(AwsError::bad("InvalidAMIName.Duplicate", message))
        }
    }
}

pub(super) fn check_name(name: &str) -> Result<(), AwsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"()[] ./-'@_".contains(&byte);
    if (3..=128).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let message = "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, spaces, and ()[]./-'@_";
    Err(AwsError::bad("InvalidAMIName.Malformed", message))
}

/// Moves copies on.
pub(super) fn tick(state: &mut State, context: Context<'_>) {
    let ec2 = &mut state.ec2;
    for image in ec2.images.values_mut() {
        let captured = || context.host.captured(&image.id);
        match &mut image.progress {
            Progress::Quiescing(instance) if !context.host.running(instance) => {
                context.host.capture(instance, &image.id);
                image.progress = Progress::Copying(context.now + context.latencies.image_available, Some(instance.clone()));
            }
            Progress::Copying(due, down) => {
                let Some(result) = captured() else { continue };
                *down = None;
                if context.now >= *due {
                    image.progress = result.map_or_else(Progress::Failed, |()| Progress::Available);
                }
            }
            _ => {}
        }
        let done = match image.progress {
            Progress::Available => Some(true),
            Progress::Failed(_) => Some(false),
            _ => None,
        };
        if let Some(snapshot) = image.snapshot.as_ref().and_then(|id| ec2.snapshots.get_mut(id)) {
            snapshot.done = done;
        }
    }
    for id in due_back(ec2, context) {
        let Some(instance) = state.ec2.instances.get_mut(&id).filter(|instance| instance.state == InstanceState::Running) else { continue };
        instance.rebooting = false;
        let again = instance.clone();
        boot(state, &again, false, context);
    }
}

/// Machines that went down for an image and are not waited for any more: it has its copy, or somebody has deregistered it since.
fn due_back(ec2: &super::Ec2, context: Context<'_>) -> Vec<String> {
    let waited_for = |id: &String| {
        ec2.images.values().any(|image| match &image.progress {
            Progress::Quiescing(machine) | Progress::Copying(_, Some(machine)) => machine == id,
            _ => false,
        })
    };
    let down = ec2.instances.values().filter(|instance| instance.rebooting && !context.host.running(&instance.id));
    down.map(|instance| instance.id.clone()).filter(|id| !waited_for(id)).collect()
}

/// `DescribeImages`.
pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    call.params.only("DescribeImages", &["ImageId", "Owner", "Filter", "MaxResults", "NextToken", "IncludeDeprecated"])?;
    let filters = Filters::read(call.params, &["image-id", "name", "state", "owner-id", "is-public", "architecture", "root-device-type"])?;
    let (asked, owners) = (call.params.texts("ImageId"), call.params.texts("Owner"));
    let ec2 = &call.state.ec2;
    let shown = |image: &&Image| call.now >= image.visible_at;
    if let Some(id) = asked.iter().find(|id| ec2.images.get(**id).filter(shown).is_none()) {
        return Err(not_found(id));
    }
    let owned = |image: &Image, owner: &str| match owner {
        "self" => image.owner.is_some(),
        "amazon" => image.owner.is_none(),
        account => image.owner.as_deref().unwrap_or(AMAZON) == account,
    };
    let fact = |image: &Image, name: &str| {
        vec![match name {
            "image-id" => image.id.clone(),
            "name" => image.name.clone(),
            "state" => image.state().to_string(),
            "owner-id" => image.owner.clone().unwrap_or_else(|| AMAZON.to_string()),
            "is-public" => image.owner.is_none().to_string(),
            "architecture" => "x86_64".to_string(),
            _ => "ebs".to_string(),
        }]
    };
    let rows = ec2
        .images
        .values()
        .filter(shown)
        .filter(|image| asked.is_empty() || asked.contains(&image.id.as_str()))
        .filter(|image| owners.is_empty() || owners.iter().any(|owner| owned(image, owner)))
        .filter(|image| filters.admit(ec2.tags_of(&image.id), |name| fact(image, name)))
        .map(|image| (image.id.clone(), render(call.state, image)))
        .collect();
    let (page, next) = page(call.params, rows, 1, 1000)?;
    Ok(branch("found", std::iter::once(list("imagesSet", "item", page)).chain(next)))
}

fn render(state: &State, image: &Image) -> Vec<Node> {
    let owner = image.owner.as_deref().unwrap_or(AMAZON);
    let device = |snapshot: &String| {
        vec![
            leaf("deviceName", "/dev/xvda"),
            branch("ebs", [leaf("snapshotId", snapshot), leaf("volumeSize", 8), leaf("volumeType", "gp3")]),
        ]
    };
    let mut fields = vec![
        leaf("imageId", &image.id),
        leaf("imageLocation", format!("{owner}/{}", image.name)),
        leaf("imageState", image.state()),
        leaf("imageOwnerId", owner),
        leaf("creationDate", image.created),
        leaf("isPublic", image.owner.is_none()),
        leaf("architecture", "x86_64"),
        leaf("imageType", "machine"),
        leaf("name", &image.name),
        leaf("description", &image.description),
        leaf("rootDeviceType", "ebs"),
        leaf("rootDeviceName", "/dev/xvda"),
        leaf("virtualizationType", "hvm"),
        leaf("hypervisor", "xen"),
        list("blockDeviceMapping", "item", image.snapshot.iter().map(device)),
        tag_set(state.ec2.tags_of(&image.id)),
    ];
    if image.owner.is_none() {
        fields.push(leaf("imageOwnerAlias", "amazon"));
    }
    if let Progress::Failed(why) = &image.progress {
        fields.push(branch("stateReason", [leaf("code", "Client.InternalError"), leaf("message", why)]));
    }
    fields
}

/// `DeregisterImage`. Machines that run from it are not touched.
pub(super) fn deregister(call: &mut Call<'_>) -> Answer {
    call.params.only("DeregisterImage", &["ImageId", "DeleteAssociatedSnapshots"])?;
    let id = call.params.required("ImageId")?.to_string();
    let image = call.state.ec2.images.get(&id).filter(|image| call.now >= image.visible_at).ok_or_else(|| not_found(&id))?;
    if image.owner.is_none() {
        return Err(AwsError::with_status(403, "AuthFailure", format!("Not authorized for image:{id}")));
    }
    let snapshot = image.snapshot.clone();
    call.state.ec2.images.remove(&id);
    call.state.ec2.tags.remove(&id);
    call.host.delete_image(&id);
    let mut fields = vec![leaf("return", true)];
    if call.params.flag("DeleteAssociatedSnapshots") == Some(true) {
        let one = |snapshot: String| {
            delete_unused(&mut call.state.ec2, &snapshot);
            vec![leaf("snapshotId", snapshot), leaf("returnCode", "success")]
        };
        fields.push(list("deleteSnapshotResultSet", "item", snapshot.into_iter().map(one).collect::<Vec<_>>()));
    }
    Ok(branch("gone", fields))
}
