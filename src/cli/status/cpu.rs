//! Whether fleets that took over lately need more CPU than those before them did for the same traffic.

use std::time::Duration;

use serde::Serialize;

use crate::aws::Aws;
use crate::clock::Clock;
use crate::health::{Compared, Need, Utilization};
use crate::model::{Environment, ReleaseNumber, ServiceName, World};
use crate::observe;

/// Whoever asks for the status does not wait longer for this.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known; empty where nothing took over lately.
#[derive(Debug, Default, Serialize)]
pub(super) struct Cpu {
    #[serde(rename = "cpu", skip_serializing_if = "Vec::is_empty")]
    services: Vec<ServiceCpu>,
    /// Why it could not be asked.
    #[serde(rename = "cpu_unknown", skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
}

/// A fleet against the one before it.
#[derive(Debug, Serialize)]
struct ServiceCpu {
    service: ServiceName,
    release: ReleaseNumber,
    against: ReleaseNumber,
    /// `more`, `as-much`, `incomparable` or `unknown`.
    need: &'static str,
    /// So many times as much for the same traffic, if it needs more.
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Used>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Used>,
    /// For people, if it needs more.
    #[serde(skip)]
    said: Option<String>,
}

/// What one instance uses on average.
#[derive(Debug, Serialize)]
struct Used {
    /// Percent of the CPU, at so many requests a minute.
    #[serde(flatten)]
    utilization: Utilization,
    /// What the release was to be launched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_type: Option<String>,
}

/// Asks. Whatever is wrong with CloudWatch is said and fails nothing.
pub(super) async fn look(aws: &Aws, environment: &Environment, world: &World, clock: &Clock) -> Cpu {
    let found = tokio::select! {
        found = observe::cpu(aws, environment, world, clock.wall()) => found.map_err(|error| error.to_string()),
        () = clock.sleep(PATIENCE) => Err("CloudWatch did not answer in time".to_string()),
    };
    Cpu::of(world, found)
}

fn service(world: &World, compared: Compared) -> ServiceCpu {
    let (need, times) = match compared.need() {
        Need::More(times) => ("more", Some(times)),
        Need::AsMuch => ("as-much", None),
        Need::Incomparable => ("incomparable", None),
        Need::Unknown => ("unknown", None),
    };
    let Compared { fleet, against, new, old } = &compared;
    let type_of = |release| world.records.release(release)?.release.services.get(&fleet.service).map(|spec| spec.instance_type.clone());
    let types = (type_of(fleet.release), type_of(against.release));
    let said = compared.said().filter(|_| times.is_some()).map(|said| match &types {
        (Some(now), Some(before)) if now != before => format!("{said} ({now}, before {before})"),
        _ => said,
    });
    let used = |utilization: &Option<Utilization>, instance_type| utilization.map(|utilization| Used { utilization, instance_type });
    let (now, before) = (used(new, types.0), used(old, types.1));
    ServiceCpu { service: fleet.service.clone(), release: fleet.release, against: against.release, need, times, now, before, said }
}

impl Cpu {
    pub(super) fn of(world: &World, found: Result<Vec<Compared>, String>) -> Self {
        match found {
            Ok(compared) => Self { services: compared.into_iter().map(|compared| service(world, compared)).collect(), unknown: None },
            Err(unknown) => Self { services: Vec::new(), unknown: Some(unknown) },
        }
    }

    /// For people: what needs more, and what could not be asked.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let unknown = self.unknown.iter().map(|why| format!("not compared: {why}"));
        self.services.iter().filter_map(|service| service.said.clone()).chain(unknown)
    }
}
