//! What the fleets that serve use of their CPU, and what those used that they took over from: one call for all services.

use jiff::Timestamp;

use crate::aws::{Asked, Aws, Error, PERIOD, Told};
use crate::health::{Compared, Utilization, before, since};
use crate::model::{Environment, Fleet, FleetKey, OperationKind, Outcome, RuleKey, Service, World};

/// What took over longer ago is no news.
const NEWS: i64 = 24 * 3_600;
/// So long before and after it is compared: long enough to even out, short enough for the same time of day.
const SPAN: i64 = 3_600;

/// A fleet that took over and the one it took over from: what they are called, what is asked of them, when the operation began and ended.
struct Pair {
    keys: [FleetKey; 2],
    asked: [Asked; 2],
    began: i64,
    ended: i64,
}

/// The services whose visitors another fleet has had for less than a day, as long as the one before is still there to go back to.
pub async fn cpu(aws: &Aws, environment: &Environment, world: &World, now: Timestamp) -> Result<Vec<Compared>, Error> {
    let now = now.as_second();
    let recent = |pair: &Pair| now - pair.ended < NEWS;
    let pairs: Vec<Pair> = environment.services.iter().filter_map(|service| pair(world, service)).filter(recent).collect();
    let first = pairs.iter().map(|pair| pair.began - SPAN).min().map(|first| first - first.rem_euclid(PERIOD));
    let (Some(listener), Some(first)) = (&world.listener, first.and_then(|first| Timestamp::from_second(first).ok())) else {
        return Ok(Vec::new());
    };
    let asked: Vec<Asked> = pairs.iter().flat_map(|pair| pair.asked.clone()).collect();
    let last = Timestamp::from_second(now + 60).unwrap_or(first);
    let told = aws.cloudwatch.told(listener, &asked, first, last).await?;
    let compared = |(pair, told): (&Pair, &[Told])| {
        let after = since(pair.ended, now.min(pair.ended + SPAN));
        let over = |at: usize, when| told.get(at).and_then(|told| Utilization::over(&told.periods, when));
        let ([fleet, against], [new, old]) = (pair.keys.clone(), [over(0, &after), over(1, &before(pair.began, SPAN))]);
        Compared { fleet, against, new, old }
    };
    Ok(pairs.iter().zip(told.chunks(2)).map(compared).collect())
}

/// What serves a service's visitors by the load balancer and by the records, and what did before.
fn pair(world: &World, service: &Service) -> Option<Pair> {
    let route = service.route.as_ref()?;
    let live = world.weights(&RuleKey { service: service.name.clone(), priority: route.priority })?.sole()?;
    let head = world.records.head.as_ref().filter(|head| head.serving.get(&service.name) == Some(&live))?;
    let earlier = *head.before.get(&service.name).filter(|earlier| **earlier != live)?;
    let moved = world.records.operations.iter().find(|operation| {
        let moves = matches!(operation.kind, OperationKind::Deploy | OperationKind::Rollback);
        moves && operation.ended == Some(Outcome::Deployed) && operation.release == Some(live) && operation.previous != Some(live)
    })?;
    let second = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    let (began, ended) = (second(&moved.at)?, second(moved.ended_at.as_deref()?)?);
    let fleets = [world.fleet(&service.name, live)?, world.fleet(&service.name, earlier)?];
    let [new, old] = fleets.map(asked);
    Some(Pair { keys: fleets.map(|fleet| fleet.key.clone()), asked: [new?, old?], began, ended })
}

/// None of a fleet whose target group is gone.
fn asked(fleet: &Fleet) -> Option<Asked> {
    let (_, target_group) = fleet.target_group.as_ref()?.arn.rsplit_once(':')?;
    let groups = fleet.groups.values().map(|group| group.name.clone()).collect();
    Some(Asked { target_group: target_group.to_string(), traffic: false, groups })
}
