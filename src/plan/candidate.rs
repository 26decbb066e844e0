//! How a fleet comes to be: the steps from nothing to verified, the same for a deploy and for a rollback to a release whose fleet is gone.

use std::collections::BTreeMap;

use crate::model::{
    AGENT_PORT, CapacityKind, DeployTiming, Environment, FleetKey, GRACE, Release, ReleaseNumber, Seconds, Service, ServiceName,
    ServiceSpec, Share, TimedCommand, UserData, UserDataError, UserService,
};

use super::situation::Standing;
use super::{ReleaseRun, Step, TargetGroupSpec, TemplateSpec};

/// A service's configuration, as a release keeps it.
pub(super) fn spec(service: &Service, timing: &DeployTiming) -> ServiceSpec {
    ServiceSpec {
        repository: service.repository.clone(),
        run: service.run.clone(),
        port: service.port,
        health_path: service.health_path.clone(),
        variables: service.variables.clone(),
        secrets: service.secrets.clone(),
        release_command: service.release_command.clone(),
        instance_type: service.instance_type.clone(),
        other_types: service.other_types.clone(),
        scaling: service.scaling.clone(),
        health: timing.health.clone(),
        drain: timing.drain,
        grace: service.grace,
        held: service.held(),
    }
}

/// What instances are told, as text.
pub(super) fn user_data(
    environment: &Environment,
    release: Option<ReleaseNumber>,
    services: &BTreeMap<ServiceName, ServiceSpec>,
) -> Result<String, UserDataError> {
    told(environment, release, services).render()
}

/// What instances are told: what each of these services is.
pub(super) fn told(environment: &Environment, release: Option<ReleaseNumber>, services: &BTreeMap<ServiceName, ServiceSpec>) -> UserData {
    let told = |spec: &ServiceSpec| UserService {
        repository: spec.repository.clone(),
        run: spec.run.clone(),
        port: spec.port,
        health_path: spec.health_path.clone(),
        variables: spec.variables.clone(),
        secrets: spec.secrets.clone(),
        release_command: spec.release_command.clone(),
        grace: (spec.grace != GRACE).then_some(spec.grace),
    };
    let services = services.iter().map(|(name, spec)| (name.clone(), told(spec))).collect();
    UserData::new(environment.app.clone(), environment.name.clone(), release, services)
}

/// How long spot that is on its way is waited for: on AWS it comes within seconds, or not for a long time.
const SPOT_PATIENCE: Seconds = Seconds(120);

/// For a fleet that was to get spot just now: whether it did, and what makes up for it.
pub(super) fn cover(fleet: &FleetKey, shares: &[(CapacityKind, u32)], timing: &DeployTiming) -> Option<[Step; 2]> {
    let of = |kind| shares.iter().find(|(other, _)| *other == kind).map_or(0, |(_, size)| *size);
    let share = Share { on_demand: of(CapacityKind::OnDemand), spot: of(CapacityKind::Spot) };
    let within = SPOT_PATIENCE.min(Seconds(timing.healthy_within.0 / 2));
    let steps = [Step::AwaitSpot { fleet: fleet.clone(), within }, Step::CoverSpot { fleet: fleet.clone(), share }];
    (share.spot > 0).then_some(steps)
}

/// One fleet to be made.
pub(super) struct Candidate {
    pub fleet: FleetKey,
    template: TemplateSpec,
    target_group: TargetGroupSpec,
    types: Vec<String>,
    shares: Vec<(CapacityKind, u32)>,
    release_command: Option<TimedCommand>,
    size: u32,
    max: u32,
    /// Not to work before it is made active.
    pub held: bool,
}

impl Candidate {
    /// The fleet of one service of a release; the error says why its instances cannot be told what to be.
    pub fn new(environment: &Environment, standing: &Standing, release: &Release, spec: &ServiceSpec) -> Result<Self, UserDataError> {
        let fleet = standing.key(release.number);
        let only = BTreeMap::from([(fleet.service.clone(), spec.clone())]);
        let mut told = told(environment, Some(release.number), &only);
        if spec.held {
            // An agent that knows of no grace refuses to be told one; it could not hold anything either.
            told.services.values_mut().for_each(|service| service.grace = Some(spec.grace));
        }
        let user_data = told.render()?;
        let template = TemplateSpec { image: release.image.clone(), instance_type: spec.instance_type.clone(), user_data };
        // A worker is checked through its agent, which vouches for every service of the instance.
        let (port, path) = match spec.port {
            Some(port) => (port, spec.health_path.clone()),
            None => (AGENT_PORT, "/health".to_string()),
        };
        let target_group = TargetGroupSpec { port, path, health: spec.health.clone(), drain: spec.drain };
        let size = standing.size();
        // One type alone is the template's own.
        let types = match spec.other_types.is_empty() {
            true => Vec::new(),
            false => std::iter::once(&spec.instance_type).chain(&spec.other_types).cloned().collect(),
        };
        let (shares, release_command) = (standing.shares(size), spec.release_command.clone());
        let (max, held) = (standing.max(size), spec.held);
        Ok(Self { fleet, template, target_group, types, shares, release_command, size, max, held })
    }

    /// What an Auto Scaling group needs before it can be made.
    pub fn foundations(&self) -> [Step; 2] {
        let fleet = || self.fleet.clone();
        [
            Step::CreateLaunchTemplate { fleet: fleet(), template: self.template.clone() },
            Step::CreateTargetGroup { fleet: fleet(), spec: self.target_group.clone() },
        ]
    }

    /// Makes the load balancer check it where no visitor can reach it.
    pub fn test_rule(&self) -> Step {
        Step::CreateTestRule { fleet: self.fleet.clone() }
    }

    /// A group of each kind, each with room for all there may be: one kind stands in for the other.
    pub fn launch(&self) -> Vec<Step> {
        let step = |(kind, size): &(CapacityKind, u32)| {
            let (fleet, types) = (self.fleet.clone(), self.types.clone());
            Step::LaunchFleet { fleet, kind: *kind, types, size: *size, max: self.max, held: self.held }
        };
        self.shares.iter().map(step).collect()
    }

    /// All that is made of it.
    pub fn making(&self) -> Vec<Step> {
        self.foundations().into_iter().chain([self.test_rule()]).chain(self.launch()).collect()
    }

    /// Spot may not be to be had.
    pub fn cover(&self, timing: &DeployTiming) -> Option<[Step; 2]> {
        cover(&self.fleet, &self.shares, timing)
    }

    /// What a new release has to do once before any visitor comes, if it has.
    pub fn release_command(&self) -> Option<Step> {
        let command = self.release_command.clone()?;
        Some(Step::RunReleaseCommand(ReleaseRun { fleet: self.fleet.clone(), command }))
    }

    pub fn wait(&self, timing: &DeployTiming) -> Step {
        Step::AwaitHealthy { fleet: self.fleet.clone(), count: self.size, within: timing.healthy_within, stable_for: timing.stable_for }
    }
}
