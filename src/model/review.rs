//! Review boxes: the whole company on one instance, at any mix of versions, for as long as its owner wants it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    AppName, BackingName, BoxName, CapacityKind, Environment, ImageId, Purchases, RepositoryName, Route, Seconds, Service, ServiceName,
    TargetHealth, short_name,
};

/// What boxes are called together: the environment that names their load balancer and their tags.
pub const REVIEW: &str = "review";

/// Review boxes as `adstage.toml` describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Where boxes live: the account, Region and subnets of the environment they are like, but their own name ([`REVIEW`]), security
    /// groups and load balancer, and of its services only the programs and routes, none of the variables.
    pub environment: Environment,
    /// A box `blue` is reached at `blue.<domain>`.
    pub domain: String,
    /// EC2 instance type of a box.
    pub instance_type: String,
    /// How long a box lives if nobody says otherwise.
    pub ttl: Seconds,
    /// From launch until every service must be healthy: checkouts and builds happen meanwhile.
    pub ready_within: Seconds,
    /// What every box has for itself, by name.
    pub backing: BTreeMap<BackingName, Backing>,
    /// What must be up before each service starts: names of backing stores and services. No circles.
    pub needs: BTreeMap<ServiceName, Vec<String>>,
    /// The command that opens a shell on a box; placeholders `{instance}`, `{address}`, `{region}`, `{box}`.
    pub shell: Vec<String>,
    /// The command that runs one command on a box; also `{command}` (one text for a shell) and `{command-json}` (SSM's parameters).
    pub run: Vec<String>,
    /// Shell command run on a box before it is captured as an image.
    pub clean: Option<String>,
}

impl Review {
    /// What a box is launched as.
    pub fn purchases(&self) -> Purchases {
        Purchases::from([(self.instance_type.clone(), CapacityKind::OnDemand)])
    }

    /// The host by which each service with a route is reached on a box, in the order of the routes' priorities. Routes that ask for the
    /// same hosts in the environment boxes are like share one here; the first of them have `BOX.domain`, others `BOX--SERVICE.domain`.
    pub fn hosts(&self, name: &BoxName) -> Vec<(&Service, &Route, String)> {
        let mut routed: Vec<_> = self.environment.services.iter().filter_map(|one| Some((one, one.route.as_ref()?))).collect();
        routed.sort_by_key(|(_, route)| route.priority);
        let mut known: BTreeMap<&[String], String> = BTreeMap::new();
        let mut named = Vec::new();
        for (service, route) in routed {
            let first = known.is_empty();
            let host = known.entry(&route.hosts).or_insert_with(|| match first {
                true => format!("{name}.{}", self.domain),
                false => format!("{name}--{}.{}", service.name, self.domain),
            });
            named.push((service, route, host.clone()));
        }
        named
    }

    /// Where people find a host of a box.
    pub fn url(&self, host: &str) -> String {
        let listener = &self.environment.load_balancer.listener;
        let (scheme, usual) = if listener.certificate.is_some() { ("https", 443) } else { ("http", 80) };
        if listener.port == usual { format!("{scheme}://{host}/") } else { format!("{scheme}://{host}:{}/", listener.port) }
    }
}

/// How long a store may take no requests, if nobody says otherwise.
pub const BACKING_READY_WITHIN: Seconds = Seconds(120);

/// A store every box has for itself: a database, a queue. Its data is on the box and goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backing {
    /// The command that runs it in the foreground, given to `sh -c`. `$DATA` is its folder on the box, `$HOST` the box's address.
    pub run: String,
    /// Succeeds once it takes requests.
    pub ready: String,
    /// Run once before its first start, to fill the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<String>,
    /// The user of the machine all three run as; none: the agent's own. Databases refuse to be root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How long it may take no requests before that counts as a failure; none: [`BACKING_READY_WITHIN`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_within: Option<Seconds>,
    /// Variables of its process.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

/// A review box as observed. Each part may be missing: its creation may have been cut short anywhere, or its fuse has burnt down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReviewBox {
    /// Which.
    pub name: BoxName,
    /// Its instance, unless that is gone.
    pub instance: Option<BoxInstance>,
    /// ARNs of its rules.
    pub rules: Vec<String>,
    /// Its target groups: by service, and under no name the agent's, which is healthy when everything on the box is.
    pub target_groups: Vec<BoxTargetGroup>,
}

/// The instance of a box, as EC2 and its tags tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoxInstance {
    /// Instance id.
    pub id: String,
    /// EC2's word: `pending`, `running`, `stopped`, ….
    pub state: String,
    /// Private IPv4 address.
    pub address: Option<String>,
    /// Its type.
    pub instance_type: String,
    /// The image it was launched from.
    pub image: ImageId,
    /// Whose it is.
    pub owner: String,
    /// When it was launched, RFC 3339.
    pub launched: String,
    /// When its fuse burns down, RFC 3339.
    pub expires: String,
    /// The commit each repository was asked to be at.
    pub commits: BTreeMap<RepositoryName, String>,
    /// The branch or tag that was asked for, where it is not as on the image.
    pub asked: BTreeMap<RepositoryName, String>,
    /// Somebody has looked at it and found it good.
    pub approved: Option<Approval>,
}

/// Somebody approved what a box runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub who: String,
    /// When, RFC 3339.
    pub at: String,
    /// Of which commits ([`commits_hash`]).
    pub commits: String,
}

impl Approval {
    /// As the value of a tag: hash of the commits, when, who.
    pub fn tag(&self) -> String {
        format!("{} {} {}", self.commits, self.at, self.who)
    }

    /// Reads what [`tag`](Self::tag) wrote.
    pub fn of_tag(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ').map(ToString::to_string);
        let (commits, at, who) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { who, at, commits })
    }
}

/// The first 12 hex digits of the hash of these commits: which mix of versions was approved.
pub fn commits_hash(commits: &BTreeMap<RepositoryName, String>) -> String {
    let text: String = commits.iter().map(|(name, commit)| format!("{name}={commit}\n")).collect();
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// One target group of a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoxTargetGroup {
    /// The service it leads to; none for the agent's.
    pub service: Option<ServiceName>,
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// The load balancer's verdict on the box.
    #[serde(skip)]
    pub targets: Vec<TargetHealth>,
}

/// What `adstage agent inspect` says on a box: what is really there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Commit of each repository as checked out now.
    pub commits: BTreeMap<RepositoryName, String>,
    /// Files that differ from that commit or are unknown to git, by repository; repositories without any are left out.
    pub dirty: BTreeMap<RepositoryName, Vec<String>>,
    /// Every service, and why it is not well if it is not.
    pub services: BTreeMap<ServiceName, Option<String>>,
}

/// Name of a box's target group, at most 32 characters; no service: the agent's.
pub fn box_target_group(app: &AppName, name: &BoxName, service: Option<&ServiceName>) -> String {
    let service = service.map_or("agent", ServiceName::as_str);
    short_name(&format!("{app}-{REVIEW}-{name}-{service}"))
}
