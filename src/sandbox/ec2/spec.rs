//! What a machine is to be like, as `RunInstances` and launch templates say it: one reader for both, and how one overrides the other.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::instances::{LaunchRequest, MetadataOptions, OnShutdown};
use super::tags::{Tags, read_specifications, tag_set};
use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf, list};

/// Everything a launch template version may hold; all optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spec {
    pub image: Option<String>,
    pub kind: Option<String>,
    pub groups: Vec<String>,
    pub profile: Option<String>,
    pub user_data: Option<Vec<u8>>,
    pub on_shutdown: Option<OnShutdown>,
    pub tokens_required: Option<bool>,
    pub metadata_tags: Option<bool>,
    pub hop_limit: Option<u8>,
    /// By resource type.
    pub tags: BTreeMap<String, Tags>,
    /// Kept as they came: machines of the sandbox have no disks to size.
    pub block_devices: Vec<Params>,
}

/// The parameters [`Spec::read`] understands.
pub(super) const KNOWN: [&str; 10] = [
    "ImageId",
    "InstanceType",
    "SecurityGroupId",
    "IamInstanceProfile",
    "UserData",
    "InstanceInitiatedShutdownBehavior",
    "MetadataOptions",
    "TagSpecification",
    "BlockDeviceMapping",
    "EbsOptimized",
];

/// As long as user data may be before it is encoded.
const USER_DATA_LIMIT: usize = 16 * 1024;

impl Spec {
    /// Reads a `RunInstances` call or a template's data.
    pub fn read(params: &Params) -> Result<Self, AwsError> {
        let metadata = params.child("MetadataOptions");
        metadata.only("MetadataOptions", &["HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "InstanceMetadataTags"])?;
        if metadata.get("HttpEndpoint") == Some("disabled") {
            return Err(AwsError::unsupported("machines without a metadata service"));
        }
        let text = |name: &str| params.get(name).map(str::to_string);
        Ok(Self {
            image: text("ImageId"),
            kind: text("InstanceType"),
            groups: params.texts("SecurityGroupId").into_iter().map(str::to_string).collect(),
            profile: profile(params.child("IamInstanceProfile")),
            user_data: params.get("UserData").map(user_data).transpose()?,
            on_shutdown: params.get("InstanceInitiatedShutdownBehavior").map(on_shutdown).transpose()?,
            tokens_required: metadata.get("HttpTokens").map(|text| one_of("HttpTokens", text, "required", "optional")).transpose()?,
            metadata_tags: metadata
                .get("InstanceMetadataTags")
                .map(|text| one_of("InstanceMetadataTags", text, "enabled", "disabled"))
                .transpose()?,
            hop_limit: metadata.number("HttpPutResponseHopLimit")?.map(hop_limit).transpose()?,
            tags: read_specifications(params, &["instance", "volume", "network-interface"])?,
            block_devices: params.list("BlockDeviceMapping").into_iter().cloned().collect(),
        })
    }

    /// This one, with the other's answers where it has none: a call overrides its launch template.
    pub fn over(self, under: &Spec) -> Spec {
        let mut tags = under.tags.clone();
        for (kind, more) in self.tags {
            tags.entry(kind).or_default().extend(more);
        }
        let or = |over: Option<String>, under: &Option<String>| over.or_else(|| under.clone());
        Spec {
            image: or(self.image, &under.image),
            kind: or(self.kind, &under.kind),
            groups: if self.groups.is_empty() { under.groups.clone() } else { self.groups },
            profile: or(self.profile, &under.profile),
            user_data: self.user_data.or_else(|| under.user_data.clone()),
            on_shutdown: self.on_shutdown.or(under.on_shutdown),
            tokens_required: self.tokens_required.or(under.tokens_required),
            metadata_tags: self.metadata_tags.or(under.metadata_tags),
            hop_limit: self.hop_limit.or(under.hop_limit),
            tags,
            block_devices: if self.block_devices.is_empty() { under.block_devices.clone() } else { self.block_devices },
        }
    }

    /// A launch, still without a subnet.
    pub fn launch_request(&self) -> Result<LaunchRequest, AwsError> {
        let missing = |name: &str| AwsError::bad("MissingParameter", format!("The request must contain the parameter {name}"));
        Ok(LaunchRequest {
            image: self.image.clone().ok_or_else(|| missing("ImageId"))?,
            // What EC2 itself takes when a request names no type.
            kind: self.kind.clone().unwrap_or_else(|| "m1.small".to_string()),
            subnet: String::new(),
            groups: self.groups.clone(),
            profile: self.profile.clone(),
            user_data: self.user_data.clone().unwrap_or_default(),
            on_shutdown: self.on_shutdown.unwrap_or_default(),
            metadata: MetadataOptions {
                tokens_required: self.tokens_required.unwrap_or(false),
                tags: self.metadata_tags.unwrap_or(false),
                hop_limit: self.hop_limit.unwrap_or(1),
            },
            tags: self.tags.get("instance").cloned().unwrap_or_default(),
            token: None,
            spot: false,
        })
    }

    /// As `DescribeLaunchTemplateVersions` shows it.
    pub fn render(&self) -> Node {
        let mut fields = Vec::new();
        let mut text = |name: &str, value: &Option<String>| fields.extend(value.as_ref().map(|value| leaf(name, value)));
        text("imageId", &self.image);
        text("instanceType", &self.kind);
        text("userData", &self.user_data.as_ref().map(|data| BASE64.encode(data)));
        text("instanceInitiatedShutdownBehavior", &self.on_shutdown.map(|behaviour| behaviour.name().to_string()));
        if let Some(profile) = &self.profile {
            fields.push(branch("iamInstanceProfile", [leaf("name", profile)]));
        }
        if !self.groups.is_empty() {
            fields.push(branch("securityGroupIdSet", self.groups.iter().map(|group| leaf("item", group))));
        }
        let metadata: Vec<Node> = [
            self.tokens_required.map(|required| leaf("httpTokens", if required { "required" } else { "optional" })),
            self.hop_limit.map(|limit| leaf("httpPutResponseHopLimit", limit)),
            self.metadata_tags.map(|on| leaf("instanceMetadataTags", if on { "enabled" } else { "disabled" })),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !metadata.is_empty() {
            fields.push(branch("metadataOptions", metadata));
        }
        if !self.tags.is_empty() {
            let one = |(kind, tags): (&String, &Tags)| vec![leaf("resourceType", kind), tag_set(tags)];
            fields.push(list("tagSpecificationSet", "item", self.tags.iter().map(one)));
        }
        if !self.block_devices.is_empty() {
            fields.push(branch("blockDeviceMappingSet", self.block_devices.iter().map(|device| mirror("item", device))));
        }
        branch("launchTemplateData", fields)
    }
}

/// Sent parameters as an answer shows them: same names with a small first letter.
fn mirror(name: &str, params: &Params) -> Node {
    match params.text() {
        Some(text) => leaf(name, text),
        None => branch(name, params.names().map(|child| mirror(&small_first(child), params.child(child)))),
    }
}

fn small_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn profile(params: &Params) -> Option<String> {
    let from_arn = params.get("Arn").and_then(|arn| arn.rsplit('/').next());
    params.get("Name").or(from_arn).map(str::to_string)
}

fn user_data(text: &str) -> Result<Vec<u8>, AwsError> {
    let bad = || AwsError::bad("InvalidParameterValue", "Invalid BASE64 encoding of user data");
    let data = BASE64.decode(text.trim()).map_err(|_| bad())?;
    if data.len() > USER_DATA_LIMIT {
        return Err(AwsError::bad("InvalidParameterValue", format!("User data is limited to {USER_DATA_LIMIT} bytes")));
    }
    Ok(data)
}

fn on_shutdown(text: &str) -> Result<OnShutdown, AwsError> {
    one_of("InstanceInitiatedShutdownBehavior", text, "terminate", "stop")
        .map(|end| if end { OnShutdown::Terminate } else { OnShutdown::Stop })
}

fn one_of(name: &str, text: &str, yes: &str, no: &str) -> Result<bool, AwsError> {
    let bad = || AwsError::bad("InvalidParameterValue", format!("Value ({text}) for parameter {name} is invalid."));
    if text == yes || text == no { Ok(text == yes) } else { Err(bad()) }
}

fn hop_limit(number: i64) -> Result<u8, AwsError> {
    let bad = || AwsError::bad("InvalidParameterValue", format!("HttpPutResponseHopLimit {number} is not between 1 and 64"));
    u8::try_from(number).ok().filter(|limit| (1..=64).contains(limit)).ok_or_else(bad)
}
