//! Images and their snapshots.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{self, ResourceType};

use super::{Ec2, filter, from_tags, specification, tag_filters};
use crate::aws::clients::{pages, patient};
use crate::aws::retry::Repeat;
use crate::aws::{Error, Tags};
use crate::model::{FailedProof, Image, ImageId, ImageState, Origin, Provenance, RepositoryName, tag};

impl Ec2 {
    /// Captures a stopped instance. No token, but the name is unique in the account and Region: a repeat finds it taken.
    pub async fn create_image(&self, instance: &str, name: &str, tags: &Tags) -> Result<ImageId, Error> {
        const ACTION: &str = "CreateImage";
        let limits = aws_sdk_ec2::config::Builder::new().timeout_config(patient());
        // Untagged, the snapshots could not be told apart from anybody else's later.
        let tags = [ResourceType::Image, ResourceType::Snapshot].map(|kind| specification(kind, tags));
        let call = || {
            let request = self.client().create_image().instance_id(instance).name(name).set_tag_specifications(Some(tags.to_vec()));
            request.customize().config_override(limits.clone()).send()
        };
        let made = self.link.call(ACTION, Repeat::Safe, call).await?;
        made.image_id.map(ImageId).ok_or_else(|| Error::incomplete(ACTION, "image id"))
    }

    /// This account's own images that carry all these tags, newest first.
    pub async fn images_tagged(&self, tags: &Tags) -> Result<Vec<Image>, Error> {
        let found = self.own_images(tag_filters(tags)).await?;
        Ok(found.into_iter().map(|(image, _)| image).collect())
    }

    /// This account's own image of this name with its tags, if there is one.
    pub async fn image_named(&self, name: &str) -> Result<Option<(Image, Tags)>, Error> {
        Ok(self.own_images(vec![filter("name", &[name.to_string()])]).await?.into_iter().next())
    }

    async fn own_images(&self, filters: Vec<types::Filter>) -> Result<Vec<(Image, Tags)>, Error> {
        let filters = &filters;
        let found = pages(|token| async move {
            let call = || {
                let request = self.client().describe_images().owners("self").max_results(1000).set_next_token(token.clone());
                request.set_filters(Some(filters.clone())).send()
            };
            let page = self.link.call("DescribeImages", Repeat::Safe, call).await?;
            Ok((page.images.unwrap_or_default(), page.next_token))
        })
        .await?;
        let mut images: Vec<(Image, Tags)> = found.into_iter().filter_map(image).collect();
        images.sort_by(|(a, _), (b, _)| (&b.created, &b.name).cmp(&(&a.created, &a.name)));
        Ok(images)
    }

    /// Deregisters an image and deletes its snapshots (those another image shares are kept by AWS). One that is gone is fine.
    pub async fn deregister_image(&self, image: &ImageId) -> Result<(), Error> {
        let call = || self.client().deregister_image().image_id(&image.0).delete_associated_snapshots(true).send();
        match self.link.call("DeregisterImage", Repeat::Safe, call).await {
            // `InvalidAMIID.Unavailable` is what a deregistered image answers while it is still known.
            Err(error) if !error.is_not_found() && error.code != "InvalidAMIID.Unavailable" => Err(error),
            _ => Ok(()),
        }
    }
}

fn image(found: types::Image) -> Option<(Image, Tags)> {
    let state = match found.state? {
        types::ImageState::Available => ImageState::Available,
        types::ImageState::Pending | types::ImageState::Transient => ImageState::Pending,
        _ => ImageState::Unusable,
    };
    let tags = from_tags(found.tags);
    let provenance = match tags.get(tag::VERIFIED).map(String::as_str) {
        Some("true") => Provenance::Verified,
        Some("failed") => Provenance::Failed,
        _ => Provenance::Unproved,
    };
    let image = Image {
        id: ImageId(found.image_id?),
        name: found.name.unwrap_or_default(),
        state,
        provenance,
        commits: commits(&tags),
        created: found.creation_date.unwrap_or_default(),
        app: tags.get(tag::APP).cloned(),
        origin: origin(&tags, found.block_device_mappings.unwrap_or_default()),
    };
    Some((image, tags))
}

fn origin(tags: &Tags, devices: Vec<types::BlockDeviceMapping>) -> Origin {
    let told = |key: &str| tags.get(key).cloned();
    let said = |key: &str| told(key).unwrap_or_default();
    let failed = tags.get(tag::FAILED).filter(|_| tags.get(tag::VERIFIED).is_some_and(|verdict| verdict == "failed"));
    Origin {
        from: told(tag::FROM),
        by: told(tag::OWNER),
        approved: told(tag::APPROVED),
        unapproved: told(tag::UNAPPROVED),
        dirty: told(tag::DIRTY),
        failed: failed.map(|at| FailedProof { at: at.clone(), why: said(tag::FAILURE), console: said(tag::CONSOLE) }),
        snapshots: devices.into_iter().filter_map(|device| device.ebs?.snapshot_id).collect(),
    }
}

fn commits(tags: &Tags) -> BTreeMap<RepositoryName, String> {
    let commit = |(key, value): (&String, &String)| {
        let name = key.strip_prefix(tag::REF_PREFIX)?;
        Some((RepositoryName::new(name).ok()?, value.clone()))
    };
    tags.iter().filter_map(commit).collect()
}
