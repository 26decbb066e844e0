//! EC2: instances here; images, launch templates and the network beside it.

mod images;
mod network;
mod sharing;
mod templates;

pub use network::{InstanceTypeInfo, SubnetInfo};
pub use sharing::CopySpec;
pub use templates::{NewTemplate, TemplateInfo};

use aws_sdk_ec2::types::{
    self, Filter, HttpTokensState, IamInstanceProfileSpecification, InstanceMetadataOptionsRequest, InstanceMetadataTagsState,
    InstanceStateName, InstanceType, ResourceType, ShutdownBehavior, Tag, TagSpecification,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::clients::{pages, patient, service};
use super::retry::Repeat;
use super::{Error, ErrorKind, Tags};

service! {
    /// EC2.
    Ec2, aws_sdk_ec2
}

/// One instance to launch by itself (a builder, a proof).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSpec {
    /// The image.
    pub image: String,
    /// The type.
    pub instance_type: String,
    /// The subnet.
    pub subnet: String,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// Name of its IAM instance profile, if it needs one.
    pub instance_profile: Option<String>,
    /// User data before base64.
    pub user_data: String,
    /// Tags of the instance and its volumes.
    pub tags: Tags,
    /// The client token: the same one again makes no second instance.
    pub token: String,
}

/// An instance as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceInfo {
    /// Id.
    pub id: String,
    /// State.
    pub state: InstanceState,
    /// Why it is in that state, if AWS says: code and message.
    pub reason: Option<(String, String)>,
    /// Its image.
    pub image: String,
    /// Its type.
    pub instance_type: String,
    /// Spot capacity: AWS may take it back.
    pub spot: bool,
    /// Its subnet, as long as it has one.
    pub subnet: Option<String>,
    /// Private IPv4 address, once it has one.
    pub address: Option<String>,
    /// When it was launched, RFC 3339.
    pub launched: String,
    /// Tags.
    pub tags: Tags,
}

/// The states an instance goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Being started.
    Pending,
    /// The machine runs; says nothing of what is on it.
    Running,
    /// Being stopped.
    Stopping,
    /// Can be started again.
    Stopped,
    /// Being terminated.
    ShuttingDown,
    /// Gone; still listed for a while.
    Terminated,
}

impl InstanceState {
    /// EC2's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }

    /// It ended, or is about to, for good.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

impl Ec2 {
    /// Launches one instance, which terminates itself when it shuts itself down. Repeatable with the same token.
    pub async fn run_one_instance(&self, spec: &RunSpec) -> Result<String, Error> {
        const ACTION: &str = "RunInstances";
        let limits = aws_sdk_ec2::config::Builder::new().timeout_config(patient());
        let metadata = InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Required);
        let metadata = metadata.instance_metadata_tags(InstanceMetadataTagsState::Enabled).build();
        let profile = spec.instance_profile.as_ref().map(|name| IamInstanceProfileSpecification::builder().name(name).build());
        let tags = [ResourceType::Instance, ResourceType::Volume].map(|kind| specification(kind, &spec.tags));
        let call = || {
            let request = self.client().run_instances().image_id(&spec.image).min_count(1).max_count(1).client_token(&spec.token);
            let request = request.instance_type(InstanceType::from(spec.instance_type.as_str())).subnet_id(&spec.subnet);
            let request = request.set_security_group_ids(Some(spec.security_groups.clone())).set_iam_instance_profile(profile.clone());
            let request = request.user_data(STANDARD.encode(&spec.user_data)).metadata_options(metadata.clone());
            let request = request.instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate);
            request.set_tag_specifications(Some(tags.to_vec())).customize().config_override(limits.clone()).send()
        };
        let made = self.link.call(ACTION, Repeat::Safe, call).await?;
        let first = made.instances.unwrap_or_default().into_iter().find_map(|instance| instance.instance_id);
        first.ok_or_else(|| Error::incomplete(ACTION, "instance id"))
    }

    /// The instances that carry all these tags, terminated ones included as long as AWS lists them.
    pub async fn instances_tagged(&self, tags: &Tags) -> Result<Vec<InstanceInfo>, Error> {
        self.instances(tag_filters(tags)).await
    }

    /// Every instance of the account and Region that runs or is about to.
    pub async fn instances_running(&self) -> Result<Vec<InstanceInfo>, Error> {
        self.instances(vec![filter("instance-state-name", &["pending".to_string(), "running".to_string()])]).await
    }

    /// The instances of these ids that exist (yet).
    pub async fn instances_by_id(&self, ids: &[String]) -> Result<Vec<InstanceInfo>, Error> {
        let mut found = Vec::new();
        // As a filter, not as ids: an id that is not visible yet would fail the whole call.
        for batch in ids.chunks(200) {
            found.extend(self.instances(vec![filter("instance-id", batch)]).await?);
        }
        Ok(found)
    }

    async fn instances(&self, filters: Vec<Filter>) -> Result<Vec<InstanceInfo>, Error> {
        let filters = &filters;
        let found = pages(|token| async move {
            let call = || {
                let request = self.client().describe_instances().max_results(1000).set_next_token(token.clone());
                request.set_filters(Some(filters.clone())).send()
            };
            let page = self.link.call("DescribeInstances", Repeat::Safe, call).await?;
            Ok((page.reservations.unwrap_or_default(), page.next_token))
        })
        .await?;
        Ok(found.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default()).filter_map(info).collect())
    }

    /// Stops an instance; its disk stays.
    pub async fn stop(&self, instance: &str) -> Result<(), Error> {
        let call = || self.client().stop_instances().instance_ids(instance).send();
        self.link.call("StopInstances", Repeat::Safe, call).await.map(drop)
    }

    /// Terminates an instance; one that is gone is fine.
    pub async fn terminate(&self, instance: &str) -> Result<(), Error> {
        let call = || self.client().terminate_instances().instance_ids(instance).send();
        match self.link.call("TerminateInstances", Repeat::Safe, call).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The last 64 KiB of an instance's console; empty if there is nothing yet.
    pub async fn console(&self, instance: &str) -> Result<String, Error> {
        let read = |latest: bool| async move {
            let call = || self.client().get_console_output().instance_id(instance).latest(latest).send();
            self.link.call("GetConsoleOutput", Repeat::Safe, call).await
        };
        let answer = match read(true).await {
            // Instance types that are not on Nitro only have the console as of the last boot or stop.
            Err(error) if error.kind == ErrorKind::Invalid || error.code == "UnsupportedOperation" => read(false).await?,
            Err(error) if error.is_not_found() => return Ok(String::new()),
            answer => answer?,
        };
        let bytes = STANDARD.decode(answer.output.unwrap_or_default().trim()).unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sets tags on instances, images, snapshots or templates, overwriting those of the same key.
    pub async fn create_tags(&self, resources: &[String], tags: &Tags) -> Result<(), Error> {
        let call = || self.client().create_tags().set_resources(Some(resources.to_vec())).set_tags(Some(to_tags(tags))).send();
        self.link.call("CreateTags", Repeat::Safe, call).await.map(drop)
    }
}

fn filter(name: &str, values: &[String]) -> Filter {
    Filter::builder().name(name).set_values(Some(values.to_vec())).build()
}

fn tag_filters(tags: &Tags) -> Vec<Filter> {
    tags.iter().map(|(key, value)| filter(&format!("tag:{key}"), std::slice::from_ref(value))).collect()
}

fn to_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn from_tags(tags: Option<Vec<Tag>>) -> Tags {
    tags.unwrap_or_default().into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect()
}

fn specification(kind: ResourceType, tags: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(to_tags(tags))).build()
}

fn info(found: types::Instance) -> Option<InstanceInfo> {
    let state = match found.state?.name? {
        InstanceStateName::Running => InstanceState::Running,
        InstanceStateName::Stopping => InstanceState::Stopping,
        InstanceStateName::Stopped => InstanceState::Stopped,
        InstanceStateName::ShuttingDown => InstanceState::ShuttingDown,
        InstanceStateName::Terminated => InstanceState::Terminated,
        _ => InstanceState::Pending,
    };
    let reason = found.state_reason.map(|reason| (reason.code.unwrap_or_default(), reason.message.unwrap_or_default()));
    Some(InstanceInfo {
        id: found.instance_id?,
        state,
        reason: reason.filter(|(code, _)| !code.is_empty()),
        image: found.image_id.unwrap_or_default(),
        instance_type: found.instance_type.map(|kind| kind.as_str().to_string()).unwrap_or_default(),
        spot: found.instance_lifecycle == Some(types::InstanceLifecycleType::Spot),
        subnet: found.subnet_id,
        address: found.private_ip_address,
        launched: found
            .launch_time
            .and_then(|time| jiff::Timestamp::from_second(time.secs()).ok())
            .map(|time| time.to_string())
            .unwrap_or_default(),
        tags: from_tags(found.tags),
    })
}
