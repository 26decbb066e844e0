//! Gathers the evidence about one fleet: its groups, the load balancer's verdicts, failed activities, ended instances, and the consoles
//! of instances that are not well (those only now and then: each is a call of its own).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::aws::{Aws, Error, ErrorKind, FailedActivity, GroupInfo, InstanceInfo, gather};
use crate::clock::{Clock, Moment};
use crate::model::{CapacityKind, ConsoleLine, Group, TargetHealth, TargetState};

use super::judge::{Ended, Evidence};

/// Names of what is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    /// For people: `web-r42`.
    pub fleet: String,
    /// Names its Auto Scaling groups have; not all need to be there.
    pub groups: Vec<String>,
    /// Its target group.
    pub target_group: String,
}

/// The probe of one fleet; remembers what it saw between looks.
#[derive(Debug)]
pub struct Probe<'a> {
    aws: &'a Aws,
    clock: &'a Clock,
    target: ProbeTarget,
    started: Moment,
    target_group: Option<String>,
    /// Instances that were in the group at any look, to stay: only such a one can have *ended*.
    seen: BTreeSet<String>,
    consoles: BTreeMap<String, Console>,
}

#[derive(Debug)]
struct Console {
    read: Moment,
    lines: Vec<ConsoleLine>,
}

/// An instance that is not healthy after this long is late: its console may say why.
const LATE: Duration = Duration::from_secs(30);
/// A console is read again at most this often.
const CONSOLE_PACE: Duration = Duration::from_secs(10);
/// Consoles read per look: one fleet's instances fail alike.
const CONSOLES: usize = 3;

impl<'a> Probe<'a> {
    /// A probe; its waiting time starts now.
    pub fn new(aws: &'a Aws, clock: &'a Clock, target: ProbeTarget) -> Self {
        let (started, seen) = (clock.moment(), BTreeSet::new());
        Self { aws, clock, target, started, target_group: None, seen, consoles: BTreeMap::new() }
    }

    /// One look. Trouble that may pass (throttling, network) makes the evidence blind instead of failing.
    pub async fn look(&mut self) -> Result<Evidence, Error> {
        self.gather(false).await
    }

    /// The last look before giving up: reads the consoles of whatever is not well, at once.
    pub async fn last_look(&mut self) -> Result<Evidence, Error> {
        self.gather(true).await
    }

    async fn gather(&mut self, all_consoles: bool) -> Result<Evidence, Error> {
        let mut evidence = Evidence { fleet: self.target.fleet.clone(), waited: self.clock.since(self.started), ..Evidence::default() };
        let (groups, targets) = tokio::join!(self.aws.autoscaling.groups_named(&self.target.groups), self.targets());
        let found = passing(groups, &mut evidence)?.unwrap_or_default();
        let (arn, targets) = passing(targets, &mut evidence)?.unwrap_or((self.target_group.take(), None));
        (self.target_group, evidence.targets) = (arn, targets);
        self.about_groups(&found, &mut evidence).await?;
        evidence.groups = found.into_iter().map(|found| (found.kind(), found.group)).collect();
        let ill = self.worth_reading(&evidence, all_consoles);
        self.read_consoles(&ill).await;
        evidence.consoles = self.consoles.iter().map(|(id, console)| (id.clone(), console.lines.clone())).collect();
        Ok(evidence)
    }

    async fn targets(&self) -> Result<(Option<String>, Option<Vec<TargetHealth>>), Error> {
        let arn = match &self.target_group {
            Some(arn) => Some(arn.clone()),
            None => self.aws.elbv2.target_group(&self.target.target_group).await?.map(|group| group.arn),
        };
        match &arn {
            None => Ok((None, None)),
            Some(known) => match self.aws.elbv2.target_health(known).await {
                Ok(targets) => Ok((arn, Some(targets))),
                Err(error) if error.is_not_found() => Ok((None, None)),
                Err(error) => Err(error),
            },
        }
    }

    /// Why instances are missing, if any are.
    async fn about_groups(&mut self, found: &[GroupInfo], evidence: &mut Evidence) -> Result<(), Error> {
        // What was leaving when it was first seen belongs to the time before: its end says nothing.
        let members = found.iter().flat_map(|found| &found.group.instances).filter(|instance| !instance.leaves());
        self.seen.extend(members.map(|instance| instance.id.clone()));
        let ids: Vec<String> = self.seen.iter().cloned().collect();
        let lacking: Vec<&GroupInfo> = found.iter().filter(|found| (found.group.instances.len() as u32) < found.group.desired).collect();
        let activities = async {
            let asked = lacking.iter().map(|found| self.aws.autoscaling.failed_activities(&found.group.name, found.created));
            gather(asked).await.into_iter().collect::<Result<Vec<_>, _>>()
        };
        let unwell = found.iter().any(|found| not_well(&found.group, evidence.targets.as_deref()));
        let instances = async {
            match unwell || !lacking.is_empty() {
                true => self.aws.ec2.instances_by_id(&ids).await,
                false => Ok(Vec::new()),
            }
        };
        let (activities, instances) = tokio::join!(activities, instances);
        let activities = passing(activities, evidence)?.unwrap_or_default();
        for (found, failures) in lacking.iter().zip(activities) {
            let told = if found.kind() == CapacityKind::Spot { &mut evidence.no_spot } else { &mut evidence.failed_activities };
            told.extend(failures.into_iter().map(said));
        }
        let instances = passing(instances, evidence)?.unwrap_or_default();
        let gone = instances.into_iter().filter(|instance| instance.state.is_gone());
        let (back, ends): (Vec<_>, Vec<_>) = gone.partition(was_taken_back);
        evidence.ended = ends.into_iter().map(ended).collect();
        evidence.taken_back = back.into_iter().map(ended).collect();
        Ok(())
    }

    /// Ids of instances that are unhealthy or late and whose console was not read lately.
    fn worth_reading(&self, evidence: &Evidence, all: bool) -> Vec<String> {
        let members = evidence.groups.values().flat_map(|group| &group.instances).map(|instance| &instance.id);
        let state = |id: &String| {
            let target = evidence.targets.iter().flatten().find(|target| target.instance == *id);
            target.map(|target| target.state)
        };
        let wanted = |id: &&String| match state(id) {
            Some(TargetState::Healthy) => false,
            Some(TargetState::Unhealthy) => true,
            _ => all || evidence.waited >= LATE,
        };
        let stale = |id: &&String| {
            let read = self.consoles.get(*id).map(|console| self.clock.since(console.read));
            all || read.is_none_or(|ago| ago >= CONSOLE_PACE)
        };
        let gone = evidence.ended.iter().map(|ended| &ended.id);
        let mut ids: Vec<String> = members.filter(wanted).chain(gone).filter(stale).take(CONSOLES).cloned().collect();
        ids.dedup();
        ids
    }

    /// A console that cannot be read says nothing; that is no reason to stop waiting.
    async fn read_consoles(&mut self, ids: &[String]) {
        let texts = gather(ids.iter().map(|id| self.aws.ec2.console(id))).await;
        for (id, text) in ids.iter().zip(texts) {
            let lines = text.map(|text| ConsoleLine::all_of(&text)).unwrap_or_default();
            self.consoles.insert(id.clone(), Console { read: self.clock.moment(), lines });
        }
    }
}

/// True if the load balancer does not call every instance healthy.
fn not_well(group: &Group, targets: Option<&[TargetHealth]>) -> bool {
    let targets = targets.unwrap_or_default();
    let healthy = |id: &str| targets.iter().any(|target| target.instance == id && target.state == TargetState::Healthy);
    group.instances.iter().any(|instance| !healthy(&instance.id))
}

/// Lets trouble pass that may be over at the next look; anything else ends the wait.
fn passing<T>(answer: Result<T, Error>, evidence: &mut Evidence) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind, ErrorKind::Throttled | ErrorKind::Network | ErrorKind::Other | ErrorKind::NotFound) => {
            evidence.blind = Some(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn said(activity: FailedActivity) -> String {
    match activity.what.as_str() {
        "" => activity.why,
        what => format!("{what}: {}", activity.why),
    }
}

/// AWS ended a spot instance, or its group did because AWS was about to. Whatever ends by itself says so, spot or not.
fn was_taken_back(instance: &InstanceInfo) -> bool {
    let codes = ["Server.SpotInstanceTermination", "Server.SpotInstanceShutdown", "Server.InsufficientInstanceCapacity"];
    let code = instance.reason.as_ref().map(|(code, _)| code.as_str()).unwrap_or_default();
    instance.spot && (codes.contains(&code) || code == "Client.UserInitiatedShutdown")
}

fn ended(instance: InstanceInfo) -> Ended {
    let reason = instance.reason.map(|(code, message)| if message.is_empty() { code } else { message });
    Ended { id: instance.id, reason: reason.unwrap_or_else(|| "AWS gives no reason".into()) }
}
