//! What the load balancers of one account and Region consist of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::actions::Action;
use super::conditions::Condition;
use super::spread::Nodes;
use super::traffic::Traffic;
use crate::sandbox::balancer::Sockets;

/// Tags of one resource.
pub(super) type Tags = BTreeMap<String, String>;

/// An Application Load Balancer.
#[derive(Clone)]
pub(in crate::sandbox) struct LoadBalancer {
    pub arn: String,
    pub name: String,
    /// Its own loopback address; as text it is the DNS name.
    pub address: IpAddr,
    pub scheme: String,
    pub vpc: String,
    /// (Availability Zone, subnet).
    pub zones: Vec<(String, String)>,
    pub security_groups: Vec<String>,
    pub created: jiff::Timestamp,
    /// `provisioning` until then.
    pub active_at: Duration,
    pub attributes: Tags,
    pub tags: Tags,
    /// What each of its nodes believes about the rules.
    pub nodes: Nodes,
    /// Answers it gave itself because it had nobody to ask: 502, 503, 504.
    pub refused: BTreeMap<u16, u64>,
}

/// A listener.
#[derive(Clone)]
pub(in crate::sandbox) struct Listener {
    pub arn: String,
    pub load_balancer: String,
    pub protocol: String,
    pub port: u16,
    pub certificate: Option<String>,
    pub ssl_policy: Option<String>,
    pub tags: Tags,
    pub visible_at: Duration,
    /// Open sockets, where machines are real.
    pub sockets: Option<Arc<Sockets>>,
}

/// A rule; a listener's default rule has no priority.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Rule {
    pub arn: String,
    pub listener: String,
    pub priority: Option<u16>,
    pub conditions: Vec<Condition>,
    pub action: Action,
    pub tags: Tags,
    pub visible_at: Duration,
}

/// How targets are checked, as sent and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HealthCheck {
    pub protocol: String,
    /// None: the port traffic goes to.
    pub port: Option<u16>,
    pub path: String,
    pub interval: u32,
    pub timeout: u32,
    pub healthy: u32,
    pub unhealthy: u32,
    /// `200`, `200-299`, `200,302`.
    pub matcher: String,
}

/// A target group of type `instance`.
#[derive(Clone)]
pub(in crate::sandbox) struct TargetGroup {
    pub arn: String,
    pub name: String,
    pub protocol: String,
    pub port: u16,
    pub vpc: String,
    pub(super) check: HealthCheck,
    pub attributes: Tags,
    pub tags: Tags,
    /// By instance and port.
    pub targets: BTreeMap<TargetKey, Target>,
    /// Round robin: who is next.
    pub turn: usize,
    pub traffic: Traffic,
}

/// An instance and the port it is registered with.
pub(in crate::sandbox) type TargetKey = (String, u16);

/// A registered or leaving target.
pub(in crate::sandbox) struct Target {
    /// While leaving: until when.
    pub draining_until: Option<Duration>,
    pub checks: Checks,
    /// Requests under way hold a receiver; when the target leaves, the sender goes and they are cut, as AWS does after the delay.
    pub presence: Arc<watch::Sender<()>>,
}

/// What the load balancer knows of a target from its own checks.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Checks {
    pub verdict: Option<Verdict>,
    pub passed: u32,
    pub failed: u32,
    /// None while the target is not checked at all.
    pub next_at: Option<Duration>,
    /// No check has been sent yet.
    pub unsent: bool,
    pub under_way: bool,
    /// Answers to checks of an earlier registration are not ours.
    pub epoch: u64,
}

/// The outcome of checks so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Verdict {
    Healthy,
    Unhealthy { reason: &'static str, description: String },
}

/// Nobody's request is under way at a copy.
impl Clone for Target {
    fn clone(&self) -> Self {
        Self { draining_until: self.draining_until, checks: self.checks.clone(), ..Self::new(self.checks.epoch) }
    }
}

impl Target {
    /// Just registered; nothing known.
    pub fn new(epoch: u64) -> Self {
        let (presence, _) = watch::channel(());
        Self { draining_until: None, checks: Checks { epoch, unsent: true, ..Checks::default() }, presence: Arc::new(presence) }
    }
}

/// State of ELBv2 in one account and Region, each kind by ARN.
#[derive(Clone, Default)]
pub(in crate::sandbox) struct Elbv2 {
    pub(in crate::sandbox) load_balancers: BTreeMap<String, LoadBalancer>,
    pub(in crate::sandbox) listeners: BTreeMap<String, Listener>,
    pub(in crate::sandbox) rules: BTreeMap<String, Rule>,
    pub(in crate::sandbox) target_groups: BTreeMap<String, TargetGroup>,
    pub(super) epoch: u64,
}

impl Elbv2 {
    /// Rules of a listener in the order they are tried, the default rule last.
    pub fn rules_of(&self, listener: &str) -> Vec<&Rule> {
        let mut rules: Vec<&Rule> = self.rules.values().filter(|rule| rule.listener == listener).collect();
        rules.sort_by_key(|rule| rule.priority.unwrap_or(u16::MAX));
        rules
    }

    /// Listeners of a load balancer, by port.
    pub fn listeners_of(&self, load_balancer: &str) -> Vec<&Listener> {
        let mut listeners: Vec<&Listener> = self.listeners.values().filter(|listener| listener.load_balancer == load_balancer).collect();
        listeners.sort_by_key(|listener| listener.port);
        listeners
    }

    /// ARNs of the load balancers with a rule that names the target group (AWS allows one).
    pub fn used_by(&self, target_group: &str) -> BTreeSet<&str> {
        let naming = self.rules.values().filter(|rule| rule.action.names(target_group));
        naming.filter_map(|rule| Some(self.listeners.get(&rule.listener)?.load_balancer.as_str())).collect()
    }

    /// A number never used before.
    pub(super) fn next_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }
}
