//! `adstage status`: what visitors get, told from the load balancer's weights, and where the records disagree.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Global;
use super::access::{Access, refused};
use super::lock::freeze_said;
use crate::failure::Failure;
use crate::lock;
use crate::model::{
    Activity, CapacityKind, Drift, Environment, EnvironmentName, Fleet, FreezeRecord, LockRecord, LockState, OperationRecord,
    ReleaseNumber, RepositoryName, RuleKey, Scope, ServiceName, Serving, Verdict, World, drift, serving, short,
};
use crate::observe::{self, Wants};
use crate::report::{Table, ago, bold, dim};

/// Show what visitors get, what is warm, who holds the lock, and where the records disagree
///
///   adstage status
///   adstage status production
///   adstage status production --output json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment [default: all of them]
    environment: Option<String>,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match args.environment {
        Some(name) => {
            let status = look(&name, global).await?;
            global.report.result(&status, || status.text(global.clock.wall()))
        }
        None => {
            let mut all = Vec::new();
            for name in global.config()?.environments.keys() {
                all.push(look(name.as_str(), global).await?);
            }
            let now = global.clock.wall();
            global.report.result(&all, || all.iter().map(|status| status.text(now)).collect::<Vec<_>>().join("\n"))
        }
    }
}

async fn look(name: &str, global: &Global) -> Result<Status, Failure> {
    let environment = global.environment(name)?;
    let access = global.connect(&environment).await?;
    let Access { environment, aws, .. } = &access;
    let scope = Scope::of(environment);
    let world = observe::world(aws, environment, &scope, Wants::default()).await.map_err(|error| refused(error, environment))?;
    let now = global.clock.wall();
    let cpu = cpu::look(aws, environment, &world, &global.clock).await;
    let more = global.typed(&format!("adstage history {}", environment.name));
    Ok(Status { cpu, ..Status::of(environment, &world, now, more) })
}

/// An environment at this moment, for programs as it stands here. Fields are only ever added.
#[derive(Debug, Serialize)]
struct Status {
    environment: EnvironmentName,
    /// Where visitors come in.
    address: Option<String>,
    /// The release that serves; the one with the largest share while there are several.
    live: Option<ReleaseNumber>,
    serving: Serving,
    /// Name of the image the live release runs, and the commits on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    commits: BTreeMap<RepositoryName, String>,
    /// Releases that run without visitors, newest first.
    warm: Vec<ReleaseNumber>,
    services: Vec<ServiceStatus>,
    /// What those that took over lately use of their CPU, against what those before them used.
    #[serde(flatten)]
    cpu: cpu::Cpu,
    lock: LockStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OperationRecord>,
    drift: Vec<Drift>,
    #[serde(skip)]
    releases: Vec<[String; 6]>,
    #[serde(skip)]
    more: String,
}

/// One fleet.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct ServiceStatus {
    service: ServiceName,
    release: ReleaseNumber,
    healthy: usize,
    desired: u32,
    /// Share of the route's visitors in percent; for a worker 100 if it works by its tags, or the records name it and it has none; else 0.
    weight: u32,
    /// Of a worker that is held until it is made active: whether it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: Option<Activity>,
    /// By kind of capacity, where there is more than one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    capacity: BTreeMap<CapacityKind, KindStatus>,
}

/// One kind of capacity of a fleet.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct KindStatus {
    wanted: u32,
    running: u32,
    healthy: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct LockStatus {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// In force beside whoever holds the lock: it stops the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    freeze: Option<FreezeRecord>,
}

impl Status {
    fn of(environment: &Environment, world: &World, now: Timestamp, more: String) -> Self {
        let serving = serving(environment, world);
        let services: Vec<_> = world.fleets.iter().map(|fleet| fleet_status(environment, world, fleet)).collect();
        let live = serving.0.iter().max_by_key(|(_, share)| **share).map(|(release, _)| *release);
        let live = live.or_else(|| services.iter().filter(|fleet| fleet.weight > 0).map(|fleet| fleet.release).max());
        let open = world.records.lock.as_ref().and_then(|lock| lock.open.as_ref());
        let operation = open.and_then(|id| world.records.operations.iter().find(|operation| operation.id == *id)).cloned();
        // What an open operation prepares is a candidate: nobody can go back to it.
        let candidate = operation.as_ref().and_then(|operation| operation.release);
        let serves = |release: &ReleaseNumber| services.iter().any(|fleet| fleet.release == *release && fleet.weight > 0);
        let idle = |release: &ReleaseNumber| Some(*release) != candidate && !serves(release);
        let mut warm: Vec<_> = services.iter().filter(|fleet| fleet.desired > 0).map(|fleet| fleet.release).filter(idle).collect();
        warm.sort();
        warm.dedup();
        warm.reverse();
        let runs = live.and_then(|live| world.records.release(live)).map(|record| &record.release);
        let mut status = Self {
            environment: environment.name.clone(),
            address: world.address.clone(),
            live,
            image: runs.map(|release| release.image_name.clone()),
            commits: runs.map(|release| release.commits.clone()).unwrap_or_default(),
            serving,
            warm,
            services,
            cpu: cpu::Cpu::default(),
            lock: lock_status(world.records.lock.as_ref(), world.records.freeze.as_ref(), now),
            operation,
            drift: drift(environment, world),
            releases: Vec::new(),
            more,
        };
        status.releases = status.release_rows(world, now);
        status
    }

    /// The latest releases, one row each.
    fn release_rows(&self, world: &World, now: Timestamp) -> Vec<[String; 6]> {
        let row = |record: &crate::model::ReleaseRecord| {
            let number = record.release.number;
            let serves = self.serving.0.contains_key(&number) || self.services.iter().any(|one| one.release == number && one.weight > 0);
            let state = match &record.verdict {
                _ if serves => "serving",
                Verdict::Bad { .. } => "bad",
                _ if self.warm.contains(&number) => "warm",
                _ if self.operation.as_ref().is_some_and(|operation| operation.release == Some(number)) => "candidate",
                Verdict::Untried => "untried",
                Verdict::Good => "gone",
            };
            let code: Vec<String> = record.release.commits.values().map(|commit| short(commit).to_string()).collect();
            let note = match &record.verdict {
                Verdict::Bad { reason } => reason.clone(),
                Verdict::Good | Verdict::Untried => String::new(),
            };
            [number.to_string(), state.into(), ago(&record.at, now), record.by.clone(), code.join(" "), note]
        };
        world.records.releases.iter().take(5).map(row).collect()
    }

    fn text(&self, now: Timestamp) -> String {
        let mut text = format!("{}  {}\n", bold(self.environment.as_str()), self.serving);
        if let Some(address) = &self.address {
            text += &format!("address     {address}\n");
        }
        let fleets: Vec<String> = self.services.iter().filter(|fleet| fleet.weight > 0).map(ServiceStatus::to_string).collect();
        if !fleets.is_empty() {
            text += &format!("health      {}\n", fleets.join(" · "));
        }
        for fleet in self.services.iter().filter(|fleet| !fleet.capacity.is_empty()) {
            let kind = |(kind, of): (&CapacityKind, &KindStatus)| {
                format!("{kind} {} wanted, {} running, {} healthy", of.wanted, of.running, of.healthy)
            };
            let kinds: Vec<String> = fleet.capacity.iter().map(kind).collect();
            text += &format!("capacity    {} {}: {}\n", fleet.service, fleet.release, kinds.join(" · "));
        }
        self.cpu.lines().for_each(|line| text += &format!("cpu         {line}\n"));
        if let Some(image) = &self.image {
            let code: Vec<String> = self.commits.iter().map(|(name, commit)| format!("{name} {}", short(commit))).collect();
            text += &format!("image       {image}: {}\n", code.join(", "));
        }
        if !self.warm.is_empty() {
            let warm: Vec<String> = self.warm.iter().map(ToString::to_string).collect();
            text += &format!("warm        {}\n", warm.join(" "));
        }
        text += &format!("lock        {}\n", self.lock.text(now));
        if let Some(freeze) = self.lock.freeze.as_ref().filter(|_| self.lock.state == "held") {
            text += &format!("freeze      {}\n", freeze_said(freeze, now, &TimeZone::system()));
        }
        if let Some(operation) = &self.operation {
            let (doing, stage) = (super::history::doing(operation), &operation.stage);
            text += &format!("operation   {doing} by {}, since {}, at {stage}\n", operation.by, ago(&operation.at, now));
        }
        for Drift(sentence) in &self.drift {
            text += &format!("drift       {sentence}\n");
        }
        if !self.releases.is_empty() {
            let mut table = Table::new(&["RELEASE", "STATE", "WHEN", "BY", "CODE", "NOTE"]);
            self.releases.iter().for_each(|row| table.row(row.clone()));
            text += &table.columns(100);
        }
        text += &dim(&format!("more: {}\n", self.more));
        text
    }
}

impl std::fmt::Display for ServiceStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}/{}", self.service, self.release, self.healthy, self.desired)?;
        match self.activity {
            Some(Activity::Active) => f.write_str(" active"),
            Some(Activity::Mixed) => f.write_str(" active in part"),
            Some(Activity::Held) | None => Ok(()),
        }
    }
}

fn fleet_status(environment: &Environment, world: &World, fleet: &Fleet) -> ServiceStatus {
    let key = &fleet.key;
    let service = environment.services.iter().find(|service| service.name == key.service);
    let route = service.and_then(|service| service.route.as_ref());
    let activity = fleet.activity();
    let weight = match route {
        Some(route) => {
            let rule = RuleKey { service: key.service.clone(), priority: route.priority };
            let shares = world.weights(&rule).unwrap_or_default().shares();
            shares.get(&key.release).copied().unwrap_or_default()
        }
        None if activity.is_some() => {
            if activity.is_some_and(Activity::works) {
                100
            } else {
                0
            }
        }
        None => {
            let meant = world.records.head.as_ref().and_then(|head| head.serving.get(&key.service));
            if meant == Some(&key.release) { 100 } else { 0 }
        }
    };
    let (healthy, desired) = (fleet.healthy(), fleet.desired());
    ServiceStatus { service: key.service.clone(), release: key.release, healthy, desired, weight, activity, capacity: capacity(fleet) }
}

/// Each kind of a fleet that has more than one.
fn capacity(fleet: &Fleet) -> BTreeMap<CapacityKind, KindStatus> {
    if fleet.groups.len() < 2 {
        return BTreeMap::new();
    }
    let kinds = fleet
        .groups
        .iter()
        .map(|(kind, group)| (*kind, KindStatus { wanted: group.desired, running: group.present(), healthy: fleet.healthy_of(*kind) }));
    kinds.collect()
}

/// A freeze that is over is none. Whether a holder is alive cannot be told from one look (`adstage lock show` takes more), but a free
/// lock with an operation still open can: its holder let go, or lost it.
fn lock_status(lock: Option<&LockRecord>, freeze: Option<&FreezeRecord>, now: Timestamp) -> LockStatus {
    let freeze = freeze.filter(|freeze| lock::in_force(freeze, now)).cloned();
    let (state, holder, since, reason) = match (lock, &freeze) {
        (Some(lock), _) if lock.state == LockState::Held => {
            let place = if lock.host.is_empty() { String::new() } else { format!(" on {}", lock.host) };
            ("held", Some(format!("{}{place}", lock.who)), Some(lock.since.clone()), Some(lock.doing.clone()))
        }
        (_, Some(freeze)) => ("frozen", Some(freeze.who.clone()), Some(freeze.made.clone()), Some(freeze.reason.clone())),
        (Some(lock), None) if lock.open.is_some() => ("lapsed", Some(lock.who.clone()), Some(lock.since.clone()), None),
        _ => ("free", None, None, None),
    };
    LockStatus { state, holder, since, reason, freeze }
}

impl LockStatus {
    fn text(&self, now: Timestamp) -> String {
        if let ("frozen", Some(freeze)) = (self.state, &self.freeze) {
            return format!("frozen {}", freeze_said(freeze, now, &TimeZone::system()));
        }
        let by = self.holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default();
        let since = self.since.as_ref().map(|since| format!(", since {}", ago(since, now))).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{}{by}{since}{reason}", self.state)
    }
}

mod cpu;
#[cfg(test)]
mod tests;
