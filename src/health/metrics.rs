//! Gathers what CloudWatch and the agents know of a fleet with visitors, and says whether it serves them worse than the fleet before it.
//! Whatever cannot be asked is said, and is evidence neither for nor against.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::aws::{AlarmInfo, Asked, Aws, Error, Minutes, PERIOD, gather};
use crate::model::{ConsoleLine, FleetKey, Limits};

use super::traffic::{Served, Traffic, served};
use super::utilization::{Compared, Need, Utilization, before, since};

/// CloudWatch knows what load balancers counted after so long at the latest (*CloudWatch metrics for your Application Load Balancer*: once
/// a minute; others see it two or three minutes later).
pub const LAG: Duration = Duration::from_secs(180);

/// What the old fleet did before is looked at over so many seconds.
const BEFORE: i64 = 15 * 60;
/// Agents listened to: the instances of one fleet fail alike.
const CONSOLES: usize = 5;
/// Starts of crashed services, all instances together, that are trouble.
const RESTARTS: u32 = 3;

/// What is watched, by name.
#[derive(Debug, Clone)]
pub struct MetricsTarget {
    /// The fleet.
    pub fleet: FleetKey,
    /// Its target group; none if it has no visitors.
    pub target_group: Option<String>,
    /// Its Auto Scaling groups.
    pub groups: Vec<String>,
    /// The fleet before it.
    pub against: Option<Against>,
    /// ARN of the listener visitors use.
    pub listener: String,
    /// Share of the visitors it has.
    pub percent: u16,
    /// From where on it does worse.
    pub limits: Limits,
    /// Alarms by name.
    pub alarms: Vec<String>,
}

/// The fleet another one is compared with.
#[derive(Debug, Clone)]
pub struct Against {
    /// Which.
    pub fleet: FleetKey,
    /// Its target group.
    pub target_group: String,
    /// Its Auto Scaling groups.
    pub groups: Vec<String>,
}

/// What there was to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// What speaks against it; nothing if nothing does.
    pub worse: Vec<String>,
    /// What else is to be said of it, one line.
    pub said: Vec<String>,
    /// Requests known of.
    pub requests: u64,
    /// CloudWatch could not be asked.
    pub blind: bool,
}

/// The watch over one fleet; remembers when it began and how often its services had been restarted by then.
#[derive(Debug)]
pub struct Metrics<'a> {
    aws: &'a Aws,
    target: MetricsTarget,
    began: Timestamp,
    /// The ends of the target groups' ARNs, its own first, once they were looked up.
    groups: Option<Vec<String>>,
    restarts: Option<BTreeMap<String, u32>>,
}

impl<'a> Metrics<'a> {
    /// A watch that begins now.
    pub fn new(aws: &'a Aws, target: MetricsTarget) -> Self {
        let began = aws.dynamodb.now();
        Self { aws, target, began, groups: None, restarts: None }
    }

    /// One look, at these instances too.
    pub async fn look(&mut self, instances: &[String]) -> Seen {
        let mut seen = Seen::default();
        let some: Vec<String> = instances.iter().take(CONSOLES).cloned().collect();
        let consoles = gather(some.iter().map(|id| self.aws.ec2.console(id)));
        let groups = self.groups().await;
        let (traffic, alarms, consoles) = tokio::join!(self.traffic(groups), self.alarms(), consoles);
        match traffic {
            Ok(Some((new, old, cpu))) => {
                self.compare(&new, &old, &mut seen);
                self.need(cpu.as_ref(), &mut seen);
            }
            Ok(None) => {}
            Err(error) => {
                seen.blind = true;
                seen.said.push(format!("errors and latency were not judged: {error}"));
            }
        }
        match alarms {
            Ok(alarms) => self.alarmed(&alarms, &mut seen),
            Err(error) => seen.said.push(format!("alarms were not looked at: {error}")),
        }
        let read = some.into_iter().zip(consoles).filter_map(|(id, text)| Some((id, ConsoleLine::all_of(&text.ok()?))));
        self.restarted(read.collect(), &mut seen);
        seen
    }

    async fn alarms(&self) -> Result<Vec<AlarmInfo>, Error> {
        self.aws.cloudwatch.alarms(&self.target.alarms).await
    }

    /// What CloudWatch calls the target groups, its own first; nothing if it has no visitors. ARNs never change: they are asked for once.
    async fn groups(&mut self) -> Result<Vec<String>, Error> {
        if let Some(groups) = &self.groups {
            return Ok(groups.clone());
        }
        let Some(own) = &self.target.target_group else { return Ok(Vec::new()) };
        let names = std::iter::once(own).chain(self.target.against.as_ref().map(|against| &against.target_group));
        let mut groups = Vec::new();
        for found in gather(names.map(|name| self.aws.elbv2.target_group(name))).await {
            match found? {
                Some(group) => groups.extend(group.arn.rsplit_once(':').map(|(_, end)| end.to_string())),
                // Without its own there is nothing to compare; without the other one's, nothing to compare with.
                None => break,
            }
        }
        Ok(self.groups.insert(groups).clone())
    }

    /// What the new fleet's visitors got since it has them, and what the old one's: beside it, if there were enough, else before. And the
    /// CPU both took for it, as soon as it can be known.
    async fn traffic(&self, groups: Result<Vec<String>, Error>) -> Result<Option<(Traffic, Traffic, Option<Compared>)>, Error> {
        let groups = groups?;
        if groups.is_empty() {
            return Ok(None);
        }
        let (minute, now) = (floor(self.began.as_second(), 60), self.aws.dynamodb.now());
        let from = Timestamp::from_second(floor(minute - BEFORE, PERIOD)).unwrap_or(self.began);
        let known = since(minute, now.as_second());
        let against = self.target.against.as_ref().filter(|_| !known.is_empty());
        let of_groups = [against.map(|_| &self.target.groups), against.map(|against| &against.groups)];
        let asked = |(target_group, groups): (String, Option<&Vec<String>>)| {
            let groups = groups.cloned().unwrap_or_default();
            Asked { target_group, traffic: true, groups }
        };
        let asked: Vec<Asked> = groups.into_iter().zip(of_groups).map(asked).collect();
        let found = self.aws.cloudwatch.told(&self.target.listener, &asked, from, now + SignedDuration::from_secs(60)).await?;
        let new = found.first().map(|told| total(&told.minutes, |at| at >= minute)).unwrap_or_default();
        let old = |when: &dyn Fn(i64) -> bool| found.get(1).map(|told| total(&told.minutes, when)).unwrap_or_default();
        let beside = old(&|at| at >= minute);
        let enough = self.target.percent < 100 && beside.requests >= u64::from(self.target.limits.requests);
        let cpu = against.map(|against| Compared {
            fleet: self.target.fleet.clone(),
            against: against.fleet.clone(),
            new: found.first().and_then(|told| Utilization::over(&told.periods, &known)),
            old: found.get(1).and_then(|told| Utilization::over(&told.periods, &before(minute, minute - from.as_second()))),
        });
        Ok(Some((new, if enough { beside } else { old(&|at| at < minute) }, cpu)))
    }

    /// What needs more CPU is said whenever it is seen; the rest once everybody has moved, and if there was enough traffic to speak of.
    fn need(&self, cpu: Option<&Compared>, seen: &mut Seen) {
        let all = self.target.percent == 100 && seen.requests >= u64::from(self.target.limits.requests);
        let said = cpu.and_then(Compared::said);
        match (cpu.map_or(Need::Unknown, Compared::need), said) {
            (Need::More(_), Some(said)) => seen.said.push(said),
            (Need::AsMuch | Need::Incomparable, Some(said)) if all => seen.said.push(said),
            _ if all && self.target.against.is_some() => seen.said.push("how much CPU it needs is not known yet".into()),
            _ => {}
        }
    }

    fn compare(&self, new: &Traffic, old: &Traffic, seen: &mut Seen) {
        let Limits { requests, .. } = self.target.limits;
        seen.requests = new.requests;
        let before = self.target.against.as_ref().map(|against| &against.fleet);
        match served(new, old, &self.target.limits) {
            Served::Worse(lines) => seen.worse.extend(lines),
            Served::TooLittle => seen.said.push(format!("too few requests to judge it by: {} of {requests}", new.requests)),
            Served::Well => {
                let as_well = before.map(|before| format!(", as well served as by {before}")).unwrap_or_default();
                seen.said.push(format!("{} requests, {} failed{as_well}", new.requests, new.failed));
            }
        }
    }

    fn alarmed(&self, alarms: &[AlarmInfo], seen: &mut Seen) {
        for name in &self.target.alarms {
            match alarms.iter().find(|alarm| alarm.name == *name) {
                None => seen.said.push(format!("there is no alarm {name}")),
                Some(alarm) if alarm.on && alarm.since.is_some_and(|since| since.as_second() < self.began.as_second()) => {
                    seen.said.push(format!("alarm {name} had gone off before"));
                }
                Some(alarm) if alarm.on => seen.worse.push(format!("alarm {name} has gone off: {}", alarm.reason)),
                Some(_) => {}
            }
        }
    }

    /// Services that crashed since the watch began.
    fn restarted(&mut self, consoles: BTreeMap<String, Vec<ConsoleLine>>, seen: &mut Seen) {
        let now: BTreeMap<String, u32> = consoles.iter().map(|(id, lines)| (id.clone(), restarts(lines))).collect();
        let Some(before) = &self.restarts else {
            self.restarts = Some(now);
            return;
        };
        let crashed = |id: &String, count: u32| count.saturating_sub(before.get(id).copied().unwrap_or(count));
        let total: u32 = now.iter().map(|(id, count)| crashed(id, *count)).sum();
        if total == 0 {
            return;
        }
        let text = format!("services of {} ended and were started again, {total} times", self.target.fleet);
        if total < RESTARTS {
            seen.said.push(text);
            return;
        }
        seen.worse.push(text);
        let worst = now.iter().max_by_key(|(id, count)| crashed(id, **count)).map(|(id, _)| id);
        let last = worst.and_then(|id| consoles.get(id)?.iter().rev().find(|line| !line.tail().is_empty()).map(|line| (id, line)));
        if let Some((id, line)) = last {
            seen.worse.push(format!("{id}: {}", line.describe()));
            seen.worse.extend(line.tail().iter().rev().take(3).rev().map(|line| format!("| {line}")));
        }
    }
}

/// How often the services of an instance were started again.
fn restarts(lines: &[ConsoleLine]) -> u32 {
    let mut most = BTreeMap::new();
    for line in lines {
        if let ConsoleLine::Exited { service, restarts, .. } | ConsoleLine::CrashLooping { service, restarts, .. } = line {
            let count = most.entry(service).or_insert(0);
            *count = (*count).max(*restarts);
        }
    }
    most.values().sum()
}

/// The last multiple up to there.
fn floor(at: i64, multiple: i64) -> i64 {
    at - at.rem_euclid(multiple)
}

/// All minutes that count, in one. How long answers took is the mean of the minutes', by their requests.
fn total(minutes: &Minutes, counts: impl Fn(i64) -> bool) -> Traffic {
    let (mut sum, mut timed, mut time) = ((0.0, 0.0), 0.0, 0.0);
    for minute in minutes.iter().filter(|(at, _)| counts(**at)).map(|(_, minute)| minute) {
        sum = (sum.0 + minute.requests, sum.1 + minute.failed);
        if let Some(ninth) = minute.ninth {
            (timed, time) = (timed + minute.requests, time + ninth * minute.requests);
        }
    }
    Traffic { requests: sum.0 as u64, failed: sum.1 as u64, ninth: (timed > 0.0).then(|| time / timed) }
}
