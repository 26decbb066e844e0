//! Launch templates: what a fleet's instances are made from.

use aws_sdk_ec2::types::{
    self, InstanceType, LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateInstanceMetadataTagsState, LaunchTemplateTagSpecificationRequest,
    RequestLaunchTemplateData, ResourceType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Ec2, filter, from_tags, specification, tag_filters, to_tags};
use crate::aws::clients::pages;
use crate::aws::retry::Repeat;
use crate::aws::{Error, Tags, gather};
use crate::model::Template;
use crate::plan::TemplateSpec;

/// A launch template as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateInfo {
    /// The template.
    pub template: Template,
    /// The number of its first, and as adstage makes them only, version.
    pub version: i64,
    /// Tags.
    pub tags: Tags,
}

/// A launch template to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTemplate {
    /// Name.
    pub name: String,
    /// What it launches.
    pub spec: TemplateSpec,
    /// Security groups of the instances.
    pub security_groups: Vec<String>,
    /// Name of their IAM instance profile, if they need one.
    pub instance_profile: Option<String>,
    /// Tags of the template, the instances and their volumes.
    pub tags: Tags,
    /// The client token.
    pub token: String,
}

impl Ec2 {
    /// Creates a launch template with one version. Repeatable with the same token; the name is unique anyway.
    pub async fn create_launch_template(&self, wanted: &NewTemplate) -> Result<(), Error> {
        let data = template_data(wanted);
        let call = || {
            let request = self.client().create_launch_template().launch_template_name(&wanted.name).client_token(&wanted.token);
            let request = request.launch_template_data(data.clone());
            request.tag_specifications(specification(ResourceType::LaunchTemplate, &wanted.tags)).send()
        };
        self.link.call("CreateLaunchTemplate", Repeat::Safe, call).await.map(drop)
    }

    /// The launch template of this name, if there is one.
    pub async fn launch_template(&self, name: &str) -> Result<Option<TemplateInfo>, Error> {
        Ok(self.launch_templates_named(&[name.to_string()]).await?.into_iter().next())
    }

    /// The launch templates of these names, as far as they are there. A filter takes 200 values.
    pub async fn launch_templates_named(&self, names: &[String]) -> Result<Vec<TemplateInfo>, Error> {
        let batches = gather(names.chunks(200).map(|batch| self.launch_templates(vec![filter("launch-template-name", batch)]))).await;
        Ok(batches.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The launch templates that carry all these tags.
    pub async fn launch_templates_tagged(&self, tags: &Tags) -> Result<Vec<TemplateInfo>, Error> {
        self.launch_templates(tag_filters(tags)).await
    }

    async fn launch_templates(&self, filters: Vec<types::Filter>) -> Result<Vec<TemplateInfo>, Error> {
        let filters = &filters;
        let found = pages(|token| async move {
            let call = || {
                let request = self.client().describe_launch_templates().max_results(200).set_next_token(token.clone());
                request.set_filters(Some(filters.clone())).send()
            };
            let page = self.link.call("DescribeLaunchTemplates", Repeat::Safe, call).await?;
            Ok((page.launch_templates.unwrap_or_default(), page.next_token))
        })
        .await?;
        Ok(found.into_iter().filter_map(info).collect())
    }

    /// Deletes a launch template; one that is gone is fine.
    pub async fn delete_launch_template(&self, name: &str) -> Result<(), Error> {
        let call = || self.client().delete_launch_template().launch_template_name(name).send();
        match self.link.call("DeleteLaunchTemplate", Repeat::Safe, call).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn template_data(wanted: &NewTemplate) -> RequestLaunchTemplateData {
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder().http_tokens(LaunchTemplateHttpTokensState::Required);
    let metadata = metadata.instance_metadata_tags(LaunchTemplateInstanceMetadataTagsState::Enabled).build();
    let tagged = |kind: ResourceType| {
        LaunchTemplateTagSpecificationRequest::builder().resource_type(kind).set_tags(Some(to_tags(&wanted.tags))).build()
    };
    let named = |name: &String| LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(name).build();
    RequestLaunchTemplateData::builder()
        .image_id(&wanted.spec.image.0)
        .instance_type(InstanceType::from(wanted.spec.instance_type.as_str()))
        .user_data(STANDARD.encode(&wanted.spec.user_data))
        .set_security_group_ids(Some(wanted.security_groups.clone()))
        .set_iam_instance_profile(wanted.instance_profile.as_ref().map(named))
        .metadata_options(metadata)
        .tag_specifications(tagged(ResourceType::Instance))
        .tag_specifications(tagged(ResourceType::Volume))
        .build()
}

fn info(found: types::LaunchTemplate) -> Option<TemplateInfo> {
    Some(TemplateInfo {
        template: Template { id: found.launch_template_id?, name: found.launch_template_name? },
        version: found.default_version_number.unwrap_or(1),
        tags: from_tags(found.tags),
    })
}
