//! One environment as `adstage.toml` describes it, checked: everything the planner needs to know that is not observed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AppName, CapacityKind, EnvironmentName, Hooks, Purchases, RepositoryName, Scaling, Seconds, SecretReference, ServiceName, TimedCommand,
    Watching,
};

/// A named place with its own config, lock and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The company's app.
    pub app: AppName,
    /// This environment's name.
    pub name: EnvironmentName,
    /// The 12-digit AWS account it lives in; the caller's must be the same.
    pub account: String,
    /// The AWS Region.
    pub region: String,
    /// The AWS profile to use when neither `--profile` nor `AWS_PROFILE` says otherwise.
    pub profile: Option<String>,
    /// The DynamoDB table of locks and records.
    pub state_table: String,
    /// What an operator must answer before a change.
    pub confirm: Confirm,
    /// Subnet ids instances are launched into, at least one.
    pub subnets: Vec<String>,
    /// Security group ids of the instances.
    pub security_groups: Vec<String>,
    /// Name of the IAM instance profile, if instances need one.
    pub instance_profile: Option<String>,
    /// The load balancer in front of it.
    pub load_balancer: LoadBalancer,
    /// The services that run here, in the order of the file; never empty.
    pub services: Vec<Service>,
    /// How long each part of a deploy may take.
    pub timing: DeployTiming,
    /// Commands of the company's own that run on the operator's machine.
    pub hooks: Hooks,
}

impl Environment {
    /// What its services are launched as.
    pub fn purchases(&self) -> Purchases {
        let mut wanted = Purchases::new();
        for service in &self.services {
            let kinds = CapacityKind::ALL.into_iter().filter(|kind| kind.is_on_demand() || service.spot > 0);
            for kind in kinds {
                let types = std::iter::once(&service.instance_type).chain(&service.other_types);
                wanted.extend(types.map(|instance_type| (instance_type.clone(), kind)));
            }
        }
        wanted
    }
}

/// What an operator must answer before a change to an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirm {
    /// Nothing.
    None,
    /// y or n.
    Yes,
    /// The environment's name, typed.
    Name,
}

impl Confirm {
    /// What is asked where a yes is enough even if deploys want the name.
    pub fn at_most_a_yes(self) -> Self {
        if self == Self::None { Self::None } else { Self::Yes }
    }
}

/// The Application Load Balancer of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancer {
    /// Its name, at most 32 characters.
    pub name: String,
    /// Reachable from the internet or only from inside.
    pub scheme: Scheme,
    /// Its subnets (AWS wants two Availability Zones).
    pub subnets: Vec<String>,
    /// Its security groups.
    pub security_groups: Vec<String>,
    /// The listener visitors use.
    pub listener: Listener,
}

/// Where a load balancer can be reached from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// From anywhere.
    InternetFacing,
    /// From inside the network only.
    Internal,
}

/// The listener visitors use: plain HTTP, or HTTPS when there is a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// TCP port.
    pub port: u16,
    /// ARN of the ACM certificate; HTTPS if given, HTTP if not.
    pub certificate: Option<String>,
}

/// One service as an environment runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// The repository whose folder it runs in.
    pub repository: RepositoryName,
    /// The command, given to `sh -c`.
    pub run: String,
    /// The port visitors' requests go to; none for a worker.
    pub port: Option<u16>,
    /// Path that answers 200 when the service is well; unused without a port.
    pub health_path: String,
    /// Variables for the process: the service's own, overlaid with the environment's.
    pub variables: BTreeMap<String, String>,
    /// Secrets of the process, by variable: only where they are kept.
    pub secrets: BTreeMap<String, SecretReference>,
    /// Run once per release before its first visitor, on one instance.
    pub release_command: Option<TimedCommand>,
    /// How visitors reach it; none for a worker.
    pub route: Option<Route>,
    /// EC2 instance type.
    pub instance_type: String,
    /// Types to take where there is no capacity of that one, in this order.
    pub other_types: Vec<String>,
    /// How many percent of its instances are spot.
    pub spot: u32,
    /// Instances a first release starts with; later ones start from what is live.
    pub instances: u32,
    /// The most instances its group may grow to.
    pub max_instances: u32,
    /// What its groups follow by themselves while it is live.
    pub scaling: Option<Scaling>,
    /// How long its process may take to finish what it has, once told to stop.
    pub grace: Seconds,
    /// Of a worker: a new release works from its first moment, beside the old one, instead of being held until the cutover.
    pub overlap: bool,
}

impl Service {
    /// A worker whose new release is held until the cutover makes it active.
    pub fn held(&self) -> bool {
        self.route.is_none() && !self.overlap
    }
}

/// The rule on the load balancer that leads visitors to a service. Its priority is its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Priority on the listener, 1 to 50000, unique in the environment.
    pub priority: u16,
    /// Host names, empty for any.
    pub hosts: Vec<String>,
    /// Path patterns such as `/admin/*`, empty for any.
    pub paths: Vec<String>,
}

/// How the load balancer checks instances, and the spans a deploy waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployTiming {
    /// The load balancer's own checks.
    pub health: HealthCheck,
    /// From launch until every candidate instance must be healthy.
    pub healthy_within: Seconds,
    /// How long they must have stayed so.
    pub stable_for: Seconds,
    /// How long the new live fleet is observed after the cutover.
    pub watch: Seconds,
    /// How long the load balancer lets connections to a leaving instance end (0 to 3600 s).
    pub drain: Seconds,
    /// How many earlier releases stay running at weight 0, 0 to 3.
    pub keep_warm: u32,
    /// The least a candidate must have of the live fleet's vCPUs and memory, in percent.
    pub min_capacity: u32,
    /// How visitors come to a new release, and what it is held to then.
    pub watching: Watching,
}

/// Health checks of a target group (*Health checks for your target groups*).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Between two checks, 5 to 300 s.
    pub interval: Seconds,
    /// Per check, 2 to 120 s, less than the interval.
    pub timeout: Seconds,
    /// Checks in a row to become healthy again, 2 to 10.
    pub healthy_count: u32,
    /// Failures in a row to become unhealthy, 2 to 10.
    pub unhealthy_count: u32,
}

/// What the unified image is made from and where it is baked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// The base AMI.
    pub base: String,
    /// Instance type of the builder and of the proof boot.
    pub instance_type: String,
    /// Shell command run on the builder first (system packages, the adstage binary itself).
    pub setup: Option<String>,
    /// After this long a builder shuts itself down whatever happens.
    pub time_limit: Seconds,
    /// The environment whose account, Region, subnets and security groups it uses.
    pub environment: EnvironmentName,
    /// Every repository of the company, by name.
    pub repositories: BTreeMap<RepositoryName, Repository>,
}

/// One git repository on the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Where to clone it from.
    pub source: Source,
    /// Branch, tag or commit when a bake names no other.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Shell command run in its folder after checkout.
    pub build: Option<String>,
}

/// Where a repository is cloned from: anything `git clone` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A URL.
    Url(String),
    /// A folder on the builder itself (in the sandbox: on this machine), absolute.
    Path(String),
}
