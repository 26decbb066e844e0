//! Where each service stands, read off the world: which release is live, which are warm, what is a wreck, and what to make of an
//! operation that was cut short.
//!
//! **An operation that was cut short is judged by what the world shows, never by its intentions** ([`Cut`]):
//!
//! - *Before*: no route has moved. The live release is what it was. `deploy` clears the remains and goes ahead; `rollback` clears them
//!   and ends as before.
//! - *After*: every route of it has moved. Its release is live, since it was verified before it got a visitor. `deploy` goes ahead from
//!   there (asked for the same image and configuration again, it only settles and records it); `rollback` goes back to what the records
//!   say served before, or finishes the rollback that was cut short.
//! - *Between*: some routes have moved and others have not, or a rule's visitors are split. `deploy` refuses and names `rollback`, which
//!   puts every route back.

use std::collections::BTreeMap;

use crate::model::{
    CapacityKind, Environment, Fleet, FleetKey, Group, OperationKind, OperationRecord, Outcome, ReleaseNumber, RuleAction, RuleKey,
    Scaling, Service, ServiceName, Share, Verdict, Weights, World,
};

/// One environment's services as they stand.
pub(super) struct Situation<'a> {
    pub environment: &'a Environment,
    pub world: &'a World,
    /// In the order of the file.
    pub standings: Vec<Standing<'a>>,
    pub cut: Cut<'a>,
}

/// What to make of an operation that is not through: nobody ended it, or it ended stranded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut<'a> {
    /// There is none.
    None,
    Before(&'a OperationRecord),
    After(&'a OperationRecord),
    Between(&'a OperationRecord),
}

/// One service as it stands.
pub(super) struct Standing<'a> {
    pub service: &'a Service,
    /// Its route's rule; none for a worker.
    pub rule: Option<RuleKey>,
    /// The rule's weights now; empty for a worker, for a rule that serves the 503 page, and for one that cannot be read as ours.
    pub weights: Weights,
    /// The release visitors get; of a worker, the one that works. None before the first release, and while there are several.
    pub live: Option<ReleaseNumber>,
    /// Its fleets, oldest release first.
    pub fleets: Vec<&'a Fleet>,
    world: &'a World,
}

impl<'a> Situation<'a> {
    pub fn of(environment: &'a Environment, world: &'a World) -> Self {
        let mut standings: Vec<_> = environment.services.iter().map(|service| Standing::of(service, world)).collect();
        let cut = cut(world, &standings);
        if let Cut::After(operation) = cut
            && operation.kind == OperationKind::Deploy
        {
            // Its workers were verified together with what the visitors got. (Those of a rollback may not even be awake.)
            for standing in standings.iter_mut().filter(|standing| standing.rule.is_none()) {
                standing.live = operation.release.filter(|release| standing.stands(*release)).or(standing.live);
            }
        }
        Self { environment, world, standings, cut }
    }

    pub fn standing(&self, service: &ServiceName) -> Option<&Standing<'a>> {
        self.standings.iter().find(|standing| standing.service.name == *service)
    }

    /// What each service serves now.
    pub fn serving(&self) -> BTreeMap<ServiceName, ReleaseNumber> {
        self.standings.iter().filter_map(|standing| Some((standing.service.name.clone(), standing.live?))).collect()
    }

    /// The newest release that is live anywhere.
    pub fn newest_live(&self) -> Option<ReleaseNumber> {
        self.standings.iter().filter_map(|standing| standing.live).max()
    }

    /// What the operator should know whatever is planned.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(freeze) = &self.world.records.freeze {
            let until = freeze.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
            notes.push(format!("frozen by {}{until}: \"{}\"", freeze.who, freeze.reason));
        }
        match self.cut {
            Cut::None => notes.extend(self.standings.iter().filter_map(Standing::drift)),
            Cut::Before(operation) => notes.push(format!("{} is not through, and has not changed what is served", said(operation))),
            Cut::After(operation) => notes.push(format!("{} is not through, and its release has all visitors", said(operation))),
            Cut::Between(operation) => {
                notes.push(format!("{} is not through, and has moved some visitors and not others", said(operation)))
            }
        }
        notes.extend(self.standings.iter().flat_map(Standing::strangers));
        let named = |fleet: &&Fleet| self.standing(&fleet.key.service).is_none();
        let nameless = self.world.fleets.iter().filter(named);
        notes.extend(nameless.map(|fleet| format!("{} belongs to a service adstage.toml does not name: left alone", fleet.key)));
        notes
    }
}

/// `the deploy of r42 by ana`.
pub(super) fn said(operation: &OperationRecord) -> String {
    let kind = match operation.kind {
        OperationKind::Rollback => "rollback to",
        OperationKind::Deploy => "deploy of",
        OperationKind::Scale => return format!("the change of sizes by {}", operation.by),
        OperationKind::Setup => return format!("the setup by {}", operation.by),
        OperationKind::Bake => return format!("the bake by {}", operation.by),
        OperationKind::Images => return format!("what {} does with images", operation.by),
        OperationKind::Review => return format!("the work on the review box by {}", operation.by),
    };
    let release = operation.release.map_or_else(|| "a release".to_string(), |release| release.to_string());
    format!("the {kind} {release} by {}", operation.by)
}

fn cut<'a>(world: &'a World, standings: &[Standing<'a>]) -> Cut<'a> {
    let Some(operation) = unfinished(&world.records.operations) else { return Cut::None };
    let record = operation.release.and_then(|release| world.records.release(release));
    let concerns = |standing: &Standing| record.is_none_or(|record| record.release.services.contains_key(&standing.service.name));
    let concerned = |standing: &&Standing| standing.rule.is_some() && concerns(standing);
    let mut routes: Vec<_> = standings.iter().filter(concerned).collect();
    if routes.is_empty() {
        // Of workers alone, the hand-over is the cutover.
        let held = |standing: &&Standing| standing.fleets.iter().any(|fleet| standing.is_held(fleet.key.release));
        routes = standings.iter().filter(|standing| concerns(standing)).filter(held).collect();
    }
    let head = |standing: &Standing| world.records.head.as_ref()?.serving.get(&standing.service.name).copied();
    let unmoved = |standing: &Standing| !standing.split() && standing.live == head(standing);
    // A route with nothing to serve yet cannot be in anybody's way.
    let moved = |standing: &Standing| !standing.split() && (standing.live.is_none() || standing.live == operation.release);
    if routes.iter().all(|standing| unmoved(standing)) {
        // Somebody has settled it since, and cleared up.
        let settled = operation.ended.is_some() && standings.iter().all(|standing| standing.wrecks().is_empty());
        if settled { Cut::None } else { Cut::Before(operation) }
    } else if routes.iter().all(|standing| moved(standing)) {
        Cut::After(operation)
    } else {
        Cut::Between(operation)
    }
}

/// The newest deploy or rollback that left its mark, if that one is not through. One that was refused, or that ended as before, left
/// none, so what came before it still counts.
fn unfinished(operations: &[OperationRecord]) -> Option<&OperationRecord> {
    let moves = |operation: &&OperationRecord| matches!(operation.kind, OperationKind::Deploy | OperationKind::Rollback);
    let marks = |operation: &&OperationRecord| matches!(operation.ended, None | Some(Outcome::Deployed | Outcome::Stranded));
    operations.iter().filter(moves).find(marks).filter(|operation| operation.ended != Some(Outcome::Deployed))
}

impl<'a> Standing<'a> {
    fn of(service: &'a Service, world: &'a World) -> Self {
        let rule = service.route.as_ref().map(|route| RuleKey { service: service.name.clone(), priority: route.priority });
        let weights = rule.as_ref().and_then(|rule| world.weights(rule)).unwrap_or_default();
        let fleets = world.fleets.iter().filter(|fleet| fleet.key.service == service.name).collect();
        let mut standing = Self { service, rule, live: None, weights, fleets, world };
        standing.live = match standing.rule {
            Some(_) => standing.weights.sole(),
            None => standing.working(),
        };
        standing
    }

    /// The release the records say it serves.
    pub fn recorded(&self) -> Option<ReleaseNumber> {
        self.world.records.head.as_ref()?.serving.get(&self.service.name).copied()
    }

    pub fn key(&self, release: ReleaseNumber) -> FleetKey {
        FleetKey { service: self.service.name.clone(), release }
    }

    pub fn fleet(&self, release: ReleaseNumber) -> Option<&'a Fleet> {
        self.fleets.iter().find(|fleet| fleet.key.release == release).copied()
    }

    /// The Auto Scaling groups of a release, except those on their way out.
    pub fn groups(&self, release: ReleaseNumber) -> Vec<(CapacityKind, &'a Group)> {
        self.fleet(release).into_iter().flat_map(Fleet::standing).collect()
    }

    /// The release has a group that is not on its way out.
    pub fn stands(&self, release: ReleaseNumber) -> bool {
        !self.groups(release).is_empty()
    }

    /// Instances the groups of a release should have.
    pub fn desired(&self, release: ReleaseNumber) -> u32 {
        self.groups(release).iter().map(|(_, group)| group.desired).sum()
    }

    /// The live release, if it has a group that is not on its way out.
    pub fn live_fleet(&self) -> Option<ReleaseNumber> {
        self.live.filter(|live| self.stands(*live))
    }

    /// So many instances shared between the kinds, for a fleet that is to be made: a group of each kind the service has.
    pub fn shares(&self, size: u32) -> Vec<(CapacityKind, u32)> {
        let share = Share::of(size, self.service.spot);
        let kinds = CapacityKind::ALL.into_iter().filter(|kind| kind.is_on_demand() || self.service.spot > 0);
        kinds.map(|kind| (kind, share.kind(kind))).collect()
    }

    /// The same for a fleet that may be there: shared between the groups it has, as configured, none of them made smaller.
    pub fn shares_of(&self, release: ReleaseNumber, size: u32) -> Vec<(CapacityKind, u32)> {
        let groups = self.groups(release);
        let now = |kind| groups.iter().find(|(other, _)| *other == kind).map(|(_, group)| group.desired);
        let spot = match (now(CapacityKind::OnDemand), now(CapacityKind::Spot)) {
            (None, None) => return self.shares(size),
            (_, None) => return vec![(CapacityKind::OnDemand, size)],
            (on_demand, Some(spot)) => {
                let most = size.saturating_sub(on_demand.unwrap_or(0)).max(spot);
                Share::of(size, self.service.spot).spot.clamp(spot, most)
            }
        };
        vec![(CapacityKind::OnDemand, size.saturating_sub(spot)), (CapacityKind::Spot, spot)]
    }

    /// Instances a candidate needs: what is live now, never a configured minimum; the configured number for a first release.
    pub fn size(&self) -> u32 {
        let serves = |release: ReleaseNumber| match self.rule {
            Some(_) => self.weights.0.get(&release).is_some_and(|weight| *weight > 0),
            None => self.divided() && self.is_held(release),
        };
        let running = self.fleets.iter().filter(|fleet| serves(fleet.key.release));
        let split = running.map(|fleet| fleet.desired()).max();
        self.live_fleet().map(|live| self.desired(live)).or(split).filter(|size| *size > 0).unwrap_or(self.service.instances)
    }

    /// What a release's fleet is to follow while it is live: as its record pins it; as configured for one that is being made.
    pub fn scaling(&self, release: ReleaseNumber) -> Option<&'a Scaling> {
        match self.world.records.release(release) {
            Some(record) => record.release.services.get(&self.service.name)?.scaling.as_ref(),
            None => self.service.scaling.as_ref(),
        }
    }

    /// The fewest instances a release's fleet may shrink to by itself.
    pub fn least(&self, release: ReleaseNumber) -> u32 {
        self.scaling(release).map_or(self.service.instances, |scaling| scaling.min)
    }

    /// The most instances a fleet of this size may grow to.
    pub fn max(&self, size: u32) -> u32 {
        self.service.max_instances.max(size)
    }

    /// Visitors are split between releases, or the rule has releases and none of them gets any; several releases of a worker work.
    pub fn split(&self) -> bool {
        !self.weights.0.is_empty() && self.weights.sole().is_none() || self.divided()
    }

    /// Has every part, so it can take visitors again.
    pub fn complete(&self, release: ReleaseNumber) -> bool {
        let whole =
            |fleet: &Fleet| fleet.target_group.is_some() && fleet.template.is_some() && fleet.group(CapacityKind::OnDemand).is_some();
        self.fleet(release).is_some_and(whole)
    }

    /// Fleets that neither serve nor could: remains of something that was cut short. Never one with a visitor, never one the records name.
    pub fn wrecks(&self) -> Vec<ReleaseNumber> {
        let releases = self.fleets.iter().map(|fleet| fleet.key.release);
        releases.filter(|release| !self.needed(*release) && self.broken(*release) && !self.stranger(*release)).collect()
    }

    /// Fleets kept for going back, those to keep longest first: what is live now (it is about to be left), then good releases from
    /// newest to oldest, then bad ones.
    pub fn by_worth(&self) -> Vec<ReleaseNumber> {
        let wrecks = self.wrecks();
        let ours = |release: &ReleaseNumber| !wrecks.contains(release) && !self.stranger(*release) && !self.reached_elsewhere(*release);
        let mut kept: Vec<_> = self.fleets.iter().map(|fleet| fleet.key.release).filter(ours).collect();
        kept.sort_by_key(|release| (self.live != Some(*release), self.bad(*release), std::cmp::Reverse(*release)));
        kept
    }

    /// Has a visitor, or is what the records say serves.
    fn needed(&self, release: ReleaseNumber) -> bool {
        let weight = self.weights.0.get(&release).copied().unwrap_or(0);
        weight > 0 || self.live == Some(release) || self.recorded() == Some(release) || self.reached_elsewhere(release)
    }

    /// Some other rule of the listener leads visitors to it.
    fn reached_elsewhere(&self, release: ReleaseNumber) -> bool {
        let Some(fleet) = self.fleet(release) else { return false };
        let Some(group) = &fleet.target_group else { return false };
        let own = self.rule.as_ref().and_then(|rule| self.world.rule(rule)).map(|rule| &rule.arn);
        let others = self.world.rules.iter().filter(|rule| Some(&rule.arn) != own && Some(&rule.arn) != fleet.test_rule.as_ref());
        let leads =
            |action: &RuleAction| matches!(action, RuleAction::Forward(to) if to.get(&group.name).is_some_and(|weight| *weight > 0));
        others.filter(|rule| rule.conditions.header.is_none()).any(|rule| leads(&rule.action))
    }

    fn broken(&self, release: ReleaseNumber) -> bool {
        let before = self.world.records.head.as_ref().and_then(|head| head.before.get(&self.service.name));
        let untried = match self.world.records.release(release) {
            Some(record) => record.verdict == Verdict::Untried && before != Some(&release),
            None => true,
        };
        untried || !self.complete(release)
    }

    fn bad(&self, release: ReleaseNumber) -> bool {
        self.world.records.release(release).is_some_and(|record| matches!(record.verdict, Verdict::Bad { .. }))
    }

    /// A worker's fleet of a release the records never heard of. It may be doing the company's work, and no weight says otherwise, so it
    /// is nobody's to remove.
    fn stranger(&self, release: ReleaseNumber) -> bool {
        self.rule.is_none() && self.world.records.release(release).is_none()
    }

    fn strangers(&self) -> Vec<String> {
        let strange = |key: &FleetKey| match () {
            () if self.stranger(key.release) => Some(format!("{key} runs, but no record says of what: left alone")),
            () if self.reached_elsewhere(key.release) => Some(format!("a rule that is not adstage's leads visitors to {key}: left alone")),
            () => None,
        };
        self.fleets.iter().filter_map(|fleet| strange(&fleet.key)).collect()
    }

    fn drift(&self) -> Option<String> {
        let (live, recorded) = (self.live?, self.recorded()?);
        let name = &self.service.name;
        (live != recorded).then(|| match self.rule {
            Some(_) => format!("{name} serves {live} by the load balancer and {recorded} by the records: the load balancer is believed"),
            None => format!("{name} works at {live} by its tags and at {recorded} by the records: the tags are believed"),
        })
    }
}
