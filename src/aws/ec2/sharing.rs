//! Images beyond one account and Region: copies, permissions, and who refers to an image.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    CreateVolumePermission, CreateVolumePermissionModifications, ImageReferenceOptionName, ImageReferenceResourceType, LaunchPermission,
    LaunchPermissionModifications, ResourceType, ResourceTypeOption, ResourceTypeRequest, SnapshotAttributeName,
};

use super::{Ec2, filter, specification};
use crate::aws::clients::{pages, patient};
use crate::aws::retry::Repeat;
use crate::aws::{Error, Tags};
use crate::model::ImageId;

/// A copy to be made, in the Region this is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySpec {
    /// The image.
    pub image: ImageId,
    /// Where it is.
    pub region: String,
    /// Name of the copy.
    pub name: String,
    /// Tags of the copy; none: those of the image. AWS copies no tags of another account's image.
    pub image_tags: Option<Tags>,
    /// Tags of the copy's snapshots.
    pub tags: Tags,
    /// The client token: the same one again makes no second copy.
    pub token: String,
}

/// As many versions of a launch template as may be asked for.
const DEPTH: &str = "10000";

impl Ec2 {
    /// Copies an image from another Region or another account. Repeatable with the same token; the name is unique anyway.
    pub async fn copy_image(&self, wanted: &CopySpec) -> Result<ImageId, Error> {
        const ACTION: &str = "CopyImage";
        let limits = aws_sdk_ec2::config::Builder::new().timeout_config(patient());
        let call = || {
            let request = self.client().copy_image().source_image_id(&wanted.image.0).source_region(&wanted.region).name(&wanted.name);
            let request = request.client_token(&wanted.token);
            let request = request.tag_specifications(specification(ResourceType::Snapshot, &wanted.tags));
            let request = match &wanted.image_tags {
                Some(tags) => request.tag_specifications(specification(ResourceType::Image, tags)),
                None => request.copy_image_tags(true),
            };
            request.customize().config_override(limits.clone()).send()
        };
        let made = self.link.call(ACTION, Repeat::Safe, call).await?;
        made.image_id.map(ImageId).ok_or_else(|| Error::incomplete(ACTION, "image id"))
    }

    /// Lets another account launch an image. It may already.
    pub async fn share_image(&self, image: &ImageId, account: &str) -> Result<(), Error> {
        let changes = LaunchPermissionModifications::builder().add(LaunchPermission::builder().user_id(account).build()).build();
        let call = || self.client().modify_image_attribute().image_id(&image.0).launch_permission(changes.clone()).send();
        self.link.call("ModifyImageAttribute", Repeat::Safe, call).await.map(drop)
    }

    /// Lets another account make volumes of a snapshot, and so copy the image it belongs to. It may already.
    pub async fn share_snapshot(&self, snapshot: &str, account: &str) -> Result<(), Error> {
        let permission = CreateVolumePermission::builder().user_id(account).build();
        let changes = CreateVolumePermissionModifications::builder().add(permission).build();
        let call = || {
            let request = self.client().modify_snapshot_attribute().snapshot_id(snapshot);
            request.attribute(SnapshotAttributeName::CreateVolumePermission).create_volume_permission(changes.clone()).send()
        };
        self.link.call("ModifySnapshotAttribute", Repeat::Safe, call).await.map(drop)
    }

    /// ARNs of the instances and launch templates that refer to these images, in any state and any version.
    pub async fn image_references(&self, images: &[ImageId]) -> Result<BTreeMap<ImageId, Vec<String>>, Error> {
        let depth = ResourceTypeOption::builder().option_name(ImageReferenceOptionName::VersionDepth).option_values(DEPTH).build();
        let instances = ResourceTypeRequest::builder().resource_type(ImageReferenceResourceType::Ec2Instance).build();
        let templates = ResourceTypeRequest::builder().resource_type(ImageReferenceResourceType::Ec2LaunchTemplate);
        let kinds = &vec![instances, templates.resource_type_options(depth).build()];
        let mut references: BTreeMap<ImageId, Vec<String>> = BTreeMap::new();
        for batch in images.chunks(100) {
            let ids = &batch.iter().map(|image| image.0.clone()).collect::<Vec<_>>();
            let found = pages(|token| async move {
                let call = || {
                    let request = self.client().describe_image_references().set_image_ids(Some(ids.clone()));
                    request.set_resource_types(Some(kinds.clone())).set_next_token(token.clone()).send()
                };
                let page = self.link.call("DescribeImageReferences", Repeat::Safe, call).await?;
                Ok((page.image_references.unwrap_or_default(), page.next_token))
            })
            .await?;
            for reference in found {
                if let (Some(image), Some(arn)) = (reference.image_id, reference.arn) {
                    references.entry(ImageId(image)).or_default().push(arn);
                }
            }
        }
        Ok(references)
    }

    /// Deletes those of these snapshots that are still there (with their image AWS deletes most); how many there were.
    pub async fn delete_snapshots(&self, snapshots: &[String]) -> Result<usize, Error> {
        for snapshot in snapshots {
            let call = || self.client().delete_snapshot().snapshot_id(snapshot).send();
            match self.link.call("DeleteSnapshot", Repeat::Safe, call).await {
                // Another image is made of it too.
                Err(error) if !error.is_not_found() && error.code != "InvalidSnapshot.InUse" => return Err(error),
                _ => {}
            }
        }
        Ok(snapshots.len())
    }

    /// How far these snapshots are on the whole, in percent; none before any of them is to be seen.
    pub async fn snapshot_progress(&self, snapshots: &[String]) -> Result<Option<u8>, Error> {
        let filters = &vec![filter("snapshot-id", snapshots)];
        let found = pages(|token| async move {
            let call = || {
                let request = self.client().describe_snapshots().set_next_token(token.clone()).max_results(1000);
                request.set_filters(Some(filters.clone())).send()
            };
            let page = self.link.call("DescribeSnapshots", Repeat::Safe, call).await?;
            Ok((page.snapshots.unwrap_or_default(), page.next_token))
        })
        .await?;
        let percent = |text: &str| text.trim_end_matches('%').parse::<u32>().ok();
        let all: Vec<u32> = found.iter().filter_map(|snapshot| percent(snapshot.progress.as_deref()?)).collect();
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        Ok((count > 0).then(|| u8::try_from(all.iter().sum::<u32>() / count.max(1)).unwrap_or(100)))
    }
}
