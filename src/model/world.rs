//! Everything observed at a time: what is (load balancer, groups) and what was meant (records).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Fleet, Image, ImageId, ImageUse, OperationId, Outcome, Release, ReleaseNumber, Resource, ReviewBox, Room, Rule, RuleAction, RuleKey,
    ServiceName, Verdict, Weights,
};

/// One environment at one moment. Built by `observe`, read by `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World {
    /// ARN of the environment's listener; none before `adstage setup`.
    pub listener: Option<String>,
    /// Address of the load balancer, for people: `http://name:port`.
    pub address: Option<String>,
    /// The listener's rules.
    pub rules: Vec<Rule>,
    /// Every fleet of this environment, found by tag or name, oldest release first.
    pub fleets: Vec<Fleet>,
    /// The app's images in this account and Region, newest first; empty when the command has no use for them.
    pub images: Vec<Image>,
    /// What the environments of this account and Region have images for; empty when the command has no use for it.
    pub uses: Vec<ImageUse>,
    /// ARNs of what refers to an image; empty when the command has no use for it.
    pub references: BTreeMap<ImageId, Vec<String>>,
    /// The newest version of whatever the environment's secrets are kept in, by its place ([`super::SecretReference::place`]), if it is there.
    pub secrets: BTreeMap<String, String>,
    /// Review boxes; empty when the command is not about any.
    pub boxes: Vec<ReviewBox>,
    /// What there is room for; none unless something is to be launched.
    pub room: Option<Room>,
    /// What the state table says.
    pub records: Records,
}

impl World {
    /// The rule of a route, by its priority.
    pub fn rule(&self, key: &RuleKey) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.priority == Some(key.priority))
    }

    /// A rule's weights by release. `None`: the rule is missing, or forwards to something that is no fleet of this environment.
    pub fn weights(&self, key: &RuleKey) -> Option<Weights> {
        match &self.rule(key)?.action {
            RuleAction::Fixed(_) => Some(Weights::default()),
            RuleAction::Foreign(_) => None,
            RuleAction::Forward(groups) => {
                groups.iter().map(|(name, weight)| Some((self.release_of(name)?, *weight))).collect::<Option<_>>().map(Weights)
            }
        }
    }

    fn release_of(&self, target_group: &str) -> Option<ReleaseNumber> {
        let named = |fleet: &&Fleet| fleet.target_group.as_ref().is_some_and(|group| group.name == target_group);
        self.fleets.iter().find(named).map(|fleet| fleet.key.release)
    }

    /// One fleet.
    pub fn fleet(&self, service: &ServiceName, release: ReleaseNumber) -> Option<&Fleet> {
        self.fleets.iter().find(|fleet| fleet.key.service == *service && fleet.key.release == release)
    }
}

/// What visitors get, by the load balancer's weights: percent by release over the environment's routes. More than one entry while a
/// shift is under way or after one was cut short.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Serving(pub BTreeMap<ReleaseNumber, u32>);

/// Where the records and the load balancer disagree: one sentence for people each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drift(pub String);

/// The rows of the state table that concern one environment (the lock, the freeze, and the journal).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Records {
    /// `LOCK`, if anybody ever took it.
    pub lock: Option<LockRecord>,
    /// `FREEZE`, if there is one.
    pub freeze: Option<FreezeRecord>,
    /// `HEAD`: what was meant to serve.
    pub head: Option<Head>,
    /// Every release known, newest first.
    pub releases: Vec<ReleaseRecord>,
    /// The latest operations, newest first.
    pub operations: Vec<OperationRecord>,
}

impl Records {
    /// Whoever holds the lock, dead or alive.
    pub fn holder(&self) -> Option<&LockRecord> {
        self.lock.as_ref().filter(|lock| lock.state == LockState::Held)
    }

    /// One release.
    pub fn release(&self, number: ReleaseNumber) -> Option<&ReleaseRecord> {
        self.releases.iter().find(|record| record.release.number == number)
    }
}

/// `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// Release per service that was meant to serve.
    pub serving: BTreeMap<ServiceName, ReleaseNumber>,
    /// Release per service that served before it.
    pub before: BTreeMap<ServiceName, ReleaseNumber>,
    /// Fence of the operation that wrote it.
    pub fence: u64,
    /// Number the next release gets.
    pub next: u32,
    /// The lock was taken from a holder that may not have known it: when to look again whether the weights are what was meant (epoch
    /// seconds by AWS's clock, in order), because a call of it may still arrive until then.
    pub check_after: Vec<u64>,
}

/// `RELEASE#000042`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// What it is.
    pub release: Release,
    /// What is thought of it.
    pub verdict: Verdict,
    /// Who made it.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// The operation that made it.
    pub operation: OperationId,
}

/// `OP#<ulid>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Which.
    pub id: OperationId,
    /// What it does.
    pub kind: OperationKind,
    /// The release it is about, if any.
    pub release: Option<ReleaseNumber>,
    /// The release it leaves or left, if any.
    pub previous: Option<ReleaseNumber>,
    /// Who, from where.
    pub by: String,
    /// When it began, RFC 3339.
    pub at: String,
    /// When it ended, RFC 3339.
    pub ended_at: Option<String>,
    /// How it ended; none while it is open.
    pub ended: Option<Outcome>,
    /// The stage it last entered.
    pub stage: String,
    /// Why it failed, in one line, if it did.
    pub reason: Option<String>,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// A new release.
    Deploy,
    /// Back to an earlier one.
    Rollback,
    /// Another number of instances.
    Scale,
    /// Load balancer, listener, rules.
    Setup,
    /// An image.
    Bake,
    /// Images that are there: removed, copied or shared.
    Images,
    /// A review box.
    Review,
}

impl OperationKind {
    /// It is about images only, and no visitor.
    pub fn is_of_images(self) -> bool {
        matches!(self, Self::Bake | Self::Images)
    }

    /// It is about what visitors get; not about an image or a review box.
    pub fn is_of_an_environment(self) -> bool {
        !matches!(self, Self::Bake | Self::Images | Self::Review)
    }
}

/// `LOCK`: who holds it and what for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LockRecord {
    /// Held or free.
    pub state: LockState,
    /// Grows with each holder.
    pub fence: u64,
    /// Grows with each renewal.
    pub beat: u64,
    /// ULID of the process that holds it.
    pub owner: Option<String>,
    /// The operation that holds it.
    pub operation: Option<OperationId>,
    /// The unfinished operation, which outlives the lease.
    pub open: Option<OperationId>,
    /// Milliseconds the lease lasts.
    pub lease_ms: u64,
    /// Shown: who.
    pub who: String,
    /// Shown: the machine's name.
    pub host: String,
    /// Shown: `laptop`, or the address of the CI run.
    pub via: String,
    /// Shown: the caller's ARN.
    pub arn: String,
    /// Shown: `deploying r42`.
    pub doing: String,
    /// Shown: stage.
    pub stage: String,
    /// Shown: how far it is, in percent.
    pub percent: Option<u64>,
    /// Shown: RFC 3339.
    pub since: String,
    /// Shown: how long it may still take, in seconds.
    pub eta_s: Option<u64>,
    /// Shown: version of the adstage that holds it.
    pub cli: String,
    /// Someone asked the holder to stop: who and why.
    pub halt: Option<(String, String)>,
    /// What the holder has beside it and shares with other environments: the keys of the resources.
    pub shared: Vec<Resource>,
    /// It was taken from its holder by force, and nobody has given it back in order since.
    pub broken: Option<Broken>,
    /// The row's format is newer than this adstage: which adstage wrote it. Such a row is read as far as it is understood and never written.
    pub newer: Option<String>,
}

/// A lock was taken from its holder by force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Who did it.
    pub who: String,
    /// Why.
    pub why: String,
    /// When, RFC 3339; for people.
    pub at: String,
    /// The holder was heard of until then, so it will learn of it with its next renewal.
    pub answered: bool,
}

/// Whether the mutex is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockState {
    /// Nobody holds it.
    #[default]
    Free,
    /// Somebody does, or did and vanished.
    Held,
}

/// `FREEZE`: a person's lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeRecord {
    /// Who.
    pub who: String,
    /// Why.
    pub reason: String,
    /// When it was made, RFC 3339.
    pub made: String,
    /// Until when, RFC 3339; none means until somebody lifts it.
    pub until: Option<String>,
}
