//! From evidence to a verdict. Pure, so every trap is a line in a table of tests.
//!
//! The rules: only the load balancer's word counts, only about exactly the instances of the group, and only if they are as many as
//! wanted. Nothing known is never healthy, an empty list is never healthy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{CapacityKind, ConsoleLine, Group, GroupInstance, TargetHealth, TargetState};

use super::Waiting;

/// Everything gathered about a fleet in one look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The fleet, for people: `web-r42`.
    pub fleet: String,
    /// Its groups by kind; none if AWS shows none (yet).
    pub groups: BTreeMap<CapacityKind, Group>,
    /// The load balancer's verdicts; none if they could not be had.
    pub targets: Option<Vec<TargetHealth>>,
    /// What the group tried and failed at: `Launching a new EC2 instance: why`.
    pub failed_activities: Vec<String>,
    /// Why spot instances are missing: they come when AWS has some again.
    pub no_spot: Vec<String>,
    /// Instances of the group that ended by themselves, or for a reason AWS does not give.
    pub ended: Vec<Ended>,
    /// Spot instances that AWS took back: their group replaces them.
    pub taken_back: Vec<Ended>,
    /// What the agents of instances that are not well said on their consoles, oldest first.
    pub consoles: BTreeMap<String, Vec<ConsoleLine>>,
    /// AWS could not be asked in full: why.
    pub blind: Option<String>,
    /// For how long it is being waited for.
    pub waited: Duration,
}

/// An instance that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// EC2 id.
    pub id: String,
    /// AWS's reason: `Client.VolumeLimitExceeded: …`.
    pub reason: String,
}

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every wanted instance is in service, and healthy at the load balancer.
    Healthy,
    /// Not yet.
    Waiting(Waiting),
    /// It will not become healthy by waiting.
    Terminal {
        /// What happened, one line.
        what: String,
        /// Facts and log lines.
        evidence: Vec<String>,
        /// AWS had no more capacity to give, or a quota is used up: that says nothing about the release.
        lacking: bool,
    },
}

/// If after this long no rule is found to name the target group, none ever will.
const UNUSED_FOR_EVER: Duration = Duration::from_secs(120);
/// What AWS says of launches for which there is no room (*Troubleshoot Amazon EC2 Auto Scaling: EC2 instance launch failures*).
const NO_ROOM: [&str; 12] = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "UnfulfillableCapacity",
    "capacity in the Availability Zone",
    "VcpuLimitExceeded",
    "current vCPU limit",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "instance limit",
    "InsufficientFreeAddressesInSubnet",
    "not enough free addresses in subnet",
    "Your quota allows for",
];
/// Lines of one instance's output worth showing.
const TAIL: usize = 12;

/// The verdict on a fleet that should have exactly `count` instances.
pub fn judge(count: u32, evidence: &Evidence) -> Verdict {
    let members = members(evidence);
    let healthy = members.iter().filter(|member| is_healthy(evidence, member)).count();
    let strangers = strangers(evidence);
    let complete = count > 0 && members.len() == count as usize && healthy == members.len();
    if complete && strangers.is_empty() && evidence.blind.is_none() {
        return Verdict::Healthy;
    }
    if let Some(terminal) = terminal(evidence, &members, count) {
        return terminal;
    }
    let mut details: Vec<String> = evidence.blind.iter().map(|why| format!("AWS could not be asked: {why}")).collect();
    let not_well = members.iter().filter(|member| !is_healthy(evidence, member));
    details.extend(not_well.flat_map(|member| {
        let unwell = unwell(evidence, &member.id).map(|line| format!("{} said: {}", member.id, line.describe()));
        std::iter::once(describe(evidence, member)).chain(unwell)
    }));
    details.extend(strangers.iter().map(|id| format!("{id} is registered too, and is none of this fleet")));
    if members.len() < count as usize {
        details.extend(evidence.no_spot.iter().take(1).map(|why| format!("no spot instance: {why}")));
    }
    details.extend(evidence.taken_back.iter().map(|ended| format!("{} was taken back by AWS: {}", ended.id, ended.reason)));
    let text = format!("{} {healthy}/{count} healthy", evidence.fleet);
    Verdict::Waiting(Waiting { text, details, again_in: None })
}

impl Evidence {
    /// How many instances of the group the load balancer calls healthy.
    pub fn healthy(&self) -> usize {
        members(self).iter().filter(|member| is_healthy(self, member)).count()
    }

    /// How many spot instances AWS has taken back, or is about to: no fault of what runs on them.
    pub fn taken_back(&self) -> usize {
        let spot = self.groups.get(&CapacityKind::Spot).into_iter().flat_map(|group| &group.instances);
        let leaving = spot.filter(|instance| instance.leaves());
        leaving.map(|instance| &instance.id).chain(self.taken_back.iter().map(|ended| &ended.id)).collect::<BTreeSet<_>>().len()
    }

    /// Nothing ails the fleet but that AWS does not give it all its instances.
    pub fn only_lacks(&self, count: u32) -> bool {
        let members = members(self);
        let why = self.no_spot.iter().chain(&self.failed_activities);
        members.len() < count as usize
            && self.healthy() == members.len()
            && why.clone().next().is_some()
            && why.into_iter().all(|why| no_room(why))
    }

    /// A line per instance that is not well, then what their consoles said last.
    pub fn complaints(&self) -> Vec<String> {
        let ill: Vec<_> = members(self).into_iter().filter(|member| !is_healthy(self, member)).collect();
        let mut lines: Vec<String> = ill.iter().map(|member| describe(self, member)).collect();
        for member in ill {
            lines.extend(last_words(self, &member.id));
        }
        lines
    }
}

/// A launch failed because there was no room for it.
fn no_room(why: &str) -> bool {
    NO_ROOM.iter().any(|said| why.contains(said))
}

/// The group's instances that are not on their way out.
fn members(evidence: &Evidence) -> Vec<&GroupInstance> {
    let instances = evidence.groups.values().flat_map(|group| &group.instances);
    instances.filter(|instance| !instance.leaves()).collect()
}

fn verdict_on<'a>(evidence: &'a Evidence, id: &str) -> Option<&'a TargetHealth> {
    evidence.targets.iter().flatten().find(|target| target.instance == id)
}

fn is_healthy(evidence: &Evidence, member: &GroupInstance) -> bool {
    let verdict = verdict_on(evidence, &member.id);
    member.in_service() && verdict.is_some_and(|verdict| verdict.state == TargetState::Healthy)
}

/// Targets that get checks but are in none of the groups.
fn strangers(evidence: &Evidence) -> Vec<&str> {
    let known =
        |target: &&TargetHealth| !evidence.groups.values().flat_map(|group| &group.instances).any(|member| member.id == target.instance);
    let leaving = |target: &&TargetHealth| matches!(target.state, TargetState::Draining | TargetState::Unused);
    let targets = evidence.targets.iter().flatten();
    targets.filter(known).filter(|target| !leaving(target)).map(|target| target.instance.as_str()).collect()
}

fn terminal(evidence: &Evidence, members: &[&GroupInstance], count: u32) -> Option<Verdict> {
    let fleet = &evidence.fleet;
    let verdict = |what: String, evidence: Vec<String>| Some(Verdict::Terminal { what, evidence, lacking: false });
    for member in members.iter().filter(|member| !is_healthy(evidence, member)) {
        if let Some(line) = fatal_line(evidence, &member.id) {
            let mut lines = vec![describe(evidence, member)];
            lines.extend(quoted(line));
            return verdict(format!("{fleet}: {}", line.describe()), lines);
        }
    }
    if let Some(ended) = evidence.ended.first() {
        let lines = evidence.ended.iter().flat_map(|ended| {
            let line = format!("{} ended: {}", ended.id, ended.reason);
            std::iter::once(line).chain(last_words(evidence, &ended.id))
        });
        return verdict(format!("{fleet}: instance {} ended by itself", ended.id), lines.collect());
    }
    // A group that got all its instances in the end has overcome whatever failed before.
    if let Some(first) = evidence.failed_activities.first().filter(|_| members.len() < count as usize) {
        let (what, others) = (format!("{fleet}: {first}"), evidence.failed_activities.iter().skip(1).take(3).cloned().collect());
        return Some(Verdict::Terminal { what, evidence: others, lacking: evidence.failed_activities.iter().all(|why| no_room(why)) });
    }
    let unused = |target: &TargetHealth| target.state == TargetState::Unused && target.reason == "Target.NotInUse";
    let targets = evidence.targets.as_deref().unwrap_or_default();
    if evidence.waited >= UNUSED_FOR_EVER && targets.iter().any(unused) {
        let why =
            "no rule of the load balancer names its target group, or the load balancer is not enabled in the instances' Availability Zone";
        return verdict(format!("{fleet} is not checked by the load balancer"), vec![why.to_string()]);
    }
    None
}

/// A terminal marker since the agent last said that all is well.
fn fatal_line<'a>(evidence: &'a Evidence, id: &str) -> Option<&'a ConsoleLine> {
    let lines = evidence.consoles.get(id)?;
    let since_ready = lines.iter().rev().take_while(|line| !line.begins_anew());
    since_ready.filter(|line| line.is_terminal_failure()).last()
}

/// `i-0abc unhealthy: Health checks failed with these codes: [503] (Target.ResponseCodeMismatch)`.
fn describe(evidence: &Evidence, member: &GroupInstance) -> String {
    let id = &member.id;
    match verdict_on(evidence, id) {
        _ if !member.in_service() => format!("{id} {}", member.lifecycle.to_lowercase()),
        None => format!("{id} is not known to the load balancer yet"),
        Some(verdict) => {
            let why = match (verdict.description.as_str(), verdict.reason.as_str()) {
                ("", "") => String::new(),
                ("", reason) => format!(": {reason}"),
                (description, "") => format!(": {description}"),
                (description, reason) => format!(": {description} ({reason})"),
            };
            format!("{id} {}{why}", verdict.state)
        }
    }
}

/// What the agent said last of a running service's bad answer, unless all was well since.
fn unwell<'a>(evidence: &'a Evidence, id: &str) -> Option<&'a ConsoleLine> {
    let lines = evidence.consoles.get(id)?;
    let mut since_ready = lines.iter().rev().take_while(|line| !line.begins_anew());
    since_ready.find(|line| matches!(line, ConsoleLine::Unwell { .. }))
}

/// The newest marker of an instance that tells of trouble, with its output.
fn last_words(evidence: &Evidence, id: &str) -> Vec<String> {
    let lines = evidence.consoles.get(id).map(Vec::as_slice).unwrap_or_default();
    let exited = lines.iter().rev().find(|line| !line.tail().is_empty() && !matches!(line, ConsoleLine::Unwell { .. }));
    let telling = unwell(evidence, id).or(exited).or(lines.last());
    let said = telling.map(|line| format!("{id} said: {}", line.describe()));
    said.into_iter().chain(telling.map(quoted).unwrap_or_default()).collect()
}

fn quoted(line: &ConsoleLine) -> Vec<String> {
    let tail = line.tail();
    tail.iter().skip(tail.len().saturating_sub(TAIL)).map(|text| format!("| {text}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceName;

    fn member(id: &str, lifecycle: &str) -> GroupInstance {
        GroupInstance { id: id.into(), lifecycle: lifecycle.into(), healthy: true }
    }

    fn target(id: &str, state: TargetState) -> TargetHealth {
        TargetHealth { instance: id.into(), state, reason: String::new(), description: String::new() }
    }

    /// A fleet whose instances are all in service, with these verdicts.
    fn fleet(targets: &[(&str, TargetState)]) -> Evidence {
        let instances = targets.iter().map(|(id, _)| member(id, "InService")).collect();
        let group = Group {
            name: "g".into(),
            min: 0,
            max: 9,
            desired: targets.len() as u32,
            deleting: false,
            instances,
            activity: None,
            policies: vec![],
        };
        let verdicts = targets.iter().map(|(id, state)| target(id, *state)).collect();
        Evidence {
            fleet: "web-r42".into(),
            groups: [(CapacityKind::OnDemand, group)].into(),
            targets: Some(verdicts),
            ..Evidence::default()
        }
    }

    fn waits(count: u32, evidence: &Evidence) -> Waiting {
        match judge(count, evidence) {
            Verdict::Waiting(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn ends(count: u32, evidence: &Evidence) -> String {
        match judge(count, evidence) {
            Verdict::Terminal { what, .. } => what,
            other => panic!("{other:?}"),
        }
    }

    use TargetState::{Draining, Healthy, Initial, Unavailable, Unhealthy, Unused};

    #[test]
    fn all_wanted_instances_healthy_at_the_load_balancer() {
        assert_eq!(judge(2, &fleet(&[("i-1", Healthy), ("i-2", Healthy)])), Verdict::Healthy);
    }

    #[test]
    fn an_empty_list_is_never_healthy() {
        assert_eq!(waits(2, &fleet(&[])).text, "web-r42 0/2 healthy");
        assert_eq!(waits(0, &fleet(&[])).text, "web-r42 0/0 healthy");
        assert_eq!(waits(0, &Evidence::default()).text, " 0/0 healthy");
    }

    #[test]
    fn unknown_is_never_healthy() {
        let known = fleet(&[("i-1", Healthy)]);
        waits(1, &Evidence { targets: None, ..known.clone() });
        waits(1, &Evidence { targets: Some(vec![]), ..known.clone() });
        waits(1, &Evidence { groups: BTreeMap::new(), ..known.clone() });
        let blind = waits(1, &Evidence { blind: Some("throttled".into()), ..known });
        assert_eq!(blind.details, ["AWS could not be asked: throttled"]);
        for state in [Initial, Unhealthy, Unused, Draining, Unavailable] {
            waits(1, &fleet(&[("i-1", state)]));
        }
    }

    #[test]
    fn in_service_in_the_group_is_not_healthy_in_the_target_group() {
        let waiting = waits(2, &fleet(&[("i-1", Healthy), ("i-2", Initial)]));
        assert_eq!((waiting.text.as_str(), waiting.details), ("web-r42 1/2 healthy", vec!["i-2 initial".to_string()]));
    }

    #[test]
    fn exactly_the_groups_instances_count() {
        let mut evidence = fleet(&[("i-1", Healthy)]);
        evidence.targets = Some(vec![target("i-9", Healthy)]);
        assert_eq!(waits(1, &evidence).details.len(), 2);
        evidence.targets = Some(vec![target("i-1", Healthy), target("i-9", Healthy)]);
        waits(1, &evidence);
        evidence.targets = Some(vec![target("i-1", Healthy), target("i-9", Draining)]);
        assert_eq!(judge(1, &evidence), Verdict::Healthy);
    }

    #[test]
    fn fewer_or_more_than_wanted_is_not_it() {
        waits(3, &fleet(&[("i-1", Healthy), ("i-2", Healthy)]));
        waits(1, &fleet(&[("i-1", Healthy), ("i-2", Healthy)]));
    }

    #[test]
    fn an_instance_on_its_way_out_does_not_count() {
        let mut evidence = fleet(&[("i-1", Healthy), ("i-2", Healthy)]);
        evidence.groups.get_mut(&CapacityKind::OnDemand).unwrap().instances[1].lifecycle = "Terminating:Wait".into();
        waits(2, &evidence);
        assert_eq!(judge(1, &evidence), Verdict::Healthy);
    }

    #[test]
    fn a_target_group_no_rule_names_stays_unused_for_ever() {
        let mut evidence = fleet(&[("i-1", Unused)]);
        evidence.targets.as_mut().unwrap()[0].reason = "Target.NotInUse".into();
        waits(1, &evidence);
        evidence.waited = UNUSED_FOR_EVER;
        assert_eq!(ends(1, &evidence), "web-r42 is not checked by the load balancer");
    }

    #[test]
    fn a_failed_launch_ends_the_wait_unless_the_group_overcame_it() {
        let mut evidence = fleet(&[("i-1", Initial)]);
        evidence.failed_activities = vec!["Launching a new EC2 instance: no such image".into()];
        assert_eq!(ends(2, &evidence), "web-r42: Launching a new EC2 instance: no such image");
        waits(1, &evidence);
    }

    #[test]
    fn what_aws_cannot_give_says_nothing_about_the_release() {
        let mut evidence = fleet(&[("i-1", Healthy)]);
        let zone = "We currently do not have sufficient m7i.large capacity in the Availability Zone you requested (eu-central-1a).";
        let mixed =
            "Could not launch On-Demand Instances. InsufficientInstanceCapacity - There is no capacity. Launching EC2 instance failed.";
        let other = "Instance became unhealthy while waiting for instance to be in InService state.";
        for (why, lacks) in [(vec![zone], true), (vec![mixed, zone], true), (vec![other], false), (vec![zone, other], false)] {
            evidence.failed_activities = why.iter().map(ToString::to_string).collect();
            let Verdict::Terminal { lacking, .. } = judge(2, &evidence) else { panic!() };
            assert_eq!((lacking, evidence.only_lacks(2)), (lacks, lacks), "{why:?}");
        }
        evidence.failed_activities.clear();
        assert!(!evidence.only_lacks(2));
        evidence.no_spot = vec!["Could not launch Spot Instances. InsufficientInstanceCapacity - none.".into()];
        assert!(evidence.only_lacks(2) && !evidence.only_lacks(1));
        evidence.targets.as_mut().unwrap()[0].state = Unhealthy;
        assert!(!evidence.only_lacks(2));
    }

    #[test]
    fn spot_that_is_missing_or_taken_back_is_waited_for() {
        let mut evidence = fleet(&[("i-1", Healthy)]);
        evidence.no_spot = vec!["There is no Spot capacity available".into()];
        evidence.taken_back = vec![Ended { id: "i-2".into(), reason: "Server.SpotInstanceTermination".into() }];
        let waiting = waits(2, &evidence);
        let details =
            ["no spot instance: There is no Spot capacity available", "i-2 was taken back by AWS: Server.SpotInstanceTermination"];
        assert_eq!((waiting.details, evidence.taken_back()), (details.map(String::from).into(), 1));
    }

    #[test]
    fn an_instance_that_ended_ends_the_wait_with_awss_reason() {
        let mut evidence = fleet(&[("i-1", Healthy)]);
        evidence.ended = vec![Ended { id: "i-2".into(), reason: "Client.InternalError: Client error on launch".into() }];
        let Verdict::Terminal { evidence: lines, .. } = judge(2, &evidence) else { panic!() };
        assert_eq!(lines, ["i-2 ended: Client.InternalError: Client error on launch"]);
    }

    #[test]
    fn a_bad_answer_of_a_running_service_is_evidence_as_long_as_it_lasts() {
        let service = ServiceName::new("web").unwrap();
        let booted = ConsoleLine::Booted { services: vec![service.clone()] };
        let unwell = |answer: &str, tail: Vec<String>| ConsoleLine::Unwell { service: service.clone(), answer: answer.into(), tail };
        let mut evidence = fleet(&[("i-1", Unhealthy)]);
        let bad = unwell("GET /up -> 503 no stock", vec!["looking for stock".into()]);
        evidence.consoles.insert("i-1".into(), vec![booted.clone(), unwell("no answer on port 8001", vec![]), bad.clone()]);
        let said = "i-1 said: web runs but is unwell: GET /up -> 503 no stock";
        assert_eq!(evidence.complaints(), ["i-1 unhealthy", said, "| looking for stock"]);
        assert_eq!(waits(1, &evidence).details, ["i-1 unhealthy", said]);
        evidence.consoles.insert("i-1".into(), vec![booted, bad, ConsoleLine::Ready { services: vec![service] }]);
        assert_eq!(evidence.complaints(), ["i-1 unhealthy", "i-1 said: web up"]);
    }

    #[test]
    fn a_crash_loop_ends_the_wait_with_the_last_lines() {
        let service = ServiceName::new("web").unwrap();
        let crash = ConsoleLine::CrashLooping { service: service.clone(), restarts: 3, tail: vec!["boom".into()] };
        let mut evidence = fleet(&[("i-1", Unhealthy)]);
        evidence.consoles.insert("i-1".into(), vec![ConsoleLine::Booted { services: vec![service.clone()] }, crash.clone()]);
        let Verdict::Terminal { evidence: lines, .. } = judge(1, &evidence) else { panic!() };
        assert_eq!(lines.last().unwrap(), "| boom");
        // It came up after all.
        evidence.consoles.insert("i-1".into(), vec![crash.clone(), ConsoleLine::Ready { services: vec![service] }]);
        waits(1, &evidence);
        // The load balancer's word is what counts: whatever was on the console, healthy is healthy.
        let mut well = fleet(&[("i-1", Healthy)]);
        well.consoles.insert("i-1".into(), vec![crash]);
        assert_eq!(judge(1, &well), Verdict::Healthy);
    }
}
